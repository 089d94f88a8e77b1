"""Multi-scale spatial-guided context encoder, MSC-En (eq. 5-9)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from labelkit.models.parts.attention import FeedForward, SelfAttention
from labelkit.models.parts.cam import pool_classes


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each added and then normalised.

    Args:
        dim: channels of the tokens.
        heads: attention heads.
        ffn: hidden channels of the feed-forward block.
        dropout: on what is added.
    """

    def __init__(self, dim: int, heads: int, ffn: int, dropout: float) -> None:
        super().__init__()
        self.attention = SelfAttention(dim, heads)
        self.feed_forward = FeedForward(dim, ffn, dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))
        self.drop = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, position: Tensor | None = None) -> Tensor:
        """One layer over (B, L, dim) tokens; `position` is added to queries and keys."""
        mixed = self.attention(tokens, position)
        tokens = self.norms[0](tokens + self.drop(mixed))  # eq. 7-8
        return self.norms[1](tokens + self.drop(self.feed_forward(tokens)))  # eq. 9


class ContextEncoder(nn.Module):
    """Gather the context of every pixel, scale by scale, with weights shared over the scales.

    Args:
        dim: channels of the tokens.
        heads: attention heads.
        depth: number of layers.
        ffn: hidden channels of the feed-forward blocks.
        dropout: on what each block adds.
        num_keypoints: K of the class output.
        enc_tokens: "per_scale" attends within each scale, "joint" over all scales at once,
            "cap" within each scale except the finest, which skips the encoder.
        pool: how the class output pools a scale's tokens; see `pool_classes`.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        depth: int,
        ffn: int,
        dropout: float,
        num_keypoints: int,
        enc_tokens: str = "per_scale",
        pool: str = "gap",
    ) -> None:
        super().__init__()
        self.enc_tokens = enc_tokens
        self.pool = pool
        self.layers = nn.ModuleList(EncoderLayer(dim, heads, ffn, dropout) for _ in range(depth))
        self.classify = nn.Linear(dim, num_keypoints)

    def forward(
        self, scales: Sequence[Tensor], sizes_hw: Sequence[tuple[int, int]]
    ) -> tuple[list[Tensor], Tensor]:
        """Encode all scales.

        Args:
            scales: F'_i, (B, L_i, dim), finest first.
            sizes_hw: rows and columns of each, L_i = rows * columns.

        Returns:
            scales: encoded, (B, L_i, dim); their concatenation is the memory F_m.
            logits: (B, K) presence, the mean over the scales that were encoded.
        """
        first = 1 if self.enc_tokens == "cap" else 0
        if self.enc_tokens == "joint":
            tokens = torch.cat(list(scales), dim=1)  # (B, L, dim)
            for layer in self.layers:
                tokens = layer(tokens)
            encoded = list(tokens.split([scale.shape[1] for scale in scales], dim=1))
        else:
            encoded = []
            for tokens in scales[first:]:
                for layer in self.layers:
                    tokens = layer(tokens)
                encoded.append(tokens)
        logits = []
        for tokens, size in zip(encoded, sizes_hw[first:], strict=True):
            scores = self.classify(tokens).transpose(1, 2).unflatten(2, size)  # (B, K, h, w)
            logits.append(pool_classes(scores, self.pool))
        return [*scales[:first], *encoded], torch.stack(logits).mean(dim=0)
