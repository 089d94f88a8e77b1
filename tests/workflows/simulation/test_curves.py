"""Curves of a history of three objects with two keypoints each, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from labelkit.workflows.simulation.arms import OURS, SCRATCH, WITHOUT_TICKS
from labelkit.workflows.simulation.curves import Curve, Draw, History, curve, resampled
from labelkit.workflows.simulation.findings import (
    curves_of,
    lead_level,
    minutes_to_lead,
    tick_worth,
    with_intervals,
)


def scratch() -> History:
    """All three are labelled right, for a minute each."""
    return History(
        present=np.array([2, 2, 2]),
        objects=np.array([0, 1, 2]),
        seconds=np.array([60.0, 60.0, 60.0]),
        clicks=np.array([2.0, 2.0, 2.0]),
        ticks=np.zeros(3),
        labelled=np.array([2, 2, 2]),
        rounds=np.array([], dtype=np.int64),
        predicted=np.zeros((0, 3), dtype=np.int64),
    )


def trained() -> History:
    """One is ticked, another labelled; then a round predicts 0, 1 and 2 right; one is corrected."""
    return History(
        present=np.array([2, 2, 2]),
        objects=np.array([0, 1, 0]),
        seconds=np.array([6.0, 60.0, 30.0]),
        clicks=np.array([0.0, 2.0, 1.0]),
        ticks=np.array([2.0, 0.0, 0.0]),
        labelled=np.array([-1, 2, 2]),
        rounds=np.array([2]),
        predicted=np.array([[0, 1, 2]]),
    )


def test_without_a_round_only_what_is_labelled_counts():
    found = curve(scratch(), np.ones(3))
    assert found.accuracy == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert found.minutes == pytest.approx([0, 1, 2, 3])
    assert found.clicks == pytest.approx([0, 2, 4, 6])


def test_a_round_delivers_what_no_one_has_labelled():
    # After the round: object 0 has 0 right, object 1 is labelled with 2, object 2 predicted with 2.
    found = curve(trained(), np.ones(3))
    assert found.accuracy == pytest.approx([0, 0, 4 / 6, 1])
    assert found.minutes == pytest.approx([0, 0.1, 1.1, 1.6])
    assert found.ticks == pytest.approx([0, 2, 2, 2])


def test_objects_that_count_twice_cost_twice():
    found = curve(trained(), np.array([2.0, 1.0, 0.0]))
    assert found.accuracy == pytest.approx([0, 0, 1 / 3, 1])
    assert found.minutes == pytest.approx([0, 0.2, 1.2, 2.2])


def test_costs_until_an_accuracy_and_the_accuracy_at_a_time():
    found = curve(scratch(), np.ones(3))
    assert found.first(0.5, found.minutes) == 2
    assert np.isnan(found.first(1.1, found.minutes))
    assert (found.at(0), found.at(1.5), found.at(99)) == pytest.approx((0, 1 / 3, 1))


def test_the_lead_number_is_the_time_to_nine_tenths_of_labelling_all_by_hand():
    curves = curves_of({SCRATCH.name: [scratch()], OURS.name: [trained()]})
    assert lead_level(curves) == pytest.approx(0.9)
    assert minutes_to_lead(curves, SCRATCH.name) == 3
    assert minutes_to_lead(curves, OURS.name) == pytest.approx(1.6)


def test_a_tick_is_worth_the_clicks_that_it_spares():
    def line(accuracy: list[float], clicks: list[float], ticks: list[float]) -> Curve:
        return Curve(*(np.array(v, dtype=float) for v in (accuracy, clicks, clicks, ticks)))

    # 10 ticks first; from then on each level costs 5 clicks less than without them.
    with_ticks = line([0, 0.5, 1], [0, 0, 5], [0, 10, 10])
    without = line([0, 0.5, 1], [0, 5, 10], [0, 0, 0])
    curves = {OURS.name: [with_ticks], WITHOUT_TICKS.name: [without]}
    assert tick_worth(curves) == pytest.approx(5 / 10)
    assert np.isnan(tick_worth({OURS.name: [with_ticks]}))


def test_a_seed_that_is_drawn_twice_counts_twice():
    curves = curves_of({OURS.name: [scratch(), trained()]}, Draw([1, 1], np.ones(3)))
    assert [one.minutes[-1] for one in curves[OURS.name]] == pytest.approx([1.6, 1.6])


def test_intervals_hold_the_number_and_seeds_are_drawn_with_objects():
    histories = {SCRATCH.name: [scratch()] * 2, OURS.name: [trained()] * 2}
    draws = resampled(histories[SCRATCH.name], 5)
    assert all(len(draw.seeds) == 2 and draw.weight.sum() == 3 for draw in draws)
    found = with_intervals(histories)
    share = found["share"][OURS.name]
    assert share.value == pytest.approx(1.6 / 3)
    assert share.low <= share.value <= share.high
    assert found["share"][SCRATCH.name] == (1, 1, 1)
