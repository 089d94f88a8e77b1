import numpy as np
import pytest

from labelkit.domain.instance import Box
from labelkit.domain.pose import UNKNOWN, Pose, human_pose
from labelkit.errors import InputError


def test_a_pose_keeps_what_was_placed_to_the_last_digit():
    pose = human_pose([[0.1 + 0.2, -3.0], [7.25, 8.0]], [2, 1])
    assert pose.xy.tolist() == [[0.1 + 0.2, -3.0], [7.25, 8.0]]
    assert pose.visibility.tolist() == [2, 1]
    assert pose.score.tolist() == [1.0, 1.0]
    assert len(pose) == 2


def test_absent_keypoints_have_no_place_whatever_was_written_there():
    pose = human_pose([[5.0, 6.0], [np.nan, np.inf]], [2, 0])
    assert pose.xy.tolist() == [[5.0, 6.0], [0.0, 0.0]]
    assert pose.present.tolist() == [True, False]


def test_a_pose_cannot_be_changed():
    xy, visibility = np.ones((2, 2)), np.array([2, 2])
    pose = human_pose(xy, visibility)
    xy[0], visibility[0] = 9.0, 0
    assert pose == human_pose(np.ones((2, 2)), [2, 2])
    for array in (pose.xy, pose.visibility, pose.score):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_poses_are_equal_where_all_three_are():
    one = Pose(np.ones((1, 2)), np.array([2]), np.array([0.5]))
    assert one == Pose(np.ones((1, 2)), np.array([2]), np.array([0.5]))
    assert one != human_pose(np.ones((1, 2)), [2])
    assert one != Pose(np.ones((1, 2)), np.array([1]), np.array([0.5]))
    assert one != "a pose"


def test_a_pose_may_have_no_keypoints():
    assert len(human_pose(np.zeros((0, 2)), np.zeros(0, dtype=int))) == 0


@pytest.mark.parametrize(
    ("xy", "visibility", "value"),
    [
        ([[1.0, 2.0]], [2, 2], r"\(1, 2\), \(2,\)"),
        ([[1.0, 2.0, 3.0]], [2], r"\(1, 3\)"),
        ([[1.0, 2.0]], [3], r"Visibility 3\b"),
        ([[1.0, 2.0]], [1.5], r"Visibility 1\.5\b"),
        ([[1.0, 2.0], [np.nan, 2.0]], [2, 1], r"Keypoint 1\b.*nan"),
        ([[np.inf, 2.0]], [2], r"Keypoint 0\b.*inf"),
    ],
)
def test_wrong_arrays_are_refused_with_their_value(xy, visibility, value):
    with pytest.raises(InputError, match=value):
        human_pose(xy, visibility)


def test_an_unknown_keypoint_is_neither_present_nor_absent_and_has_no_place():
    pose = human_pose([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [UNKNOWN, 0, 1])
    assert pose.present.tolist() == [False, False, True]
    assert pose.known.tolist() == [False, True, True]
    assert pose.presence.tolist() == [-1, 0, 1]
    assert pose.xy.tolist() == [[0.0, 0.0], [0.0, 0.0], [5.0, 6.0]]


def test_a_pose_of_other_keypoints_has_its_own_and_leaves_the_rest_unknown():
    pose = human_pose([[1.0, 2.0], [3.0, 4.0]], [2, 1]).take([1, -1, 0])
    assert pose.visibility.tolist() == [1, UNKNOWN, 2]
    assert pose.xy.tolist() == [[3.0, 4.0], [0.0, 0.0], [1.0, 2.0]]
    assert pose.score.tolist() == [1.0, 0.0, 1.0]


def test_a_pose_is_completed_where_it_is_unknown_and_nowhere_else():
    human = human_pose([[1.0, 2.0], [0.0, 0.0], [0.0, 0.0]], [2, 0, UNKNOWN])
    predicted = Pose([[9.0, 9.0]] * 3, [2, 2, 2], [0.5] * 3)
    both = human.completed(predicted)
    assert both.visibility.tolist() == [2, 0, 2]
    assert both.xy.tolist() == [[1.0, 2.0], [0.0, 0.0], [9.0, 9.0]]
    assert both.score.tolist() == [1.0, 1.0, 0.5]


def test_the_extent_is_the_smallest_box_around_the_present_keypoints():
    pose = human_pose([[1, 2], [99, 99], [5, 4]], [2, 0, 1])
    assert pose.extent == Box(1, 2, 4, 2)
    assert human_pose([[1, 2]], [2]).extent == Box(1, 2, 0, 0)
    assert human_pose([[1, 2]], [0]).extent is None
