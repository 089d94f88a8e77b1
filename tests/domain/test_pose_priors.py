from __future__ import annotations

import numpy as np
import pytest
from builders import make_pose, stick_skeleton

from labelkit.domain.instance import Box
from labelkit.domain.pose import UNKNOWN, VISIBLE, human_pose
from labelkit.domain.pose_priors import GaussianPose, MeanPose, skeleton_in_box


def test_the_layout_is_stretched_over_each_box():
    xy = skeleton_in_box([(10, 20, 40, 30), (0, 0, 100, 10)], stick_skeleton())
    assert xy[0] == pytest.approx(np.array([[30, 23], [18, 32], [42, 32], [30, 47]]))
    assert xy[1] == pytest.approx(np.array([[50, 1], [20, 4], [80, 4], [50, 9]]))


def test_no_boxes_give_no_poses():
    assert skeleton_in_box(np.zeros((0, 4)), stick_skeleton()).shape == (0, 4, 2)
    assert MeanPose.fit([], [], stick_skeleton()).apply([]).shape == (0, 4, 2)


def test_the_mean_pose_averages_present_keypoints_relative_to_their_boxes():
    boxes = [(0, 0, 10, 10), (100, 100, 20, 40)]
    poses = [
        make_pose([(2, 4), (1, 1), (9, 9), (0, 0)], [2, 2, 0, 0]),
        make_pose([(108, 108), (0, 0), (102, 140), (0, 0)], [1, 0, 2, 0]),
    ]
    mean = MeanPose.fit(poses, boxes, stick_skeleton())
    # nose: (.2, .4) and (.4, .2); paws: one pose each; tail: never present, so the layout.
    assert mean.unit_xy == pytest.approx(np.array([[0.3, 0.3], [0.1, 0.1], [0.1, 1.0], [0.5, 0.9]]))
    assert mean.share.tolist() == [1.0, 0.5, 0.5, 0.0]
    assert mean.apply([(10, 0, 100, 10)])[0, 0] == pytest.approx([40, 3])


def test_the_mean_of_no_poses_is_the_skeleton_in_the_box():
    skeleton, boxes = stick_skeleton(), [(10, 20, 40, 30)]
    mean = MeanPose.fit([], np.zeros((0, 4)), skeleton)
    assert np.array_equal(mean.apply(boxes), skeleton_in_box(boxes, skeleton))
    assert mean.share.tolist() == [0.5] * 4


def test_every_pose_needs_a_box():
    with pytest.raises(ValueError, match=r"\(1, 4\), not \(2, 4\)"):
        MeanPose.fit([make_pose()], np.ones((2, 4)), stick_skeleton())


def test_a_pose_that_leaves_a_keypoint_unknown_says_nothing_about_how_often_it_is_present():
    boxes = [(0, 0, 10, 10)] * 3
    poses = [
        make_pose([(5, 5)] * 4, [2, 0, -1, -1]),
        make_pose([(5, 5)] * 4, [2, 2, 2, -1]),
        make_pose([(5, 5)] * 4, [0, 2, 0, -1]),
    ]
    share = MeanPose.fit(poses, boxes, stick_skeleton()).share
    assert share == pytest.approx([2 / 3, 2 / 3, 1 / 2, 1 / 2])


def test_a_keypoint_that_is_placed_moves_the_one_that_goes_with_it_in_all_labelled_poses():
    # In boxes of 100 x 50: the second is as far right of the middle as the first, the third fixed.
    xs = np.array([-30.0, -10.0, 10.0, 30.0])
    poses = [make_pose([(50 + x, 25), (50 + x, 35), (50, 5)]) for x in xs]
    gaussian = GaussianPose.fit(poses, [(0, 0, 100, 50)] * 4)
    assert gaussian.mean == pytest.approx([0, 0, 0, 0.1, 0, -0.2])
    first = human_pose([(120, 125), (0, 0), (0, 0)], [VISIBLE, UNKNOWN, UNKNOWN])
    xy, covariance = gaussian.given(first, Box(100, 100, 100, 50))
    # Variance .05 in x and .0009 left open: 50 x .05 / .0509 of the 30 to the left are followed.
    assert xy == pytest.approx(np.array([(120, 125), (150 - 30 * 0.05 / 0.0509, 135), (150, 105)]))
    assert covariance[0] == pytest.approx(np.zeros((2, 2)))
    assert covariance[2] == pytest.approx(np.diag([9.0, 9.0]))
    assert covariance[1, 0, 0] == pytest.approx(1e4 * (0.0509 - 0.05**2 / 0.0509))


def test_nothing_placed_leaves_the_average_pose_of_those_present():
    poses = [make_pose([(10, 0), (20, 40)]), make_pose([(30, 0), (0, 0)], [2, 0])]
    gaussian = GaussianPose.fit(poses, [(0, 0, 100, 100)] * 2)
    nothing = human_pose(np.zeros((2, 2)), [UNKNOWN] * 2)
    xy, covariance = gaussian.given(nothing, Box(0, 0, 100, 100))
    assert xy == pytest.approx(np.array([(20, 0), (20, 40)]), abs=1e-6)
    assert covariance[1] == pytest.approx(np.diag(covariance[1].diagonal()))


def test_a_keypoint_that_no_pose_shows_has_no_place():
    with pytest.raises(ValueError, match="present in no pose"):
        GaussianPose.fit([make_pose([(1, 1), (0, 0)], [2, 0])], [(0, 0, 9, 9)])
