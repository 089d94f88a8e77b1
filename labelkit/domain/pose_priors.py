"""Pose priors: poses made without the image, which a pre-annotation has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labelkit.domain.pose import Pose
from labelkit.domain.skeleton import Skeleton

Floats = NDArray[np.float64]


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
