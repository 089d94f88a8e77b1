"""Heatmap heads: what the supervised term (eq. 14) trains."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelkit.models.parts.cam import pool_classes
from labelkit.models.parts.spe import sine_position


class AttentionHeatmap(nn.Module):
    """A response map scaled to the height of a Gaussian target.

    A response map sums to 1 while a target of sigma 2 sums to 25, so it is divided by its peak;
    each keypoint learns a scale and a bias.

    Args:
        num_keypoints: K.
    """

    def __init__(self, num_keypoints: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(num_keypoints, 1, 1))
        self.bias = nn.Parameter(torch.zeros(num_keypoints, 1, 1))

    def forward(self, response: Tensor) -> Tensor:
        """(B, K, h, w) heatmaps from (B, K, h, w) response maps."""
        peak = response.amax(dim=(2, 3), keepdim=True).clamp(min=1e-8)
        return self.scale * (response / peak) + self.bias


class DotHeatmap(nn.Module):
    """How well each fine token matches each decoded query, as a map.

    Args:
        num_keypoints: K.
        dim: channels of queries and tokens.
    """

    def __init__(self, num_keypoints: int, dim: int) -> None:
        super().__init__()
        self.query = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(inplace=True), nn.Linear(dim, dim))
        self.token = nn.Linear(dim, dim)
        self.bias = nn.Parameter(torch.zeros(num_keypoints, 1))

    def forward(self, queries: Tensor, tokens: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """(B, K, h, w) heatmaps from (B, K, dim) queries and (B, h*w, dim) tokens."""
        query = self.query(queries)  # (B, K, dim)
        token = self.token(tokens) * tokens.shape[2] ** -0.5  # (B, L, dim)
        return (query @ token.transpose(1, 2) + self.bias).unflatten(2, size_hw)


class HeatmapPresence(nn.Module):
    """Presence read off heatmaps: a keypoint is present where its map is high somewhere.

    It lets presence labels train the heatmaps where there is no location.

    Args:
        num_keypoints: K.
    """

    def __init__(self, num_keypoints: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((num_keypoints,), 4.0))
        self.bias = nn.Parameter(torch.full((num_keypoints,), -1.0))

    def forward(self, heatmaps: Tensor) -> Tensor:
        """(B, K) logits from (B, K, h, w) heatmaps."""
        return self.scale * pool_classes(heatmaps, "topk") + self.bias


class DeconvHead(nn.Sequential):
    """The simple baseline's head: transposed convolutions, each doubling the size, then 1x1.

    Args:
        in_channels: of the map.
        num_keypoints: K.
        doublings: how often the size doubles.
        channels: of the layers in between.
    """

    def __init__(
        self, in_channels: int, num_keypoints: int, doublings: int, channels: int = 256
    ) -> None:
        layers: list[nn.Module] = []
        for _ in range(doublings):
            deconv = nn.ConvTranspose2d(
                in_channels, channels, kernel_size=4, stride=2, padding=1, bias=False
            )
            nn.init.normal_(deconv.weight, std=0.001)
            layers += [deconv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
            in_channels = channels
        last = nn.Conv2d(in_channels, num_keypoints, 1)
        nn.init.normal_(last.weight, std=0.001)
        if last.bias is not None:
            nn.init.zeros_(last.bias)
        super().__init__(*layers, last)


class PyramidHead(nn.Module):
    """Tokens and backbone maps of several scales merged from coarse to fine.

    A feature pyramid (Lin et al., CVPR 2017). The tokens carry context and presence, the
    backbone's own maps the detail that presence does not need. Only the coarsest level gets a
    position encoding: tokens with one would let presence be read off places instead of content.

    Args:
        dim: channels of every level's tokens.
        channels: of the backbone's maps, finest first.
        num_keypoints: K.
    """

    def __init__(self, dim: int, channels: Sequence[int], num_keypoints: int) -> None:
        super().__init__()
        *finer, coarsest = channels
        self.first = nn.Sequential(
            *_smooth(dim + coarsest, 2 * dim), nn.Conv2d(2 * dim, dim, 1, bias=False)
        )
        self.lateral = nn.ModuleList(nn.Conv2d(c, dim, 1, bias=False) for c in finer)
        self.smooth = nn.ModuleList(nn.Sequential(*_smooth(dim, dim)) for _ in finer)
        self.last = nn.Conv2d(dim, num_keypoints, 1)
        nn.init.normal_(self.last.weight, std=0.001)

    def forward(self, levels: Sequence[Tensor], maps: Sequence[Tensor]) -> Tensor:
        """Heatmaps.

        Args:
            levels: (B, dim, h / 2^i, w / 2^i) tokens, finest first.
            maps: (B, channels[i], h / 2^i, w / 2^i) of the backbone.

        Returns:
            (B, K, h, w).
        """
        coarsest = levels[-1]
        rows, columns = coarsest.shape[2:]
        place = sine_position((rows, columns), coarsest.shape[1], coarsest.device)
        placed = coarsest + place.T.unflatten(1, (rows, columns))
        merged = self.first(torch.cat([placed, maps[-1]], dim=1))
        for index in reversed(range(len(self.smooth))):
            merged = F.interpolate(merged, scale_factor=2.0, mode="bilinear")
            merged = merged + levels[index] + self.lateral[index](maps[index])
            merged = self.smooth[index](merged)
        return self.last(merged)


def _smooth(in_channels: int, channels: int) -> list[nn.Module]:
    """A 3x3 convolution, normalised and rectified."""
    return [
        nn.Conv2d(in_channels, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    ]
