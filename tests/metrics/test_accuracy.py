from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelkit.errors import MissingDependencyError
from labelkit.metrics.accuracy import (
    average_precision,
    coco_scores,
    oks,
    oks_ap,
    pck,
    pck_lr_agnostic,
    presence_map,
)

# nose, left paw, right paw, tail
TRUE = np.array([[[10.0, 10.0], [20.0, 10.0], [40.0, 10.0], [60.0, 10.0]]])
ALL = np.ones((1, 4), dtype=bool)
PAIRS = [(1, 2)]
SIGMAS = (0.05, 0.05, 0.05, 0.05)


def exchanged(xy: np.ndarray) -> np.ndarray:
    return xy[:, [0, 2, 1, 3]]


def test_pck_counts_present_keypoints_up_to_and_including_the_limit():
    pred = TRUE + np.array([[[0, 0], [0, 2.0], [2.01, 0], [50.0, 0]]])
    present = [[True, True, True, False]]
    assert pck(pred, TRUE, present, [10.0], 0.2) == 2 / 3


def test_pck_scales_with_each_instance_and_weights_keypoints_equally():
    true = np.concatenate([TRUE, TRUE])
    present = [[True, True, True, True], [True, False, False, False]]
    # 3 px off: a hit for the reference of 30 px, a miss for 10 px; 4 of 5 keypoints.
    assert pck(true + np.array([3.0, 0.0]), true, present, [30.0, 10.0], 0.1) == 4 / 5


def test_pck_counts_a_keypoint_without_a_location_as_missed():
    pred = TRUE.copy()
    pred[0, 0] = np.nan
    assert pck(pred, TRUE, ALL, [10.0], 0.2) == 3 / 4


@pytest.mark.parametrize("count", [0, 3])
def test_nothing_to_score_is_nan_and_not_zero(count: int):
    true, absent = np.zeros((count, 4, 2)), np.zeros((count, 4), dtype=bool)
    ones = np.ones(count)
    assert math.isnan(pck(true, true, absent, ones, 0.2))
    assert math.isnan(pck_lr_agnostic(true, true, absent, ones, 0.2, PAIRS))
    assert np.isnan(oks(true, true, absent, ones, SIGMAS)).all()
    boxes, images = np.ones((count, 4)), ["a"] * count
    assert math.isnan(oks_ap(true, true, absent, ones, boxes, images, ones, SIGMAS))
    assert math.isnan(presence_map(np.zeros((count, 4)), absent))


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 3, 2\)"):
        pck(TRUE[:, :3], TRUE, ALL, [10.0], 0.2)
    with pytest.raises(ValueError, match="reference_px"):
        pck(TRUE, TRUE, ALL, [10.0, 10.0], 0.2)
    case = two_instances(0.9, 0.1)
    with pytest.raises(ValueError, match=r"2 instances, .* scores \(1,\)"):
        oks_ap(**case | {"score": case["score"][:1]})
    with pytest.raises(ValueError, match=r"\(2,\), \(3,\)"):
        average_precision([0.1, 0.2], [True, False, True])


def test_exchanged_sides_are_wrong_for_pck_and_right_for_the_agnostic_score():
    assert pck(exchanged(TRUE), TRUE, ALL, [10.0], 0.2) == 2 / 4
    assert pck_lr_agnostic(exchanged(TRUE), TRUE, ALL, [10.0], 0.2, PAIRS) == 1.0


def test_each_instance_is_exchanged_or_not_on_its_own():
    pred = np.concatenate([TRUE, exchanged(TRUE)])
    true, present = np.concatenate([TRUE, TRUE]), np.ones((2, 4), dtype=bool)
    assert pck_lr_agnostic(pred, true, present, [10.0, 10.0], 0.2, PAIRS) == 1.0


def test_exchange_also_helps_where_only_one_side_is_present():
    present = [[False, True, False, False]]
    assert pck(exchanged(TRUE), TRUE, present, [10.0], 0.2) == 0.0
    assert pck_lr_agnostic(exchanged(TRUE), TRUE, present, [10.0], 0.2, PAIRS) == 1.0


def test_both_sides_predicted_on_one_of_them_find_only_that_one():
    pred = TRUE.copy()
    pred[0, 2] = pred[0, 1]
    assert pck_lr_agnostic(pred, TRUE, ALL, [10.0], 0.2, PAIRS) == 3 / 4


def test_keypoints_without_a_side_are_never_exchanged():
    pred = TRUE[:, [3, 1, 2, 0]]
    assert pck_lr_agnostic(pred, TRUE, ALL, [10.0], 0.2, PAIRS) == 2 / 4


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_agnostic_score_is_never_below_pck(seed: int):
    rng = np.random.default_rng(seed)
    pred, true = rng.uniform(0, 20, (2, 5, 4, 2))
    present, reference = rng.random((5, 4)) < 0.8, rng.uniform(10, 60, 5)
    strict = pck(pred, true, present, reference, 0.2)
    lenient = pck_lr_agnostic(pred, true, present, reference, 0.2, PAIRS)
    assert lenient >= strict or math.isnan(strict)


