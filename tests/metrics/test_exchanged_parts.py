"""Two objects side by side exchange a keypoint."""

from __future__ import annotations

import numpy as np

from labelkit.metrics.exchanged_parts import find_exchanges
from labelkit.metrics.label_errors import Labels

COUNT = 120
#: Nose, left and right paw, left and right foot, tail, from the middle of the box.
PLACES = np.array([(0, -0.4), (-0.3, -0.2), (0.3, -0.2), (-0.3, 0.2), (0.3, 0.2), (0, 0.4)])
#: Boxes of 100 pixels, of which each second one overlaps the one before by half.
FRAMES = np.array([(300.0 * (n // 2) + 50 * (n % 2), 0.0, 100.0) for n in range(COUNT)])
NEIGHBOURS = np.array([(n, n + 1) for n in range(0, COUNT, 2)])


def exchanged(columns: list[int]) -> Labels:
    """Labels of which objects 8 and 9 have exchanged keypoints."""
    noise = np.random.default_rng(0).normal(scale=0.02, size=(COUNT, 6, 2))
    pixels = (PLACES + noise) * 100 + FRAMES[:, None, :2]
    pixels[[8, 9], :] = np.where(
        np.isin(np.arange(6), columns)[:, None], pixels[[9, 8]], pixels[[8, 9]]
    )
    xy = (pixels - FRAMES[:, None, :2]) / 100
    return Labels(xy, np.zeros((0, COUNT, 6, 2)), np.zeros((0, COUNT, 6)), (), ())


def found(labels: Labels) -> list[tuple[tuple[int, int], tuple[int, ...]]]:
    exchanges = find_exchanges(labels, FRAMES, NEIGHBOURS, 0.8, 0)
    return [(item.rows, item.keypoints) for item in exchanges]


def test_neighbours_that_exchanged_nothing_are_left_alone():
    assert found(exchanged([])) == []


def test_one_exchanged_keypoint_and_two_are_named():
    assert found(exchanged([2])) == [((8, 9), (2,))]
    assert found(exchanged([2, 4])) == [((8, 9), (2, 4))]


def test_too_few_neighbours_accuse_none():
    labels = exchanged([2])
    assert find_exchanges(labels, FRAMES, NEIGHBOURS[:10], 0.8, 0) == []
    assert find_exchanges(labels, FRAMES, NEIGHBOURS[:0], 0.8, 0) == []
