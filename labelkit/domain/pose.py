"""Where the keypoints of one instance are, and whether they can be seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labelkit.domain.instance import Box
from labelkit.errors import InputError

#: Visibility of a keypoint. UNKNOWN is the only one that no person gives: the skeleton got the
#: keypoint after the answer, or a model has not learned it.
UNKNOWN, ABSENT, OCCLUDED, VISIBLE = -1, 0, 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """Keypoints of one instance, in upright image pixels.

    Attributes:
        xy: (K, 2) float64, x then y; (0, 0) is the outer corner of the top-left pixel. Absent
            and unknown keypoints hold (0, 0).
        visibility: (K,) int64, -1 unknown, 0 absent, 1 occluded, 2 visible (the COCO code).
        score: (K,) float64 in [0, 1]; 1 where a human placed the point.

    Raises:
        InputError: on wrong shapes, a visibility outside {-1, 0, 1, 2}, or a present keypoint
            whose coordinates are NaN or infinite.
    """

    xy: NDArray[np.float64]
    visibility: NDArray[np.int64]
    score: NDArray[np.float64]

    def __post_init__(self) -> None:
        xy = np.array(self.xy, dtype=np.float64)
        visibility = np.asarray(self.visibility)
        score = np.array(self.score, dtype=np.float64)
        count = len(visibility)
        if xy.shape != (count, 2) or visibility.ndim != 1 or score.shape != (count,):
            raise InputError(
                f"A pose needs xy (K, 2), visibility (K,) and score (K,), not "
                f"{xy.shape}, {visibility.shape}, {score.shape}."
            )
        codes = (UNKNOWN, ABSENT, OCCLUDED, VISIBLE)
        is_code = np.logical_or.reduce([visibility == code for code in codes])
        if not is_code.all():
            wrong = visibility[~is_code][0]
            raise InputError(f"Visibility {wrong} is not 0 (absent), 1 (occluded) or 2 (visible).")
        visibility = visibility.astype(np.int64)
        xy[visibility <= ABSENT] = 0.0
        if not np.isfinite(xy).all():
            index = int(np.flatnonzero(~np.isfinite(xy).all(axis=1))[0])
            raise InputError(f"Keypoint {index} is present but lies at {tuple(xy[index])}.")
        for array in (xy, visibility, score):
            array.flags.writeable = False
        object.__setattr__(self, "xy", xy)
        object.__setattr__(self, "visibility", visibility)
        object.__setattr__(self, "score", score)

    def __len__(self) -> int:
        return len(self.visibility)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Pose):
            return NotImplemented
        return (
            np.array_equal(self.xy, other.xy)
            and np.array_equal(self.visibility, other.visibility)
            and np.array_equal(self.score, other.score)
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def present(self) -> NDArray[np.bool_]:
        """(K,) True where the keypoint has a location (v is 1 or 2)."""
        return self.visibility > ABSENT

    @property
    def known(self) -> NDArray[np.bool_]:
        """(K,) True where it is known whether the keypoint is present."""
        return self.visibility > UNKNOWN

    @property
    def presence(self) -> NDArray[np.int8]:
        """(K,) -1 unknown, 0 absent, 1 present."""
        return np.minimum(self.visibility, 1).astype(np.int8)

    def take(self, columns: ArrayLike) -> Pose:
        """The pose of other keypoints.

        Args:
            columns: (K',) index of each in this pose; -1 for one that it does not have, which is
                unknown.
        """
        index = np.asarray(columns)
        there = index >= 0
        xy, visibility, score = self.xy[index], self.visibility[index], self.score[index]
        return Pose(
            xy * there[:, None], np.where(there, visibility, UNKNOWN), np.where(there, score, 0.0)
        )

    def completed(self, other: Pose) -> Pose:
        """The pose, with what is unknown in it as in another one."""
        known = self.known
        return Pose(
            np.where(known[:, None], self.xy, other.xy),
            np.where(known, self.visibility, other.visibility),
            np.where(known, self.score, other.score),
        )

    @property
    def extent(self) -> Box | None:
        """The smallest box around the present keypoints, perhaps without area; None without any."""
        if not self.present.any():
            return None
        xy = self.xy[self.present]
        (left, top), (w, h) = xy.min(axis=0).tolist(), np.ptp(xy, axis=0).tolist()
        return Box(left, top, w, h)


def human_pose(xy: object, visibility: object) -> Pose:
    """A pose placed by an annotator: every score is 1.

    Args:
        xy: (K, 2) in upright image pixels.
        visibility: (K,) -1 unknown, 0 absent, 1 occluded, 2 visible.

    Raises:
        InputError: see `Pose`.
    """
    visibility = np.asarray(visibility)
    return Pose(np.asarray(xy, dtype=np.float64), visibility, np.ones(len(visibility)))
