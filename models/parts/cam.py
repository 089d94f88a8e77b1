"""The CNN branch: which keypoints are present, and roughly where that shows (eq. 1-2)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TOP_SHARE = 0.03  # of all cells, averaged by top-k pooling: 4 of a 12x12 map
SHARPNESS = 5.0  # of log-sum-exp pooling: 0 would be the mean, infinity the maximum


def pool_classes(scores: Tensor, how: str) -> Tensor:
    """One score per class from a map of scores.

    Args:
        scores: (B, K, h, w).
        how: "gap" mean of all cells; "topk" mean of the highest 3 % of cells, at least one;
            "lse" log-sum-exp, a soft maximum; "lmp" mean of the local maxima of 3x3 cells.

    Returns:
        (B, K).
    """
    if how == "gap":
        return scores.mean(dim=(2, 3))
    flat = scores.flatten(2)  # (B, K, h*w)
    cells = flat.shape[2]
    if how == "topk":
        return flat.topk(max(1, round(TOP_SHARE * cells)), dim=2).values.mean(dim=2)
    if how == "lse":
        summed = (SHARPNESS * flat.float()).logsumexp(dim=2)
        return (summed - math.log(cells)) / SHARPNESS
    if how == "lmp":
        with torch.no_grad():
            peaks = (F.max_pool2d(scores, 3, stride=1, padding=1) == scores).to(scores.dtype)
        return (scores * peaks).sum(dim=(2, 3)) / peaks.sum(dim=(2, 3))
    raise ValueError(f"cam_pool {how!r} is not one of gap, topk, lse, lmp.")


class CamBranch(nn.Module):
    """Presence from a CNN map, with class activation maps and one vector per keypoint.

    Args:
        channels: of the CNN map.
        num_keypoints: K.
        dim: channels of the keypoint vectors; 0 leaves them out.
        pool: see `pool_classes`.
    """

    def __init__(self, channels: int, num_keypoints: int, dim: int, pool: str = "gap") -> None:
        super().__init__()
        self.pool = pool
        self.squeeze = nn.Conv2d(channels, num_keypoints, 1)
        self.fc = nn.Linear(num_keypoints, num_keypoints)
        self.vector = nn.Conv2d(channels, dim, 1) if dim else None
        # Each class starts as its own channel, so that the two layers do not blur each other.
        nn.init.eye_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        """Classify and locate.

        Args:
            features: (B, channels, h, w).

        Returns:
            logits: (B, K) presence.
            cams: (B, K, h, w) M of eq. 1, >= 0.
            vectors: (B, K, dim) F_c of eq. 2, or None where dim is 0.
            scores: (B, K, h, w), of which `cams` is the positive part.
        """
        squeezed = self.squeeze(features)  # X': (B, K, h, w)
        # The layer commutes with the mean: classes first, so that every pooling works.
        scores = F.conv2d(squeezed, self.fc.weight[:, :, None, None])  # (B, K, h, w)
        logits = pool_classes(scores, self.pool) + self.fc.bias
        cams = scores.relu()  # eq. 1
        if self.vector is None:
            return logits, cams, None, scores
        weights = cams / (cams.sum(dim=(2, 3), keepdim=True) + 1e-4)  # (B, K, h, w)
        content = self.vector(features).flatten(2)  # X^c: (B, dim, h*w)
        vectors = weights.flatten(2) @ content.transpose(1, 2)  # eq. 2: (B, K, dim)
        return logits, cams, vectors, scores
