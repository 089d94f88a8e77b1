"""What holds for all objects, estimated from some that were drawn with known probabilities."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: The normal distribution's 97.5 % point.
_NORMAL = 1.959964

Floats = NDArray[np.float64]


class Estimate(NamedTuple):
    """A mean over all objects of a pool.

    Attributes:
        mean: estimated.
        low, high: of its 95 % interval; NaN where there are too few draws to tell.
    """

    mean: float
    low: float
    high: float


def lure(values: ArrayLike, probabilities: ArrayLike, pool: int) -> Estimate:
    """The mean over a pool, whatever strategy drew from it: the levelled unbiased risk estimator.

    Farquhar, Gal and Rainforth, "On Statistical Bias In Active Learning", ICLR 2021, equation 9.

    Args:
        values: (M,) of the objects drawn, in order.
        probabilities: (M,) of each draw, from the objects that were left; of no object 0.
        pool: number of objects before the first draw, N.
    """
    value = np.asarray(values, dtype=np.float64)
    weight, drawn = _weights(probabilities, pool)
    if not len(value):
        return Estimate(np.nan, np.nan, np.nan)
    return _estimate(float((weight * value).mean()), drawn * value, drawn)


def hajek(values: ArrayLike, probabilities: ArrayLike, pool: int) -> Estimate:
    """The same mean with weights that sum to 1: Hajek's ratio.

    Its bias vanishes with the number of draws, and its error is smaller where values are far from 0
    and draws have unequal probabilities.

    Args:
        values, probabilities, pool: see `lure`.
    """
    value = np.asarray(values, dtype=np.float64)
    weight, drawn = _weights(probabilities, pool)
    if not len(value):
        return Estimate(np.nan, np.nan, np.nan)
    mean = float((weight * value).sum() / weight.sum())
    return _estimate(mean, drawn * (value - mean) / weight.mean(), drawn)


def _weights(probabilities: ArrayLike, pool: int) -> tuple[Floats, Floats]:
    """(M,) weights v of equation 9, and the part of each that depends on what was drawn."""
    probability = np.asarray(probabilities, dtype=np.float64)
    count = len(probability)
    left = pool - np.arange(count)  # before each draw
    later = np.where(left > 1, (pool - count) / np.maximum(left - 1, 1), 0.0)
    drawn = later / (left * probability)
    return 1 + drawn - later, drawn


def _estimate(mean: float, parts: Floats, drawn: Floats) -> Estimate:
    """The interval of a mean of M parts, which vary given what was drawn before each."""
    freedom = drawn.sum() ** 2 / np.maximum((drawn**2).sum(), 1e-300) - 1
    if not drawn.any():  # everything was drawn
        return Estimate(mean, mean, mean)
    if freedom < 1:
        return Estimate(mean, np.nan, np.nan)
    error = float(student(freedom)) * float(np.sqrt((parts**2).sum())) / len(parts)
    return Estimate(mean, mean - error, mean + error)


def student(freedom: ArrayLike) -> Floats:
    """The t distribution's 97.5 % point (Abramowitz and Stegun, 26.7.5, two terms).

    Args:
        freedom: (...) degrees of freedom, at least 1.
    """
    z, degrees = _NORMAL, np.asarray(freedom, dtype=np.float64)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return np.asarray(z + first / degrees + second / degrees**2)
