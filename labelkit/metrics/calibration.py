"""From scores that rank to probabilities that can be believed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Scores are kept this far from 0 and 1, where their logarithm ends.
_EDGE = 1e-4
#: Pull towards the score as it is: it decides where all or none of few samples are correct.
_PRIOR = 1e-3


@dataclass(frozen=True, slots=True)
class Calibration:
    """Temperature scaling with an offset (Guo et al., ICML 2017; Platt 1999).

    Attributes:
        slope: 1 / temperature, of the score's log odds.
        offset: added to them.
    """

    slope: float
    offset: float

    @classmethod
    def fit(cls, score: ArrayLike, correct: ArrayLike) -> Calibration:
        """The most likely one; without samples the score stays as it is.

        Args:
            score: (N,) in 0 ... 1.
            correct: (N,) bool.
        """
        odds, right = _log_odds(score), np.asarray(correct, dtype=np.float64)
        if odds.shape != right.shape or odds.ndim != 1:
            raise ValueError(f"score and correct want (N,), got {odds.shape}, {right.shape}.")
        inputs = np.stack((odds, np.ones_like(odds)), axis=1)  # (N, 2)
        start = np.array([1.0, 0.0])
        chosen = start.copy()

        def surprise(values: NDArray[np.float64]) -> float:
            known = inputs @ values
            return float(
                np.logaddexp(0, known).sum()
                - right @ known
                + _PRIOR / 2 * ((values - start) ** 2).sum()
            )

        for _ in range(100):  # Newton's method; the objective is convex
            probability = _logistic(inputs @ chosen)
            slope = inputs.T @ (probability - right) + _PRIOR * (chosen - start)
            weight = probability * (1 - probability)
            curvature = (inputs * weight[:, None]).T @ inputs + _PRIOR * np.eye(2)
            step = np.linalg.solve(curvature, slope)
            if np.abs(step).max() < 1e-9:
                break
            before = surprise(chosen)
            while np.abs(step).max() >= 1e-9 and surprise(chosen - step) > before:
                step /= 2  # a whole one may lead far beyond the bottom, and on from there
            chosen = chosen - step
        return cls(float(chosen[0]), float(chosen[1]))

    def apply(self, score: ArrayLike) -> NDArray[np.float64]:
        """(N,) probabilities in 0 ... 1 from (N,) scores in 0 ... 1."""
        return _logistic(self.slope * _log_odds(score) + self.offset)


def _log_odds(score: ArrayLike) -> NDArray[np.float64]:
    value = np.clip(np.asarray(score, dtype=np.float64), _EDGE, 1 - _EDGE)
    return np.log(value / (1 - value))


def _logistic(value: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-np.clip(value, -50, 50)))
