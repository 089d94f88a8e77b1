"""How far apart two people place the same keypoints, and who is systematically off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Fewer objects give no interval of 95 % for a median.
FEWEST = 6
#: Two places this close, in lengths of the object, are the same for PCK@0.1.
CLOSE = 0.1
_ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Spread:
    """How far apart two people place a keypoint: what no network can be expected to undercut.

    Attributes:
        objects: that two people labelled, each without the other's answer. Without any, the other
            numbers mean nothing.
        apart: median distance of both, in lengths of the object.
        interval: of that median, at least 95 %; () with fewer than `FEWEST` objects.
        close: 0 ... 1, the share within `CLOSE`: PCK@0.1 of one person against the other.
    """

    objects: int
    apart: float
    interval: tuple[float, ...]
    close: float


@dataclass(frozen=True, slots=True)
class Bias:
    """A keypoint that one person places elsewhere than the others do, time after time.

    Attributes:
        annotator: name of the person.
        keypoint: its name; "" for all keypoints together.
        axis: 0 to the right, 1 down.
        offset: mean, in lengths of the object.
        low, high: its interval. All intervals hold together in 95 % of projects (Bonferroni).
        objects: that the person and another one labelled.
    """

    annotator: str
    keypoint: str
    axis: int
    offset: float
    low: float
    high: float
    objects: int


def spreads(xy: Floats) -> tuple[Spread, list[Spread]]:
    """Of an object's keypoints in the median, and of each of the K keypoints.

    Args:
        xy: (A, N, K, 2) places by A people, in lengths of the object; NaN where someone
            placed nothing. The first two people who placed a keypoint are compared.
    """
    if len(xy) < 2:
        xy = np.full((2, 0, *xy.shape[2:]), np.nan)
    order = np.argsort(~np.isfinite(xy[..., :1]), axis=0, kind="stable")[:2]
    first, second = np.take_along_axis(xy, order, axis=0)
    apart = np.linalg.norm(first - second, axis=-1)  # (N, K)
    objects = [row[np.isfinite(row)] for row in apart]
    middle = np.array([np.median(row) for row in objects if len(row)])
    known = apart[np.isfinite(apart)]
    return _spread(middle, known), [_spread(column, column) for column in _known(apart.T)]


def biases(xy: Floats, annotators: Sequence[str], keypoints: Sequence[str]) -> list[Bias]:
    """Who places what elsewhere than the mean of the others: intervals without 0, largest first.

    Args:
        xy: as in `spreads`.
        annotators, keypoints: A and K names.
    """
    from scipy.stats import t  # slow to import

    known = np.isfinite(xy)
    others = known.sum(axis=0) - known
    placed = np.where(known, xy, 0.0)
    rest = (placed.sum(axis=0) - placed) / np.maximum(others, 1)
    off = np.where(known & (others > 0), xy - rest, np.nan)  # (A, N, K, 2)
    tried = []
    for annotator, mine in zip(annotators, off, strict=True):
        whole = np.array([_mean(row) for row in mine])  # (N, 2)
        columns = (whole, *mine.transpose(1, 0, 2))
        for keypoint, values in zip(("", *keypoints), columns, strict=True):
            for axis, column in enumerate(_known(values.T)):
                if len(column) >= FEWEST:
                    tried.append((annotator, keypoint, axis, column))
    found = []
    for annotator, keypoint, axis, column in tried:
        count, mean = len(column), float(column.mean())
        error = float(column.std(ddof=1)) / count**0.5
        reach = float(t.ppf(1 - _ALPHA / 2 / len(tried), count - 1)) * error
        if abs(mean) > reach:
            bias = Bias(annotator, keypoint, axis, mean, mean - reach, mean + reach, count)
            found.append(bias)
    return sorted(found, key=lambda item: -abs(item.offset))


def _spread(values: Floats, each: Floats) -> Spread:
    """Of (n,) medians or distances, and the distances that may be close."""
    count, ordered = len(values), np.sort(values)
    if not count:
        return Spread(0, 0.0, (), 0.0)
    interval: tuple[float, ...] = ()
    if count >= FEWEST:
        # From the r-th lowest to the r-th highest: David and Nagaraja, Order Statistics, 7.1.
        below = np.cumsum([comb(count, k) / 2**count for k in range(count // 2)])
        rank = int(np.searchsorted(below, _ALPHA / 2, side="right"))
        interval = float(ordered[rank - 1]), float(ordered[count - rank])
    return Spread(count, float(np.median(values)), interval, float((each <= CLOSE).mean()))


def _known(rows: Floats) -> list[Floats]:
    return [row[np.isfinite(row)] for row in rows]


def _mean(places: Floats) -> Floats:
    """(2,) of (K, 2) places; NaN where there are none."""
    known = places[np.isfinite(places[:, 0])]
    return known.mean(axis=0) if len(known) else np.full(2, np.nan)
