"""Spatial-aware position encoding: show the encoder where keypoints seem to be (eq. 3-4)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KEY_SIGMA_PX = 8.0  # of the Gaussian at each CAM's peak: 2 cells at stride 4
LEARNED_GRID = 16  # rows and columns of the learned encoding, stretched to every map
WITHOUT_KEYS = ("sine", "learned", "none")  # encodings that do not use the CAMs


def key_maps(cams: Tensor, presence: Tensor, size_hw: tuple[int, int], stride: int) -> Tensor:
    """F^key for one level: a Gaussian of 8 input pixels at the peak of each keypoint's CAM.

    Args:
        cams: (B, K, h, w) of the whole crop.
        presence: (B, K) probability that the keypoint is visible; it scales the Gaussian.
        size_hw: rows and columns of the level.
        stride: of the level, in input pixels per cell.

    Returns:
        (B, rows * columns, K) in [0, 1]. No gradient flows through the position of the peak.
    """
    rows, columns = size_hw
    height, width = cams.shape[2:]
    index = cams.detach().flatten(2).argmax(dim=2)  # (B, K)
    # Centre of the peak's cell, in cells of this level; (0, 0) is the corner of the first cell.
    x = (index % width + 0.5) * (columns / width)  # (B, K)
    y = (index // width + 0.5) * (rows / height)
    column = torch.arange(columns, device=cams.device)
    row = torch.arange(rows, device=cams.device)
    sharpness = -0.5 * (stride / KEY_SIGMA_PX) ** 2
    along_x = (sharpness * (column + 0.5 - x[:, :, None]) ** 2).exp()  # (B, K, columns)
    along_y = (sharpness * (row + 0.5 - y[:, :, None]) ** 2).exp()  # (B, K, rows)
    along_y = along_y * presence[:, :, None]
    maps = along_y[:, :, :, None] * along_x[:, :, None, :]  # (B, K, rows, columns)
    return maps.flatten(2).transpose(1, 2)  # (B, L, K)


def sine_position(size_hw: tuple[int, int], dim: int, device: torch.device) -> Tensor:
    """DETR's sine encoding: (rows * columns, dim), half of the channels for y, half for x."""
    if dim % 4:
        raise ValueError(f"A sine encoding needs a multiple of 4 channels, not {dim}.")
    exponent = torch.arange(dim // 4, device=device) / (dim // 4)
    frequency = 10000**-exponent  # (dim/4,)
    halves = []
    for cells in size_hw:
        at = (torch.arange(cells, device=device) + 0.5) / cells * 2 * math.pi
        angle = at[:, None] * frequency  # (cells, dim/4)
        halves.append(torch.cat((angle.sin(), angle.cos()), dim=1))  # (cells, dim/2)
    y, x = halves
    rows, columns = size_hw
    both = (y[:, None].expand(-1, columns, -1), x[None].expand(rows, -1, -1))
    return torch.cat(both, dim=2).flatten(0, 1)  # (L, dim)


class SpatialEncoding(nn.Module):
    """Add to each token what is known about its place: F' = psi(phi + F), phi = F x F^key.

    One module serves all levels.

    Args:
        dim: channels of the tokens.
        num_keypoints: K.
        spe: how tokens and key maps make phi. "embed" F * (F^key W_e), "gate" F times the
            highest key map, "gather" each keypoint's mean token brought back to its place,
            "conv" a 1x1 convolution of both; "sine", "learned" and "none" use no key map.
    """

    def __init__(self, dim: int, num_keypoints: int, spe: str = "embed") -> None:
        super().__init__()
        self.spe = spe
        if spe == "embed":
            self.embed = nn.Parameter(torch.ones(num_keypoints, dim))  # W_e
        elif spe == "conv":
            self.merge = nn.Linear(dim + num_keypoints, dim)  # a 1x1 convolution of tokens
        elif spe == "learned":
            self.table = nn.Parameter(0.02 * torch.randn(1, dim, LEARNED_GRID, LEARNED_GRID))
        self.psi = nn.Sequential(nn.Linear(dim, dim), nn.LayerNorm(dim), nn.ReLU(inplace=True))

    @property
    def needs_keys(self) -> bool:
        """Whether `forward` uses key maps."""
        return self.spe not in WITHOUT_KEYS

    def forward(self, tokens: Tensor, keys: Tensor | None, size_hw: tuple[int, int]) -> Tensor:
        """Encode one level.

        Args:
            tokens: F, (B, L, dim), row by row.
            keys: F^key, (B, L, K); None where `needs_keys` is False.
            size_hw: rows and columns, L = rows * columns.

        Returns:
            F', (B, L, dim).
        """
        return self.psi(tokens + self._phi(tokens, keys, size_hw))  # eq. 3-4

    def _phi(self, tokens: Tensor, keys: Tensor | None, size_hw: tuple[int, int]) -> Tensor:
        if self.spe == "none":
            return torch.zeros_like(tokens)
        if self.spe == "sine":
            return sine_position(size_hw, tokens.shape[2], tokens.device).expand_as(tokens)
        if self.spe == "learned":
            table = F.interpolate(self.table, size=size_hw, mode="bilinear", align_corners=False)
            return table.flatten(2).transpose(1, 2).expand_as(tokens)
        if keys is None:
            raise ValueError(f"spe {self.spe!r} needs key maps.")
        if self.spe == "embed":
            return tokens * (keys @ self.embed)
        if self.spe == "gate":
            return tokens * keys.amax(dim=2, keepdim=True)
        if self.spe == "conv":
            return self.merge(torch.cat((tokens, keys.to(tokens.dtype)), dim=2))
        if self.spe == "gather":
            share = keys / (keys.sum(dim=1, keepdim=True) + 1e-4)  # (B, L, K)
            return keys @ (share.transpose(1, 2) @ tokens)  # (B, L, K) @ (B, K, dim)
        raise ValueError(
            f"spe {self.spe!r} is not one of embed, gate, gather, conv, sine, learned, none."
        )
