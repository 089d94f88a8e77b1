"""Boxes, scores and duplicates of objects without a network."""

from __future__ import annotations

import math

import torch

from labelkit.models.detector_free.instances import Instances, labelled, without_duplicates


def found(points: list[list[list[float]]], scores: list[float]) -> Instances:
    """Objects whose every keypoint is certain."""
    xy = torch.tensor(points).view(len(scores), -1, 2)
    sure = torch.ones(xy.shape[:2])
    return Instances(xy, sure.to(torch.int8), sure, torch.tensor(scores))


def test_a_box_is_the_extent_of_the_present_keypoints_and_a_tenth_on_each_side():
    xy = torch.tensor([[[10.0, 20.0], [30.0, 60.0], [math.nan, math.nan]]])
    one = labelled(xy, torch.tensor([[1, 1, 0]]))
    assert one.boxes.tolist() == [[8.0, 16.0, 32.0, 64.0]]
    assert one.confidence.tolist() == [[1.0, 1.0, 0.0]]


def test_a_keypoint_that_is_hardly_there_does_not_widen_the_box():
    xy = torch.tensor([[[10.0, 20.0], [20.0, 30.0], [90.0, 90.0]]])
    sure = torch.tensor([[0.9, 0.8, 0.1]])
    one = Instances(xy, torch.ones(1, 3, dtype=torch.int8), sure, torch.ones(1))
    assert one.boxes.tolist() == [[9.0, 19.0, 21.0, 31.0]]


def test_an_object_without_keypoints_has_a_box_without_area():
    nothing = labelled(torch.zeros(1, 2, 2), torch.zeros(1, 2, dtype=torch.int8))
    assert nothing.boxes.tolist() == [[0.0, 0.0, 0.0, 0.0]]


def test_the_better_of_two_equal_objects_stays_and_a_distant_one_too():
    square = [[10.0, 10.0], [30.0, 30.0]]
    far = [[50.0, 10.0], [70.0, 30.0]]
    kept = without_duplicates(found([square, far, square], [0.5, 0.4, 0.9]), (0.08, 0.08), 4.0)
    assert kept.score.tolist() == [0.8999999761581421, 0.4000000059604645]


def test_objects_of_one_keypoint_are_told_apart_by_distance():
    points = [[[10.0, 10.0]], [[10.1, 10.0]], [[30.0, 10.0]]]
    kept = without_duplicates(found(points, [0.9, 0.8, 0.7]), (0.08,), 4.0)
    assert kept.xy[:, 0, 0].tolist() == [10.0, 30.0]


def test_no_objects_have_no_duplicates():
    nothing = labelled(torch.zeros(0, 3, 2), torch.zeros(0, 3, dtype=torch.int8))
    assert without_duplicates(nothing, (1.0,) * 3, 4.0).xy.shape == (0, 3, 2)
