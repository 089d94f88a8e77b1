"""What corrections cost, and how sure a comparison is."""

from __future__ import annotations

import numpy as np
import pytest

from labelkit.domain.pose import human_pose
from labelkit.metrics.referee import actions, chosen_by_scores, mean_interval


def pose(*rows):
    """x, y, v of each keypoint."""
    table = np.array(rows, dtype=float)
    return human_pose(table[:, :2], table[:, 2].astype(int))


TRUTH = pose((10, 10, 2), (20, 10, 1), (0, 0, 0), (30, 30, 2), (0, 0, -1))


def test_each_keypoint_that_is_not_right_costs_one_action():
    # Exact; 5 px off; shown but absent; not shown; the last one is unknown.
    shown = pose((10, 10, 2), (25, 10, 2), (1, 1, 2), (0, 0, 0), (5, 5, 2))
    assert actions(shown, TRUTH, 100.0, 0.1) == 2
    assert actions(shown, TRUTH, 100.0, 0.05) == 2
    assert actions(shown, TRUTH, 100.0, 0.04) == 3


def test_from_nothing_every_present_keypoint_costs_one():
    assert actions(pose(*[(0, 0, 0)] * 5), TRUTH, 100.0, 0.1) == 3


def test_equal_values_have_an_interval_without_width():
    assert mean_interval([2, 2, 2], ["a", "b", "c"], 0) == (2, 2, 2)


def test_objects_of_one_image_count_together():
    values = np.tile([0.0, 4.0], 20)
    alone = mean_interval(values, [str(n) for n in range(40)], 0)
    # 0 and 4 always come together: every image has the mean 2.
    together = mean_interval(values, [str(n // 2) for n in range(40)], 0)
    assert alone.low < 2 < alone.high
    assert together == pytest.approx((2, 2, 2))


@pytest.mark.parametrize("objects", [1, 3])
def test_the_interval_of_a_difference_covers_in_simulation(objects):
    rng = np.random.default_rng(0)
    images, runs = 30, 400
    covered = 0
    for run in range(runs):
        # Of two pre-annotators: errors that images share, skewed as counts are. Truly apart by 1.
        hard = rng.gamma(1.0, 2.0, images).repeat(objects)
        first, second = (rng.poisson(hard + extra, images * objects) for extra in (0.0, 1.0))
        ids = np.arange(images).repeat(objects).astype(str).tolist()
        found = mean_interval(second - first, ids, run)
        covered += found.low <= 1 <= found.high
    assert 0.92 <= covered / runs <= 0.985


def test_each_object_goes_to_the_one_whose_score_promises_least_work():
    scores = np.array([[0.9, 0.8, 0.7, 0.2, 0.1, 0.3], [0.5] * 6])
    costs = np.array([[0, 1, 1, 6, 6, 5], [3] * 6])
    assert chosen_by_scores(costs, scores).tolist() == [0, 0, 0, 1, 1, 1]


def test_scores_that_tell_nothing_leave_the_cheapest():
    costs = np.array([[2, 3, 2, 3, 2, 3], [3, 4, 3, 4, 3, 4]])
    assert chosen_by_scores(costs, np.full((2, 6), 0.5)).tolist() == [0] * 6


def test_of_two_objects_nothing_can_be_learned():
    assert chosen_by_scores([[1, 1], [0, 1]], [[0.1, 0.9], [0.5, 0.5]]).tolist() == [1, 1]
