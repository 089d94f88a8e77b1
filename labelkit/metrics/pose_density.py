"""How usual a labelled pose is, learned from poses of which some are wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Degrees of freedom: how heavy the tails are, and so how little a wrong pose counts.
_FREEDOM = 4.0
#: What is left open in every direction, as a share of the box's long side.
_OPEN = 0.005
_STEPS = 12


@dataclass(frozen=True, slots=True, eq=False)
class PoseDensity:
    """A multivariate t distribution of poses, in which keypoints may be missing.

    Places are relative to the middle of the box, in lengths of its long side.

    Attributes:
        mean: (2 K,) x and y of keypoint 0, then of keypoint 1, ...
        scatter: (2 K, 2 K).
    """

    mean: Floats
    scatter: Floats

    @classmethod
    def fit(cls, xy: Floats) -> PoseDensity:
        """Estimate it by expectation maximization: Liu and Rubin, ML estimation of the t
        distribution using EM and its extensions, Statistica Sinica 5 (1995), section 3.

        Args:
            xy: (N, K, 2); NaN where a keypoint is missing.
        """
        flat = xy.reshape(len(xy), 2 * xy.shape[1])
        known = np.isfinite(flat)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, flat, 0.0).sum(axis=0) / count
        spread = np.where(known, flat - mean, 0.0).var(axis=0)
        open_ = _OPEN**2 * np.eye(len(mean))
        found = cls(mean, np.diag(spread) + open_)
        patterns = list(_patterns(known))
        for _ in range(_STEPS):
            filled = flat.copy()
            weight, unsure = np.ones(len(flat)), np.zeros_like(open_)
            for seen, rows in patterns:
                off = flat[np.ix_(rows, seen)] - found.mean[seen]
                across = found.scatter[np.ix_(seen, ~seen)]
                solved = np.linalg.solve(found.scatter[np.ix_(seen, seen)], off.T).T
                distance = (off * solved).sum(axis=1)
                weight[rows] = (_FREEDOM + seen.sum()) / (_FREEDOM + distance)
                filled[np.ix_(rows, ~seen)] = found.mean[~seen] + solved @ across
                lost = np.linalg.solve(found.scatter[np.ix_(seen, seen)], across)
                left = found.scatter[np.ix_(~seen, ~seen)] - across.T @ lost
                unsure[np.ix_(~seen, ~seen)] += len(rows) * left
            mean = weight @ filled / weight.sum()
            off = filled - mean
            found = cls(mean, ((off * weight[:, None]).T @ off + unsure) / len(flat) + open_)
        return found

    def log_density(self, xy: Floats) -> Floats:
        """(N,) of the keypoints that are there; 0 where none is.

        Args:
            xy: (N, K, 2); NaN where a keypoint is missing.
        """
        return self._parts(xy, with_keypoints=False)[0]

    def log_given_others(self, xy: Floats) -> Floats:
        """(N, K) log density of each keypoint's place, given those of the others; NaN if missing.

        Args:
            xy: as in `log_density`.
        """
        return self._parts(xy, with_keypoints=True)[1]

    def _parts(self, xy: Floats, *, with_keypoints: bool) -> tuple[Floats, Floats]:
        flat = xy.reshape(len(xy), 2 * xy.shape[1])
        whole, each = np.zeros(len(xy)), np.full(xy.shape[:2], np.nan)
        for seen, rows in _patterns(np.isfinite(flat)):
            precision = np.linalg.inv(self.scatter[np.ix_(seen, seen)])
            volume = -np.linalg.slogdet(precision)[1]
            off = flat[np.ix_(rows, seen)] - self.mean[seen]
            pull = off @ precision  # (rows, dims)
            distance = (off * pull).sum(axis=1)
            whole[rows] = log_t(distance, volume, seen.sum())
            if not with_keypoints:
                continue
            # Of a block of the precision matrix follows the distribution given all the others.
            k = np.arange(len(precision) // 2)
            blocks = precision.reshape(len(k), 2, len(k), 2)[k, :, k]  # (keypoints, 2, 2)
            pulled = pull.reshape(len(rows), -1, 2)
            own = np.einsum("nki,kij,nkj->nk", pulled, np.linalg.inv(blocks), pulled)
            rest = distance[:, None] - own
            others = log_t(rest, volume + np.linalg.slogdet(blocks)[1], seen.sum() - 2)
            each[np.ix_(rows, seen[::2])] = whole[rows, None] - others
        return whole, each


def log_t(distance: Floats, volume: Floats | float, dims: int, freedom: float = _FREEDOM) -> Floats:
    """Log density of a multivariate t distribution.

    Args:
        distance: squared Mahalanobis distance from its middle.
        volume: log determinant of its scatter matrix.
        dims: number of dimensions.
        freedom: degrees of freedom.
    """
    from scipy.special import gammaln  # slow to import

    constant = gammaln((freedom + dims) / 2) - gammaln(freedom / 2)
    constant -= dims / 2 * np.log(freedom * np.pi)
    tail: Floats = (freedom + dims) / 2 * np.log1p(distance / freedom)
    return np.asarray(constant - volume / 2 - tail)


def _patterns(known: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.int64]]]:
    """Each pattern of (N, D) known numbers, and the rows that have it, unless it knows none."""
    patterns, which = np.unique(known, axis=0, return_inverse=True)
    order = np.argsort(which.ravel(), kind="stable")
    starts = np.cumsum(np.bincount(which.ravel(), minlength=len(patterns)))[:-1]
    for seen, rows in zip(patterns, np.split(order, starts)[: len(patterns)], strict=True):
        if seen.any():
            yield seen, rows
