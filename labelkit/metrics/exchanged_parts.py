"""Keypoints that two objects of an image have probably exchanged, such as hands of two people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelkit.metrics.label_errors import FEWEST, PLANTED, Labels, Predictor
from labelkit.metrics.pose_density import PoseDensity
from labelkit.metrics.promised_precision import Mixture, threshold

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Exchange:
    """Two objects that have probably exchanged keypoints.

    Attributes:
        rows: of both objects.
        keypoints: indices of what they exchanged.
        wrong: 0 right ... 1 wrong: the probability.
    """

    rows: tuple[int, int]
    keypoints: tuple[int, ...]
    wrong: float


def find_exchanges(
    labels: Labels, frames: Floats, neighbours: Rows, precision: float, seed: int
) -> list[Exchange]:
    """Exchanged keypoints, most certain first; none among fewer than `FEWEST` neighbours.

    Each is a hypothesis like those of `find_errors`: one keypoint, or all whose exchange makes both
    poses likelier.

    Args:
        labels: of N objects.
        frames: (N, 3) middle of the box, x and y, and its long side, in pixels.
        neighbours: (E, 2) rows of objects near each other in one image.
        precision: 0 ... 1, the share of suspicions that is expected to be right.
        seed: of the planted errors.
    """
    if len(neighbours) < FEWEST:
        return []
    random = np.random.default_rng(seed)
    predictors = [Predictor(labels, number) for number in range(len(labels.predicted))]
    scene = _Scene(frames, PoseDensity.fit(labels.xy), predictors)
    one, two = labels.xy[neighbours[:, 0]], labels.xy[neighbours[:, 1]]
    scores, chosen = scene.scores(neighbours, one, two)
    usable = np.isfinite(scores)
    sample = random.permutation(np.flatnonzero(usable))[:PLANTED]
    if len(sample) < FEWEST:
        return []
    there = np.isfinite(one[sample, :, 0]) & np.isfinite(two[sample, :, 0])
    picked = np.array([random.choice(np.flatnonzero(row)) for row in there])
    part = np.arange(there.shape[1]) == picked[:, None]
    altered = scene.exchanged(neighbours[sample], one[sample], two[sample], part)
    planted, _ = scene.scores(neighbours[sample], *altered)
    mixture = Mixture.fit(scores[usable], planted)
    least = threshold(scores[usable], mixture, precision)
    found = [
        Exchange(
            (int(neighbours[e, 0]), int(neighbours[e, 1])),
            tuple(np.flatnonzero(chosen[e]).tolist()),
            float(mixture.wrong(scores[e])),
        )
        for e in np.flatnonzero(usable & (scores >= least)).tolist()
    ]
    return sorted(found, key=lambda item: (-item.wrong, item.rows))


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """What makes poses of neighbours likely."""

    frames: Floats
    usual: PoseDensity
    predictors: Sequence[Predictor]

    def exchanged(
        self, pairs: Rows, one: Floats, two: Floats, part: NDArray[np.bool_]
    ) -> tuple[Floats, Floats]:
        """(E, K, 2) poses of both objects of E pairs once they exchange (E, K) keypoints."""
        middle, side = self.frames[:, :2], self.frames[:, 2]

        def moved(xy: Floats, of: Rows, to: Rows) -> Floats:
            pixels = xy * side[of, None, None] + middle[of, None]
            return np.asarray((pixels - middle[to, None]) / side[to, None, None])

        i, j = pairs[:, 0], pairs[:, 1]
        mine, theirs = moved(two, j, i), moved(one, i, j)
        return np.where(part[..., None], mine, one), np.where(part[..., None], theirs, two)

    def scores(self, pairs: Rows, one: Floats, two: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """(E,) scores of the likeliest exchange, -inf without any; (E, K) what it exchanges."""
        there = np.isfinite(one[..., 0]) & np.isfinite(two[..., 0])
        before = self.usual.log_density(one) + self.usual.log_density(two)
        everything = self.exchanged(pairs, one, two, there)
        told = np.zeros(there.shape)
        for predictor in self.predictors:
            for column, (now, then) in enumerate(zip((one, two), everything, strict=True)):
                rows = pairs[:, column]
                away = [predictor.gains(predictor.logs(xy, rows))[1] for xy in (now, then)]
                told += away[0] - away[1]

        def gain(part: NDArray[np.bool_]) -> Floats:
            mine, theirs = self.exchanged(pairs, one, two, part)
            after = self.usual.log_density(mine) + self.usual.log_density(theirs)
            return np.asarray(after - before + (told * part).sum(axis=1))

        single = np.eye(there.shape[1], dtype=bool)
        each = np.stack([gain(there & column) for column in single], axis=1)
        each[~there] = -np.inf
        several = each > 0
        alone = there & (np.arange(there.shape[1]) == each.argmax(axis=1)[:, None])
        together, best = gain(several), each.max(axis=1)
        takes_several = (several.sum(axis=1) > 1) & (together > best)
        return np.where(takes_several, together, best), np.where(
            takes_several[:, None], several, alone
        )
