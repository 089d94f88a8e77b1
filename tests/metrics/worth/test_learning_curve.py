"""The fitted learning curve, against made-up projects whose curve is known.

LABELKIT_LONG=1 makes up 1,000 of them; -rP shows what it found.
"""

from __future__ import annotations

import os
from statistics import NormalDist

import numpy as np
import pytest

from labelkit.metrics.worth.learning_curve import LearningCurve

PROJECTS = 1_000 if os.environ.get("LABELKIT_LONG") else 60

KEYPOINTS = 14
EACH = [str(number) for number in range(40)]


def objects(shares: list[float]) -> np.ndarray:
    """(R, 40) shares of 40 objects, of which as many are wholly right as make these means."""
    return np.array([(np.arange(40) < round(40 * share)).astype(float) for share in shares])


def test_rounds_on_a_power_law_are_continued_on_it():
    # The error is .1 + .4 * n ** -.5: .5, .3, .2, .15, .125.
    percents = [1.0, 4.0, 16.0, 64.0, 256.0]
    curve = LearningCurve(percents, objects([0.5, 0.7, 0.8, 0.85, 0.875]), EACH)
    assert curve.right(64.0).mean == pytest.approx(0.85, abs=0.01)
    low, high = curve.right(1024.0)[1:]
    assert low < 0.8875 < high
    expected = 0.4 * (64.0**-0.5 - 65.0**-0.5)
    assert curve.gain(64.0, 1.0).mean == pytest.approx(expected, rel=0.3)
    assert curve.gain(4.0, 1.0).mean > curve.gain(16.0, 1.0).mean > curve.gain(64.0, 1.0).mean


def test_equal_rounds_promise_next_to_nothing():
    curve = LearningCurve([10.0, 20.0, 40.0, 80.0], objects([0.5] * 4), EACH)
    assert curve.gain(80.0, 1.0).high < 0.001
    assert curve.right(90.0).mean == pytest.approx(0.5, abs=0.02)


def test_a_single_round_leaves_much_open_and_another_narrows_it():
    one = LearningCurve([10.0], objects([0.6]), EACH).gain(10.0, 1.0)
    two = LearningCurve([5.0, 10.0], objects([0.5, 0.6]), EACH).gain(10.0, 1.0)
    assert 0 < one.low < one.mean < one.high < 0.1
    assert two.high - two.low < one.high - one.low


def test_objects_of_one_image_tell_no_more_than_one():
    percents, right = [5.0, 10.0], objects([0.5, 0.6])
    once = LearningCurve(percents, right, EACH)
    copies = LearningCurve(percents, np.repeat(right, 5, axis=1), np.repeat(EACH, 5).tolist())
    assert copies.gain(10.0, 1.0) == pytest.approx(once.gain(10.0, 1.0))


def test_the_next_percent_lies_in_its_interval_for_95_of_100_projects():
    rng = np.random.default_rng(0)
    inside: dict[int, list[bool]] = {rounds: [] for rounds in range(1, 6)}
    for _ in range(PROJECTS):
        rounds, count = int(rng.integers(1, 6)), int(rng.choice([20, 60, 200]))
        percents = np.array([[2, 5, 10, 20, 40], [10, 25, 40, 60, 80.0]])[rng.integers(2), :rounds]
        exponent = np.exp(rng.uniform(np.log(0.15), 0.0))
        offset, first = rng.uniform(0, 0.3), rng.uniform(0.1, 0.6)
        trainings = 0.01 * rng.standard_normal(rounds)
        error = (offset + first * percents**-exponent + trainings).clip(0.0005, 0.9995)
        curve = LearningCurve(
            percents, scores(rng, error, count), [str(n // 2) for n in range(count)]
        )
        last = percents[-1]
        gain = first * (last**-exponent - (last + 1) ** -exponent)
        found = curve.gain(last, 1.0)
        inside[rounds].append(found.low <= gain <= found.high)
    for rounds, covered in inside.items():
        print(f"{rounds} rounds: {np.mean(covered):.1%} of {len(covered)} covered")
    share = np.mean(np.concatenate(list(inside.values())))
    print(f"all: {share:.1%} of {PROJECTS}")
    assert (0.93 if PROJECTS == 1_000 else 0.9) <= share <= (0.98 if PROJECTS == 1_000 else 1)


def scores(rng: np.random.Generator, error: np.ndarray, count: int) -> np.ndarray:
    """(R, N) shares of keypoints right: some objects and keypoints are hard for all rounds."""
    of_object = np.sqrt(0.3) * rng.standard_normal((1, count, 1))
    of_keypoint = np.sqrt(0.5) * rng.standard_normal((1, count, KEYPOINTS))
    of_round = np.sqrt(0.2) * rng.standard_normal((len(error), count, KEYPOINTS))
    limits = np.array([NormalDist().inv_cdf(1 - share) for share in error])[:, None, None]
    return (of_object + of_keypoint + of_round < limits).mean(axis=2)
