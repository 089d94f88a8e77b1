"""The terms of the training objective (eq. 11-15), and the targets of the supervised one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, distributed

from labelkit.models.parts.output import PoseOutput

#: alpha, alpha_1, alpha_2 and beta of eq. 13: CNN, encoder, final classifier, part diversity.
PAPER_WEIGHTS = (0.2, 0.2, 0.5, 0.1)


def classification_loss(logits: Tensor, presence: Tensor, answered: Tensor | None = None) -> Tensor:
    """Binary cross entropy of presence (eq. 12): 0 right ... .69 for a coin flip and up.

    Args:
        logits: (B, K).
        presence: (B, K) bool or float, whether each keypoint is visible.
        answered: (B, K) bool, where a person answered; None where all are answered.

    Returns:
        Scalar, the mean over answered keypoints; 0 if there are none.
    """
    each = F.binary_cross_entropy_with_logits(
        logits.float(), presence.to(torch.float32), reduction="none"
    )
    if answered is None:
        return each.mean()
    weight = answered.to(each.dtype)
    return _weighted_mean(each, weight)


def diversity_loss(features: Tensor) -> Tensor:
    """Mean cosine between part features of different keypoints (eq. 11).

    The diagonal is left out: it adds the constant 1 / (K - 1) and no gradient.

    Args:
        features: (B, K, d).

    Returns:
        Scalar in [-1, 1], lower is more diverse; 0 for a single keypoint.
    """
    keypoints = features.shape[1]
    unit = F.normalize(features.float(), dim=2)
    cosine = unit @ unit.transpose(1, 2)  # (B, K, K)
    others = ~torch.eye(keypoints, dtype=torch.bool, device=features.device)
    total = (cosine * others).sum(dim=(1, 2))  # (B,)
    return total.mean() / max(keypoints * (keypoints - 1), 1)


def heatmap_mse(heatmaps: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean squared error of heatmaps (eq. 14), 0 where they are right.

    Args:
        heatmaps: (B, K, h, w).
        target: (B, K, h, w); see `render_heatmaps`.
        weight: (B, K), 0 where there is no location to learn from.

    Returns:
        Scalar: the mean over pixels, then the weighted mean over keypoints of the batch. It is 0
        with zero gradients where all weights are 0, so that every process can step.
    """
    each = (heatmaps.float() - target).square().mean(dim=(2, 3))  # (B, K)
    weight = weight.to(each.dtype)
    return _weighted_mean(each, weight)


def response_loss(response: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Cross entropy between response maps and the true position.

    Unlike the error of a heatmap, it has a strong gradient where a map peaks in the wrong place.

    Args:
        response: (B, K, h, w) densities that sum to 1.
        target: (B, K, h, w); see `render_heatmaps`. Maps without a keypoint do not count.
        weight: (B, K), 0 where there is no location to learn from.

    Returns:
        Scalar, the weighted mean over located keypoints in nats: ln(h w) for uniform responses.
        It is 0 with zero gradients where nothing is located.
    """
    mass = target.sum(dim=(2, 3))  # (B, K)
    each = -(target * (response.float() + 1e-6).log()).sum(dim=(2, 3)) / mass.clamp(min=1e-6)
    weight = weight * (mass > 0)
    return _weighted_mean(each, weight)


class WeakLoss(NamedTuple):
    """The location-free objective and its unweighted terms, each a scalar.

    Attributes:
        total: weighted sum (eq. 13), to be minimised.
        cnn, encoder, final: classification losses; 0 for classifiers that a network lacks.
            Presence read off the heatmaps counts with the CNN, whose maps they are.
        diversity: see `diversity_loss`; 0 for networks without part features.
    """

    total: Tensor
    cnn: Tensor
    encoder: Tensor
    final: Tensor
    diversity: Tensor


def weak_loss(
    output: PoseOutput,
    presence: Tensor,
    answered: Tensor | None = None,
    *,
    weights: Sequence[float] = PAPER_WEIGHTS,
) -> WeakLoss:
    """The loss that presence labels alone give (eq. 13).

    Args:
        output: of the network.
        presence: (B, K), whether each keypoint is visible.
        answered: (B, K) bool, where that is known; None for everywhere.
        weights: of the CNN, encoder and final classifiers and of part diversity.
    """
    zero = output.logits.new_zeros((), dtype=torch.float32)
    aux = [classification_loss(logits, presence, answered) for logits in output.aux_logits]
    cnn, encoder, heatmap = (*aux, zero, zero, zero)[:3]
    final = classification_loss(output.logits, presence, answered)
    has_features = output.part_features.shape[2] > 0
    diversity = diversity_loss(output.part_features) if has_features else zero
    terms = (cnn + heatmap, encoder, final, diversity)
    total = zero
    for weight, term in zip(weights, terms, strict=True):
        total = total + weight * term
    return WeakLoss(total, *terms)


def render_heatmaps(
    xy: Tensor, valid: Tensor, size_hw: tuple[int, int], sigma: float = 2.0
) -> Tensor:
    """Gaussian targets with sub-pixel centres.

    Args:
        xy: (B, K, 2) in map cells, x then y; (0, 0) is the outer corner of the top-left cell, so
            a keypoint at (0.5, 0.5) lies in that cell's centre.
        valid: (B, K) bool; maps of the others are 0.
        size_hw: rows and columns of the maps.
        sigma: in cells.

    Returns:
        (B, K, rows, columns), 1 at the keypoint.
    """
    rows, columns = size_hw
    xy = torch.where(valid[..., None].bool(), xy, 0.0)  # absent keypoints may hold NaN
    sharpness = -0.5 / sigma**2
    column = torch.arange(columns, device=xy.device) + 0.5
    row = torch.arange(rows, device=xy.device) + 0.5
    along_x = (sharpness * (column - xy[..., 0:1]) ** 2).exp()  # (B, K, columns)
    along_y = (sharpness * (row - xy[..., 1:2]) ** 2).exp()  # (B, K, rows)
    along_y = along_y * valid[..., None]
    return along_y[..., :, None] * along_x[..., None, :]


def _weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean; 0 where all weights are 0.

    With several processes, each returns its part of the mean over all of them: averaged, as
    their gradients are, the parts are the mean of one large batch.
    """
    total, processes = weight.sum(), 1
    if distributed.is_available() and distributed.is_initialized():
        total = total.clone()
        distributed.all_reduce(total)
        processes = distributed.get_world_size()
    total = torch.where(total > 0, total, 1.0)
    return (values * weight).sum() * processes / total
