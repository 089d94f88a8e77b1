"""Planted label errors are found, and right labels are left alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from labelkit.metrics.label_errors import (
    FEWEST,
    JUMP,
    PAIR_SWAP,
    WHOLE_SWAP,
    Labels,
    exchanged_sides,
    find_errors,
    no_maps,
)
from labelkit.metrics.pose_density import PoseDensity, log_t
from labelkit.metrics.promised_precision import Mixture, threshold

#: Nose, left and right paw, left and right foot, tail, from the middle of the box.
PLACES = np.array([(0, -0.4), (-0.3, -0.2), (0.3, -0.2), (-0.3, 0.2), (0.3, 0.2), (0, 0.4)])
PAIRS = ((1, 2), (3, 4))


def make_labels(count: int = 120, seed: int = 0) -> Labels:
    """Animals that are all alike, up to .02 of the box's long side; no one predicts them."""
    noise = np.random.default_rng(seed).normal(scale=0.02, size=(count, 6, 2))
    nothing = np.zeros((0, count, 6))
    return Labels(PLACES + noise, nothing[..., None] * np.ones(2), nothing, (), PAIRS)


def altered(labels: Labels, row: int, columns: list[int], to: object) -> Labels:
    xy = labels.xy.copy()
    xy[row, columns] = to
    return replace(labels, xy=xy)


def predicted(labels: Labels, *places: np.ndarray) -> Labels:
    """The labels, and predictors without maps that are equally sure of all these places."""
    count = len(places)
    sure = np.ones((count, *places[0].shape[:2]))
    return replace(labels, predicted=np.stack(places), confidence=sure, maps=(no_maps,) * count)


def found(labels: Labels) -> dict[int, tuple[str, tuple[int, ...]]]:
    return {item.row: (item.kind, item.keypoints) for item in find_errors(labels, 0.8, 0)}


def test_nothing_is_suspicious_where_all_labels_are_alike():
    assert found(make_labels()) == {}


def test_swaps_and_jumps_are_told_apart():
    labels = make_labels()
    xy = labels.xy
    labels = altered(labels, 3, [1, 2], xy[3, [2, 1]])
    labels = altered(labels, 40, [1, 2, 3, 4], xy[40, [2, 1, 4, 3]])
    labels = altered(labels, 77, [5], (0.3, -0.3))
    assert found(labels) == {
        3: (PAIR_SWAP, (1, 2)),
        40: (WHOLE_SWAP, (1, 2, 3, 4)),
        77: (JUMP, (5,)),
    }


def test_keypoints_may_be_missing():
    labels = make_labels()
    xy = labels.xy.copy()
    xy[::3, 0] = np.nan
    xy[1::4, 3] = np.nan
    xy[77, 5] = (0.3, -0.3)
    assert found(replace(labels, xy=xy)) == {77: (JUMP, (5,))}


def test_a_pair_of_which_one_side_is_never_there_accuses_none():
    labels = make_labels()
    labels.xy[:, PAIRS[0][0]] = np.nan
    assert found(labels) == {}


def test_without_pairs_jumps_are_found():
    labels = altered(make_labels(), 77, [5], (0.3, -0.3))
    assert found(replace(labels, pairs=())) == {77: (JUMP, (5,))}


def test_only_predictions_tell_sides_where_animals_face_either_way():
    labels = make_labels()
    truth = labels.xy.copy()
    truth[::2] = truth[::2][:, [0, 2, 1, 4, 3, 5]]
    noise = np.random.default_rng(1).normal(scale=0.02, size=truth.shape)
    xy = truth.copy()
    xy[7] = xy[7, [0, 2, 1, 4, 3, 5]]
    labels = replace(labels, xy=xy)
    assert found(labels) == {}
    # One predictor may have exchanged the sides itself.
    one = predicted(labels, truth + noise)
    assert found(one) == {}
    two = predicted(labels, truth + noise, truth - noise)
    assert found(two) == {7: (WHOLE_SWAP, (1, 2, 3, 4))}


