"""The output of every pose network in labelkit: losses and decoding know only this one."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class PoseOutput(NamedTuple):
    """Output of a network for B crops of (H, W) pixels and K keypoints.

    Attributes:
        logits: (B, K), presence of each keypoint by the final classifier; its sigmoid is a
            probability.
        aux_logits: (B, K) tensors, presence after the CNN, after the encoder and, where the
            preset says so, from the heatmaps; empty for networks without such classifiers.
        cams: (B, K, h, w) >= 0, class activation maps of the CNN branch (eq. 1); h = w = 0 for
            networks without.
        response: (B, K, H/4, W/4) float32, where the network attended for each keypoint; each
            map is a density that sums to 1.
        heatmaps: (B, K, H/4, W/4) float32, trained by the supervised term: about 1 at a keypoint
            and 0 elsewhere.
        part_features: (B, K, d), one feature per keypoint; d = 0 for networks without.
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
