"""Maps at several strides from the one map of a plain transformer."""

from __future__ import annotations

from collections.abc import Sequence

from timm.layers import LayerNorm2d
from torch import Tensor, nn


class SimplePyramid(nn.Module):
    """The simple feature pyramid of ViTDet (Li et al., ECCV 2022, arXiv 2203.16527, section 3).

    Args:
        dim: channels of the transformer's map.
        stride: of that map.
        strides: of the maps to make: a quarter, a half, the same or a multiple of `stride`.

    Attributes:
        channels: of each map: `dim`, half of it at half the stride, a quarter at a quarter.
    """

    def __init__(self, dim: int, stride: int, strides: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(_branch(dim, stride, target) for target in strides)
        self.channels = tuple(dim * min(target, stride) // stride for target in strides)

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """(B, dim, h, w) to one (B, channels[i], H / strides[i], W / strides[i]) map a stride."""
        return tuple(branch(features) for branch in self.branches)


def _branch(dim: int, stride: int, target: int) -> nn.Module:
    if target == stride:
        return nn.Identity()
    if target > stride:
        return nn.MaxPool2d(target // stride)
    half = nn.ConvTranspose2d(dim, dim // 2, 2, stride=2)
    if target * 2 == stride:
        return half
    quarter = nn.ConvTranspose2d(dim // 2, dim // 4, 2, stride=2)
    return nn.Sequential(half, LayerNorm2d(dim // 2), nn.GELU(), quarter)