def test_maps_tell_sides_where_predictions_do_not():
    labels = make_labels()
    truth = labels.xy.copy()
    truth[::2] = truth[::2][:, [0, 2, 1, 4, 3, 5]]
    xy = truth.copy()
    xy[7] = xy[7, [0, 2, 1, 4, 3, 5]]

    def maps(xy: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Of Gaussians of .05 around the truth."""
        places = truth[rows], truth[rows][:, [0, 2, 1, 4, 3, 5]]
        apart = np.stack([((xy - place) ** 2).sum(axis=-1) for place in places])
        return np.exp(-apart / (2 * 0.05**2)) / (2 * np.pi * 0.05**2)

    noise = np.random.default_rng(1).normal(scale=0.02, size=truth.shape)
    nowhere = np.zeros_like(truth)
    labels = predicted(replace(labels, xy=xy), nowhere, truth + noise)
    assert found(labels) == {}
    assert found(replace(labels, maps=(maps, no_maps))) == {7: (WHOLE_SWAP, (1, 2, 3, 4))}


def test_the_surer_a_predictor_the_rarer_it_exchanges_sides():
    gap = np.array([0.0, -1.0, 2.0, 3.0, -4.0, 5.0, 6.0, 7.0])[:, None]
    sure, exchanged = exchanged_sides(gap)
    assert sure[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    # Of the 7 that tell sides 2 are exchanged, of the 6 surest 1, of the 3 surest none: (2 + 1) /
    # (7 + 2), then 2/8, 2/7 and 2/6, which are not less than 2/8, and 1/5, 1/4 and 1/3 likewise.
    assert exchanged[:, 0] == pytest.approx([3 / 9, 3 / 9, *[2 / 8] * 3, *[1 / 5] * 3])


def test_a_predictor_that_fails_on_an_object_accuses_no_label():
    labels = make_labels()
    places = labels.xy + np.random.default_rng(1).normal(scale=0.02, size=labels.xy.shape)
    places[9] += 0.6
    assert found(predicted(labels, places)) == {}


def test_too_few_labels_accuse_none():
    labels = make_labels(FEWEST - 1)
    assert find_errors(altered(labels, 3, [5], (0.3, -0.3)), 0.8, 0) == []


def test_the_same_labels_give_the_same_suspicions():
    labels = altered(make_labels(), 77, [5], (0.3, -0.3))
    assert find_errors(labels, 0.8, 0) == find_errors(labels, 0.8, 0)


def test_log_t_of_one_degree_is_the_cauchy_density():
    assert float(log_t(np.array(1.0), 0.0, 1, 1.0)) == pytest.approx(np.log(1 / (2 * np.pi)))


def test_density_of_a_keypoint_given_others_is_that_of_all_over_that_of_the_others():
    xy = make_labels().xy
    usual = PoseDensity.fit(xy)
    without = xy.copy()
    without[:, 2] = np.nan
    given = usual.log_given_others(xy)[:, 2]
    assert given == pytest.approx(usual.log_density(xy) - usual.log_density(without))
    assert np.isnan(usual.log_given_others(without)[:, 2]).all()
    assert usual.log_density(np.full((1, 6, 2), np.nan)).tolist() == [0.0]


def test_a_few_wrong_poses_hardly_move_the_density():
    xy = make_labels().xy
    wrong = xy.copy()
    wrong[:4] += 5.0
    moved = PoseDensity.fit(wrong).mean - PoseDensity.fit(xy).mean
    assert np.abs(moved).max() < 0.02


def test_the_share_of_errors_is_what_is_left_far_up():
    random = np.random.default_rng(0)
    # The log likelihood ratio of N(3, 1) to N(-3, 1) is 6 x: that of these scores is 3 scores.
    planted = 2 * random.normal(3, 1, 2000)
    own = 2 * np.where(
        random.random(5000) < 0.03, random.normal(3, 1, 5000), random.normal(-3, 1, 5000)
    )
    mixture = Mixture.fit(own, planted)
    assert 0.015 < mixture.share <= 0.03
    least = threshold(own, mixture, 0.8)
    assert 0 < least < 6
    assert np.mean(mixture.wrong(own[own >= least])) >= 0.8
    assert threshold(own, Mixture(1e-9, 1.0, 0.0), 0.8) == np.inf
