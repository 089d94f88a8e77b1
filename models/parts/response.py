"""From attention over tokens of several scales to one density per keypoint."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

#: Input pixels per cell of a response map.
OUT_STRIDE = 4


def fuse_scales(
    attention: Tensor,
    sizes_hw: Sequence[tuple[int, int]],
    strides: Sequence[int],
    read_scale: str = "fuse",
) -> Tensor:
    """Response maps R_i: the attention of all scales as one density at stride 4.

    A cell of stride s covers (s/4)^2 cells of stride 4, so its mass is divided among them: by 4
    at stride 8, by 16 at stride 16. Bilinear stretching by a whole factor preserves the sum.

    Args:
        attention: (B, K, L), each row sums to 1; tokens scale by scale, each row by row.
        sizes_hw: rows and columns of each scale.
        strides: of each scale, in input pixels per cell.
        read_scale: "fuse" adds up all scales; "4", "8" or "16" reads one and makes it sum to 1.

    Returns:
        (B, K, h, w) at stride 4, each map sums to 1.
    """
    finest = min(range(len(strides)), key=strides.__getitem__)
    rows, columns = (cells * strides[finest] // OUT_STRIDE for cells in sizes_hw[finest])
    slices = attention.split([h * w for h, w in sizes_hw], dim=2)
    total = attention.new_zeros(*attention.shape[:2], rows, columns)
    for part, size, stride in zip(slices, sizes_hw, strides, strict=True):
        if read_scale not in ("fuse", str(stride)):
            continue
        density = part.unflatten(2, size) / (stride / OUT_STRIDE) ** 2  # (B, K, h, w)
        if stride != OUT_STRIDE:
            density = F.interpolate(
                density, size=(rows, columns), mode="bilinear", align_corners=False
            )
        total = total + density
    if read_scale == "fuse":
        return total
    return total / total.sum(dim=(2, 3), keepdim=True).clamp(min=1e-12)


def scale_mass(attention: Tensor, sizes_hw: Sequence[tuple[int, int]]) -> Tensor:
    """Share of the attention in each scale: (B, K, S), each row sums to 1."""
    slices = attention.split([h * w for h, w in sizes_hw], dim=2)
    return torch.stack([part.sum(dim=2) for part in slices], dim=2)
