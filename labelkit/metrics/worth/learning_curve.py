"""What more labels bring: a power law with an offset, fitted to the accuracy of rounds.

Errors fall as a * n ** -b + c with the number n of labelled objects (Hestness et al., "Deep
Learning Scaling is Predictable, Empirically", 2017, equation 1). A project has one to five rounds
for these three numbers, so they have priors, and the answer is a distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labelkit.metrics.referee import Interval

Floats = NDArray[np.float64]

#: Prior of the exponent b, log-normal: 95 % of it lie between .1 and 1.6. Hestness et al. measured
#: .07 to .35 for networks from random weights; what labelkit measured falls with .4 to .8
#: (benchmarks/README.md, "From random weights").
_EXPONENT, _SPREAD = 0.4, 0.7

#: Two trainings on the same labels differ by one of these (standard deviations of PCK), equally
#: likely before the rounds are seen.
_TRAINING = (0.005, 0.01, 0.02)

#: Values of each of the three numbers, and draws from their distribution.
_VALUES, _DRAWS = 40, 4000


class LearningCurve:
    """Accuracy against the labelled percentage, as a distribution of curves.

    The prior of the offset c is uniform between 0 and the error of the last round, that of this
    error uniform between 0 and 1. The likelihood is a multivariate t distribution with one degree
    of freedom less than images. Its covariance has the standard errors of the rounds, clustered by
    image, and the mean correlation of the rounds, because all are scored on the same objects.

    Args:
        percents: (R,) labelled percentage of each round, above 0.
        right: (R, N) share of keypoints that each round has right, of each object of the dev set.
        images: N ids of the image of each object; at least two images.
    """

    def __init__(self, percents: ArrayLike, right: ArrayLike, images: Sequence[str]) -> None:
        percent, error = np.asarray(percents, dtype=np.float64), 1 - np.asarray(right)
        last, means = int(percent.argmax()), error.mean(axis=1)
        covariance, freedom = _covariance(error, images)
        place = (np.arange(_VALUES) + 0.5) / _VALUES
        normal = NormalDist(np.log(_EXPONENT), _SPREAD)
        exponents = np.exp([normal.inv_cdf(share) for share in place])
        reach = 8 * np.hypot(np.sqrt(covariance[last, last]), max(_TRAINING))
        low, high = np.clip([means[last] - reach, means[last] + reach], 0, 1).tolist()
        grid = np.meshgrid(np.linspace(low, high, _VALUES), place, exponents)
        now, share, b = (each.reshape(-1, 1) for each in grid)
        off = means - now * (share + (1 - share) * (percent / percent[last]) ** -b)
        chance = np.zeros(len(off))
        for training in _TRAINING:
            scale = covariance + training**2 * np.eye(len(percent))
            far = (off @ np.linalg.inv(scale) * off).sum(axis=1) / freedom
            density = (1 + far) ** (-(freedom + len(percent)) / 2)
            chance += density / np.sqrt(np.linalg.det(scale))
        upto = np.cumsum(chance)
        drawn = np.searchsorted(upto, upto[-1] * (np.arange(_DRAWS) + 0.5) / _DRAWS)
        self._percent = percent[last]
        self._now, self._share, self._b = now[drawn], share[drawn], b[drawn]

    def right(self, percent: float) -> Interval:
        """The expected accuracy of a round at a percentage, with its 95 % interval."""
        return _interval(1 - self._error(percent))

    def gain(self, percent: float, more: float) -> Interval:
        """What `more` percent beyond a percentage are expected to add, with its 95 % interval."""
        return _interval(self._error(percent) - self._error(percent + more))

    def _error(self, percent: float) -> Floats:
        falls = (percent / self._percent) ** -self._b
        return np.asarray(self._now * (self._share + (1 - self._share) * falls))


def _interval(values: Floats) -> Interval:
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))


def _covariance(error: Floats, images: Sequence[str]) -> tuple[Floats, int]:
    """(R, R) of the rounds' mean errors, and its degrees of freedom."""
    _, of = np.unique(np.asarray(images), return_inverse=True)
    count, rounds = int(of.max()) + 1, len(error)
    sums = np.zeros((rounds, count))
    np.add.at(sums.T, of, (error - error.mean(axis=1, keepdims=True)).T)
    found = sums @ sums.T * count / (count - 1) / error.shape[1] ** 2
    spread = np.sqrt(np.diag(found))
    both = np.outer(spread, spread)
    pairs = ~np.eye(rounds, dtype=bool) & (both > 0)
    shared = float((found[pairs] / both[pairs]).mean().clip(0, 1)) if pairs.any() else 0.0
    return np.where(np.eye(rounds, dtype=bool), found, shared * both), count - 1
