"""The supervised-only baseline: a backbone and a deconvolution head (Xiao et al., 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from labelkit.models.parts.backbone import Backbone
from labelkit.models.parts.heads import DeconvHead
from labelkit.models.parts.output import PoseOutput


class SimpleBaseline(nn.Module):
    """Heatmaps at stride 4 from one map of the backbone.

    Args:
        backbone: its last map is read; the stride must be 4 times a power of 2.
        num_keypoints: K.
        channels: of the transposed convolutions.
    """

    def __init__(self, backbone: Backbone, num_keypoints: int, channels: int = 256) -> None:
        super().__init__()
        self.backbone = backbone
        doublings = (backbone.strides[-1] // 4).bit_length() - 1
        self.head = DeconvHead(backbone.channels[-1], num_keypoints, doublings, channels)

    def transformer_parameters(self) -> list[nn.Parameter]:
        """None: there is no transformer."""
        return []

    def forward(self, images: Tensor) -> PoseOutput:
        """Predict heatmaps.

        Args:
            images: (B, 3, H, W), normalised by `Pixels`; H and W are
                multiples of the backbone's last stride.

        Returns:
            `PoseOutput`. The logits are those of each heatmap's peak, taken as a probability; the
            response is the heatmap without its negative part, normalised to sum to 1.
        """
        heatmaps = self.head(self.backbone(images)[-1]).float()  # (B, K, H/4, W/4)
        response = heatmaps.relu() + 1e-6
        response = response / response.sum(dim=(2, 3), keepdim=True)
        logits = torch.logit(heatmaps.amax(dim=(2, 3)).clamp(1e-4, 1 - 1e-4))  # (B, K)
        batch, keypoints = logits.shape
        return PoseOutput(
            logits=logits,
            aux_logits=(),
            cams=heatmaps.new_zeros(batch, keypoints, 0, 0),
            response=response,
            heatmaps=heatmaps,
            part_features=heatmaps.new_zeros(batch, keypoints, 0),
            scale_mass=heatmaps.new_ones(batch, keypoints, 1),
        )
