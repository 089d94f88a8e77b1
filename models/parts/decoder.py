"""Relation-guided pose decoder, RGP-De: one query per keypoint finds its part of the image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from labelkit.models.parts.attention import CrossAttention, FeedForward, SelfAttention


class DecoderLayer(nn.Module):
    """Self-attention among queries, cross-attention to the memory, feed-forward.

    Args:
        dim: channels of queries and memory.
        heads: attention heads.
        ffn: hidden channels of the feed-forward block.
        dropout: on what each block adds.
        with_output: False stops after the cross-attention's weights, where the decoded query is
            not used.
    """

    def __init__(
        self, dim: int, heads: int, ffn: int, dropout: float, with_output: bool = True
    ) -> None:
        super().__init__()
        self.with_output = with_output
        self.among = SelfAttention(dim, heads)
        self.cross = CrossAttention(dim, heads, with_output)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3 if with_output else 1))
        self.drop = nn.Dropout(dropout)
        if with_output:
            self.feed_forward = FeedForward(dim, ffn, dropout)

    def forward(
        self,
        query: Tensor,
        memory: Tensor,
        query_position: Tensor | None = None,
        memory_position: Tensor | None = None,
        return_weights: bool = False,
        guide: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """One layer.

        Args:
            query: (B, K, dim).
            memory: (B, L, dim).
            query_position: added to queries and keys among queries, as DETR does; or None.
            memory_position: added to the memory's keys; or None.
            return_weights: return the cross-attention's weights.
            guide: (B, K, L), added to the scores of the returned weights; or None.

        Returns:
            query: (B, K, dim).
            weights: (B, K, L) float32, mean over heads, each row sums to 1; None unless
                requested.
        """
        mixed = self.among(query, query_position)
        query = self.norms[0](query + self.drop(mixed))
        placed = query if query_position is None else query + query_position
        if self.with_output and not return_weights:
            return self._decode(query, self.cross(placed, memory, memory_position)), None
        per_head = self.cross.weights(placed, memory, memory_position, guide)  # (B, h, K, L)
        weights = per_head.mean(dim=1)  # (B, K, L)
        if not self.with_output:
            return query, weights
        return self._decode(query, self.cross.pool(per_head, memory)), weights

    def _decode(self, query: Tensor, mixed: Tensor) -> Tensor:
        query = self.norms[1](query + self.drop(mixed))
        return self.norms[2](query + self.drop(self.feed_forward(query)))


class PartDecoder(nn.Module):
    """Let one query per keypoint attend to the image memory, and return where it attended.

    The part feature is the memory pooled by attention, with no path from the query: what the
    classifier learns can only come from where the query attended.

    Args:
        dim: channels of queries and memory.
        heads: attention heads.
        depth: number of layers.
        ffn: hidden channels of the feed-forward blocks.
        dropout: on what each block adds.
        with_queries: whether the decoded queries are used too.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        depth: int,
        ffn: int,
        dropout: float,
        with_queries: bool = False,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(dim, heads, ffn, dropout, with_output=with_queries or index < depth - 1)
            for index in range(depth)
        )

    def forward(
        self, queries: Tensor, memory: Tensor, guide: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decode part features and response maps.

        Args:
            queries: (B, K, dim), one prototype per keypoint.
            memory: (B, L, dim) tokens of all scales.
            guide: (B, K, L) scores that the last layer's attention starts from; or None.

        Returns:
            features: (B, K, dim), memory pooled by the last layer's attention.
            attention: (B, K, L) float32, each row sums to 1.
            queries: (B, K, dim) after the last layer; complete only with `with_queries`.
        """
        *earlier, last = self.layers
        for layer in earlier:
            queries, _ = layer(queries, memory)
        queries, attention = last(queries, memory, return_weights=True, guide=guide)
        return attention.to(memory.dtype) @ memory, attention, queries


class PartClassifier(nn.Module):
    """Presence of each keypoint from its own feature: one vector and one bias per keypoint.

    Args:
        num_keypoints: K.
        dim: channels of the features.
    """

    def __init__(self, num_keypoints: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_keypoints, dim) * dim**-0.5)
        self.bias = nn.Parameter(torch.zeros(num_keypoints))

    def forward(self, features: Tensor) -> Tensor:
        """(B, K) logits from (B, K, dim) features."""
        return (features * self.weight).sum(dim=2) + self.bias
