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
    logs = maps.clamp_min(1e-10).log()
    padded = torch.nn.functional.pad(logs.flatten(0, -3)[None], (1, 1, 1, 1), mode="replicate")[0]
    padded = padded.flatten(-2)
    flat = ((row + 1) * (width + 2) + column + 1).flatten()[:, None]

    def at(offset: int) -> Tensor:
        return padded.gather(1, flat + offset).view(index.shape)

    def shift(before: Tensor, centre: Tensor, after: Tensor) -> Tensor:
        curvature = before - 2 * centre + after
        step = 0.5 * (before - after) / curvature.clamp_max(-1e-6)
        return step.clamp(-0.5, 0.5)

    centre = at(0)
    dx = shift(at(-1), centre, at(1)) * ((column > 0) & (column < width - 1))
    dy = shift(at(-(width + 2)), centre, at(width + 2)) * ((row > 0) & (row < height - 1))
    return torch.stack((column + 0.5 + dx, row + 0.5 + dy), dim=-1), peak
