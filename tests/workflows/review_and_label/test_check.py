"""`labelkit check` on labels with errors of each kind."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from builders import make_image, make_project

from labelkit.domain.instance import Box
from labelkit.domain.pose import Pose, human_pose
from labelkit.domain.prediction import Prediction
from labelkit.errors import UsageError
from labelkit.progress import Silent
from labelkit.project.predictions import write_predictions
from labelkit.project.project import Project
from labelkit.project.response_maps import MapWriter
from labelkit.project.rounds import RoundPlan, begin_round, finish_round
from labelkit.store.journal import KEYPOINTS, SKIP, VISIBILITY, Entry, keypoints_content
from labelkit.store.label_store import LabelStore, NewInstance
from labelkit.store.ownership import open_store
from labelkit.workflows.labelling.work import read_chosen
from labelkit.workflows.review_and_label.check import check
from labelkit.workflows.reviewing.independent import independent
from labelkit.workflows.reviewing.items import gather, read_suspicious
from labelkit.workflows.reviewing.suspects import find_new_suspects

COUNT = 60
#: Nose, left and right paw, tail in a box of 100 x 100 pixels at (50, 50).
PLACES = np.array([(100.0, 60.0), (70.0, 80.0), (130.0, 80.0), (100.0, 140.0)])


class Labelled(NamedTuple):
    """A project of objects that are all alike, an image each, and their ids."""

    project: Project
    store: LabelStore
    ids: list[str]

    def pose(self, number: int) -> Pose:
        noise = np.random.default_rng(number).normal(scale=2.0, size=(4, 2))
        return human_pose(PLACES + noise, [2, 2, 2, 2])

    def label(self, number: int, pose: Pose) -> None:
        content = keypoints_content(self.project.skeleton, pose)
        version = str(self.store.head())
        entry = Entry(self.ids[number], KEYPOINTS, content, "test", "", version)
        self.store.record([entry])


@pytest.fixture
def labelled(tmp_path: Path) -> Iterator[Labelled]:
    project = make_project(tmp_path, pictures=1)
    with open_store(project) as store:
        images = [make_image(f"{number:02}.png", 200, 200) for number in range(COUNT)]
        store.add_images(images)
        box = Box(50, 50, 100, 100)
        new = [NewInstance(image, box, "given", box.w * box.h) for image in images]
        made = Labelled(project, store, [item.id for item in store.add_instances(new)])
        for number in range(COUNT):
            made.label(number, made.pose(number))
        yield made


def heatmaps(pose: Pose) -> np.ndarray:
    """(4, 10, 10) maps over the box that hold nothing but the cells of a pose."""
    maps = np.zeros((4, 10, 10))
    column, row = ((pose.xy - 50) / 10).astype(int).T
    maps[np.arange(4), row, column] = 1.0
    return maps


def kinds(labelled: Labelled) -> dict[str, tuple[str, tuple[str, ...]]]:
    suspects = check(labelled.project, labelled.store, Silent()).suspects
    return {item.instance_id: (item.kind, item.keypoints) for item in suspects}


def new_kinds(labelled: Labelled, since: int) -> list[str]:
    found = find_new_suspects(labelled.project, labelled.store, since)
    return [item.kind for item in found.suspects]


def test_right_labels_are_not_suspicious(labelled: Labelled):
    report = check(labelled.project, labelled.store, Silent())
    assert (report.checked, report.predicted, report.suspects) == (COUNT, 0, ())
    assert set(report.kinds.values()) == {0}
    assert Path(report.objects).read_text() == ""


def test_each_kind_of_error_is_named(labelled: Labelled):
    ids, pose = labelled.ids, labelled.pose
    labelled.label(3, human_pose(pose(3).xy[[0, 2, 1, 3]], [2] * 4))
    labelled.label(5, human_pose([*pose(5).xy[:3], (60.0, 70.0)], [2] * 4))
    labelled.label(8, human_pose([*pose(8).xy[:3], (100.0, 180.0)], [2] * 4))
    labelled.label(20, pose(10))
    answer = Entry(ids[30], VISIBILITY, {"nose": False, "tail": True}, "test", "t", "1")
    labelled.store.record([answer])
    labelled.label(30, pose(30))
    before = list(labelled.store.entries())
    found = kinds(labelled)
    assert found.pop(ids[3]) == ("pair swap", ("left_paw", "right_paw"))
    assert found.pop(ids[5]) == ("jump", ("tail",))
    assert found.pop(ids[8])[1] == ("tail",)
    assert found.pop(ids[20]) == ("copy", ())
    assert found.pop(ids[30]) == ("contradiction", ("nose",))
    assert found == {}
    assert list(labelled.store.entries()) == before


def test_the_ids_are_a_queue_for_the_page_and_tags_of_the_review(labelled: Labelled):
    labelled.label(20, labelled.pose(10))
    report = check(labelled.project, labelled.store, Silent())
    assert f"labelkit label --objects {report.objects}" in report.text()
    text = Path(report.objects).read_text()
    assert read_chosen(text, labelled.store.instances(), "") == [labelled.ids[20], labelled.ids[10]]
    items = gather(labelled.project, labelled.store).items
    tagged = {id_: item.suspicions for id_, item in items.items() if "suspicious" in item.tags}
    assert list(tagged) == [labelled.ids[10], labelled.ids[20]]
    assert set(tagged.values()) == {(report.suspects[0].text,)}


def test_what_came_in_is_compared_with_the_rest_and_its_ids_join_the_others(labelled: Labelled):
    project, store, ids = labelled.project, labelled.store, labelled.ids
    labelled.label(20, labelled.pose(10))
    check(project, store, Silent())
    before = store.head()
    labelled.label(5, human_pose([*labelled.pose(5).xy[:3], (60.0, 70.0)], [2] * 4))
    labelled.label(6, labelled.pose(6))
    assert new_kinds(labelled, before) == ["jump"]
    assert list(read_suspicious(project)) == [ids[5], ids[20], ids[10]]
    before = store.head()
    labelled.label(5, labelled.pose(5))
    assert new_kinds(labelled, before) == []
    assert list(read_suspicious(project)) == [ids[20], ids[10]]
    assert new_kinds(labelled, store.head()) == []


def test_an_answer_that_came_in_may_contradict_keypoints_of_before(labelled: Labelled):
    before = labelled.store.head()
    answer = Entry(labelled.ids[30], VISIBILITY, {"nose": False}, "test", "t", "1")
    labelled.store.record([answer])
    labelled.store.record([Entry(labelled.ids[31], SKIP, {}, "test", "t", "1")])
    labelled.label(30, labelled.pose(30))
    assert new_kinds(labelled, before) == ["contradiction"]


def test_an_object_is_named_once_for_each_kind_of_contradiction(labelled: Labelled):
    nose, left, right, tail = labelled.project.skeleton.keypoints
    ids, xy = labelled.ids, labelled.pose(30).xy
    answers = {nose: False, left: False, right: True, tail: True}
    labelled.store.record([Entry(ids[30], VISIBILITY, answers, "test", "t", "1")])
    labelled.label(30, human_pose(xy, [2, 2, 0, 2]))
    labelled.label(31, human_pose([(50, 20), (50, 190), *xy[2:]], [2] * 4))
    suspects = check(labelled.project, labelled.store, Silent()).suspects
    exact = [it for it in suspects if it.kind in ("contradiction", "outside the box")]
    assert sorted((it.instance_id, it.keypoints) for it in exact) == sorted(
        [(ids[30], (nose, left)), (ids[30], (right,)), (ids[31], (nose, left))]
    )
    (outside,) = (it.text for it in exact if it.instance_id == ids[31])
    assert "40 px" in outside


def test_parts_that_two_objects_exchanged_are_named(labelled: Labelled):
    project, store = labelled.project, labelled.store
    images = store.images()
    box = Box(70, 70, 100, 100)
    new = [[NewInstance(image, Box(50, 50, 100, 100), "given", 1e4)] for image in images]
    for row, image in zip(new, images, strict=True):
        row.append(NewInstance(image, box, "given", 1e4))
    added = [store.add_instances(row)[1].id for row in new]
    both = Labelled(project, store, [*labelled.ids, *added])
    for number in range(COUNT, 2 * COUNT):
        pose = both.pose(number)
        both.label(number, human_pose(pose.xy + 20, pose.visibility))
    assert check(project, store, Silent()).suspects == ()
    one, two = both.pose(8).xy.copy(), both.pose(COUNT + 8).xy + 20
    one[2], two[2] = two[2].copy(), one[2].copy()
    both.label(8, human_pose(one, [2] * 4))
    both.label(COUNT + 8, human_pose(two, [2] * 4))
    report = check(project, store, Silent())
    (found,) = report.suspects
    assert (found.kind, found.keypoints) == ("exchanged parts", ("right_paw",))
    assert {found.instance_id, found.other} == {both.ids[8], both.ids[COUNT + 8]}
    assert read_suspicious(project).keys() == {both.ids[8], both.ids[COUNT + 8]}


def test_fewer_than_30_labels_are_checked_for_contradictions_alone(labelled: Labelled):
    withdrawn = (Entry(id_, "withdrawn", {}, "test", "", "withdrawn") for id_ in labelled.ids[29:])
    labelled.store.record(withdrawn)
    labelled.label(3, human_pose(labelled.pose(3).xy[[0, 2, 1, 3]], [2] * 4))
    labelled.label(20, labelled.pose(10))
    report = check(labelled.project, labelled.store, Silent())
    assert [item.kind for item in report.suspects] == ["copy"]
    assert report.checked == 29
    assert "30" in report.note


def test_only_predictions_that_did_not_learn_from_a_label_are_heard(labelled: Labelled):
    project, ids = labelled.project, labelled.ids
    plan = RoundPlan(0, "semi-weak", tuple(ids[:20]), 1 / 3, labelled.store.head(), {}, 7)
    path = begin_round(project, plan)
    poses = [labelled.pose(number) for number in range(COUNT)]
    rows = [Prediction(id_, pose, np.ones(4), 1.0) for id_, pose in zip(ids, poses, strict=True)]
    write_predictions(path / "predictions.parquet", rows, project.skeleton)
    with MapWriter(path / "maps" / "maps.parquet", project.skeleton.keypoints) as writer:
        for id_, pose in zip(ids, poses, strict=True):
            writer.add(id_, (0.1, 0, -5, 0, 0.1, -5), [], heatmaps(pose), [])
    assert check(project, labelled.store, Silent()).predicted == 0  # the round is not complete
    finish_round(path, {})
    assert check(project, labelled.store, Silent()).predicted == COUNT - 20
    with ExitStack() as files:
        (heard,) = independent(project, ids, files)
        assert heard.predictions.keys() == heard.maps.keys() == set(ids[20:])
        assert all(heard.maps.values())
    shutil.rmtree(path)


def test_poses_of_an_earlier_round_that_learned_a_label_are_not_heard_beside_it(
    labelled: Labelled,
):
    project, ids = labelled.project, labelled.ids
    rows = [Prediction(id_, labelled.pose(0), np.ones(4), 1.0) for id_ in ids]
    for number, count, serves in ((0, 40, "network"), (1, 20, "round 000"), (2, 10, "round 001")):
        plan = RoundPlan(number, "semi-weak", tuple(ids[:count]), count / COUNT, 0, {}, 7)
        path = begin_round(project, plan)
        write_predictions(path / "predictions.parquet", rows, project.skeleton)
        finish_round(path, {"serves": serves})
    assert check(project, labelled.store, Silent()).predicted == COUNT - 40


@pytest.mark.parametrize("options", [{"promise": 80}, {"minutes": 5}])
def test_what_cannot_be_checked_is_refused(labelled: Labelled, options: dict[str, float]):
    with pytest.raises(UsageError):
        check(labelled.project, labelled.store, Silent(), **options)


def test_folds_are_refused_where_too_few_labels_could_teach_them(tmp_path: Path):
    project = make_project(tmp_path, pictures=1)
    with open_store(project) as store, pytest.raises(UsageError, match="labelkit label"):
        check(project, store, Silent(), folds=3)
    assert not (project.root / "folds").exists()
