"""What lets the next registration be left out, and what does not."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from builders import make_project, write_picture

from labelkit.domain.instance import Box
from labelkit.domain.selection import DevDraw
from labelkit.progress import Silent
from labelkit.project.images import folder_digest
from labelkit.store.objects import NewInstance
from labelkit.store.ownership import open_store
from labelkit.workflows.intake.label_matching import Handling
from labelkit.workflows.intake.last_registration import REGISTERED_FILE, LastRegistration
from labelkit.workflows.intake.register import register


@pytest.fixture
def opened(tmp_path):
    """A project of three pictures, registered and kept, and its store."""
    project = make_project(tmp_path, pictures=3)
    with open_store(project) as store:
        last = LastRegistration(project, store, "whole-image", [])
        last.keep(registered(project, store))
        yield project, store


def registered(project, store):
    return register(
        project,
        store,
        Silent(),
        labels=[],
        boxes="whole-image",
        skip_unreadable=False,
        handling=Handling(),
    )


def result(opened, boxes="whole-image", left_out=()):
    return LastRegistration(*opened, boxes, left_out).result


def test_what_was_found_is_known_while_nothing_changed(opened):
    found = result(opened)
    assert (found.images, found.instances, found.new_images) == (3, 3, 0)
    assert (found.skipped, found.notes, found.open_images) == ((), (), 0)


@pytest.mark.parametrize("change", ["new", "gone", "renamed", "written over", "touched", "other"])
def test_a_file_that_changed_has_everything_registered_again(opened, change):
    root = opened[0].images_root
    match change:
        case "new":
            write_picture(root / "b" / "9.png", seed=9)
        case "gone":
            (root / "1.png").unlink()
        case "renamed":
            (root / "1.png").rename(root / "one.png")
        case "written over":
            (root / "1.png").write_bytes((root / "0.png").read_bytes())
        case "touched":
            os.utime(root / "1.png", (1, 1))
        case "other":
            (root / "notes.txt").touch()
    assert result(opened) is None


def test_a_hidden_file_changes_nothing(opened):
    (opened[0].images_root / ".notes").touch()
    assert result(opened) is not None


def test_another_choice_has_everything_registered_again(opened):
    assert result(opened, boxes="detect") is None
    assert result(opened, left_out=["unreadable"]) is None


def test_images_and_objects_that_change_have_everything_registered_again(opened):
    project, store = opened
    image, *_ = store.images()
    drawn = NewInstance(image, Box(1, 1, 8, 8), "human", 64)
    for change in (
        lambda: store.remove_images([image]),
        lambda: store.restore_images([image]),
        lambda: store.add_instances([drawn]),
        lambda: store.forget_stand_ins([image]),
        lambda: store.replace_found([image], {}, []),
        lambda: store.keep_dev_draw(DevDraw(0.5)),
    ):
        change()
        assert result(opened) is None
        LastRegistration(project, store, "whole-image", []).keep(registered(project, store))
        assert result(opened) is not None


def test_an_object_that_is_known_already_changes_nothing(opened):
    image, *_ = opened[1].images()
    whole = Box(0, 0, image.width, image.height)
    opened[1].add_instances([NewInstance(image, whole, "whole-image", whole.w * whole.h)])
    assert result(opened) is not None


def test_an_image_whose_file_is_gone_is_looked_for_every_time(opened):
    project, store = opened
    (project.images_root / "1.png").unlink()
    last = LastRegistration(project, store, "whole-image", [])
    found = registered(project, store)
    assert found.open_images == 1
    last.keep(found)
    assert result(opened) is None


def test_a_file_that_changes_while_it_is_registered_is_read_the_next_time(opened):
    project, store = opened
    last = LastRegistration(project, store, "whole-image", [])
    os.utime(project.images_root / "1.png", (1, 1))
    last.keep(replace(registered(project, store), new_images=1))
    assert result(opened) is None


def test_a_lost_note_is_as_good_as_none(opened):
    (opened[0].root / REGISTERED_FILE).unlink()
    assert result(opened) is None


def test_folders_that_hold_the_same_have_one_digest(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "in").mkdir(parents=True)
        (tmp_path / name / "in" / "x").write_text("x")
        os.utime(tmp_path / name / "in" / "x", (1, 1))
    assert folder_digest(tmp_path / "a") == folder_digest(tmp_path / "b")
    assert folder_digest(tmp_path / "a") != folder_digest(tmp_path / "none")
