"""Easy-to-hard consistency: the prediction for a crop is the target for a harder view of it.

After the easy-hard augmentation of Xie et al. ("An Empirical Study of the Collapsing Problem in
Semi-Supervised 2D Human Pose Estimation", ICCV 2021), with the joint cut-out that SemiPose-like
methods add. No true location is used: squares are cut out where keypoints are *predicted*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from labelkit.models.losses import heatmap_mse
from labelkit.models.reading import rotate

#: A teacher's map with a lower peak is ignored; it is not a target for an empty map either.
CONFIDENT = 0.3

#: Range of random rotations, degrees either way, and of magnifications.
ROTATION, SCALES = 30.0, (0.75, 1.25)
#: Number of squares cut out of a crop, and their side as a share of its width.
CUTS, CUT_SIDE = 3, 0.15


@dataclass(frozen=True, slots=True, eq=False)
class HardView:
    """A rotated, scaled and partly hidden copy of a batch.

    Attributes:
        images: (B, 3, H, W).
        heatmaps: (B, K, h, w) of a teacher, transformed alike; without gradient.
    """

    images: Tensor
    heatmaps: Tensor


def hard_view(images: Tensor, heatmaps: Tensor) -> HardView:
    """Rotate and scale crops at random, and hide some keypoints where the teacher predicts them.

    Args:
        images: (B, 3, H, W), normalised: 0 is ImageNet's mean colour.
        heatmaps: (B, K, h, w) of the same crops, about 1 at a keypoint.
    """
    batch = len(images)
    degrees = (torch.rand(batch, device=images.device) * 2 - 1) * ROTATION
    low, high = SCALES
    scale = low + torch.rand(batch, device=images.device) * (high - low)
    rotated = rotate(images, degrees, scale)
    maps = rotate(heatmaps.detach(), degrees, scale)
    return HardView(rotated * _uncut(maps, images.shape[2:]), maps)


def consistency_loss(student: Tensor, teacher: Tensor, counts: Tensor) -> Tensor:
    """Mean squared error to a teacher's heatmaps where the teacher is confident.

    Args:
        student, teacher: (B, K, h, w).
        counts: (B, K), 0 for keypoints to ignore.
    """
    confident = teacher.amax(dim=(2, 3)) > CONFIDENT
    return heatmap_mse(student, teacher, counts * confident)


def _uncut(maps: Tensor, size_hw: Sequence[int]) -> Tensor:
    """(B, 1, H, W) mask, 0 in squares around the peaks of some maps."""
    height, width = size_hw
    batch, keypoints, rows, columns = maps.shape
    chosen = torch.rand(batch, keypoints, device=maps.device).argsort(dim=1)[:, :CUTS]
    index = maps.flatten(2).argmax(dim=2).gather(1, chosen)  # (B, CUTS)
    x = (index % columns + 0.5) * (width / columns)
    y = (index // columns + 0.5) * (height / rows)
    half = CUT_SIDE * width / 2
    column = torch.arange(width, device=maps.device) + 0.5
    row = torch.arange(height, device=maps.device) + 0.5
    across = (column - x[..., None]).abs() <= half  # (B, CUTS, W)
    down = (row - y[..., None]).abs() <= half  # (B, CUTS, H)
    cut = (across[..., None, :] & down[..., :, None]).any(dim=1, keepdim=True)
    return (~cut).to(maps.dtype)
