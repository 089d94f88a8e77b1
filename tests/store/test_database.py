import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from builders import make_image

from labelkit.domain.instance import Box
from labelkit.errors import MissingDependencyError, StoreError
from labelkit.store.database import Database
from labelkit.store.journal import Entry
from labelkit.store.label_store import LabelStore, NewInstance

on_sqlite = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


@pytest.fixture
def store(store_url):
    """One image with one instance, and one answer about it."""
    with LabelStore.open(store_url) as opened:
        opened.add_images([make_image("a.png")])
        opened.add_instances([NewInstance(make_image("a.png"), Box(0, 0, 9, 9), "given", 81.0)])
        opened.record(answers(1))
        yield opened


def answers(count):
    """Different answers about the one instance."""
    id_ = f"{make_image('a.png').id}-0"
    for number in range(count):
        yield Entry(id_, "visibility", {"nose": True}, "test", f"{count} {number}", "1")


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.server)])
def test_openers_that_make_one_store_at_once_all_succeed(kind, tmp_path, request):
    for attempt in range(10):
        url = f"sqlite:///{tmp_path / f'{attempt}.db'}"
        if kind == "postgresql":
            url = request.getfixturevalue("postgres").new_url()
        start = threading.Barrier(4)

        def open_store(url=url, start=start):
            start.wait()
            with LabelStore.open(url) as store:
                return store.head()

        with ThreadPoolExecutor(4) as pool:
            futures = [pool.submit(open_store) for _ in range(4)]
            assert [future.result() for future in futures] == [0, 0, 0, 0]


def test_a_reader_is_not_kept_waiting_by_a_writer(store, store_url, monkeypatch):
    monkeypatch.setattr("labelkit.store.database.BUSY_SECONDS", 0.1)
    with store.database.writing(), LabelStore.open(store_url) as reader:
        assert reader.head() == 1


def test_a_locked_store_gets_a_plain_error(store, store_url, monkeypatch):
    monkeypatch.setattr("labelkit.store.database.BUSY_SECONDS", 0.1)
    refused = pytest.raises(StoreError, match="in use")
    with LabelStore.open(store_url) as other, store.database.writing(), refused as caught:
        other.record(answers(2))
    assert store.database.name in caught.value.problem
    assert store.head() == 1


@on_sqlite
def test_a_full_disk_gets_a_plain_error_and_loses_nothing(store):
    with store.database.reading() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StoreError, match="disk is full") as caught:
        store.record(answers(5000))
    assert "run the same command again" in caught.value.next_step
    assert store.head() == 1


def test_a_file_that_is_not_a_database_is_named(tmp_path):
    (tmp_path / "labels.db").write_text("hello, this is not a database, but long enough\n" * 9)
    with pytest.raises(StoreError, match=r"labels\.db") as caught:
        LabelStore.open(f"sqlite:///{tmp_path / 'labels.db'}")
    assert "backup" in caught.value.next_step


def test_a_store_in_a_missing_folder_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"nowhere/labels\.db") as caught:
        LabelStore.open(f"sqlite:///{tmp_path / 'nowhere' / 'labels.db'}")
    assert "LABELKIT_DB" in caught.value.next_step


@on_sqlite
def test_a_read_only_store_can_be_read_and_refuses_to_record(store, store_url):
    path = store_url.removeprefix("sqlite:///")
    with LabelStore.open(f"sqlite:///file:{path}?mode=ro&uri=true") as readonly:
        assert readonly.head() == 1
        with pytest.raises(StoreError, match="read-only"):
            readonly.record(answers(2))


def test_a_database_of_another_program_is_left_alone(tmp_path):
    connection = sqlite3.connect(tmp_path / "other.db")
    connection.execute("CREATE TABLE image (name TEXT)")
    connection.close()
    with pytest.raises(StoreError, match="another program"):
        LabelStore.open(f"sqlite:///{tmp_path / 'other.db'}")


@pytest.mark.parametrize("url", ["nonsense", "postgresql//u:hunter2@h/d", "ora+cle://u:hunter2@h"])
def test_an_invalid_url_is_refused_without_its_password(url):
    with pytest.raises(StoreError, match="LABELKIT_DB") as caught:
        LabelStore.open(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_missing_driver_error_names_what_to_install():
    with pytest.raises(MissingDependencyError, match="pymssql") as caught:
        LabelStore.open("mssql+pymssql://u:hunter2@localhost/d")
    assert "pip install pymssql" in caught.value.next_step


def test_a_name_for_messages_has_no_password():
    database = Database("sqlite:////tmp/a.db")
    assert database.name == "/tmp/a.db"
    database.close()
