"""Fix one keypoint, the rest follows: maps read again, or errors conditioned.

The exact sum-product of `labelkit.models.reading`, in numpy: the labelling page needs no torch.
What a human placed is certain: it moves its neighbours in the tree, and nothing moves it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labelkit.domain.geometry import apply_affine, invert_affine
from labelkit.domain.pose import ABSENT, Pose

#: Exponent of the maps, and least height of a cell; those of the network's own reading.
EVIDENCE, _LEAST = 2.0, 1e-4

#: Degrees of freedom of the errors of a pose: poses that are wrong altogether count little.
_FREEDOM = 3.0
#: Shares of the errors' covariances that may be left out: what spares most drags is taken.
_SHRINKAGES = (0.5, 0.8)
#: Least deviation of an error, in long sides of the box.
_LEAST_ERROR = 0.01
#: Following has to spare actions of people who accept either of these errors, in long sides.
TOLERANCES = (0.05, 0.1)
#: Drags are spared if their mean is so many standard errors above 0.
_CLEAR = 2.0
#: Fewer objects do not tell whether following pays, and more than so many take longer.
FEWEST_ERRORS, _MOST_ERRORS, _FOLDS = 20, 200, 5

Floats = NDArray[np.float64]


class PoseFollower:
    """Where keypoints are, by their maps, by a kinematic tree, and by the keypoints already placed.

    Args:
        edges: (K - 1, 2) parent and child of each edge, from keypoint 0 outwards.
        density: (K - 1, 2 h - 1, 2 w - 1) how likely each displacement of child minus parent is,
            in cells of (h, w) maps, none in the middle; not negative, about 1 at most.
        prior: exponent of the density between two keypoints that are not placed: how much poses
            count beside the maps.
        placed_prior: the same between a placed keypoint and its neighbour.
    """

    def __init__(
        self, edges: ArrayLike, density: ArrayLike, prior: float, placed_prior: float
    ) -> None:
        self._edges: list[tuple[int, int]] = [(int(a), int(b)) for a, b in np.asarray(edges)]
        self._density = np.asarray(density, dtype=np.float64)
        self._placed_prior = placed_prior
        rows, columns = self.size_hw
        # No displacement first: what leaves the map on one side wraps into the padding.
        tables = np.pad(self._density**prior, ((0, 0), (0, 1), (0, 1)))
        self._spectra = np.fft.rfft2(np.roll(tables, (1 - rows, 1 - columns), axis=(1, 2)))

    @property
    def size_hw(self) -> tuple[int, int]:
        """Rows and columns of the maps."""
        return (self._density.shape[1] + 1) // 2, (self._density.shape[2] + 1) // 2

    def __call__(self, maps: ArrayLike, to_cells: ArrayLike, placed: Pose) -> Floats:
        """Locations of all keypoints.

        Args:
            maps: (K, h, w) what the network says of one instance.
            to_cells: (2, 3) map from image pixels to cells, or its six numbers in a row.
            placed: by a human, in image pixels; unknown where no human placed anything. The map
                of an absent keypoint says nothing.

        Returns:
            (K, 2) in image pixels: placed keypoints exactly where they are, absent ones NaN.

        Raises:
            ValueError: see `beliefs`.
        """
        cells = np.where(placed.present[:, None], apply_affine(to_cells, placed.xy), np.nan)
        found = peaks(self.beliefs(maps, cells, placed.visibility == ABSENT))
        xy = apply_affine(invert_affine(to_cells), found)
        xy[placed.known] = np.nan
        xy[placed.present] = placed.xy[placed.present]
        return xy

    def beliefs(self, maps: ArrayLike, placed_xy: Floats, silent: NDArray[np.bool_]) -> Floats:
        """Marginals of all keypoints, each with a peak of 1.

        Args:
            maps: (K, h, w).
            placed_xy: (K, 2) in cells, perhaps outside the map; NaN where a keypoint is free.
            silent: (K,) whether a keypoint's map says nothing.

        Returns:
            (K, h, w); for a placed keypoint too, what its map and the others say of it.

        Raises:
            ValueError: if the maps are not of K keypoints and `size_hw`.
        """
        shape = (len(self._edges) + 1, *self.size_hw)
        if np.shape(maps) != shape:
            raise ValueError(f"The tree needs {shape} maps, not {np.shape(maps)}.")
        evidence = np.maximum(np.asarray(maps, dtype=np.float64), _LEAST) ** EVIDENCE
        evidence[silent] = 1.0
        evidence /= evidence.max(axis=(1, 2), keepdims=True)
        heard: list[dict[int, Floats]] = [{} for _ in evidence]  # messages by who sent them

        def send(edge: int, sender: int, receiver: int) -> None:
            upward = sender == self._edges[edge][1]
            if np.isfinite(placed_xy[sender]).all():
                message = self._from_point(edge, placed_xy[sender], upward)
            else:
                belief = evidence[sender].copy()
                for other, said in heard[sender].items():
                    if other != receiver:
                        belief *= said
                message = self._from_map(edge, belief / belief.max(), upward)
            heard[receiver][sender] = _peak_one(message)

        for edge, (parent, child) in reversed(list(enumerate(self._edges))):
            send(edge, child, parent)
        for edge, (parent, child) in enumerate(self._edges):
            send(edge, parent, child)
        for belief, messages in zip(evidence, heard, strict=True):
            for said in messages.values():
                belief *= said
        return _peak_one(evidence)

    def _from_map(self, edge: int, belief: Floats, upward: bool) -> Floats:
        """(h, w) where the far end of an edge may be, given beliefs of the near end."""
        (rows, columns), spectrum = self.size_hw, self._spectra[edge]
        size = (2 * rows, 2 * columns)
        moved = np.fft.rfft2(belief, s=size) * (spectrum.conj() if upward else spectrum)
        return np.fft.irfft2(moved, s=size)[:rows, :columns]

    def _from_point(self, edge: int, xy: Floats, upward: bool) -> Floats:
        """(h, w) where the far end of an edge may be, given the (x, y) of the near end."""
        steps = []
        for length, start in zip(self.size_hw, xy[::-1], strict=True):
            away = np.arange(length) + 0.5 - start
            at = np.clip((-away if upward else away) + length - 1, 0, 2 * length - 2)
            # Linear between the two nearest cells of the table.
            steps.append(np.maximum(1 - np.abs(at[:, None] - np.arange(2 * length - 1)), 0.0))
        down, across = steps
        message: Floats = (down @ self._density[edge] @ across.T) ** self._placed_prior
        return message


def peaks(maps: Floats) -> Floats:
    """The peak of each map, between cells, as `labelkit.workflows.network.decode.refine` reads it.

    Args:
        maps: (K, h, w), not negative.

    Returns:
        (K, 2) in cells; (0, 0) is the outer corner of the first cell.
    """
    count, *size_hw = maps.shape
    place = np.stack(np.unravel_index(maps.reshape(count, -1).argmax(axis=1), size_hw))  # (2, K)
    index = np.arange(count)

    def height(row: NDArray[np.intp], column: NDArray[np.intp]) -> Floats:
        return np.log(np.maximum(maps[index, row, column], 1e-10))

    xy = []
    for axis in (1, 0):
        step = np.eye(2, dtype=int)[axis][:, None]
        last = size_hw[axis] - 1
        inside = (place[axis] > 0) & (place[axis] < last)
        before = height(*np.where(inside, place - step, place))
        after = height(*np.where(inside, place + step, place))
        curvature = np.minimum(before - 2 * height(*place) + after, -1e-6)
        shift = np.clip(0.5 * (before - after) / curvature, -0.5, 0.5)
        xy.append(place[axis] + 0.5 + shift)
    return np.stack(xy, axis=1)


def _peak_one(maps: Floats) -> Floats:
    peak_one: Floats = np.maximum(maps / maps.max(axis=(-2, -1), keepdims=True), 1e-9)
    return peak_one


class ErrorFollower:
    """Where keypoints of a shown pose are, given those that a human placed, by errors alone.

    Errors of a model that is wrong about one keypoint go together. Those of the others are expected
    where a Gaussian of errors, conditioned on those of the placed keypoints, has its mean.

    Args:
        covariance: (2 K, 2 K) of the errors of x and y of keypoint 0, then of keypoint 1, ..., in
            long sides of the box.
    """

    def __init__(self, covariance: ArrayLike) -> None:
        self._covariance = np.asarray(covariance, dtype=np.float64)

    @classmethod
    def learn(cls, errors: ArrayLike) -> ErrorFollower | None:
        """Learn what errors go together; None where following spares no drags for certain.

        That is decided on objects that were left out of learning: people drag the worst keypoint
        until none is farther off than either of `TOLERANCES`.

        Args:
            errors: (N, K, 2) from the shown to the true place, in long sides of the box; NaN where
                a keypoint is absent, unknown or not shown.
        """
        error = np.asarray(errors, dtype=np.float64)[:_MOST_ERRORS]
        if len(error) < FEWEST_ERRORS or not _known(error).any(axis=0).all():
            return None
        fold = np.arange(len(error)) % _FOLDS
        as_shown = drags_until_right(error, None)
        spared = np.empty((len(_SHRINKAGES), len(error)))
        for row, shrinkage in enumerate(_SHRINKAGES):
            for out in range(_FOLDS):
                one = cls(_covariance(error[fold != out], shrinkage))
                spared[row, fold == out] = -drags_until_right(error[fold == out], one)
        spared += as_shown
        best = int(spared.mean(axis=1).argmax())
        mean, deviation = spared[best].mean(), spared[best].std()
        if mean <= _CLEAR * deviation / np.sqrt(len(error)):
            return None
        return cls(_covariance(error, _SHRINKAGES[best]))

    def __call__(self, placed_errors: Floats) -> Floats:
        """(K, 2) expected errors, in long sides, given (K, 2) of placed keypoints, else NaN."""
        seen = np.repeat(_known(placed_errors), 2)
        result = placed_errors.ravel().copy()
        if seen.any():
            within = self._covariance[np.ix_(seen, seen)]
            across = self._covariance[np.ix_(~seen, seen)]
            result[~seen] = across @ np.linalg.solve(within, result[seen])
        else:
            result[:] = 0.0
        return result.reshape(-1, 2)


def _known(points: Floats) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(points).all(axis=-1))


def _covariance(errors: Floats, shrinkage: float) -> Floats:
    """(2 K, 2 K) second moments around 0 of (N, K, 2) errors, weighted as of a t distribution."""
    known = _known(errors)
    length = np.where(known, np.linalg.norm(np.nan_to_num(errors), axis=2), np.nan)
    typical = np.maximum(np.nanmedian(length, axis=0), _LEAST_ERROR)
    squared = np.nansum((length / typical) ** 2, axis=1) / np.maximum(known.sum(axis=1), 1)
    weight = (_FREEDOM + 1) / (_FREEDOM + squared)
    flat, there = np.nan_to_num(errors).reshape(len(errors), -1), np.repeat(known, 2, axis=1)
    count = np.einsum("n,ni,nj->ij", weight, there, there)
    moments = np.einsum("n,ni,nj->ij", weight, flat, flat) / np.maximum(count, 1e-9)
    moments += _LEAST_ERROR**2 * np.eye(len(moments))
    shrunk = (1 - shrinkage) * moments + shrinkage * np.diag(np.diag(moments))
    values, vectors = np.linalg.eigh(shrunk)  # with keypoints missing it may not be positive
    return np.asarray((vectors * np.maximum(values, _LEAST_ERROR**2 / 10)) @ vectors.T)


def drags_until_right(errors: Floats, follower: ErrorFollower | None) -> Floats:
    """(N,) drags of the worst keypoint until a pose is right, on average over `TOLERANCES`.

    Args:
        errors: (N, K, 2) as in `ErrorFollower.learn`.
        follower: moves the others after each; None if they stay.
    """
    counts = np.zeros((len(TOLERANCES), len(errors)))
    for number, error in enumerate(errors):
        known = _known(error)
        for row, tolerance in enumerate(TOLERANCES):
            placed, expected = np.full(error.shape, np.nan), np.zeros(error.shape)
            for _ in range(len(error)):
                off = np.linalg.norm(error - expected, axis=1)
                off[~known | _known(placed)] = 0.0
                worst = int(off.argmax())
                if off[worst] <= tolerance:
                    break
                counts[row, number] += 1
                placed[worst] = expected[worst] = error[worst]
                if follower is not None:
                    expected = follower(placed)
    return np.asarray(counts.mean(axis=0))
