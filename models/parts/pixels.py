"""Pixels as a backbone was taught to read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import timm
import torch
from torch import Tensor, nn

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Pixels(nn.Module):
    """Normalise crops; what networks trained until 2026-11-29 read is the default.

    Args:
        mean, std: of each colour, red first, 0 ... 1.
        interpolation: "bilinear" or "bicubic", how crops are resampled.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        interpolation: str = "bilinear",
    ) -> None:
        super().__init__()
        # Arguments of the network, not weights: they are kept in the header of a checkpoint.
        for name, colours in (("mean", mean), ("std", std)):
            values = 255 * torch.tensor(tuple(colours)).view(1, 3, 1, 1)
            self.register_buffer(name, values, persistent=False)
        self.interpolation = interpolation

    def forward(self, crops: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 crops as the floats that the backbone expects."""
        return (crops.float() - self.mean) / self.std


def pixels_of(backbone: str) -> dict[str, Any]:
    """The arguments of `Pixels` with which a timm network was trained: JSON values."""
    config: Any = timm.get_pretrained_cfg(backbone)
    return {
        "mean": list(config.mean),
        "std": list(config.std),
        "interpolation": "bilinear" if config.interpolation == "bilinear" else "bicubic",
    }
