"""Which images teach what: labelled objects, background, and what is left open."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from builders import make_image
from sticks import SKELETON

from labelkit.domain.instance import Box
from labelkit.project.project import Project, create_project
from labelkit.store.journal import KEYPOINTS, SKIP, VISIBILITY, Entry
from labelkit.store.label_store import LabelStore
from labelkit.store.objects import NewInstance
from labelkit.store.ownership import open_store
from labelkit.workflows.detector_free.lessons import Lessons, lessons_of
from labelkit.workflows.rounds.label_snapshot import read_snapshot

IMAGES = [make_image(f"{name}.png", 100, 100) for name in "abc"]
LEFT, RIGHT = Box(0, 0, 40, 40), Box(50, 0, 40, 40)
PLACED = {"red": [10.0, 10.0, 2], "blue": [10.0, 30.0, 2]}
NOTHING = {"red": [0.0, 0.0, 0], "blue": [0.0, 0.0, 0]}


@pytest.fixture
def opened(tmp_path) -> Iterator[tuple[Project, LabelStore]]:
    """Two objects in each of three images."""
    (tmp_path / "frames").mkdir()
    project = create_project(tmp_path / "project", tmp_path / "frames", SKELETON)
    with open_store(project) as store:
        store.add_images(IMAGES)
        store.add_instances(
            NewInstance(image, box, "found", 1600) for image in IMAGES for box in (LEFT, RIGHT)
        )
        yield project, store


def answer(
    store: LabelStore, image: int, ordinal: int, kind: str, content=None, source="label", **shown
) -> None:
    id_ = f"{IMAGES[image].id}-{ordinal}"
    store.record([Entry(id_, kind, content or {}, source, id_, kind, shown=shown)])


def lessons(opened: tuple[Project, LabelStore], *, dev: int | None = None) -> Lessons:
    project, store = opened
    snapshot = read_snapshot(project, store)
    chosen = () if dev is None else (f"{IMAGES[dev].id}-0", f"{IMAGES[dev].id}-1")
    snapshot = replace(snapshot, dev=frozenset(chosen))
    return lessons_of(store, snapshot, snapshot.trainable, store.head())


def test_without_answers_nothing_is_labelled(opened):
    assert lessons(opened) == Lessons([], IMAGES)
    assert lessons(opened).objects_per_image == lessons(opened).median_side == 0


def test_an_object_without_an_answer_is_left_open_beside_a_labelled_one(opened):
    answer(opened[1], 0, 0, KEYPOINTS, PLACED)
    (item,), others = lessons(opened)
    assert (item.image, len(item.poses), item.unlabelled) == (IMAGES[0], 1, (RIGHT,))
    assert others == IMAGES[1:]
    assert lessons(opened).objects_per_image == 1
    assert lessons(opened).median_side == 20


@pytest.mark.parametrize(
    ("kind", "content", "shown"),
    [
        (KEYPOINTS, NOTHING, {}),
        (VISIBILITY, {"red": False, "blue": False}, {}),
        (SKIP, {}, {}),  # the key Delete on the labelling page
        (SKIP, {}, {"source": "label-studio", "task": 7}),  # its box was deleted there
    ],
)
def test_an_object_that_is_not_there_is_background(opened, kind, content, shown):
    answer(opened[1], 0, 0, kind, content, **shown)
    assert lessons(opened).labelled == []
    answer(opened[1], 0, 1, kind, content, **shown)
    (item,) = lessons(opened).labelled
    assert (item.poses, item.unlabelled) == ((), ())


def test_a_skipped_task_leaves_open_what_is_there(opened):
    answer(opened[1], 0, 0, KEYPOINTS, PLACED)
    answer(opened[1], 0, 1, SKIP, source="label-studio")
    (item,) = lessons(opened).labelled
    assert item.unlabelled == (RIGHT,)


def test_ticks_alone_leave_open_where_an_object_is(opened):
    answer(opened[1], 0, 0, VISIBILITY, {"red": True, "blue": False})
    assert lessons(opened).labelled == []


def test_an_image_that_a_label_file_lists_as_empty_is_background(opened):
    bare = make_image("d.png", 100, 100)
    opened[1].add_images([bare])
    opened[1].keep_empty([bare])
    (item,) = lessons(opened).labelled
    assert (item.image, item.poses, item.unlabelled) == (bare, (), ())


def test_images_of_the_dev_set_teach_nothing_not_even_without_labels(opened):
    answer(opened[1], 0, 0, KEYPOINTS, PLACED)
    assert lessons(opened, dev=0) == Lessons([], IMAGES[1:])


def test_only_answers_change_what_is_learned(opened):
    answer(opened[1], 0, 0, KEYPOINTS, PLACED)
    before = lessons(opened).version
    opened[1].add_images([make_image("e.png", 100, 100)])
    assert lessons(opened).version == before
    answer(opened[1], 0, 1, KEYPOINTS, PLACED)
    assert lessons(opened).version != before
