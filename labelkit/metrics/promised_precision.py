"""From which score on a suspicion is right as often as promised.

The scores of a project's labels are compared with those of labels into which errors were planted.
Far up, among scores that only errors have, the ratio of both densities is the share of errors in
the project; below, it grows exponentially, as it does for scores that are log likelihood ratios:

    own(s) / planted(s) = share + exp(-(slope s + offset))

Of labels with score s, share / (share + exp(...)) are errors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

#: Deviations of the priors of slope (1, a true log likelihood ratio) and offset (0).
_SLOPE, _OFFSET = 0.3, 3.0
#: The share is as low as data allow whose log likelihood is this much below the best: the lower
#: end of an interval of 68 %.
_BELOW = 0.5
#: Shares of scores between which the tail of right labels is fitted: above are errors, too.
_TAIL = (0.7, 0.95)


@dataclass(frozen=True, slots=True)
class Mixture:
    """The share of errors among scores, and how fast right labels get rare.

    Attributes:
        share: 0 ... 1, of labels that are wrong in the way that was planted.
        slope, offset: of the log likelihood ratio, see above.
    """

    share: float
    slope: float
    offset: float

    def wrong(self, scores: ArrayLike) -> Floats:
        """(N,) 0 right ... 1 wrong: the probability that a label with a score is wrong."""
        ratio = self.slope * np.asarray(scores, dtype=np.float64) + self.offset
        right = np.exp(-np.clip(ratio, -50.0, 50.0))
        return self.share / (self.share + right)

    @classmethod
    def fit(cls, own: ArrayLike, planted: ArrayLike) -> Mixture:
        """The most cautious mixture that fits nearly as well as the best one.

        Args:
            own: (N,) scores of the project's labels.
            planted: (M,) scores of some of them with an error.
        """
        from scipy.optimize import minimize  # slow to import

        a, b = np.asarray(own, dtype=np.float64), np.asarray(planted, dtype=np.float64)
        size = np.log(len(a) / len(b))

        def loss(x: Floats, log_share: float) -> float:
            slope, offset = np.exp(x[0]), x[1]

            def log_ratio(s: Floats) -> Floats:
                right = -(slope * s + offset)
                return size + np.logaddexp(log_share, right) - np.logaddexp(0, log_share + right)

            fit = np.logaddexp(0, -log_ratio(a)).sum() + np.logaddexp(0, log_ratio(b)).sum()
            prior = (x[0] / _SLOPE) ** 2 + (offset / _OFFSET) ** 2
            return float(fit + prior / 2)

        found, start = [], np.array([0.0, 0.0])
        shares = np.geomspace(0.1 / len(a), 0.5, 40)
        for share in shares:
            best = minimize(loss, start, args=(np.log(share),), method="BFGS")
            start = best.x
            found.append((best.fun, float(np.exp(best.x[0])), float(best.x[1])))
        losses = np.array([item[0] for item in found])
        first = int(np.flatnonzero(losses <= losses.min() + _BELOW)[0])
        return cls(float(shares[first]), *found[first][1:])


def threshold(scores: ArrayLike, mixture: Mixture, precision: float) -> float:
    """The lowest score from which on two estimates of precision are at least what is promised.

    One is that of the mixture. The other takes the scores of right labels as exponential beyond
    `_TAIL`, which is fitted below the highest ones, and rejects as Benjamini and Hochberg do
    (Journal of the Royal Statistical Society B 57, 1995). Infinity if there is none.

    Args:
        scores: (N,) of the project's labels.
        mixture: of these scores.
        precision: 0 ... 1.
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))[::-1]
    rank = np.arange(1, len(ordered) + 1)
    low, high = np.quantile(ordered, _TAIL)
    slope = np.log((1 - _TAIL[0]) / (1 - _TAIL[1])) / max(high - low, 1e-9)
    chance = (1 - _TAIL[0]) * np.exp(-slope * np.clip(ordered - low, 0.0, None))
    limits = []
    for kept in (
        np.cumsum(mixture.wrong(ordered)) / rank >= precision,
        chance <= (1 - precision) * rank / len(ordered),
    ):
        enough = np.flatnonzero(kept)
        limits.append(float(ordered[enough[-1]]) if len(enough) else float("inf"))
    return max(limits)
