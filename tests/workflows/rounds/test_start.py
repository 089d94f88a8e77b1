"""What a project begins with: ticks of 30 objects, or keypoints where ticks cannot teach."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from builders import make_image, make_project

from labelkit.domain.instance import Box
from labelkit.project.project import Project, remember
from labelkit.store.journal import (
    KEYPOINTS,
    SKIP,
    VISIBILITY,
    Entry,
    keypoints_content,
    visibility_content,
)
from labelkit.store.label_store import LabelStore
from labelkit.store.objects import NewInstance
from labelkit.store.ownership import open_store
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.queue_file import waiting
from labelkit.workflows.rounds.start import Start, start_of, waits_for_labels
from labelkit.workflows.sync.questions import next_questions

EVERYTHING = [True] * 4


class Begun:
    """A project of 80 objects, two an image, before its first round."""

    def __init__(self, project: Project, store: LabelStore, images_count: int = 40) -> None:
        self.project, self.store = project, store
        images = [make_image(f"{number:02d}.png") for number in range(images_count)]
        store.add_images(images)
        store.add_instances(
            NewInstance(image, Box(x, 0, 40, 40), "given", 1600.0)
            for image in images
            for x in (0, 50)
        )

    @property
    def snapshot(self):
        return read_snapshot(self.project, self.store)

    @property
    def start(self) -> Start:
        return start_of(self.project, self.snapshot)

    @property
    def waits(self) -> bool:
        return waits_for_labels(self.store, self.snapshot, self.start)

    def tick(self, ids, presence=EVERYTHING, source="label-studio") -> None:
        content = visibility_content(self.project.skeleton, np.array(presence))
        self.store.record(Entry(i, VISIBILITY, content, source, i, "1") for i in ids)

    def place(self, ids, source="label-studio") -> None:
        from builders import make_pose

        content = keypoints_content(self.project.skeleton, make_pose())
        self.store.record(Entry(i, KEYPOINTS, content, source, i, "1") for i in ids)


@pytest.fixture
def begun(tmp_path) -> Iterator[Begun]:
    project = make_project(tmp_path)
    with open_store(project) as store:
        yield Begun(project, store)


def test_thirty_objects_of_whole_images_are_ticked_first(begun):
    start = begun.start
    assert (start.asks, len(start.ids), start.done, start.needed) == ("ticks", 30, 0, 30)
    images = {begun.snapshot.instances[item].image.id for item in start.ids}
    assert len(images) == 15
    assert start.ids != tuple(begun.snapshot.instances)[:30]  # in random order
    questions = next_questions(begun.project, begun.snapshot)
    assert (questions.kind, questions.ids) == ("visibility", start.ids)


def test_the_same_thirty_are_asked_until_they_are_answered_or_skipped(begun):
    first = begun.start.ids
    begun.tick(first[:10])
    assert set(begun.start.ids) == set(first[10:])
    assert (begun.start.done, begun.waits) == (10, True)
    begun.store.record(Entry(i, SKIP, {}, "label-studio", i, "1") for i in first[10:12])
    now = set(begun.start.ids)
    assert set(first[12:]) < now
    assert len(now) == 20


def test_after_one_of_eighty_answers_there_is_nothing_to_train_on(begun):
    begun.tick(begun.start.ids[:1])
    assert begun.waits
    assert "1 of the first 30 objects" in begun.start.missing


def test_where_nearly_everything_is_visible_keypoints_of_a_few_dozen_are_queued_instead(begun):
    begun.tick(begun.start.ids)
    start = begun.start
    assert (start.asks, start.bits) == ("keypoints", 0.0)
    assert "0.00 bits" in start.note
    dev = begun.snapshot.dev
    assert {*start.ids[: len(dev)]} == dev
    assert len(start.ids) == 50 + len(dev)
    assert [(i.instance_id, i.control) for i in waiting(begun.project, begun.snapshot)] == [
        (item, False) for item in start.ids
    ]
    questions = next_questions(begun.project, begun.snapshot)
    assert (questions.kind, questions.ids) == ("correction", start.ids)
    assert questions.task(questions.ids[:1], (), "x")["data"]["labelkit"]["served"] == {}


@pytest.mark.parametrize(("images", "asks"), [(10, "keypoints"), (5, "keypoints"), (4, "ticks")])
def test_a_project_of_fewer_objects_is_judged_when_all_are_ticked(tmp_path, images, asks):
    project = make_project(tmp_path)
    with open_store(project) as store:
        begun = Begun(project, store, images)
        assert len(begun.start.ids) == begun.start.needed == 2 * images
        *most, last = begun.start.ids
        begun.tick(most)
        assert begun.start.asks == "ticks"
        begun.tick([last])
        assert begun.start.asks == asks
        assert len(begun.start.ids) == (2 * images if asks == "keypoints" else 0)


@pytest.mark.parametrize(
    ("absent_of_30", "asks"),
    [
        (0, "keypoints"),  # 0 bits
        (1, "keypoints"),  # one keypoint of four once absent: .21 / 4 = .05 bits
        (3, "keypoints"),  # .47 / 4 = .12 bits
        (8, "ticks"),  # .84 / 4 = .21 bits
    ],
)
def test_the_line_is_a_fifth_of_a_bit_a_keypoint(begun, absent_of_30, asks):
    ids = begun.start.ids
    begun.tick(ids[absent_of_30:])
    begun.tick(ids[:absent_of_30], [True, True, True, False])
    assert begun.start.asks == asks


def test_where_ticks_can_teach_all_others_are_asked_and_a_training_may_begin(begun):
    ids = begun.start.ids
    for number, item in enumerate(ids):
        begun.tick([item], [number % 2 == 0, number % 3 == 0, True, True])
    start = begun.start
    # p = 1/2 has 1 bit, p = 1/3 .918; the mean with two keypoints of 0 bits
    assert start.bits == pytest.approx((1 + 0.9183) / 4, abs=1e-4)
    assert (start.asks, len(start.ids), begun.waits) == ("ticks", 50, False)


def test_nearly_nothing_visible_cannot_teach_either(begun):
    begun.tick(begun.start.ids, [False] * 4)
    assert begun.start.asks == "keypoints"


def test_few_keypoints_are_waited_for_and_enough_are_not(begun):
    begun.tick(begun.start.ids)
    ids = [item for item in begun.start.ids if item not in begun.snapshot.dev]
    begun.place(ids[:49])
    assert (begun.start.done, begun.start.needed, begun.waits) == (49, 50, True)
    begun.place(ids[49:])
    assert (begun.start.done, begun.waits) == (50, False)


def test_keypoints_can_be_chosen_to_come_first(begun):
    begun.project = remember(begun.project, start="keypoints")
    start = begun.start
    assert (start.asks, start.note, start.done, start.needed) == ("keypoints", "", 0, 50)
    assert begun.waits
    assert next_questions(begun.project, begun.snapshot).kind == "correction"


def test_ticks_can_be_chosen_whatever_they_say(begun):
    begun.project = remember(begun.project, start="ticks")
    assert len(begun.start.ids) == 80
    begun.tick(begun.start.ids[:40])
    assert (begun.start.asks, len(begun.start.ids), begun.waits) == ("ticks", 40, False)


def test_labels_from_files_are_not_waited_for_but_ticks_that_cannot_teach_are_not_trained_on(begun):
    ids = list(begun.snapshot.instances)
    begun.tick(ids[:5], source="file:ticks.csv")
    assert not begun.waits
    begun.tick(ids[5:60], source="file:ticks.csv")
    assert begun.start.asks == "keypoints"
    assert begun.waits
    trainable = next(item for item in ids if item not in begun.snapshot.dev)
    begun.place([trainable], source="file:keypoints.json")
    assert not begun.waits


def test_what_is_not_known_of_a_keypoint_says_nothing_about_ticks(begun):
    snapshot = begun.snapshot
    unknown = {item: np.array([1, 1, 1, -1]) for item in snapshot.instances}
    assert start_of(begun.project, replace(snapshot, presences=unknown)).bits == 0.0
