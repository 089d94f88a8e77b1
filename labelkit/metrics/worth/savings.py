"""What pre-annotation saves: objects with it against objects without, which chance chose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labelkit.metrics.referee import Interval
from labelkit.metrics.sampling import student

#: With fewer objects in an arm nothing is concluded: intervals rest on the central limit theorem.
ENOUGH = 30

#: The confidence sequence is narrowest at so many objects in all: a control arm of about 50.
NARROWEST = 500

_ERROR = 0.05
_SAMPLES = 1000
_NORMAL = 1.959964

Floats = NDArray[np.float64]


class Saving(NamedTuple):
    """What an object costs without pre-annotation, less what it costs with it.

    Attributes:
        objects: (with, without) pre-annotation.
        means: of an object, (with, without).
        once: the difference with its 95 % interval for one look at it.
        always: with an interval that all looks at it share, however often one looks.
    """

    objects: tuple[int, int]
    means: tuple[float, float]
    once: Interval
    always: Interval


def saving(shown: ArrayLike, blank: ArrayLike) -> Saving | None:
    """Compare the two arms; None if one of them has fewer than two objects.

    Args:
        shown: (N,) costs of objects with pre-annotation.
        blank: (M,) of those without.
    """
    arms = [np.asarray(costs, dtype=np.float64) for costs in (shown, blank)]
    counts = np.array([len(costs) for costs in arms], dtype=np.float64)
    if counts.min() < 2:
        return None
    mean = [float(costs.mean()) for costs in arms]
    once, always = half_widths(counts, np.array([costs.var(ddof=1) for costs in arms]))
    saved = mean[1] - mean[0]
    return Saving(
        (len(arms[0]), len(arms[1])),
        (mean[0], mean[1]),
        Interval(saved, saved - float(once), saved + float(once)),
        Interval(saved, saved - float(always), saved + float(always)),
    )


def half_widths(counts: Floats, variances: Floats) -> tuple[Floats, Floats]:
    """Half of the 95 % interval of a difference of means, for one look and for all looks together.

    For one look it is Welch's. For all it is the asymptotic confidence sequence of Waudby-Smith,
    Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence
    sequences" (Annals of Statistics 2024), theorem 2.2 with the rho of their equation for a chosen
    time, for the influence function of a difference of means; widened like Welch's, because
    variances are estimated.

    Args:
        counts: (2, ...) objects of each arm, at least 2.
        variances: (2, ...) of their costs.
    """
    parts = variances / counts
    square = parts.sum(axis=0)
    error = np.sqrt(square)
    freedom = square**2 / np.maximum((parts**2 / (counts - 1)).sum(axis=0), 1e-300)
    quantile = student(np.maximum(freedom, 1.0))
    wide = -2 * np.log(_ERROR)
    time = counts.sum(axis=0) * (wide + np.log(wide) + 1) / NARROWEST  # t rho^2
    boundary = np.sqrt(2 * (time + 1) / time * np.log(np.sqrt(time + 1) / _ERROR))
    return quantile * error, quantile / _NORMAL * boundary * error


def anchoring(
    labels: ArrayLike, blank: ArrayLike, shown: ArrayLike, objects: Sequence[str], seed: int
) -> Interval:
    """Share of a prediction's error that stays in labels made from it: 0 none, 1 all of it.

    Each point has two labels, and the person of one of them saw the prediction: that label is
    truth + share * (prediction - truth) + noise, the other is truth + noise, as much of it. With
    noise q and the sums D = |shown - blank|^2, N = (labels - blank)(shown - blank) and
    V = |labels - blank|^2, on average N = share (D - q) + q and V = share^2 (D - q) + 2 q.

    Args:
        labels: (N, 2) of the person who saw the prediction, in comparable lengths.
        blank: (N, 2) of the one who did not.
        shown: (N, 2) predicted.
        objects: N ids of the object of each point.
        seed: of the bootstrap.

    Returns:
        with an interval from a bootstrap of objects; NaN where people differ as much as the
        predictions.
    """
    label, empty, predicted = (np.asarray(it, dtype=np.float64) for it in (labels, blank, shown))
    moved, away = label - empty, predicted - empty
    _, of = np.unique(np.asarray(objects), return_inverse=True)
    each = (it.sum(axis=1) for it in (away * away, moved * away, moved * moved))
    products = np.stack([np.bincount(of, it) for it in each])  # D, N, V of each object: (3, M)
    count = products.shape[1]
    drawn = np.random.default_rng(seed).integers(0, count, (_SAMPLES, count))
    pulls = _pull(products[:, drawn].sum(axis=2))
    if np.isnan(pulls).mean() > _ERROR:
        return Interval(float(_pull(products.sum(axis=1))), np.nan, np.nan)
    low, high = np.nanquantile(pulls, [_ERROR / 2, 1 - _ERROR / 2])
    return Interval(float(_pull(products.sum(axis=1))), float(low), float(high))


def _pull(sums: Floats) -> Floats:
    """The share from (3, ...) sums D, N and V, by the smaller root q of their equations."""
    d, n, v = sums
    half = n - v / 2 - d  # q^2 + 2 half q + v d - n^2 = 0
    noise = -half - np.sqrt(np.maximum(half**2 - (v * d - n**2), 0.0))
    real = d - noise
    return np.where(real > 1e-9 * d, (n - noise) / np.where(real > 1e-9 * d, real, 1.0), np.nan)
