"""Relation-encoded pose prototypes, RePPG: queries mixed along the skeleton (eq. 10)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def adjacency(num_keypoints: int, links: Sequence[tuple[int, int]]) -> Tensor:
    """Which keypoints exchange information: A of eq. 10, the kinematic links and self loops.

    Args:
        num_keypoints: K.
        links: pairs of keypoints joined by a limb.

    Returns:
        (K, K) bool, symmetric, True on the diagonal.
    """
    mask = torch.eye(num_keypoints, dtype=torch.bool)
    for a, b in links:
        mask[a, b] = mask[b, a] = True
    return mask


class SemanticGraphConv(nn.Module):
    """SemGCN's graph convolution: a learned weight per edge, and a separate matrix for self loops.

    Args:
        dim: channels of the nodes.
        mask: (K, K) bool edges, True on the diagonal.
    """

    mask: Tensor

    def __init__(self, dim: int, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask.clone(), persistent=False)
        self.own = nn.Linear(dim, dim, bias=False)
        # A graph without edges has no neighbours to learn from.
        has_edges = bool((mask & ~torch.eye(len(mask), dtype=torch.bool)).any())
        self.neighbours = nn.Linear(dim, dim, bias=False) if has_edges else None
        self.bias = nn.Parameter(torch.zeros(dim))
        self.edges = nn.Parameter(torch.ones(int(mask.sum())))  # M_r
        self.edges.requires_grad_(has_edges)

    def relations(self) -> Tensor:
        """(K, K) weights of neighbours; each row sums to 1 and is 0 off the mask."""
        scores = torch.full(self.mask.shape, -torch.inf, device=self.edges.device)
        scores = scores.masked_scatter(self.mask, self.edges.float())
        return scores.softmax(dim=1)  # phi_i(M_r * A)

    def forward(self, nodes: Tensor) -> Tensor:
        """Mix (B, K, dim) nodes along the edges; (B, K, dim)."""
        relations = self.relations()  # (K, K)
        own = relations.diagonal()  # (K,)
        mixed = own[:, None] * self.own(nodes) + self.bias
        if self.neighbours is None:
            return mixed
        others = relations - torch.diag(own)
        return mixed + others @ self.neighbours(nodes)


class PosePrototypes(nn.Module):
    """Make the decoder's queries.

    Args:
        dim: channels.
        mask: (K, K) bool edges; see `adjacency`.
        depth: number of residual graph convolutions; 0 leaves the relations out.
        proto_init: "cam_learned" the CNN branch's vectors plus a learned one per keypoint, "cam"
            or "learned" only one of them.
    """

    def __init__(
        self, dim: int, mask: Tensor, depth: int = 2, proto_init: str = "cam_learned"
    ) -> None:
        super().__init__()
        self.uses_vectors = proto_init != "learned"
        self.embedding = nn.Parameter(torch.randn(len(mask), dim)) if proto_init != "cam" else None
        self.convs = nn.ModuleList(SemanticGraphConv(dim, mask) for _ in range(depth))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(depth))

    def forward(self, vectors: Tensor | None, batch: int) -> Tensor:
        """Prototypes of each crop.

        Args:
            vectors: F_c, (B, K, dim); None with only learned ones.
            batch: B.

        Returns:
            P'_C, (B, K, dim).
        """
        if self.embedding is None:
            if vectors is None:
                raise ValueError('proto_init "cam" needs the vectors of the CNN branch.')
            nodes = vectors
        elif self.uses_vectors and vectors is not None:
            nodes = vectors + self.embedding
        else:
            nodes = self.embedding.expand(batch, -1, -1)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            nodes = nodes + norm(conv(nodes)).relu()  # eq. 10
        return nodes
