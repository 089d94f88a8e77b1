"""Estimators of what pre-annotation saves, against simulated projects of which it is known.

LABELKIT_LONG=1 simulates 1,000 projects, and 10,000 that are looked at after every object; -rP
shows what it found.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from labelkit.metrics.worth.savings import ENOUGH, anchoring, half_widths, saving

LONG = bool(os.environ.get("LABELKIT_LONG"))
PROJECTS, LOOKED_AT, LABELLED_TWICE = (1_000, 10_000, 1_000) if LONG else (300, 300, 20)

#: Seconds an object with and without pre-annotation: skewed, as times are.
SHOWN_S, BLANK_S, SPREAD = 20.0, 45.0, 0.5
SAVED_S = BLANK_S - SHOWN_S

#: 300 objects, of which one keypoint is known twice.
EACH = list(map(str, range(300)))


def seconds(rng: np.random.Generator, mean: float, shape: tuple[int, ...]) -> np.ndarray:
    """Log-normal times of a mean."""
    return mean * np.exp(SPREAD * rng.standard_normal(shape) - SPREAD**2 / 2)


def test_a_difference_of_means_has_the_interval_of_welch():
    # Means 2 and 6; variances 1 and 4, errors 1/3 and 4/3; (5/3)^2 / (1/9/2 + 16/9/2) = 2.94.
    found = saving([1.0, 2.0, 3.0], [4.0, 6.0, 8.0])
    assert (found.objects, found.means, found.once.mean) == ((3, 3), (2.0, 6.0), 4.0)
    assert found.once.high - 4.0 == pytest.approx(3.1 * np.sqrt(5 / 3), rel=0.02)
    assert found.always.low < found.once.low
    assert found.always.high - 4.0 == pytest.approx(4.0 - found.always.low)


def test_one_object_in_an_arm_has_no_spread():
    assert saving([1.0, 2.0], [3.0]) is None
    assert saving([], []) is None


def test_equal_costs_leave_no_doubt():
    assert saving([2.0, 2.0], [3.0, 3.0]).always == (1.0, 1.0, 1.0)


def test_the_interval_covers_a_known_saving():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(PROJECTS):
        blank = int(rng.binomial(600, 0.1))
        found = saving(seconds(rng, SHOWN_S, (600 - blank,)), seconds(rng, BLANK_S, (blank,)))
        inside += found.once.low <= SAVED_S <= found.once.high
    print(f"one look at each of {PROJECTS} projects: {inside / PROJECTS:.1%} covered")
    assert 0.93 <= inside / PROJECTS <= 0.97


def test_the_sequence_covers_it_after_every_object():
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(LOOKED_AT // 100):
        is_blank = rng.random((100, 2000)) < 0.1
        cost = np.where(
            is_blank, seconds(rng, BLANK_S, (100, 2000)), seconds(rng, SHOWN_S, (100, 2000))
        )
        counts, sums, squares = (
            np.stack([np.cumsum(arm * value, axis=1) for arm in (~is_blank, is_blank)])
            for value in (np.ones_like(cost), cost, cost**2)
        )
        seen = counts.min(axis=0) >= ENOUGH
        counts = np.maximum(counts, 2)
        means = sums / counts
        _, half = half_widths(counts, (squares - counts * means**2) / (counts - 1))
        off = np.abs(means[1] - means[0] - SAVED_S) > half
        inside += int((~(off & seen).any(axis=1)).sum())
    print(f"looks after every object of {LOOKED_AT} projects: {inside / LOOKED_AT:.1%} covered")
    assert inside / LOOKED_AT >= 0.95


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
def test_the_pull_of_predictions_is_recovered_from_300_objects(share):
    # One keypoint an object; the noise of people is half as large as the error of predictions.
    rng = np.random.default_rng(2)
    found = []
    for _ in range(LABELLED_TWICE):
        error, mine, theirs = rng.standard_normal((3, 300, 2)) * [[[0.04]], [[0.02]], [[0.02]]]
        found.append(anchoring(share * error + mine, theirs, error, EACH, 0))
    pull, low, high = np.transpose(found)
    off, inside = np.abs(pull - share), ((low <= share) & (share <= high)).mean()
    print(f"share {share}: off by {off.mean():.3f} on average, interval covers in {inside:.1%}")
    assert off.mean() < 0.05
    assert pull.mean() == pytest.approx(share, abs=0.02)
    assert inside >= 0.85


def test_points_of_one_object_tell_no_more_than_one():
    rng = np.random.default_rng(3)
    error, mine, theirs = rng.standard_normal((3, 300, 2)) * [[[0.04]], [[0.02]], [[0.02]]]
    once = anchoring(0.3 * error + mine, theirs, error, EACH, 0)
    copies = [np.repeat(it, 5, axis=0) for it in (0.3 * error + mine, theirs, error)]
    assert anchoring(*copies, np.repeat(EACH, 5), 0) == pytest.approx(once)


def test_labels_that_are_the_prediction_are_pulled_all_the_way():
    assert anchoring([[3.0, 4.0]], [[0.0, 0.0]], [[3.0, 4.0]], ["a"], 0) == pytest.approx((1, 1, 1))
    assert anchoring([[0.0, 0.0]], [[0.0, 0.0]], [[3.0, 4.0]], ["a"], 0) == pytest.approx((0, 0, 0))
    assert np.isnan(anchoring([[0.0, 0.0]], [[0.0, 0.0]], [[0.0, 0.0]], ["a"], 0)).all()
