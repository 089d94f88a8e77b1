"""Which of several pre-annotators is the cheapest to correct, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labelkit.domain.pose import Pose

Floats = NDArray[np.float64]

#: Resampled sets of images, and the share of them that an interval holds.
_SAMPLES, _SHARE = 2000, 0.95


class Interval(NamedTuple):
    """A mean over objects, and the 95 % interval of it."""

    mean: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether zero lies outside."""
        return self.low > 0 or self.high < 0

    def text(self) -> str:
        """For people: mean [low, high]."""
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"


def actions(shown: Pose, truth: Pose, length_px: float, tolerance: float) -> int:
    """What a person does until a pose is right: one action for each keypoint that is not.

    A present keypoint farther off than `tolerance` lengths is dragged, one that is not shown is
    placed, and one that is shown but absent is marked as absent.

    Args:
        shown: what the person sees first.
        truth: human keypoints; unknown ones count nothing.
        length_px: that the tolerance is a share of, usually the box's long side.
        tolerance: 0 ... 1.
    """
    apart = np.linalg.norm(shown.xy - truth.xy, axis=1)
    wrong = np.where(truth.present, ~shown.present | (apart > tolerance * length_px), shown.present)
    return int((wrong & truth.known).sum())


def mean_interval(values: ArrayLike, images: Sequence[str], seed: int) -> Interval:
    """The mean of values of objects, with a bootstrap interval over their images.

    The objects of an image stay together. The percentile interval is widened by sqrt(n / (n - 1)),
    because resampled means of n images spread that much less than means of new ones.

    Args:
        values: (N,).
        images: N ids of the image of each.
        seed: of the resampling.
    """
    found = np.asarray(values, dtype=np.float64)
    _, of = np.unique(np.asarray(images), return_inverse=True)
    count = int(of.max()) + 1
    sums, sizes = np.bincount(of, found), np.bincount(of)
    rng, means = np.random.default_rng(seed), np.empty(_SAMPLES)
    for sample in range(_SAMPLES):  # all of them at once would fill the memory
        drawn = rng.integers(0, count, count)
        means[sample] = sums[drawn].sum() / sizes[drawn].sum()
    mean, wider = float(found.mean()), np.sqrt(count / max(count - 1, 1))
    low, high = np.quantile(means, [(1 - _SHARE) / 2, (1 + _SHARE) / 2])
    return Interval(mean, mean - wider * (mean - low), mean + wider * (high - mean))


def chosen_by_scores(costs: ArrayLike, scores: ArrayLike) -> NDArray[np.int64]:
    """Which pre-annotator to take for each object, by what the scores of the others cost.

    The expected cost of an object is a line through cost against score of all other objects.

    Args:
        costs: (R, N) of R pre-annotators on N objects.
        scores: (R, N), 0 lost ... 1 certain.

    Returns:
        (N,) places of the cheapest by expectation.
    """
    cost, score = (np.asarray(each, dtype=np.float64) for each in (costs, scores))
    count = cost.shape[1]
    if count < 3:
        return np.full(count, int(cost.mean(axis=1).argmin()))
    # Sums without the object itself.
    rest = count - 1
    x, y = (each.sum(axis=1, keepdims=True) - each for each in (score, cost))
    xx, xy = ((score * each).sum(axis=1, keepdims=True) - score * each for each in (score, cost))
    spread = xx - x**2 / rest
    slope = np.where(spread > 1e-9, (xy - x * y / rest) / np.maximum(spread, 1e-9), 0.0)
    expected = y / rest + slope * (score - x / rest)
    return np.asarray(expected.argmin(axis=0), dtype=np.int64)
