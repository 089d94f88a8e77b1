"""The paper's location-free baseline: a CNN and the original DETR transformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from labelkit.models.parts.backbone import Backbone
from labelkit.models.parts.decoder import DecoderLayer, PartClassifier
from labelkit.models.parts.encoder import EncoderLayer
from labelkit.models.parts.heads import AttentionHeatmap
from labelkit.models.parts.output import PoseOutput
from labelkit.models.parts.response import fuse_scales
from labelkit.models.parts.spe import sine_position


class DetrBaseline(nn.Module):
    """Learned queries, sine positions, one scale; each decoded query is normalised and classified.

    What LOFR adds is missing on purpose: no activation maps, no relations between keypoints, and
    the classifier reads the query as well as what it attended to.

    Args:
        backbone: its last map is the memory.
        num_keypoints: K.
        dim: channels of tokens and queries.
        heads: attention heads.
        encoder_layers, decoder_layers: depths.
        ffn: hidden channels of the feed-forward blocks.
        dropout: in the transformer.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_keypoints: int,
        *,
        dim: int = 256,
        heads: int = 8,
        encoder_layers: int = 4,
        decoder_layers: int = 6,
        ffn: int = 1024,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.project = nn.Conv2d(backbone.channels[-1], dim, 1)
        self.encoder = nn.ModuleList(
            EncoderLayer(dim, heads, ffn, dropout) for _ in range(encoder_layers)
        )
        self.query_position = nn.Parameter(torch.randn(num_keypoints, dim))
        self.decoder = nn.ModuleList(
            DecoderLayer(dim, heads, ffn, dropout) for _ in range(decoder_layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.classify = PartClassifier(num_keypoints, dim)
        self.heatmap = AttentionHeatmap(num_keypoints)

    def transformer_parameters(self) -> list[nn.Parameter]:
        """Parameters of the transformer, which has its own learning rate."""
        parts = (self.encoder, self.decoder, self.norm, self.classify)
        return [self.query_position, *(p for part in parts for p in part.parameters())]

    def forward(self, images: Tensor) -> PoseOutput:
        """Classify and locate the keypoints of each crop.

        Args:
            images: (B, 3, H, W), normalised by `Pixels`; H and W are
                multiples of the backbone's last stride.

        Returns:
            `PoseOutput`; the response is the last layer's cross-attention.
        """
        features = self.project(self.backbone(images)[-1])  # (B, d, h, w)
        batch, dim, height, width = features.shape
        position = sine_position((height, width), dim, features.device)  # (L, d)
        memory = features.flatten(2).transpose(1, 2)  # (B, L, d)
        for layer in self.encoder:
            memory = layer(memory, position)
        queries = torch.zeros_like(self.query_position).expand(batch, -1, -1)  # (B, K, d)
        attention = None
        for index, layer in enumerate(self.decoder):
            queries, attention = layer(
                queries,
                memory,
                self.query_position,
                position,
                return_weights=index == len(self.decoder) - 1,
            )
        assert attention is not None
        queries = self.norm(queries)
        logits = self.classify(queries)  # (B, K)
        response = fuse_scales(attention, [(height, width)], self.backbone.strides[-1:])
        return PoseOutput(
            logits=logits,
            aux_logits=(),
            cams=response.new_zeros(*logits.shape, 0, 0),
            response=response,
            heatmaps=self.heatmap(response).float(),
            part_features=queries,
            scale_mass=response.new_ones(*logits.shape, 1),
        )
