"""Another skeleton's keypoints as ours, learned from objects that have both.

Each of our keypoints is an affine combination of a few foreign ones: a weighted mean whose weights
sum to 1 and may be negative. It therefore moves, turns and grows with the foreign pose. The fit
starts at one foreign keypoint and leaves it only as far as the labels show (a ridge), and foreign
poses that are wrong altogether count little (iteratively reweighted).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labelkit.errors import InputError

Floats = NDArray[np.float64]

#: Foreign keypoints that one of ours may use: those nearest to it.
_NEAREST = 24
#: How far weights may be expected to leave the start: the deviation of a Gaussian prior.
_FREEDOM = 0.5
#: Rounds of reweighting, and how many deviations off a keypoint counts half.
_ROUNDS, _OUTLIER = 8, 1.8
#: Least deviation, as a share of a pose's size, so that a perfect fit does not divide by zero.
_LEAST = 1e-3
_FOLDS = 5
#: A foreign model that knows a keypoint has at most this share of the error without it.
_TELLS = 0.9
#: Objects that are enough to find the nearest keypoints.
_ENOUGH = 50


@dataclass(frozen=True, slots=True)
class Adapter:
    """A mapping from a foreign skeleton to ours.

    Attributes:
        start: (K,) foreign keypoint at which each of ours starts; -1 where nothing is known of it.
        error: (K,) median distance to the label of an object that was left out of the fit, as a
            share of the foreign pose's size (see `sizes`); NaN with fewer than two objects.
        unadapted: (K,) the same for a fixed place in the foreign pose's frame, which needs no
            foreign keypoint in particular.
        left_out: (N, K, 2) in pixels, keypoints of each object by a fit that left it out; NaN
            where nothing is known.
    """

    start: NDArray[np.int64]
    error: Floats
    unadapted: Floats
    left_out: Floats
    _foreign: Floats
    _ours: Floats
    _fixed: NDArray[np.int64]
    _fits: dict[bytes, tuple[Floats, NDArray[np.int64]]] = field(default_factory=dict)

    @property
    def reached(self) -> NDArray[np.bool_]:
        """(K,) whether the foreign keypoints tell more of one of ours than where the pose is."""
        return (self.start >= 0) & ~(self.error > _TELLS * self.unadapted)

    def __call__(self, foreign: ArrayLike) -> Floats:
        """Our keypoints of foreign poses.

        Where foreign keypoints are missing, the mapping is learned again from the others.

        Args:
            foreign: (N, F, 2) in pixels; NaN where a keypoint is missing.

        Returns:
            (N, K, 2) in pixels; NaN where nothing is known.
        """
        poses = np.asarray(foreign, dtype=np.float64)
        result = np.full((len(poses), len(self.start), 2), np.nan)
        there = _there(poses)
        for pattern in np.unique(there, axis=0):
            if pattern.any():
                rows = (there == pattern).all(axis=1)
                weights, start = self._fit(pattern)
                adapted = np.einsum("kf,nfx->nkx", weights, poses[rows][:, pattern])
                adapted[:, start < 0] = np.nan
                result[rows] = adapted
        return result

    def _fit(self, pattern: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.int64]]:
        key = pattern.tobytes()
        if key not in self._fits:
            columns = np.cumsum(pattern) - 1
            fixed = np.where((self._fixed >= 0) & pattern[self._fixed], columns[self._fixed], -1)
            self._fits[key] = _weights(self._foreign[:, pattern], self._ours, fixed)
        return self._fits[key]


def learn_adapter(
    foreign: ArrayLike,
    ours: ArrayLike,
    foreign_names: Sequence[str] = (),
    our_names: Sequence[str] = (),
) -> Adapter:
    """Learn how our keypoints follow from foreign ones, without a table and without names.

    A keypoint starts at the foreign one with the same name, else at the one that lies nearest to it
    (median over the objects).

    Args:
        foreign: (N, F, 2) poses in pixels; NaN where a keypoint is missing.
        ours: (N, K, 2) labels of the same objects; NaN where a keypoint is absent or unknown.
        foreign_names: F names, or none.
        our_names: K names, or none.

    Raises:
        InputError: if the shapes do not fit each other.
    """
    theirs, labels = np.asarray(foreign, dtype=np.float64), np.asarray(ours, dtype=np.float64)
    if theirs.ndim != 3 or labels.ndim != 3 or len(theirs) != len(labels) or not theirs.shape[1]:
        raise InputError(
            f"An adapter needs poses (N, F, 2) and labels (N, K, 2), "
            f"not {theirs.shape} and {labels.shape}."
        )
    place = {name: index for index, name in enumerate(foreign_names)}
    fixed = np.array([place.get(name, -1) for name in our_names] or [-1] * labels.shape[1])
    error, unadapted, left_out = _left_out(theirs, labels, fixed)
    start = _weights(theirs, labels, fixed)[1]
    return Adapter(start, error, unadapted, left_out, theirs, labels, fixed)


def sizes(poses: ArrayLike) -> Floats:
    """(N,) the size of poses (N, F, 2): root mean square distance of keypoints to their mean.

    NaN for a pose without keypoints; missing ones are NaN.
    """
    return _frames(np.asarray(poses, dtype=np.float64))[1][:, 0, 0]


def _there(points: Floats) -> NDArray[np.bool_]:
    """(...) which of the points (..., 2) are known."""
    return np.asarray(np.isfinite(points).all(axis=-1))


def _frames(poses: Floats) -> tuple[Floats, Floats]:
    """(N, 1, 2) means and (N, 1, 1) sizes of poses with missing keypoints."""
    there = _there(poses)[..., None]
    count = np.maximum(there.sum(axis=1, keepdims=True), 1)
    centre = np.where(there, poses, 0.0).sum(axis=1, keepdims=True) / count
    square = np.where(there, (poses - centre) ** 2, 0.0).sum(axis=(1, 2), keepdims=True) / count
    centre[np.isnan(poses).all(axis=(1, 2))] = np.nan
    return centre, np.sqrt(square)


def _weights(
    foreign: Floats, ours: Floats, fixed: NDArray[np.int64]
) -> tuple[Floats, NDArray[np.int64]]:
    """(K, F) weights of a fit, rows sum to 1, and the (K,) starts."""
    centre, size = _frames(foreign)
    usable = np.isfinite(centre[:, 0, 0]) & (size[:, 0, 0] > 0)
    frame = (centre[usable], size[usable])
    theirs, labels = ((each[usable] - frame[0]) / frame[1] for each in (foreign, ours))
    keypoints, columns = ours.shape[1], foreign.shape[1]
    nearest = np.argsort(_distances(theirs, labels), axis=1, kind="stable")
    known = np.asarray(_there(labels).any(axis=0))
    start = np.where(fixed >= 0, fixed, np.where(known, nearest[:, 0], -1))
    weights = np.zeros((keypoints, columns))
    weights[np.arange(keypoints), start] = 1.0
    if known.any():
        first = np.where(start < 0, nearest[:, 0], start)[:, None]
        others = nearest[nearest != first].reshape(keypoints, -1)
        used = np.hstack([first, others])[:, :_NEAREST]
        moved = _ridge(theirs[:, used], labels)
        np.add.at(weights, (np.arange(keypoints)[:, None], used), moved * known[:, None])
    return weights, start


def _distances(theirs: Floats, labels: Floats) -> Floats:
    """(K, F) median distance of each of our keypoints to each foreign one; inf where unknown."""
    step = -(-len(labels) // _ENOUGH)
    few = theirs[::step]
    apart = [np.linalg.norm(few - each[::step, None], axis=2) for each in labels.swapaxes(0, 1)]
    return np.stack([_lower_median(each) for each in apart])


def _ridge(used: Floats, labels: Floats) -> Floats:
    """(K, M) what to add to the weights of the used foreign keypoints, of which the start is first.

    Args:
        used: (N, K, M, 2) in the frame of each foreign pose.
        labels: (N, K, 2) in the same frame.
    """
    there = _there(used)[..., None]
    middle = np.where(there, used, 0.0).sum(axis=2, keepdims=True)
    # A missing keypoint lies in the middle of the others: it adds nothing.
    centred = np.where(there, used - middle / np.maximum(there.sum(axis=2, keepdims=True), 1), 0.0)
    wanted = labels - used[:, :, 0]
    counts = _there(wanted)
    wanted = np.where(counts[..., None], wanted, 0.0)
    added = np.zeros(used.shape[1:3])
    for _ in range(_ROUNDS):
        apart = np.linalg.norm(wanted - np.einsum("nkmx,km->nkx", centred, added), axis=2)
        typical = _lower_median(np.where(counts, apart, np.nan))
        deviation = np.clip(typical, _LEAST, 1.0)
        weight = counts / (1.0 + (apart / deviation / _OUTLIER) ** 2) / (1.44 * deviation**2)
        gram = np.einsum("nk,nkmx,nkpx->kmp", weight, centred, centred, optimize=True)
        gram += np.eye(used.shape[2]) / _FREEDOM**2
        pull = np.einsum("nk,nkmx,nkx->km", weight, centred, wanted, optimize=True)
        added = np.linalg.solve(gram, pull[..., None])[..., 0]
    return added - added.mean(axis=1, keepdims=True)


def _left_out(
    foreign: Floats, ours: Floats, fixed: NDArray[np.int64]
) -> tuple[Floats, Floats, Floats]:
    """(K,) median errors of the fit and of a fixed place, for objects left out of both.

    And the (N, K, 2) places of that fit.
    """
    errors, places = np.full((2, *ours.shape[:2]), np.nan), np.full(ours.shape, np.nan)
    centre, size = _frames(foreign)
    folds = min(_FOLDS, len(ours))
    for out in range(folds if folds > 1 else 0):
        left = np.arange(len(ours)) % folds == out
        rest = ~left
        framed = (ours[rest] - centre[rest]) / size[rest]
        place = _lower_median(framed.reshape(len(framed), -1)).reshape(-1, 2)
        weights, start = _weights(foreign[rest], ours[rest], fixed)
        filled = np.where(np.isfinite(foreign[left]), foreign[left], centre[left])
        adapted = np.einsum("kf,nfx->nkx", weights, filled)
        adapted[:, start < 0] = np.nan
        places[left] = adapted
        for row, found in enumerate((adapted, centre[left] + size[left] * place)):
            errors[row][left] = np.linalg.norm(found - ours[left], axis=2) / size[left, :, 0]
    medians = _lower_median(errors.swapaxes(0, 1).reshape(len(ours), -1))
    medians[np.isinf(medians)] = np.nan
    return medians[: ours.shape[1]], medians[ours.shape[1] :], places


def _lower_median(values: Floats) -> Floats:
    """(D,) lower medians over the known rows of (N, D); inf where all are NaN."""
    if not len(values):
        return np.full(values.shape[1], np.inf)
    ordered = np.sort(np.where(np.isnan(values), np.inf, values), axis=0)
    middle = np.maximum(np.isfinite(ordered).sum(axis=0) - 1, 0) // 2
    return ordered[middle, np.arange(values.shape[1])]
