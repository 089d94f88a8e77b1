import pytest
from builders import make_pose, stick_skeleton
from hypothesis import given
from hypothesis import strategies as st

from labelkit.errors import StoreError
from labelkit.store.journal import (
    Entry,
    content_version,
    keypoints_content,
    pose_of,
    presence_of,
    visibility_content,
)

STICK = stick_skeleton()


def make_entry(kind, content):
    return Entry("i-0", kind, content, source="file:a.json", reference="1", version="v")


def test_content_is_written_by_name():
    pose = make_pose(visibility=(2, 0, 1, 2))
    assert keypoints_content(STICK, pose) == {
        "nose": [1.5, 2.25, 2],
        "left_paw": [0.0, 0.0, 0],
        "right_paw": [5.0, 6.0, 1],
        "tail": [7.0, 8.0, 2],
    }
    assert visibility_content(STICK, [1, 0, 0, 1]) == {
        "nose": True,
        "left_paw": False,
        "right_paw": False,
        "tail": True,
    }


def test_unknown_keypoints_are_left_out_of_the_content():
    pose = make_pose(visibility=(2, 0, -1, -1))
    assert keypoints_content(STICK, pose) == {"nose": [1.5, 2.25, 2], "left_paw": [0.0, 0.0, 0]}
    assert visibility_content(STICK, [1, 0, -1, -1]) == {"nose": True, "left_paw": False}


def test_content_is_read_by_name_in_any_order():
    entry = make_entry(
        "visibility", {"tail": True, "nose": False, "right_paw": 1 > 0, "left_paw": False}
    )
    assert presence_of([entry], STICK).tolist() == [0, 0, 1, 1]


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=4, max_size=4))
def test_a_pose_comes_back_to_the_last_bit(xy):
    pose = make_pose(xy, (2, 1, 2, 1))
    assert pose_of([make_entry("keypoints", keypoints_content(STICK, pose))], STICK) == pose


def test_placed_keypoints_answer_what_can_be_seen():
    pose = make_pose(visibility=(2, 0, 1, 2))
    entry = make_entry("keypoints", keypoints_content(STICK, pose))
    assert presence_of([entry], STICK).tolist() == [1, 0, 1, 1]


def test_a_keypoint_that_the_skeleton_got_later_is_unknown_and_one_that_it_lost_does_not_count():
    entry = make_entry("keypoints", {"nose": [1, 2, 2], "wing": [3, 4, 1], "tail": [0, 0, 0]})
    assert presence_of([entry], STICK).tolist() == [1, -1, -1, 0]
    pose = pose_of([entry], STICK)
    assert pose.visibility.tolist() == [2, -1, -1, 0]
    assert pose.xy.tolist() == [[1, 2], [0, 0], [0, 0], [0, 0]]


def test_for_each_keypoint_the_newest_entry_that_names_it_counts():
    entries = [
        make_entry("visibility", {"nose": False, "tail": True}),
        make_entry("keypoints", {"nose": [1, 2, 2], "left_paw": [3, 4, 1]}),
        make_entry("visibility", {"left_paw": False}),
    ]
    assert presence_of(entries, STICK).tolist() == [1, 0, -1, 1]
    withdrawn = [*entries, make_entry("withdrawn", {}), make_entry("visibility", {"tail": False})]
    assert presence_of(withdrawn, STICK).tolist() == [-1, -1, -1, 0]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("visibility", 1),
        ("visibility", "yes"),
        ("keypoints", [1.0, 2.0]),
        ("keypoints", [1.0, 2.0, 3]),
        ("keypoints", [1.0, float("nan"), 2]),
        ("keypoints", [float("inf"), 1.0, 2]),
        ("keypoints", ["1", 2.0, 2]),
        ("keypoints", True),
        ("skip", True),
    ],
)
def test_an_answer_of_the_wrong_shape_is_refused(kind, value):
    with pytest.raises(StoreError, match=rf"{kind} .*'nose' of i-0") as caught:
        make_entry(kind, {"nose": value})
    assert repr(value) in caught.value.problem


def test_an_unknown_kind_is_refused():
    with pytest.raises(StoreError, match="'dream'"):
        make_entry("dream", {})


def test_the_version_of_a_content_depends_on_the_content_alone():
    assert content_version({"a": 1, "b": 2}) == content_version({"b": 2, "a": 1})
    assert content_version({"a": 1}) != content_version({"a": 2})
