"""Easy-to-hard consistency: what a network says of a crop holds for a harder view of it.

After the easy-hard augmentation of Xie et al. ("An Empirical Study of the Collapsing Problem in
Semi-Supervised 2D Human Pose Estimation", ICCV 2021) with the joint cut-out that SemiPose-like
methods add. Nothing here reads a true location: squares are cut where keypoints are *predicted*.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from labelkit.models.losses import heatmap_mse

#: A teacher's map whose peak is lower says nothing: it is no example of an empty map either.
SURE = 0.3

ROTATION, SCALES = math.radians(30.0), (0.75, 1.25)
#: Squares that are cut out of a crop, and their side as a share of its width.
CUTS, CUT_SIDE = 3, 0.15


@dataclass(frozen=True, slots=True, eq=False)
class HardView:
    """A turned, scaled and partly hidden copy of a batch.

    Attributes:
        images: (B, 3, H, W).
        heatmaps: (B, K, h, w) what a teacher saw, moved along; without gradient.
    """

    images: Tensor
    heatmaps: Tensor


def hard_view(images: Tensor, heatmaps: Tensor) -> HardView:
    """Turn and scale crops at random, and hide some keypoints as the teacher sees them.

    Args:
        images: (B, 3, H, W), normalised: 0 is ImageNet's mean colour.
        heatmaps: (B, K, h, w) of the same crops, about 1 at a keypoint.
    """
    batch, _, height, width = images.shape
    angle = (torch.rand(batch, device=images.device) * 2 - 1) * ROTATION
    low, high = SCALES
    scale = low + torch.rand(batch, device=images.device) * (high - low)
    # From places of the new view to places of the old one, both -1 ... 1 over the crop.
    cos, sin, zero = angle.cos() / scale, angle.sin() / scale, torch.zeros_like(scale)
    rows = (
        torch.stack((cos, -sin * height / width, zero), dim=1),
        torch.stack((sin * width / height, cos, zero), dim=1),
    )
    theta = torch.stack(rows, dim=1)  # (B, 2, 3)
    turned = _move(images, theta)
    maps = _move(heatmaps.detach(), theta)
    return HardView(turned * _uncut(maps, (height, width)), maps)


def consistency_loss(student: Tensor, teacher: Tensor, counts: Tensor) -> Tensor:
    """Mean squared error to a teacher's heatmaps where the teacher is sure.

    Args:
        student, teacher: (B, K, h, w).
        counts: (B, K), 0 for keypoints that are not to be learned from.
    """
    sure = teacher.amax(dim=(2, 3)) > SURE
    return heatmap_mse(student, teacher, counts * sure)


def _move(maps: Tensor, theta: Tensor) -> Tensor:
    grid = F.affine_grid(theta, list(maps.shape), align_corners=False)
    return F.grid_sample(maps.float(), grid, align_corners=False)


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
