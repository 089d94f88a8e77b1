"""How far two people are apart, and who is systematically off."""

from __future__ import annotations

import numpy as np
import pytest

from labelkit.metrics.agreement import FEWEST, Bias, biases, spreads


def two_people(count: int, shift: float = 0.0, noise: float = 0.01, seed: int = 0) -> np.ndarray:
    """(2, N, 3, 2) of which the second places keypoint 1 so far to the right."""
    xy = np.random.default_rng(seed).normal(scale=noise, size=(2, count, 3, 2))
    xy[1, :, 1, 0] += shift
    return xy


def off(xy: np.ndarray) -> list[Bias]:
    return biases(xy, ("ann", "ben", "cem")[: len(xy)], ("nose", "paw", "tail"))


def test_a_median_has_an_interval_from_six_objects_on():
    xy = np.zeros((2, 6, 1, 2))
    xy[1, :, 0, 0] = [0.01, 0.02, 0.03, 0.04, 0.05, 0.3]
    whole, (spread,) = spreads(xy)
    assert whole == spread
    assert (spread.objects, spread.apart) == (6, pytest.approx(0.035))
    assert spread.interval == (0.01, 0.3)  # 2 / 2**6 = 3 % lie outside
    assert spread.close == pytest.approx(5 / 6)
    assert spreads(xy[:, :5])[0].interval == ()


def test_the_interval_of_nine_is_from_the_second_to_the_eighth():
    xy = np.zeros((2, 9, 1, 2))
    xy[1, :, 0, 0] = np.arange(1, 10) / 100
    spread = spreads(xy)[0]  # 2 (1 + 9) / 2**9 = 3.9 % lie outside
    assert spread.interval == (0.02, 0.08)


def test_the_first_two_people_who_placed_a_keypoint_are_compared():
    xy = np.full((3, 1, 2, 2), np.nan)
    xy[0, 0, 0], xy[2, 0, 0], xy[1, 0, 1] = (0.0, 0.0), (0.03, 0.04), (0.5, 0.5)
    whole, (first, second) = spreads(xy)
    assert whole.apart == first.apart == pytest.approx(0.05)
    assert (second.objects, first.objects) == (0, 1)


def test_nothing_is_known_of_no_overlap():
    xy = np.zeros((2, 0, 3, 2))
    assert spreads(xy)[0].objects == 0
    assert off(xy) == []


def test_who_is_systematically_off_is_named_with_an_interval():
    found = off(two_people(40, shift=0.05))
    assert {(item.annotator, item.keypoint, item.axis) for item in found} >= {
        ("ann", "paw", 0),
        ("ben", "paw", 0),
    }
    assert found[0].keypoint == "paw"
    (mine,) = (item for item in found if (item.annotator, item.keypoint) == ("ben", "paw"))
    assert mine.low < 0.05 < mine.high
    assert mine.objects == 40
    (whole,) = (item for item in found if (item.annotator, item.keypoint) == ("ben", ""))
    assert whole.offset == pytest.approx(0.05 / 3, abs=0.005)


def test_a_third_person_shows_which_of_two_is_off():
    xy = np.concatenate([two_people(40, shift=0.06), two_people(40, seed=1)[:1]])
    found = [item for item in off(xy) if item.keypoint == "paw" and item.axis == 0]
    assert found[0].annotator == "ben"
    assert found[0].offset == pytest.approx(0.06, abs=0.01)
    assert all(item.offset == pytest.approx(-0.03, abs=0.01) for item in found[1:])


def test_people_who_are_not_off_are_named_in_one_project_of_twenty_at_most():
    named = sum(bool(off(two_people(FEWEST + seed % 20, seed=seed))) for seed in range(200))
    assert named <= 20
