"""Averages over what a strategy drew, against the truth over everything.

LABELKIT_LONG=1 draws 2,000 times; -rP shows what it found.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from labelkit.metrics.sampling import hajek, lure

PROJECTS = 2_000 if os.environ.get("LABELKIT_LONG") else 300

ESTIMATORS = pytest.mark.parametrize("estimate", [lure, hajek])


@ESTIMATORS
def test_all_of_a_pool_has_its_mean_and_no_doubt(estimate):
    # Whatever the probabilities: nothing is left that could differ.
    assert estimate([1.0, 0.0, 0.5], [0.9, 0.2, 1.0], 3) == pytest.approx((0.5, 0.5, 0.5))


@ESTIMATORS
def test_equal_probabilities_give_the_plain_mean(estimate):
    found = estimate([1.0, 0.0, 1.0, 0.0], [1 / 10, 1 / 9, 1 / 8, 1 / 7], 10)
    assert found.mean == pytest.approx(0.5)
    assert found.low < 0.5 < found.high


def test_the_weights_are_those_of_the_paper():
    # N = 4, M = 2: v_1 = 1 + 2/3 (1 / (4 * .5) - 1) = 2/3, v_2 = 1 + 2/2 (1 / (3 * .2) - 1) = 5/3.
    assert lure([1.0, 0.0], [0.5, 0.2], 4).mean == pytest.approx(1 / 3)
    assert lure([0.0, 1.0], [0.5, 0.2], 4).mean == pytest.approx(5 / 6)
    assert hajek([1.0, 0.0], [0.5, 0.2], 4).mean == pytest.approx(2 / 7)


@ESTIMATORS
def test_too_few_draws_have_no_interval_and_none_have_no_mean(estimate):
    assert estimate([0.25], [0.01], 100).mean > 0
    assert np.isnan(estimate([0.25], [0.01], 100).low)
    assert np.isnan(estimate([], [], 100)).all()


@ESTIMATORS
def test_the_interval_covers_the_truth_where_the_hardest_are_drawn_first(estimate):
    rng = np.random.default_rng(0)
    inside, plain = 0, []
    for _ in range(PROJECTS):
        truth, values, probabilities = drawn_project(rng)
        found = estimate(values, probabilities, 200)
        inside += found.low <= truth <= found.high
        plain.append(values.mean() - truth)
    print(f"{estimate.__name__}: {inside / PROJECTS:.1%} of {PROJECTS} intervals hold the truth")
    assert 0.92 <= inside / PROJECTS <= 0.99
    assert np.mean(plain) < -0.15  # what the labels alone would say


def drawn_project(rng: np.random.Generator) -> tuple[float, np.ndarray, np.ndarray]:
    """The mean of 200 values, and the 60 that are drawn: the lowest, or in a fifth any."""
    value = rng.beta(2, 2, 200)
    order = np.argsort(value + 0.15 * rng.standard_normal(200)).tolist()
    values, probabilities = [], []
    for left in range(200, 140, -1):
        best = order[0]
        taken = order[rng.integers(left)] if rng.random() < 0.2 else best
        probabilities.append(0.2 / left + 0.8 * (taken == best))
        values.append(value[taken])
        order.remove(taken)
    return value.mean(), np.array(values), np.array(probabilities)
