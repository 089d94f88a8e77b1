"""What every pose network of labelkit answers, so that losses and decoding need only one shape."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class PoseOutput(NamedTuple):
    """Answer of a network for B crops of (H, W) pixels and K keypoints.

    Attributes:
        logits: (B, K), presence of each keypoint as the final classifier sees it; its sigmoid is
            a probability.
        aux_logits: (B, K) tensors, presence after the CNN, after the encoder and, where a preset
            wants it, from the heatmaps; empty for networks that have no such classifiers.
        cams: (B, K, h, w) >= 0, class activation maps of the CNN branch (eq. 1); h = w = 0 for
            networks without.
        response: (B, K, H/4, W/4) float32, where the network looked for each keypoint; each map
            is a density that sums to 1.
        heatmaps: (B, K, H/4, W/4) float32, what the supervised term is fitted to; about 1 at a
            keypoint and 0 elsewhere once trained.
        part_features: (B, K, d), one feature a keypoint; d = 0 for networks without.
        scale_mass: (B, K, S) float32, share of the attention that each memory scale holds, finest
            first; each row sums to 1. S = 1 for networks with one scale.
    """

    logits: Tensor
    aux_logits: tuple[Tensor, ...]
    cams: Tensor
    response: Tensor
    heatmaps: Tensor
    part_features: Tensor
    scale_mass: Tensor
