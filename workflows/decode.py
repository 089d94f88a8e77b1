"""From maps to keypoints: the peak, refined below a cell, and how sure it is."""

from __future__ import annotations

import torch
from torch import Tensor


def refine(maps: Tensor) -> tuple[Tensor, Tensor]:
    """The peak of each map, placed between cells by a parabola through its neighbours.

    The parabola is fitted to the logarithm, where a Gaussian peak is one exactly (DARK, CVPR
    2020, without its blur).

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
        """Logarithm of the cell so far from the peak; outside the map, of the nearest cell."""
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
