"""Objects that a network finds become objects of the project, and stay the same ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from builders import make_image, make_instance
from sticks import SKELETON

from labelkit.domain.instance import Box, Image
from labelkit.domain.pose import human_pose
from labelkit.domain.skeleton import Skeleton, make_skeleton
from labelkit.models.detector_free.instances import Instances
from labelkit.project.project import Project, create_project
from labelkit.store.journal import KEYPOINTS, SKIP, Entry
from labelkit.store.label_store import LabelStore
from labelkit.store.objects import NewInstance
from labelkit.store.ownership import open_store
from labelkit.workflows.detector_free.objects import (
    FoundObject,
    assigned,
    bring_in,
    found_objects,
    least_score,
)
from labelkit.workflows.rounds.label_snapshot import read_snapshot

IMAGE = make_image("a.png", 100, 100)
HERE, THERE = [[10.0, 10.0], [30.0, 40.0]], [[60.0, 60.0], [80.0, 90.0]]


def found(*poses: Sequence[Sequence[float]], image: Image = IMAGE) -> list[FoundObject]:
    xy = torch.tensor(np.array(poses if poses else np.zeros((0, 2, 2))))
    shape = xy.shape[:2]
    ones = torch.ones(shape)
    objects = Instances(xy, ones.to(torch.int8), 0.8 * ones, torch.full((len(poses),), 0.7))
    return found_objects(objects, image, range(shape[1]))


@pytest.fixture
def opened(tmp_path) -> Iterator[tuple[Project, LabelStore]]:
    (tmp_path / "frames").mkdir()
    project = create_project(tmp_path / "project", tmp_path / "frames", SKELETON)
    with open_store(project) as store:
        store.add_images([IMAGE])
        store.add_instances([NewInstance(IMAGE, Box(0, 0, 100, 100), "whole-image", 1e4)])
        yield project, store


def bring(opened: tuple[Project, LabelStore], *poses: Sequence[Sequence[float]]) -> list[str]:
    """Ids of the objects of which something is predicted."""
    project, store = opened
    snapshot = read_snapshot(project, store)
    rows = bring_in(store, snapshot, project.skeleton, {IMAGE.id: found(*poses)})
    assert rows.keys() == store.instances().keys()
    assert store.counts().instances == len(rows)
    return [id_ for id_, row in rows.items() if row.pose.present.any()]


def answer(
    store: LabelStore, id_: str, kind: str = KEYPOINTS, xy=HERE, v: int = 2, **shown
) -> None:
    names = zip(SKELETON.keypoints, xy, strict=True)
    content = {name: [*place, v] for name, place in names} if kind == KEYPOINTS else {}
    store.record([Entry(id_, kind, content, "label", id_, f"{kind}-{v}-{xy}", shown=shown)])


def test_found_objects_take_the_place_of_the_whole_image(opened):
    here, there = bring(opened, HERE, THERE)
    instances = opened[1].instances()
    assert [item.box_source for item in instances.values()] == ["found", "found"]
    assert instances[here].box == Box(8, 7, 24, 36)  # a tenth more on each side
    assert instances[there].box == Box(58, 57, 24, 36)


def test_an_object_keeps_its_id_from_round_to_round(opened):
    here, there = bring(opened, HERE, THERE)
    moved = [[61.0, 61.0], [81.0, 91.0]]
    assert bring(opened, moved, HERE) == [here, there]
    assert opened[1].instances()[there].box == Box(59, 58, 24, 36)


def test_an_object_that_is_not_found_again_leaves_and_comes_back_as_itself(opened):
    here, there = bring(opened, HERE, THERE)
    assert bring(opened, THERE) == [there]
    assert [*opened[1].instances()] == [there]
    assert {*opened[1].instances(with_removed=True)} == {here, there}
    assert bring(opened, HERE, THERE) == [here, there]


def test_an_answer_brings_a_lost_object_back(opened):
    here, there = bring(opened, HERE, THERE)
    bring(opened, THERE)
    answer(opened[1], here)
    assert [*opened[1].instances()] == [here, there]
    assert opened[1].instances()[here].box == Box(8, 7, 24, 36)


def test_an_image_without_objects_stands_in_for_what_there_may_be(opened):
    assert bring(opened) == []
    (item,) = opened[1].instances().values()
    assert (item.box_source, item.box) == ("whole-image", Box(0, 0, 100, 100))
    bring(opened, HERE)
    assert bring(opened) == []
    (item,) = opened[1].instances().values()
    assert item.box_source == "whole-image"


def test_an_image_that_people_have_finished_gets_no_more_objects(opened):
    (here,) = bring(opened, HERE)
    answer(opened[1], here)
    assert bring(opened, HERE, THERE) == [here]
    answer(opened[1], here, SKIP, task=1)
    assert bring(opened, THERE) == []
    assert [*opened[1].instances()] == [here]


def test_no_object_here_is_an_answer_that_later_rounds_leave_alone(opened):
    (whole,) = opened[1].instances()
    answer(opened[1], whole, xy=[[0.0, 0.0]] * 2, v=0)
    assert bring(opened, HERE) == []
    assert [*opened[1].instances()] == [whole]


def test_a_label_is_recognised_by_its_keypoints_whatever_its_box():
    known = [make_instance(IMAGE, 0, (0, 0, 100, 100), "whole-image"), make_instance(IMAGE, 1)]
    poses = {known[0].id: human_pose(HERE, [2, 2])}
    assert assigned(known, poses, found(THERE, HERE), SKELETON) == [None, 0]
    assert assigned([], {}, found(HERE), SKELETON) == [None]
    assert assigned(known, poses, [], SKELETON) == []


def one_point() -> Skeleton:
    return make_skeleton("point", ("tip",))


def test_an_object_of_one_keypoint_gets_a_box_inside_the_image():
    corner, middle = found([[0.0, 0.0]], [[320.0, 320.0]], image=make_image("b.png", 640, 640))
    assert middle.box == Box(310, 310, 20, 20)  # a 32th of the long side
    assert corner.box == Box(0, 0, 10, 10)
    known = [make_instance(make_image("b.png", 640, 640), 0, (310, 310, 20, 20))]
    assert assigned(known, {}, [corner, middle], one_point()) == [None, 0]


def test_five_hundred_objects_of_an_image_are_told_apart(opened):
    poses = [[[x, y], [x + 2.0, y + 2.0]] for x in np.arange(25) * 4.0 for y in np.arange(20) * 5.0]
    ids = bring(opened, *poses)
    assert len(ids) == 500
    assert bring(opened, *reversed(poses)) == ids


def test_keypoints_outside_the_image_move_to_its_border_and_doubtful_ones_are_not_shown():
    (item,) = found([[-5.0, 10.0], [120.0, 40.0]])
    assert item.pose.xy.tolist() == [[0, 10], [100, 40]]
    item = item._replace(pose=type(item.pose)(item.pose.xy, [2, 2], [0.05, 0.55]))
    assert item.prediction("a-0").presence.tolist() == [0.25, 0.75]


def test_images_have_as_many_objects_as_labelled_ones():
    assert least_score([0.9, 0.1, 0.8, 0.7], 3, 0.01) == pytest.approx(0.4)
    assert least_score([0.9, 0.5], 5, 0.1) == pytest.approx(0.3)
    assert least_score([0.9, 0.005], 5, 0.01) == 0.01
    assert least_score([], 3, 0.01) == 1.0
