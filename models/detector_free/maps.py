"""Maps at stride 4: the features that heads read, targets drawn on them, peaks read off them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelkit.models.detector_free.instances import Instances
from labelkit.models.losses import render_heatmaps
from labelkit.models.parts.backbone import Backbone

#: Of the maps that a `Trunk` merges.
STRIDES = (4, 8, 16, 32)
#: Standard deviation of the target Gaussians, in cells.
SIGMA = 1.5
#: Sum over the cells of one Gaussian.
POINT_MASS = 2 * math.pi * SIGMA**2
#: Presence of an object before training: 1 % of the cells.
RARE_LOGIT = -4.6
#: Objects whose targets are drawn at a time: memory does not grow with their number.
AT_A_TIME = 64


def block(in_channels: int, channels: int, side: int = 3) -> nn.Sequential:
    """A convolution, normalised and rectified."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, side, padding=side // 2, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


def heatmap_head(channels: int, maps: int) -> nn.Conv2d:
    """A 1x1 convolution to logits that begin at `RARE_LOGIT` (Lin et al., ICCV 2017, 3.3)."""
    head = nn.Conv2d(channels, maps, 1)
    nn.init.normal_(head.weight, std=0.001)
    assert head.bias is not None
    nn.init.constant_(head.bias, RARE_LOGIT)
    return head


class Trunk(nn.Module):
    """The maps of a backbone merged from coarse to fine (Lin et al., CVPR 2017).

    Args:
        backbone: with the strides `STRIDES`.
        dim: channels of the merged map.
    """

    def __init__(self, backbone: Backbone, dim: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.lateral = nn.ModuleList(nn.Conv2d(c, dim, 1) for c in backbone.channels)
        self.smooth = nn.ModuleList(block(dim, dim) for _ in backbone.channels)

    def forward(self, images: Tensor) -> Tensor:
        """(B, dim, H/4, W/4) from (B, 3, H, W)."""
        *finer, coarsest = self.backbone(images)
        merged = self.smooth[-1](self.lateral[-1](coarsest))
        for index in reversed(range(len(finer))):
            merged = F.interpolate(merged, scale_factor=2.0, mode="bilinear")
            merged = self.smooth[index](merged + self.lateral[index](finer[index]))
        return merged


def heatmap_loss(logits: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    """Focal loss for targets between 0 and 1 (Li et al., Generalized Focal Loss, 2020, eq. 4).

    Gaussians with sub-pixel centres keep where in a cell a keypoint lies.

    Args:
        logits, target: (..., h, w).
        counts: 0 ... 1, broadcast to these; at the peaks of the targets everything counts.

    Returns:
        Scalar: the sum over cells per unit of the targets' mass, 0 where all is right. Targets of
        less mass than one point count as one: empty images would count for too much.
    """
    probability = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    least = torch.special.entr(target) + torch.special.entr(1 - target)
    each = (target - probability).abs() * (entropy - least)
    return (each * torch.maximum(counts, target)).sum() / target.sum().clamp(min=POINT_MASS)


def draw(points: Tensor, present: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Gaussians at points, one map each.

    Args:
        points: (N, K, 2) in cells.
        present: (N, K) bool; maps of the others are 0.
        size_hw: rows and columns.

    Returns:
        (N, K, rows, columns), 1 at the point.
    """
    return render_heatmaps(points, present, size_hw, SIGMA)


def draw_together(
    points: Sequence[Tensor], present: Sequence[Tensor], size_hw: tuple[int, int]
) -> Tensor:
    """One map per image and keypoint, 1 at the points of every object.

    Args:
        points: of each image (N, K, 2), in cells.
        present: of each image (N, K) bool.
        size_hw: rows and columns.

    Returns:
        (B, K, rows, columns).
    """
    maps = []
    for xy, there in zip(points, present, strict=True):
        together = xy.new_zeros(xy.shape[1], *size_hw)
        for some, shown in zip(xy.split(AT_A_TIME), there.split(AT_A_TIME), strict=True):
            if len(some):
                together = torch.maximum(together, draw(some, shown, size_hw).amax(dim=0))
        maps.append(together)
    return torch.stack(maps)


def centres(objects: Instances) -> Tensor:
    """(N, 2) mean of the present keypoints in canvas pixels; (0, 0) without any."""
    there = (objects.presence > 0)[..., None]
    return (objects.xy * there).sum(dim=1) / there.sum(dim=1).clamp(min=1)


def cells_at(xy: Tensor, size_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Row and column of the cell of each (..., 2) point, given in cells."""
    rows, columns = size_hw
    cell = xy.floor().long()
    return cell[..., 1].clamp(0, rows - 1), cell[..., 0].clamp(0, columns - 1)


def peaks(maps: Tensor, floor: float, most: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Local maxima of 3x3 cells of each map of one image.

    Args:
        maps: (K, h, w).
        floor: lowest height.
        most: of each map.

    Returns:
        keypoint, row, column and height, each (P,), the highest of a keypoint first.
    """
    is_peak = (F.max_pool2d(maps[None], 3, 1, 1)[0] == maps) & (maps >= floor)
    height, place = torch.where(is_peak, maps, 0.0).flatten(1).topk(min(most, maps[0].numel()))
    keypoint, rank = (height > 0).nonzero(as_tuple=True)
    place = place[keypoint, rank]
    width = maps.shape[2]
    return keypoint, place // width, place % width, height[keypoint, rank]


def refined(logits: Tensor, index: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Sub-cell places of peaks: a Gaussian through a peak and its neighbours, along x and y.

    Args:
        logits: (M, h, w).
        index, row, column: (P,) map and cell of each peak.

    Returns:
        (P, 2) in cells, x then y; a peak at the border stays in the middle of its cell.
    """
    height, width = logits.shape[1:]

    def height_at(down: int, across: int) -> Tensor:
        y, x = (row + down).clamp(0, height - 1), (column + across).clamp(0, width - 1)
        return F.logsigmoid(logits[index, y, x])

    def offset(before: Tensor, after: Tensor, cell: Tensor, cells: int) -> Tensor:
        bend = (2 * middle - after - before).clamp(min=1e-6)
        inside = (cell > 0) & (cell < cells - 1)
        return (0.5 * (after - before) / bend).clamp(-0.5, 0.5) * inside

    middle = height_at(0, 0)
    x = offset(height_at(0, -1), height_at(0, 1), column, width)
    y = offset(height_at(-1, 0), height_at(1, 0), row, height)
    return torch.stack((column + 0.5 + x, row + 0.5 + y), dim=1)
