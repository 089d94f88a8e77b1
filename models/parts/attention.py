"""Multi-head attention and the feed-forward block of a transformer layer (eq. 5-9)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _linear(dim: int, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(dim, dim, bias=bias)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def _check_heads(dim: int, heads: int) -> None:
    if dim % heads:
        raise ValueError(f"{heads} heads do not divide {dim} channels.")


def _attend(query: Tensor, key: Tensor, value: Tensor, scale: float | None = None) -> Tensor:
    """PyTorch's attention; in full precision on CPUs, where half-precision gradients are slow."""
    if query.device.type != "cpu":
        return F.scaled_dot_product_attention(query, key, value, scale=scale)
    with torch.autocast("cpu", enabled=False):
        query, key, value = query.float(), key.float(), value.float()
        return F.scaled_dot_product_attention(query, key, value, scale=scale)


class SelfAttention(nn.Module):
    """Multi-head attention of tokens to each other.

    Args:
        dim: channels of the tokens.
        heads: number of heads; must divide `dim`.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        _check_heads(dim, heads)
        self.heads = heads
        self.query = _linear(dim)
        self.key = _linear(dim, bias=False)  # softmax cancels a bias of the keys
        self.value = _linear(dim)
        self.out = _linear(dim)

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, h, L, d/h)

    def forward(self, tokens: Tensor, position: Tensor | None = None) -> Tensor:
        """Mix (B, L, dim) tokens; `position` is added to queries and keys."""
        placed = tokens if position is None else tokens + position
        mixed = _attend(
            self._split(self.query(placed)),
            self._split(self.key(placed)),
            self._split(self.value(tokens)),
        )  # (B, h, L, d/h)
        return self.out(mixed.transpose(1, 2).flatten(2))  # (B, L, dim), eq. 8


class CrossAttention(nn.Module):
    """Multi-head attention of a few queries to many memory tokens.

    Keys and values are never computed for the memory: with q W_q (m W_k)^T = (q W_q W_k^T) m^T
    the key matrix moves to the queries, and the value matrix to the output. It is the same
    attention at about half the arithmetic where heads * K < 2 * dim.

    Args:
        dim: channels of queries and memory.
        heads: number of heads; must divide `dim`.
        with_output: False leaves out value and output, where only the weights are needed.
    """

    def __init__(self, dim: int, heads: int, with_output: bool = True) -> None:
        super().__init__()
        _check_heads(dim, heads)
        self.heads = heads
        self.scale = (dim // heads) ** -0.5
        self.query = _linear(dim)
        self.key = _linear(dim, bias=False)
        if with_output:
            self.value = _linear(dim)
            self.out = _linear(dim)

    def _fold(self, query: Tensor) -> Tensor:
        """(B, K, dim) queries as (B, h*K, dim) directions in the memory's space."""
        q = self.query(query).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, h, K, d/h)
        key = self.key.weight.unflatten(0, (self.heads, -1))  # (h, d/h, d)
        return (q @ key).flatten(1, 2)  # (B, h*K, d)

    def _unfold(self, pooled: Tensor) -> Tensor:
        """(B, h*K, dim) memory pooled by each head as the (B, K, dim) output."""
        per_head = pooled.unflatten(1, (self.heads, -1))  # (B, h, K, d)
        value = self.value.weight.unflatten(0, (self.heads, -1))  # (h, d/h, d)
        mixed = (per_head @ value.transpose(1, 2)).transpose(1, 2).flatten(2)  # (B, K, d)
        return self.out(mixed + self.value.bias)

    def forward(self, query: Tensor, memory: Tensor, position: Tensor | None = None) -> Tensor:
        """Read the memory with each query.

        Args:
            query: (B, K, dim).
            memory: (B, L, dim).
            position: (L, dim), added to the memory as keys; or None.

        Returns:
            (B, K, dim).
        """
        keys = memory if position is None else memory + position
        # one head: the folded queries of all heads are just more queries
        folded = self._fold(query)[:, None]
        pooled = _attend(folded, keys[:, None], memory[:, None], self.scale)[:, 0]  # (B, h*K, d)
        return self._unfold(pooled)

    def weights(
        self,
        query: Tensor,
        memory: Tensor,
        position: Tensor | None = None,
        guide: Tensor | None = None,
    ) -> Tensor:
        """Attention weights of each head and query (eq. 6).

        Args:
            query, memory, position: as in `forward`.
            guide: (B, K, L), added to the scores of every head before the softmax; or None.

        Returns:
            (B, h, K, L) float32, each row sums to 1.
        """
        keys = memory if position is None else memory + position
        scores = self._fold(query) * self.scale @ keys.transpose(1, 2)  # (B, h*K, L)
        scores = scores.float().unflatten(1, (self.heads, -1))  # (B, h, K, L)
        if guide is not None:
            scores = scores + guide[:, None]
        return scores.softmax(dim=3)

    def pool(self, weights: Tensor, memory: Tensor) -> Tensor:
        """`forward` for known weights: (B, h, K, L) and (B, L, dim) to (B, K, dim)."""
        return self._unfold(weights.flatten(1, 2).to(memory.dtype) @ memory)


class FeedForward(nn.Sequential):
    """Two linear layers with a ReLU between them.

    Args:
        dim: channels in and out.
        hidden: channels between.
        dropout: on the hidden channels.
    """

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__(
            nn.Linear(dim, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, dim),
        )
