"""A label store belongs to one project, whatever LABELKIT_DB says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from builders import make_image, stick_skeleton, write_picture
from sqlalchemy import delete

from labelkit.domain.instance import Box
from labelkit.errors import StoreError
from labelkit.project.images import scan_images
from labelkit.project.project import Project, change_project, create_project, open_project
from labelkit.store.label_store import LabelStore
from labelkit.store.objects import NewInstance
from labelkit.store.ownership import open_store
from labelkit.store.schema import meta
from labelkit.store.task_ledger import TaskLedger


def make_project(folder: Path) -> Project:
    (folder / "frames").mkdir(parents=True)
    return create_project(folder / "frames-labelkit", folder / "frames", stick_skeleton())


@pytest.fixture
def mine(tmp_path) -> Project:
    return make_project(tmp_path / "mine")


@pytest.fixture
def theirs(tmp_path) -> Project:
    return make_project(tmp_path / "theirs")


def uid(store: LabelStore) -> str:
    return TaskLedger(store.database, "").uid


def fill(project: Project, name: str = "a.png") -> None:
    with open_store(project) as store:
        store.add_images([make_image(name)])
        store.add_instances([NewInstance(make_image(name), Box(0, 0, 9, 9), "given", 81.0)])


def as_an_earlier_version_left_it(project: Project) -> Project:
    """The project without an id, and its store without an owner."""
    with open_store(project) as store, store.database.writing() as connection:
        connection.execute(delete(meta).where(meta.c.key == "project_name"))
    return change_project(project, id="")


def test_a_store_carries_the_id_of_the_project_that_wrote_first(mine):
    fill(mine)
    with open_store(mine) as store:
        assert uid(store) == mine.id == open_project(mine.root).id
        assert len(mine.id) == 16


def test_reading_makes_no_owner(mine, theirs, store_url, monkeypatch):
    monkeypatch.setenv("LABELKIT_DB", store_url)
    with open_store(mine) as store:
        assert store.images() == []
    fill(theirs)
    with pytest.raises(StoreError):
        open_store(mine)


def test_another_project_is_refused_by_name_and_changes_nothing(
    mine, theirs, store_url, monkeypatch
):
    monkeypatch.setenv("LABELKIT_DB", store_url)
    fill(change_project(mine, name="salmon"))
    with pytest.raises(StoreError, match=f"'salmon' .*{mine.id}.*{theirs.root}") as caught:
        open_store(theirs)
    assert f'id = "{mine.id}"' in caught.value.next_step
    assert str(theirs.root / "labelkit.toml") in caught.value.next_step
    with open_store(mine) as store:
        assert [image.path for image in store.images()] == ["a.png"]


def test_the_id_that_the_error_names_makes_a_copy_the_same_project(mine, theirs, store_url):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABELKIT_DB", store_url)
        fill(mine)
        with open_store(change_project(theirs, id=mine.id)) as store:
            assert [image.path for image in store.images()] == ["a.png"]


def test_of_two_projects_that_open_an_empty_store_only_the_first_to_write_gets_it(
    mine, theirs, store_url, monkeypatch
):
    monkeypatch.setenv("LABELKIT_DB", store_url)
    with open_store(mine) as first, open_store(theirs) as second:
        second.add_images([make_image("b.png")])
        with pytest.raises(StoreError, match=theirs.id):
            first.add_images([make_image("a.png")])
        assert [image.path for image in second.images()] == ["b.png"]


def test_a_project_with_a_store_of_its_own_ignores_the_environment(mine, theirs, monkeypatch):
    monkeypatch.setenv("LABELKIT_DB", mine.own_store_url)
    fill(mine)
    own = change_project(theirs, has_own_store=True)
    fill(own, "b.png")
    assert open_project(own.root).store_url == own.own_store_url
    assert (own.root / "labels.db").is_file()
    with open_store(mine) as store:
        assert [image.path for image in store.images()] == ["a.png"]


def test_a_store_left_in_the_folder_of_another_project_is_refused(mine, theirs):
    fill(theirs)
    (theirs.root / "labels.db").rename(mine.root / "labels.db")
    with pytest.raises(StoreError, match=theirs.id) as caught:
        open_store(mine)
    assert "labels.db" in caught.value.next_step


@pytest.mark.parametrize("trace", ["rounds", "label_studio"])
def test_an_empty_store_of_a_project_that_has_been_worked_on_is_refused(
    mine, store_url, monkeypatch, trace
):
    fill(mine)
    (mine.root / trace).mkdir()
    monkeypatch.setenv("LABELKIT_DB", store_url)
    with pytest.raises(StoreError) as caught:
        open_store(mine)
    assert "Unset LABELKIT_DB" in caught.value.next_step
    monkeypatch.delenv("LABELKIT_DB")
    with open_store(mine) as store:
        assert len(store.instances()) == 1


def test_a_project_made_with_a_database_asks_for_it_where_the_variable_is_not_set(
    mine, store_url, monkeypatch
):
    monkeypatch.setenv("LABELKIT_DB", store_url)
    fill(mine)
    (mine.root / "label_studio").mkdir()
    monkeypatch.delenv("LABELKIT_DB")
    with pytest.raises(StoreError) as caught:
        open_store(mine)
    assert "Set LABELKIT_DB" in caught.value.next_step


# Projects of earlier versions


@pytest.fixture
def older(mine, store_url, monkeypatch) -> Project:
    """A project without id, with a picture, and its store without owner."""
    if not store_url.startswith("sqlite"):
        monkeypatch.setenv("LABELKIT_DB", store_url)
    write_picture(mine.images_root / "a.png", (32, 24))
    with open_store(mine) as store:
        store.add_images(scan_images(mine.images_root, keep=store.keep_stamps).images)
    return as_an_earlier_version_left_it(mine)


def test_an_earlier_project_takes_its_stores_id_at_the_first_write(older):
    text = (older.root / "labelkit.toml").read_text()
    with open_store(older) as store:
        before = uid(store)
        assert (older.root / "labelkit.toml").read_text() == text
        store.add_images([make_image("b.png")])
        assert uid(store) == before
    now = open_project(older.root)
    assert now == replace(older, id=before)
    with open_store(now) as store:
        assert [image.path for image in store.images()] == ["a.png", "b.png"]


def test_an_unowned_store_in_the_folder_of_a_project_is_its_own(mine):
    with LabelStore.open(mine.store_url) as store:
        store.add_images([make_image("a.png")])
        before = uid(store)
    fill(mine, "b.png")
    assert open_project(mine.root).id == before != mine.id
    with open_store(open_project(mine.root)) as store:
        assert (uid(store), len(store.images())) == (before, 2)


def test_a_kill_between_the_two_halves_of_that_write_leaves_a_project_that_opens(older):
    with open_store(older) as store:
        change_project(older, id=uid(store))  # and the transaction of the store was rolled back
    fill(open_project(older.root), "b.png")
    with open_store(open_project(older.root)) as store:
        assert [image.path for image in store.images()] == ["a.png", "b.png"]


def test_another_project_is_refused_by_a_store_of_an_earlier_version(older, tmp_path, monkeypatch):
    monkeypatch.setenv("LABELKIT_DB", older.store_url)
    new = make_project(tmp_path / "new")
    also_older = change_project(make_project(tmp_path / "also older"), id="")
    for project in (new, also_older):
        with pytest.raises(StoreError, match=str(project.root)):
            open_store(project)
    with open_store(older) as store:
        assert [image.path for image in store.images()] == ["a.png"]


# Several projects on one PostgreSQL server


@pytest.mark.server
def test_the_schema_that_the_error_names_is_made_for_the_second_project(
    postgres, mine, theirs, monkeypatch
):
    url = postgres.new_url()
    monkeypatch.setenv("LABELKIT_DB", url)
    fill(mine)
    with pytest.raises(StoreError) as caught:
        open_store(theirs)
    _, _, advised = caught.value.next_step.partition("LABELKIT_DB='")
    advised = advised.partition("'")[0]
    assert "?options=-csearch_path=frames_" in advised
    assert postgres.password not in str(caught.value)
    monkeypatch.setenv("LABELKIT_DB", advised.replace("***", postgres.password))
    fill(theirs, "b.png")
    with open_store(theirs) as store:
        assert [image.path for image in store.images()] == ["b.png"]
        monkeypatch.setenv("LABELKIT_DB", url)
        with open_store(mine) as other:
            assert [image.path for image in other.images()] == ["a.png"]
            with (
                store.database.syncing(),
                other.database.syncing(),
                store.database.writing(),
                other.database.writing(),
            ):
                pass


@pytest.mark.server
def test_two_projects_in_two_databases_of_a_server_do_not_meet(postgres, mine, theirs, monkeypatch):
    monkeypatch.setenv("LABELKIT_DB", postgres.new_url())
    fill(mine)
    monkeypatch.setenv("LABELKIT_DB", postgres.new_url())
    fill(theirs, "b.png")


def test_a_project_that_is_made_gets_a_new_id(tmp_path):
    (tmp_path / "frames").mkdir()
    skeleton = stick_skeleton()
    ids = {create_project(tmp_path / n, tmp_path / "frames", skeleton).id for n in "abc"}
    assert len(ids) == 3
