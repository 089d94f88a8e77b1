"""Labels of a project whose skeleton has changed, as the store reads them."""

from dataclasses import replace

import pytest
from builders import make_image, make_instance, make_pose, stick_skeleton

from labelkit.domain.skeleton import make_skeleton
from labelkit.domain.skeleton_edit import edited
from labelkit.errors import StoreError
from labelkit.store.journal import Entry, keypoints_content
from labelkit.store.label_store import LabelStore, NewInstance

STICK = stick_skeleton()  # nose, left_paw, right_paw, tail
GROWN = edited(STICK, {"keypoints": [*STICK.keypoints, "wing"]}, "s.toml")
SHRUNK = edited(STICK, {"keypoints": ["nose", "tail"]}, "s.toml")
IMAGE = make_image()
ONE, TWO = make_instance(IMAGE), make_instance(IMAGE, 1, (0, 0, 5, 5))


@pytest.fixture
def store(store_url):
    with LabelStore.open(store_url) as opened:
        opened.add_images([IMAGE])
        opened.add_instances(
            NewInstance(item.image, item.box, item.box_source, item.area) for item in (ONE, TWO)
        )
        yield opened


def placed(instance, content, version="1", kind="keypoints"):
    return Entry(instance.id, kind, content, "label-studio", "17", version)


FULL = keypoints_content(STICK, make_pose())


def test_a_new_keypoint_is_unknown_in_old_labels_and_they_are_as_they_were(store):
    store.record([placed(ONE, FULL)])
    pose = store.poses(GROWN)[ONE.id]
    assert pose.take(range(4)) == make_pose()
    assert pose.visibility[4] == -1
    assert store.presences(GROWN)[ONE.id].tolist() == [1, 1, 1, 1, -1]


def test_an_answer_about_the_new_keypoint_alone_adds_to_the_old_one(store):
    store.record([placed(ONE, FULL), placed(ONE, {"wing": [9.0, 9.5, 1]}, "2")])
    pose = store.poses(GROWN)[ONE.id]
    assert pose.take(range(4)) == make_pose()
    assert (pose.xy[4].tolist(), pose.visibility[4]) == ([9.0, 9.5], 1)
    assert store.poses(GROWN, as_of=1)[ONE.id].visibility[4] == -1


def test_a_removed_keypoint_comes_back_with_its_labels(store):
    store.record([placed(ONE, FULL)])
    assert store.poses(SHRUNK)[ONE.id] == make_pose().take([0, 3])
    moved = {"nose": [2.0, 2.0, 2], "tail": [0, 0, 0]}
    store.record([placed(ONE, moved, "2")])
    again = store.poses(STICK)[ONE.id]
    assert again.xy.tolist() == [[2.0, 2.0], [3.0, 4.0], [5.0, 6.0], [0.0, 0.0]]


def test_a_renamed_keypoint_keeps_its_labels_and_takes_new_ones(store):
    renamed = edited(STICK, {"renamed": [["tail", "tail_base"]]}, "s.toml")
    store.record([placed(ONE, FULL), placed(TWO, FULL)])
    store.renamed = dict(renamed.renamed)
    store.record([placed(TWO, {"tail_base": [1.0, 1.0, 2]}, "2")])
    poses = store.poses(renamed)
    assert poses[ONE.id] == make_pose()
    assert poses[TWO.id].xy[3].tolist() == [1.0, 1.0]
    assert [set(it.content) for it in store.latest(["keypoints"])] == [
        {"nose", "left_paw", "right_paw", "tail_base"},
        {"tail_base"},
    ]


def test_an_answer_that_is_read_again_is_the_same_under_the_present_name(store):
    store.record([placed(ONE, FULL)])
    store.renamed = {"tail": "tail_base"}
    again = {"tail_base" if name == "tail" else name: value for name, value in FULL.items()}
    assert store.record([placed(ONE, again), placed(ONE, FULL)]) == (0, 2)
    with pytest.raises(StoreError, match=r"'1'"):
        store.record([placed(ONE, {**again, "tail_base": [1.0, 1.0, 2]})])


def test_ticks_and_keypoints_add_up_each_for_what_it_names(store):
    store.record([placed(ONE, FULL), placed(ONE, {"wing": True}, "2", "visibility")])
    assert store.presences(GROWN)[ONE.id].tolist() == [1, 1, 1, 1, 1]
    assert store.poses(GROWN)[ONE.id].visibility[4] == -1


def test_withdrawn_keypoints_do_not_come_back_from_before(store):
    store.record([placed(ONE, FULL), placed(ONE, {}, "2", "withdrawn")])
    assert store.poses(GROWN) == {}
    store.record([placed(ONE, {"nose": [1.0, 1.0, 2]}, "3")])
    assert store.poses(GROWN)[ONE.id].visibility.tolist() == [2, -1, -1, -1, -1]


def test_an_instance_of_which_nothing_is_known_has_no_label(store):
    store.record([placed(ONE, {"wing": [1.0, 1.0, 2]}), placed(TWO, FULL)])
    assert set(store.poses(STICK)) == set(store.presences(STICK)) == {TWO.id}


def test_labels_about_none_of_the_keypoints_are_an_error_and_not_an_empty_project(store):
    store.record([placed(ONE, FULL)])
    other = make_skeleton("plane", ["cockpit", "rudder"])
    with pytest.raises(StoreError, match=r"'plane'.*nose") as caught:
        store.poses(other)
    assert "labelkit.toml" in caught.value.next_step
    renamed_by_hand = replace(other, keypoints=("cockpit", "tail"))
    assert store.poses(renamed_by_hand)[ONE.id].visibility.tolist() == [-1, 2]
