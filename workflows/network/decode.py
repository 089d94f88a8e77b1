"""From maps to keypoints: the peak at sub-cell precision, and the confidence in it."""

from __future__ import annotations

import torch
from torch import Tensor

#: Cells closer to the peak than this share of the map's longer side count as the same place.
SAME_PLACE = 0.125


def refine(maps: Tensor) -> tuple[Tensor, Tensor]:
    """The peak of each map, refined between cells by a parabola through its neighbours.

    The parabola is fitted to the logarithm, which is exact for a Gaussian peak (DARK, CVPR 2020,
    without its blur).

    Args:
        maps: (..., h, w), higher is more likely.

    Returns:
        xy: (..., 2) in map cells; (0, 0) is the outer corner of the first cell.
        peak: (...) the highest value.
    """
    height, width = maps.shape[-2:]
    peak, index = maps.flatten(-2).max(dim=-1)
    row, column = index // width, index % width
    flat = maps.flatten(-2)

    def at(rows: int, columns: int) -> Tensor:
        """Logarithm of the cell at this offset from the peak; the nearest one outside the map."""
        down = (row + rows).clamp(0, height - 1)
        right = (column + columns).clamp(0, width - 1)
        value = flat.gather(-1, (down * width + right)[..., None])[..., 0]
        return value.clamp_min(1e-10).log()

    def shift(before: Tensor, centre: Tensor, after: Tensor) -> Tensor:
        curvature = before - 2 * centre + after
        step = 0.5 * (before - after) / curvature.clamp_max(-1e-6)
        return step.clamp(-0.5, 0.5)

    centre = at(0, 0)
    dx = shift(at(0, -1), centre, at(0, 1)) * ((column > 0) & (column < width - 1))
    dy = shift(at(-1, 0), centre, at(1, 0)) * ((row > 0) & (row < height - 1))
    return torch.stack((column + 0.5 + dx, row + 0.5 + dy), dim=-1), peak


def height_at(maps: Tensor, xy: Tensor) -> Tensor:
    """(...) the value of each (..., h, w) map in the cell at its (..., 2) point."""
    height, width = maps.shape[-2:]
    column, row = xy.long().unbind(dim=-1)
    index = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    return maps.flatten(-2).gather(-1, index[..., None])[..., 0]


def confidence(maps: Tensor, xy: Tensor, peak: Tensor) -> Tensor:
    """0 none ... 1 certain: whether a map singles out one place.

    The product of two factors, neither of which needs a map of known height:

    - closeness, 1 minus the mean distance of the map's mass from its peak, as a share of the
      map's longer side. If the map were a probability, that distance is the expected error;
    - (1 + lead) / 2, where the lead is the height of the peak above the highest cell that is not
      near it. A second candidate of equal height halves the confidence.

    It is not a probability, and it does not depend on whether the keypoint is present. Chosen for
    its rank correlation with the error of instances without locations, in location-free and
    semi-weak rounds; `benchmarks/ranking.py` measures it.

    Args:
        maps: (..., h, w) in 0 ... 1; a map of zeros has confidence 0.
        xy: (..., 2) points in map cells, see `refine`.
        peak: (...) the maps' heights there.

    Returns:
        (...) confidence.
    """
    height, width = maps.shape[-2:]
    side = max(height, width)
    across = (torch.arange(width, device=maps.device) + 0.5 - xy[..., :1]) / side  # (..., w)
    down = (torch.arange(height, device=maps.device) + 0.5 - xy[..., 1:]) / side  # (..., h)
    squared = across.square()[..., None, :] + down.square()[..., :, None]  # (..., h, w)
    rival = maps.masked_fill(squared <= SAME_PLACE**2, 0.0).amax(dim=(-2, -1))
    mass = maps.sum(dim=(-2, -1))
    away = (maps * squared.sqrt()).sum(dim=(-2, -1)) / mass.clamp_min(1e-12)
    closeness = (1 - away).clamp(0, 1) * (mass > 0)
    return closeness * (1 + (peak - rival).clamp(0, 1)) / 2
