"""Pose priors: poses made without the image, which a pre-annotation has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labelkit.domain.instance import Box
from labelkit.domain.pose import Pose
from labelkit.domain.skeleton import Skeleton

Floats = NDArray[np.float64]

#: What a `GaussianPose` leaves open in every direction, as a share of the box's long side.
_OPEN = 0.03
_EM_STEPS = 6


def _stretch(unit_xy: Floats, boxes_xywh: ArrayLike) -> Floats:
    """(N, K, 2) image pixels of K points given in the unit box."""
    boxes = np.asarray(boxes_xywh, dtype=np.float64).reshape(-1, 4)
    return boxes[:, None, :2] + unit_xy[None] * boxes[:, None, 2:]


def skeleton_in_box(boxes_xywh: ArrayLike, skeleton: Skeleton) -> Floats:
    """(N, K, 2) image pixels: the skeleton layout stretched over each box.

    Args:
        boxes_xywh: (N, 4) left, top, width, height in image pixels.
        skeleton: provides the layout.
    """
    return _stretch(np.asarray(skeleton.layout, dtype=np.float64), boxes_xywh)


@dataclass(frozen=True, slots=True, eq=False)
class MeanPose:
    """The average labelled pose, relative to the box.

    Attributes:
        unit_xy: (K, 2) where (0, 0) is the box's top-left and (1, 1) its bottom-right corner.
        share: (K,) in 0 ... 1, how often each keypoint was present; .5 where no pose tells.
    """

    unit_xy: Floats
    share: Floats

    @classmethod
    def fit(cls, poses: Sequence[Pose], boxes_xywh: ArrayLike, skeleton: Skeleton) -> MeanPose:
        """Average the present keypoints; one that is never present takes the skeleton layout.

        Args:
            poses: N labelled poses, possibly none.
            boxes_xywh: (N, 4) their boxes in image pixels.
            skeleton: of the poses.
        """
        layout = np.asarray(skeleton.layout, dtype=np.float64)
        if not poses:
            return cls(layout, np.full(len(skeleton), 0.5))
        boxes = np.asarray(boxes_xywh, dtype=np.float64)
        if boxes.shape != (len(poses), 4):
            raise ValueError(f"{len(poses)} poses need boxes ({len(poses)}, 4), not {boxes.shape}.")
        xy = np.stack([pose.xy for pose in poses])
        present = np.stack([pose.present for pose in poses])
        unit = (xy - boxes[:, None, :2]) / boxes[:, None, 2:]
        count = present.sum(axis=0)[:, None]
        total = np.where(present[..., None], unit, 0.0).sum(axis=0)
        mean = np.where(count > 0, total / np.maximum(count, 1), layout)
        known = np.stack([pose.known for pose in poses]).sum(axis=0)
        share = np.where(known > 0, present.sum(axis=0) / np.maximum(known, 1), 0.5)
        return cls(mean, share)

    def apply(self, boxes_xywh: ArrayLike) -> Floats:
        """(N, K, 2) image pixels: the mean pose stretched over (N, 4) boxes."""
        return _stretch(self.unit_xy, boxes_xywh)


@dataclass(frozen=True, slots=True, eq=False)
class GaussianPose:
    """All labelled poses as one Gaussian: where keypoints are, given some of them.

    Places are relative to the middle of the box, in lengths of its long side.

    Attributes:
        mean: (2 K,) x and y of keypoint 0, then of keypoint 1, ...
        covariance: (2 K, 2 K).
    """

    mean: Floats
    covariance: Floats

    @classmethod
    def fit(cls, poses: Sequence[Pose], boxes_xywh: ArrayLike) -> GaussianPose:
        """Estimate it; where keypoints are absent by expectation maximization.

        That is Little and Rubin, Statistical Analysis with Missing Data, section 11.2.

        Args:
            poses: N labelled poses, at least one; each keypoint is present in at least one.
            boxes_xywh: (N, 4) their boxes in image pixels.

        Raises:
            ValueError: if a keypoint is present in none.
        """
        boxes = np.asarray(boxes_xywh, dtype=np.float64)
        middle, long_side = boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:].max(axis=1)
        place = (np.stack([pose.xy for pose in poses]) - middle[:, None]) / long_side[:, None, None]
        known = np.repeat(np.stack([pose.present for pose in poses]), 2, axis=1)  # (N, 2 K)
        if not known.any(axis=0).all():
            raise ValueError("A keypoint is present in no pose.")
        found = np.where(known, place.reshape(len(poses), -1), 0.0)
        mean = found.sum(axis=0) / known.sum(axis=0)
        found = np.where(known, found, mean)
        doubt = np.zeros((len(mean), len(mean)))
        patterns, which = np.unique(known, axis=0, return_inverse=True)
        for _ in range(_EM_STEPS):
            mean = found.mean(axis=0)
            off = found - mean
            open_ = _OPEN**2 * np.eye(len(mean))
            whole = cls(mean, (off.T @ off + doubt) / len(poses) + open_)
            doubt = np.zeros_like(doubt)
            for number, seen in enumerate(patterns):
                rows = np.flatnonzero(which.ravel() == number)
                guessed, spread = whole._given(seen, found[np.ix_(rows, seen)])
                found[np.ix_(rows, ~seen)] = guessed
                doubt[np.ix_(~seen, ~seen)] += len(rows) * spread
        return whole

    def given(self, placed: Pose, box: Box) -> tuple[Floats, Floats]:
        """Where the keypoints are that are not placed.

        Args:
            placed: by a human, in image pixels; the others are not present.
            box: of the object.

        Returns:
            (K, 2) means in image pixels and (K, 2, 2) covariances in square pixels; for keypoints
            that are placed, their own place and 0.
        """
        middle = np.array([box.x + box.w / 2, box.y + box.h / 2])
        seen = np.repeat(placed.present, 2)
        mean = ((placed.xy - middle) / box.long_side).ravel()
        covariance = np.zeros_like(self.covariance)
        guessed, spread = self._given(seen, mean[None, seen])
        mean[~seen], covariance[np.ix_(~seen, ~seen)] = guessed[0], spread
        k = np.arange(len(placed))
        blocks = covariance.reshape(len(k), 2, len(k), 2)[k, :, k]
        return middle + box.long_side * mean.reshape(-1, 2), box.long_side**2 * blocks

    def _given(self, seen: NDArray[np.bool_], values: Floats) -> tuple[Floats, Floats]:
        """Means (N, M) of unseen numbers, and their covariance (M, M), given (N, S) seen ones."""
        across = self.covariance[np.ix_(seen, ~seen)]
        weights = np.linalg.solve(self.covariance[np.ix_(seen, seen)], across)  # (S, M)
        mean = self.mean[~seen] + (values - self.mean[seen]) @ weights
        return mean, self.covariance[np.ix_(~seen, ~seen)] - across.T @ weights
