"""From scores that rank to probabilities that can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Scores are kept this far from 0 and 1, where their log odds are infinite.
_EDGE = 1e-4
#: Pull towards the unchanged score, which decides where all of few samples agree.
_PRIOR = 1e-3


@dataclass(frozen=True, slots=True)
class Calibration:
    """Temperature scaling with an offset (Guo et al., ICML 2017; Platt 1999).

    Attributes:
        slope: 1 / temperature, a factor of the score's log odds.
        offset: added to them.
    """

    slope: float
    offset: float

    @classmethod
    def fit(cls, score: ArrayLike, correct: ArrayLike) -> Calibration:
        """The most likely calibration; without samples the score is unchanged.

        Args:
            score: (N,) in 0 ... 1.
            correct: (N,) bool.
        """
        from scipy.optimize import minimize
        from scipy.special import expit

        odds, right = _log_odds(score), np.asarray(correct, dtype=np.float64)
        if odds.shape != right.shape or odds.ndim != 1:
            raise ValueError(f"score and correct need (N,), got {odds.shape}, {right.shape}.")
        inputs = np.stack((odds, np.ones_like(odds)), axis=1)  # (N, 2)
        unchanged = np.array([1.0, 0.0])

        def surprise(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            """Negative log likelihood, which is convex, and its gradient."""
            known, change = inputs @ values, values - unchanged
            loss = np.logaddexp(0, known).sum() - right @ known + _PRIOR / 2 * (change @ change)
            return loss, inputs.T @ (expit(known) - right) + _PRIOR * change

        slope, offset = minimize(surprise, unchanged, jac=True, method="L-BFGS-B", tol=1e-12).x
        return cls(float(slope), float(offset))

    def apply(self, score: ArrayLike) -> NDArray[np.float64]:
        """(N,) probabilities in 0 ... 1 from (N,) scores in 0 ... 1."""
        from scipy.special import expit

        return np.asarray(expit(self.slope * _log_odds(score) + self.offset))


def _log_odds(score: ArrayLike) -> NDArray[np.float64]:
    from scipy.special import logit

    return np.asarray(logit(np.clip(np.asarray(score, dtype=np.float64), _EDGE, 1 - _EDGE)))
