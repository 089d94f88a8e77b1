from __future__ import annotations

import math

import numpy as np
import pytest
from builders import stick_skeleton

from labelkit.metrics.quality import (
    UninformativeKeypoint,
    expected_calibration_error,
    hardly_learned,
    notes_on,
    spearman,
    uninformative_keypoints,
)


def test_a_score_that_falls_with_the_error_ranks_perfectly():
    assert spearman([0.9, 0.5, 0.1], [1, 20, 300]) == pytest.approx(-1)
    assert spearman([0.1, 0.5, 0.9], [1, 20, 300]) == pytest.approx(1)


def test_equal_scores_share_their_rank():
    # Ranks (.5, .5, 2) against (2, 1, 0): -1.5 / sqrt(1.5 * 2).
    assert spearman([1, 1, 2], [3, 1, 0]) == pytest.approx(-math.sqrt(3) / 2)


def test_rank_correlation_is_undefined_for_one_sample_or_a_constant():
    assert math.isnan(spearman([], []))
    assert math.isnan(spearman([1.0], [2.0]))
    assert math.isnan(spearman([1, 1, 1], [1, 2, 3]))
    assert math.isnan(spearman([1, 2, 3], [1, 1, 1]))
    with pytest.raises(ValueError, match="NaN"):
        spearman([1.0, math.nan], [1.0, 2.0])


@pytest.mark.parametrize(
    ("presence_map", "chance", "expected"),
    [
        (0.88, 0.87, True),  # people in sports: nearly everything is nearly always visible
        (0.88, 0.76, False),  # the same number means much where less is visible
        (0.71, 0.60, False),
        (0.69, 0.60, True),
        (0.50, 0.60, True),
        (None, 0.60, False),
        (0.70, None, False),
    ],
)
def test_what_presence_tells_about_a_network_depends_on_chance(presence_map, chance, expected):
    assert hardly_learned(presence_map, chance) is expected


def test_calibration_error_worked_by_hand():
    # Bin .9: 1.8 expected, 1 right; bin .1: .1 expected, 0 right; (.8 + .1) / 3.
    assert expected_calibration_error([0.9, 0.9, 0.1], [True, False, False]) == pytest.approx(0.3)
    assert expected_calibration_error([1.0, 0.0], [True, False]) == 0.0
    assert math.isnan(expected_calibration_error([], []))
    with pytest.raises(ValueError, match="outside"):
        expected_calibration_error([1.5], [True])


def answers(*counts: int) -> np.ndarray:
    """100 instances; keypoint k is present in the first counts[k] of them."""
    return np.arange(100)[:, None] < np.array(counts)


def test_keypoints_whose_answers_teach_nothing_are_named():
    assert uninformative_keypoints(answers(98, 50, 46, 2), stick_skeleton()) == [
        UninformativeKeypoint("nose", "always", 0.98, ""),
        UninformativeKeypoint("tail", "never", 0.02, ""),
        UninformativeKeypoint("left_paw", "same", 0.96, "right_paw"),
    ]


def test_the_limits_themselves_are_not_warned_about():
    assert uninformative_keypoints(answers(97, 50, 45, 3), stick_skeleton()) == []


def test_two_keypoints_that_are_always_there_are_not_also_called_alike():
    kinds = [w.kind for w in uninformative_keypoints(answers(100, 100, 50, 30), stick_skeleton())]
    assert kinds == ["always", "always"]


def test_no_answers_give_no_warnings():
    assert uninformative_keypoints(np.zeros((0, 4), dtype=bool), stick_skeleton()) == []


def test_one_note_has_the_names_and_percentages_of_those_that_never_vary():
    nose = UninformativeKeypoint("nose", "always", 0.98, "")
    (note,) = notes_on([nose, UninformativeKeypoint("tail", "never", 0.02, "")])
    assert "nose (98.0 %), tail (2.0 %)" in note
    (note,) = notes_on([UninformativeKeypoint(f"p{k}", "always", 1.0, "") for k in range(68)])
    assert "p4 (100.0 %) and 63 more." in note
    assert notes_on([]) == []


def test_one_note_names_all_that_is_answered_alike():
    pairs = [("a", "b"), ("c", "d"), ("e", "f"), ("b", "e")]
    found = [UninformativeKeypoint(one, "same", 0.96, other) for one, other in pairs]
    (note,) = notes_on(found)
    assert ": c = d; a = b = e = f." in note


def test_answers_that_are_unknown_count_neither_way():
    given = answers(98, 50, 46, 50).astype(int)
    given[:50, 0] = -1  # 48 of the other 50 are present: 96 %, not enough for "always"
    given[:, 2] = -1
    given[40:60, 2] = given[40:60, 1]
    given[:, 3] = -1
    assert uninformative_keypoints(given, stick_skeleton()) == [
        UninformativeKeypoint("left_paw", "same", 1.0, "right_paw")
    ]