def test_oks_halves_at_the_distance_worked_by_hand():
    # area 100, sigma .05: 2 * 100 * .1^2 = 2, and exp(-2 ln 2 / 2) = 1/2.
    pred = TRUE.copy()
    pred[0, 0, 0] += math.sqrt(2 * math.log(2))
    present = [[True, True, False, False]]
    assert oks(pred, TRUE, present, [100.0], SIGMAS) == pytest.approx([0.75])
    pred[0, 1] = np.nan
    assert oks(pred, TRUE, present, [100.0], SIGMAS) == pytest.approx([0.25])


def two_instances(first_score: float, second_score: float) -> dict:
    """One exact instance and one hopelessly lost one, in two images."""
    pred = np.concatenate([TRUE, TRUE + 1000.0])
    return {
        "pred": pred,
        "true": np.concatenate([TRUE, TRUE]),
        "present": np.ones((2, 4), dtype=bool),
        "area": [100.0, 100.0],
        "box_xywh": [(0.0, 0.0, 70.0, 20.0)] * 2,
        "image_ids": ["a", "b"],
        "score": [first_score, second_score],
        "sigmas": SIGMAS,
    }


def test_coco_ap_of_one_found_and_one_lost_instance(capsys: pytest.CaptureFixture[str]):
    # Recall reaches .5: 51 of COCO's 101 recall levels hold precision 1, the others 0.
    scores = coco_scores(**two_instances(0.9, 0.1))
    assert scores == pytest.approx((51 / 101, 51 / 101, 51 / 101, 0.5))
    # With the lost one ranked first precision is 1/2 where it was 1.
    assert oks_ap(**two_instances(0.1, 0.9)) == pytest.approx(51 / 202)
    assert capsys.readouterr().out == ""


def test_coco_ap_averages_over_ten_thresholds():
    # Every keypoint at OKS .62: a hit at .50, .55 and .60 only.
    pred = TRUE + np.array([math.sqrt(-2 * math.log(0.62)), 0.0])
    box, images = [(0.0, 0.0, 70.0, 20.0)], ["a"]
    assert oks(pred, TRUE, ALL, [100.0], SIGMAS) == pytest.approx([0.62])
    scores = coco_scores(pred, TRUE, ALL, [100.0], box, images, [1.0], SIGMAS)
    assert scores == pytest.approx((0.3, 1.0, 0.0, 0.3))


def test_an_instance_without_keypoints_does_not_count_for_or_against():
    case = two_instances(0.1, 0.9)
    case["pred"][1] = (30.0, 10.0)  # inside the box of the instance that has no keypoints
    case["present"] = [[True] * 4, [False] * 4]
    assert oks_ap(**case) == pytest.approx(1.0)


def test_a_keypoint_without_a_location_lowers_oks_ap_without_breaking_it():
    pred = TRUE.copy()
    pred[0, 0] = np.nan  # OKS 3/4: a hit at .50, .55, ... .75
    arguments = (TRUE, ALL, [100.0], [(0.0, 0.0, 70.0, 20.0)], ["a"], [1.0], SIGMAS)
    assert oks_ap(pred, *arguments) == pytest.approx(0.6)


def test_oks_ap_without_pycocotools_names_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(MissingDependencyError, match="pip install pycocotools"):
        oks_ap(**two_instances(0.9, 0.1))


def test_average_precision_worked_by_hand():
    assert average_precision([0.9, 0.8, 0.7], [True, False, True]) == pytest.approx(5 / 6)
    assert average_precision([0.1, 0.8, 0.7], [True, False, False]) == pytest.approx(1 / 3)
    assert math.isnan(average_precision([0.1, 0.2], [False, False]))


def test_a_constant_score_gets_the_share_of_positives_in_any_order():
    assert average_precision([0.5] * 4, [True, False, False, False]) == 0.25
    assert average_precision([0.5] * 4, [False, False, False, True]) == 0.25


@settings(deadline=None)
@given(st.permutations(range(6)))
def test_average_precision_does_not_depend_on_the_order_of_samples(order: list[int]):
    score, truth = np.array([0.9, 0.5, 0.5, 0.5, 0.2, 0.2]), np.array([1, 0, 1, 1, 0, 1], bool)
    # By hand: 1/4 * 1 + 2/4 * 3/4 + 1/4 * 4/6
    expected = 1 / 4 + 3 / 8 + 1 / 6
    assert average_precision(score[order], truth[order]) == pytest.approx(expected)


def test_presence_map_is_the_mean_over_keypoints_with_both_answers():
    truth = [[True, True, True], [True, False, False], [True, False, True]]
    scores = [[0.1, 0.9, 0.9], [0.2, 0.2, 0.8], [0.3, 0.1, 0.7]]
    # The first is always present and is left out; the others score 1 and 5/6.
    assert presence_map(scores, truth) == pytest.approx((1 + 5 / 6) / 2)
    assert math.isnan(presence_map([[0.1], [0.2]], [[True], [True]]))


def test_presence_map_leaves_out_what_no_one_answered_or_predicted():
    nan = float("nan")
    truth = [[1, -1, 1], [0, 1, 0], [-1, 0, 0]]
    scores = [[0.9, 0.9, nan], [0.2, 0.1, nan], [0.99, 0.8, nan]]
    # The first is right where it was answered; the second ranks absent before present: 1/2.
    assert presence_map(scores, truth) == pytest.approx((1 + 1 / 2) / 2)
    assert math.isnan(presence_map(np.zeros((2, 1)), [[1], [-1]]))
