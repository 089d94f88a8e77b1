"""Spatial-aware position encoding: tell the encoder where keypoints seem to be (eq. 3-4)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KEY_SIGMA_PX = 8.0  # of the Gaussian at each CAM's peak: 2 cells at stride 4
LEARNED_GRID = 16  # cells a side of the learned encoding, stretched to every map
WITHOUT_KEYS = ("sine", "learned", "none")  # encodings that do not look at the CAMs


def key_maps(
    cams: Tensor, presence: Tensor, size_hw: tuple[int, int], stride: int, fkey: str
) -> Tensor:
    """F^key for one level: a map a keypoint that is high where its CAM peaks.

    Args:
        cams: (B, K, h, w) of the whole crop.
        presence: (B, K) probability that the keypoint can be seen; absent ones fade.
        size_hw: rows and columns of the level.
        stride: of the level, in input pixels a cell.
        fkey: "gauss" a Gaussian of 8 input pixels at the peak, "onehot" 1 in the peak's cell,
            "cam" the CAM itself, divided by its maximum.

    Returns:
        (B, rows * columns, K) in [0, 1]. No gradient flows through the peak's place.
    """
    rows, columns = size_hw
    height, width = cams.shape[2:]
    if fkey == "cam":
        peak = cams.amax(dim=(2, 3), keepdim=True).clamp(min=1e-4)
        maps = F.interpolate(cams / peak, size=size_hw, mode="bilinear", align_corners=False)
        return (maps * presence[:, :, None, None]).flatten(2).transpose(1, 2)  # (B, L, K)
    index = cams.detach().flatten(2).argmax(dim=2)  # (B, K)
    # centre of the peak's cell, in cells of this level; (0, 0) is the corner of the first cell
    x = (index % width + 0.5) * (columns / width)  # (B, K)
    y = (index // width + 0.5) * (rows / height)
    column = torch.arange(columns, device=cams.device)
    row = torch.arange(rows, device=cams.device)
    if fkey == "onehot":
        along_x = (x.long()[:, :, None] == column).to(presence.dtype)  # (B, K, columns)
        along_y = (y.long()[:, :, None] == row).to(presence.dtype)  # (B, K, rows)
    elif fkey == "gauss":
        sharpness = -0.5 * (stride / KEY_SIGMA_PX) ** 2
        along_x = (sharpness * (column + 0.5 - x[:, :, None]) ** 2).exp()  # (B, K, columns)
        along_y = (sharpness * (row + 0.5 - y[:, :, None]) ** 2).exp()  # (B, K, rows)
    else:
        raise ValueError(f"fkey {fkey!r} is none of gauss, onehot, cam.")
    along_y = along_y * presence[:, :, None]
    maps = along_y[:, :, :, None] * along_x[:, :, None, :]  # (B, K, rows, columns)
    return maps.flatten(2).transpose(1, 2)  # (B, L, K)


def sine_position(size_hw: tuple[int, int], dim: int, device: torch.device) -> Tensor:
    """DETR's sine encoding: (rows * columns, dim), half of the channels for y, half for x."""
    if dim % 4:
        raise ValueError(f"A sine encoding wants a multiple of 4 channels, not {dim}.")
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
    """Add to each token what is known of its place: F' = psi(phi + F), phi = F x F^key.

    One module serves all levels.

    Args:
        dim: channels of the tokens.
        num_keypoints: K.
        spe: how tokens and key maps make phi. "embed" F * (F^key W_e), "gate" F times the
            highest key map, "gather" each keypoint's mean token brought back to its place,
            "conv" a 1x1 convolution of both; "sine", "learned" and "none" look at no key map.
        plus_sine: add the sine encoding as well.
        psi: "conv_ln_relu", "linear" or "identity".
    """

    def __init__(
        self,
        dim: int,
        num_keypoints: int,
        spe: str = "embed",
        plus_sine: bool = False,
        psi: str = "conv_ln_relu",
    ) -> None:
        super().__init__()
        self.spe = spe
        self.plus_sine = plus_sine
        if spe == "embed":
            self.embed = nn.Parameter(torch.ones(num_keypoints, dim))  # W_e
        elif spe == "conv":
            self.merge = nn.Linear(dim + num_keypoints, dim)  # a 1x1 convolution of tokens
        elif spe == "learned":
            self.table = nn.Parameter(0.02 * torch.randn(1, dim, LEARNED_GRID, LEARNED_GRID))
        if psi == "conv_ln_relu":
            self.psi: nn.Module = nn.Sequential(
                nn.Linear(dim, dim), nn.LayerNorm(dim), nn.ReLU(inplace=True)
            )
        elif psi == "linear":
            self.psi = nn.Linear(dim, dim)
        else:
            self.psi = nn.Identity()

    @property
    def wants_keys(self) -> bool:
        """Whether `forward` looks at key maps."""
        return self.spe not in WITHOUT_KEYS

    def forward(self, tokens: Tensor, keys: Tensor | None, size_hw: tuple[int, int]) -> Tensor:
        """Encode one level.

        Args:
            tokens: F, (B, L, dim), row by row.
            keys: F^key, (B, L, K); None where `wants_keys` is False.
            size_hw: rows and columns, L = rows * columns.

        Returns:
            F', (B, L, dim).
        """
        placed = tokens + self._phi(tokens, keys, size_hw)  # eq. 3
        if self.plus_sine:
            placed = placed + sine_position(size_hw, tokens.shape[2], tokens.device)
        return self.psi(placed)  # eq. 4

    def _phi(self, tokens: Tensor, keys: Tensor | None, size_hw: tuple[int, int]) -> Tensor:
        if self.spe == "none":
            return torch.zeros_like(tokens)
        if self.spe == "sine":
            return sine_position(size_hw, tokens.shape[2], tokens.device).expand_as(tokens)
        if self.spe == "learned":
            table = F.interpolate(self.table, size=size_hw, mode="bilinear", align_corners=False)
            return table.flatten(2).transpose(1, 2).expand_as(tokens)
        if keys is None:
            raise ValueError(f"spe {self.spe!r} wants key maps.")
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
            f"spe {self.spe!r} is none of embed, gate, gather, conv, sine, learned, none."
        )
