"""Objects that two annotators labelled, from the journal to words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from builders import make_image, make_project

from labelkit.domain.instance import Box
from labelkit.domain.pose import Pose, human_pose
from labelkit.project.project import Project
from labelkit.store.conflicts import beside_what_is_known
from labelkit.store.journal import KEYPOINTS, Entry, keypoints_content
from labelkit.store.label_store import LabelStore
from labelkit.store.objects import NewInstance
from labelkit.store.ownership import open_store
from labelkit.workflows.reviewing.overlaps import agreement

COUNT = 20
#: In a box of 100 x 100 pixels.
PLACES = np.array([(50.0, 10.0), (20.0, 30.0), (80.0, 30.0), (50.0, 90.0)])


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[tuple[Project, LabelStore]]:
    project = make_project(tmp_path, pictures=1)
    with open_store(project) as store:
        images = [make_image(f"{number:02}.png", 100, 100) for number in range(COUNT)]
        store.add_images(images)
        store.add_instances([NewInstance(i, Box(0, 0, 100, 100), "given", 1e4) for i in images])
        yield project, store


def answer(opened: tuple[Project, LabelStore], id_: str, who: str, pose: Pose, task: str) -> None:
    project, store = opened
    content = keypoints_content(project.skeleton, pose)
    time = f"2026-01-01T10:00:{store.head():02}Z"
    entry = Entry(
        id_, KEYPOINTS, content, "label-studio", f"{who}-{task}", time, who, shown={"task": task}
    )
    store.record(beside_what_is_known(store, [entry])[1])


def test_two_answers_to_one_task_tell_who_places_what_elsewhere(opened):
    noise = np.random.default_rng(0).normal(scale=0.5, size=(2, COUNT, 4, 2))
    for number, id_ in enumerate(opened[1].instances()):
        for who, shift in (("ann", 0.0), ("ben", 5.0)):
            xy = PLACES + noise[int(who == "ben"), number]
            xy[3, 0] += shift
            answer(opened, id_, who, human_pose(xy, [2, 2, 0, 2]), f"task-{number}")
    found = agreement(*opened)
    assert found.annotators == ("ann", "ben")
    assert found.whole.objects == found.keypoints["tail"].objects == COUNT
    assert found.keypoints["right_paw"].objects == 0
    assert found.keypoints["tail"].apart == pytest.approx(0.05, abs=0.01)
    assert found.whole.close == 1.0
    assert {(b.annotator, b.axis) for b in found.biases if b.keypoint == "tail"} == {
        ("ann", 0),
        ("ben", 0),
    }
    lines = found.lines()
    assert any("ben" in line and "tail" in line and "right" in line for line in lines)
    assert any("ann" in line and "tail" in line and "left" in line for line in lines)


def test_whoever_saw_the_label_before_is_not_compared(opened):
    first, *_ = opened[1].instances()
    answer(opened, first, "ann", human_pose(PLACES, [2] * 4), "task-1")
    answer(opened, first, "ann", human_pose(PLACES + 1, [2] * 4), "task-1")
    answer(opened, first, "ben", human_pose(PLACES + 2, [2] * 4), "task-2")
    found = agreement(*opened)
    assert (found.annotators, found.whole.objects, found.biases) == ((), 0, ())
    assert found.lines() == []
