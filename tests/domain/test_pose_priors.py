from __future__ import annotations

import numpy as np
import pytest
from builders import make_pose, stick_skeleton

from labelkit.domain.pose_priors import MeanPose, skeleton_in_box


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
