"""What can go wrong with a label store on a database server, and two machines that share one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from builders import make_image
from postgres import Postgres

from labelkit.bridges.ports import free_port
from labelkit.domain.instance import Box
from labelkit.errors import MissingDependencyError, StoreError
from labelkit.store.database import Database
from labelkit.store.journal import Entry
from labelkit.store.label_store import LabelStore, NewInstance

PASSWORD = "wrong-hunter2"


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.new_url()


def database_of(url: str) -> str:
    return url.rpartition("/")[2]


def refused(action: Callable[[], Any], *, secrets: tuple[str, ...] = ()) -> StoreError:
    """The error of an action; it has a next step and no password."""
    with pytest.raises(StoreError) as caught:
        action()
    assert caught.value.next_step
    assert not [secret for secret in (PASSWORD, *secrets) if secret in str(caught.value)]
    return caught.value


def test_a_server_that_is_down_is_named_without_its_password():
    url = f"postgresql+psycopg://ann:{PASSWORD}@127.0.0.1:{free_port()}/labels"
    error = refused(lambda: LabelStore.open(url))
    assert "postgresql+psycopg://ann:***@127.0.0.1" in error.problem
    assert "run the same command again" in error.next_step


def test_a_wrong_password_is_refused_and_not_repeated(postgres):
    error = refused(lambda: LabelStore.open(postgres.url("postgres", password=PASSWORD)))
    assert "password authentication failed" in error.problem


def test_a_password_among_the_options_is_not_repeated_either(postgres):
    url = f"postgresql+psycopg://127.0.0.1:{postgres.port}/postgres?user=labelkit"
    error = refused(lambda: LabelStore.open(f"{url}&password={PASSWORD}"))
    assert "password authentication failed" in error.problem


def test_a_database_that_does_not_exist_is_named(postgres):
    error = refused(lambda: LabelStore.open(postgres.url("nowhere")), secrets=(postgres.password,))
    assert 'database "nowhere" does not exist' in error.problem


def test_a_url_without_a_driver_means_the_one_that_comes_with_labelkit(url):
    with LabelStore.open(url.replace("+psycopg", "")) as store:
        assert store.head() == 0


def test_a_missing_driver_error_names_how_to_install_it(url, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingDependencyError, match="psycopg is not installed") as caught:
        LabelStore.open(url)
    assert caught.value.next_step == ("Type: pip install 'labelkit-keypoints[postgresql]'")


def test_a_user_who_may_not_make_tables_gets_a_plain_error(postgres, url):
    name = database_of(url)
    postgres.say(f"CREATE USER guest_{name} PASSWORD 'guest-secret'")
    url = postgres.url(name, user=f"guest_{name}", password="guest-secret")
    error = refused(lambda: LabelStore.open(url), secrets=("guest-secret",))
    assert f"guest_{name}" in error.problem
    assert "own the database" in error.next_step


def test_a_read_only_server_can_be_read_and_refuses_to_record(postgres, url):
    with filled(url) as store:
        store.close()
        postgres.say(f"ALTER DATABASE {database_of(url)} SET default_transaction_read_only = on")
        error = refused(lambda: store.record([answer("new")]))
        assert "read-only" in error.problem
        assert store.head() == 1


def test_a_database_of_another_program_is_left_alone(postgres, url):
    postgres.say("CREATE TABLE image (name text)", database_of(url))
    assert "another program" in refused(lambda: LabelStore.open(url)).problem


def filled(url: str) -> LabelStore:
    """A store of one image, one instance and one answer."""
    store = LabelStore.open(url)
    store.add_images([make_image("a.png")])
    store.add_instances([NewInstance(make_image("a.png"), Box(0, 0, 9, 9), "given", 81.0)])
    store.record([answer("first")])
    return store


def answer(reference: str) -> Entry:
    id_ = f"{make_image('a.png').id}-0"
    return Entry(id_, "visibility", {"nose": True}, "test", reference, "1")


def cut_all_connections(postgres: Postgres, url: str) -> None:
    """What a restart of the server does to its connections."""
    with closing(postgres.connect()) as administrator:
        administrator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            (database_of(url),),
        )


def test_a_connection_cut_while_recording_loses_nothing_and_the_next_try_works(postgres, url):
    def cut_in_the_middle():
        yield from (answer(f"{number}") for number in range(600))
        cut_all_connections(postgres, url)
        yield from (answer(f"{number}") for number in range(600, 1200))

    with filled(url) as store:
        error = refused(lambda: store.record(cut_in_the_middle()), secrets=(postgres.password,))
        assert "connection was lost" in error.problem
        assert store.head() == 1
        assert store.record(answer(f"{number}") for number in range(1200)) == (1200, 0)
        references = [item.entry.reference for item in store.entries()]
        assert references == ["first", *map(str, range(1200))]


def test_a_connection_cut_between_two_commands_is_not_noticed(postgres, url):
    with filled(url) as store:
        cut_all_connections(postgres, url)
        assert store.head() == 1


def test_a_writer_sees_what_the_previous_one_wrote_whatever_the_server_isolates(postgres, url):
    name = database_of(url)
    postgres.say(f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")
    with filled(url) as store:
        code = """
