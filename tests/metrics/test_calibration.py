import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelkit.metrics.calibration import Calibration
from labelkit.metrics.quality import expected_calibration_error


def test_scores_that_are_too_high_become_the_share_that_is_right():
    # .9 is right in 6 of 10, .1 in 4 of 10.
    score = np.repeat([0.9, 0.1], 1000)
    right = np.concatenate([np.arange(1000) % 10 < 6, np.arange(1000) % 10 < 4])
    found = Calibration.fit(score, right)
    assert found.apply([0.9, 0.1]) == pytest.approx([0.6, 0.4], abs=1e-3)
    # log(.6 / .4) / log(.9 / .1)
    assert found.slope == pytest.approx(0.1845, abs=1e-3)
    assert expected_calibration_error(score, right) == pytest.approx(0.3)
    assert expected_calibration_error(found.apply(score), right) < 1e-3


@given(st.integers(0, 2**32 - 1))
def test_the_most_likely_calibration_is_found(seed: int):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(20, 500))
    score = rng.uniform(*np.sort(rng.uniform(0, 1, 2)), count)
    score = np.where(rng.random(count) < rng.random(), score, 1 - 10 ** -rng.uniform(1, 5, count))
    right = rng.random(count) < rng.random()
    found = Calibration.fit(score, right)
    # At the minimum the gradient is 0; the prior pulls towards the unchanged score.
    wrong = found.apply(score) - right
    odds = np.log(np.clip(score, 1e-4, 1 - 1e-4) / (1 - np.clip(score, 1e-4, 1 - 1e-4)))
    assert wrong.sum() == pytest.approx(-1e-3 * found.offset, abs=1e-3)
    assert wrong @ odds == pytest.approx(-1e-3 * (found.slope - 1), abs=1e-3)


def test_calibrated_scores_stay():
    score = np.repeat([0.8, 0.2], 1000)
    right = np.concatenate([np.arange(1000) % 10 < 8, np.arange(1000) % 10 < 2])
    found = Calibration.fit(score, right)
    assert (found.slope, found.offset) == (
        pytest.approx(1, abs=1e-3),
        pytest.approx(0, abs=1e-3),
    )


def test_no_samples_change_nothing():
    found = Calibration.fit([], np.zeros(0, dtype=bool))
    assert (found.slope, found.offset) == (1.0, 0.0)
    assert found.apply([0.25]) == pytest.approx([0.25])


@pytest.mark.parametrize("right", [True, False])
def test_few_samples_that_all_agree_give_finite_numbers_in_their_order(right):
    found = Calibration.fit([0.3, 0.7, 1.0], [right] * 3)
    low, high = found.apply([0.0, 1.0])
    assert np.isfinite([found.slope, found.offset]).all()
    assert (low > 0.5, high > 0.5) == (right, right)


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="score and correct"):
        Calibration.fit([0.1, 0.2], [True])
