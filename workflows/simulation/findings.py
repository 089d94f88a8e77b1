"""The numbers that a simulation is made for, each with its 95 % interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from labelkit.workflows.simulation.arms import OURS, SCRATCH, WITHOUT_TICKS
from labelkit.workflows.simulation.curves import Curve, Draw, History, curve, resampled

#: The lead number: minutes until this share of what labelling everything by hand delivers.
LEAD_SHARE = 0.9

#: Draws of the bootstrap.
DRAWS = 300

#: Histories by arm, one for each seed; curves likewise.
Histories = Mapping[str, Sequence[History]]
Curves = Mapping[str, Sequence[Curve]]


class Range(NamedTuple):
    """A number with the interval of a bootstrap over seeds and objects, NaN where unknown."""

    value: float
    low: float
    high: float


def curves_of(histories: Histories, draw: Draw | None = None) -> Curves:
    """The curves of all arms; with a `draw`, of its seeds and objects."""
    if draw is None:
        ones = histories[SCRATCH.name]
        draw = Draw(range(len(ones)), np.ones(len(ones[0].present)))
    return {
        arm: [curve(ones[n], draw.weight) for n in draw.seeds] for arm, ones in histories.items()
    }


def lead_level(curves: Curves) -> float:
    """The accuracy to reach: `LEAD_SHARE` of what labelling everything by hand delivers."""
    return LEAD_SHARE * float(np.mean([one.accuracy[-1] for one in curves[SCRATCH.name]]))


def minutes_to_lead(curves: Curves, arm: str) -> float:
    """Human minutes until `lead_level`, the mean over seeds."""
    level = lead_level(curves)
    return float(np.mean([one.first(level, one.minutes) for one in curves[arm]]))


def tick_worth(curves: Curves) -> float:
    """Clicks and drags that a tick spares at equal accuracy, the mean over accuracies.

    NaN without both arms, or where they reach no accuracy that the other does not begin with.
    """
    pairs = zip(curves.get(OURS.name, ()), curves.get(WITHOUT_TICKS.name, ()), strict=False)
    worth = []
    for ticked, other in pairs:
        lowest = max(ticked.accuracy[ticked.ticks > 0].min(), other.accuracy.min())
        levels = np.linspace(lowest, min(ticked.accuracy.max(), other.accuracy.max()), 22)[1:-1]
        spared = [other.first(a, other.clicks) - ticked.first(a, ticked.clicks) for a in levels]
        worth.append(np.mean(spared) / ticked.ticks[-1])
    return float(np.mean(worth)) if worth else float("nan")


def with_intervals(histories: Histories) -> dict[str, Any]:
    """Everything that has an interval.

    Returns:
        "minutes": `Range` by arm; "share": the same as a share of labelling from scratch; "worth":
        a `Range`, see `tick_worth`.
    """
    whole = curves_of(histories)
    first = histories[SCRATCH.name]
    drawn = [curves_of(histories, draw) for draw in resampled(first, DRAWS)]

    def ranged(number: Callable[[Curves], float]) -> Range:
        values = [number(one) for one in drawn]
        if not np.isfinite(values).all():
            return Range(number(whole), np.nan, np.nan)
        low, high = np.percentile(values, (2.5, 97.5))
        return Range(number(whole), float(low), float(high))

    def share(arm: str) -> Callable[[Curves], float]:
        return lambda one: minutes_to_lead(one, arm) / minutes_to_lead(one, SCRATCH.name)

    def minutes(arm: str) -> Callable[[Curves], float]:
        return lambda one: minutes_to_lead(one, arm)

    return {
        "minutes": {arm: ranged(minutes(arm)) for arm in histories},
        "share": {arm: ranged(share(arm)) for arm in histories},
        "worth": ranged(tick_worth),
    }