import sys
from labelkit.store.journal import Entry
from labelkit.store.label_store import LabelStore
with LabelStore.open(sys.argv[1]) as store:
    print("open", flush=True)
    same = Entry(next(iter(store.instances())), "visibility", {"nose": True}, "test", "same", "1")
    print(*store.record([same]), flush=True)
"""
        with store.database.writing() as connection:
            other = python(code, url)
            assert other.stdout is not None
            assert other.stdout.readline() == "open\n"
            wait_for_a_waiting_writer(connection)
            fresh = "INSERT INTO journal (instance_id, kind, content, annotator, made_at, "
            fresh += "recorded_at, source, reference, version, shown) SELECT instance_id, kind, "
            fresh += "content, annotator, made_at, recorded_at, source, 'same', version, shown "
            connection.exec_driver_sql(fresh + "FROM journal")
        assert other.communicate(timeout=60) == ("0 1\n", "")
        assert store.head() == 2


def wait_for_a_waiting_writer(connection: Any) -> None:
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    while not connection.exec_driver_sql(waiting).scalar():
        pass


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# Two machines that sync


SYNC_UNTIL_TOLD = """
import sys
from labelkit.store.database import Database
database = Database(sys.argv[1])
with database.syncing():
    print("syncing", flush=True)
    sys.stdin.readline()
database.close()
"""


def test_while_one_process_syncs_another_has_to_wait_but_may_record(url):
    with filled(url) as store, python(SYNC_UNTIL_TOLD, url) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == "syncing\n"
        error = refused(lambda: store.database.syncing().__enter__())
        assert "Another labelkit command is syncing" in error.problem
        assert store.record([answer("meanwhile")]) == (1, 0)
        other.communicate("continue\n", timeout=60)
        with store.database.syncing():
            pass


def test_a_killed_sync_keeps_no_command_out(postgres, url):
    with filled(url) as store, python(SYNC_UNTIL_TOLD, url) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "syncing\n"
        other.kill()
        other.communicate()
        with closing(postgres.connect()) as administrator:  # the server notices within moments
            held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
            while administrator.execute(held).fetchone() != (0,):
                pass
        with store.database.syncing():
            pass


def test_a_sync_that_fails_keeps_no_command_out(url):
    database = Database(url)

    def fail():
        with database.syncing():
            raise StoreError("something else", "do something")

    assert refused(fail).problem == "something else"
    other = Database(url)
    with other.syncing():
        pass
    other.close()
    database.close()


def test_a_sync_whose_own_connection_was_cut_raises_what_failed_first(postgres, url):
    database = Database(url)

    def fail():
        with database.syncing():
            cut_all_connections(postgres, url)
            raise StoreError("something else", "do something")

    assert refused(fail).problem == "something else"
    database.close()


def test_two_stores_on_one_server_do_not_wait_for_each_other(postgres, url):
    one, other = Database(url), Database(postgres.new_url())
    with one.syncing(), other.syncing(), one.writing(), other.writing():
        pass
    one.close()
    other.close()
