"""The objects of one image, labelled or found, and what follows from their keypoints alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

#: Presence of a keypoint that is neither known to be there nor to be absent.
UNKNOWN = -1
#: Margin of a box around keypoints, as a share of their extent on each side.
MARGIN = 0.1
#: A keypoint with less than this share of the object's best confidence does not widen its box.
OUTLYING = 0.2
#: Two objects of one image with a higher OKS are the same (Xiao et al., ECCV 2018: .9).
OKS_ABOVE = 0.9


class Instances(NamedTuple):
    """N objects of one canvas.

    Attributes:
        xy: (N, K, 2) in canvas pixels, x then y; anything where a keypoint is absent.
        presence: (N, K) 1 present, 0 absent, -1 unknown.
        confidence: (N, K) 0 ... 1, 1 in labels.
        score: (N,) 0 ... 1, of whole objects; 1 in labels.
    """

    xy: Tensor
    presence: Tensor
    confidence: Tensor
    score: Tensor

    def take(self, chosen: Tensor) -> Instances:
        """The objects that an index or a mask selects."""
        return Instances(*(value[chosen] for value in self))

    @property
    def boxes(self) -> Tensor:
        """(N, 4) left, top, right, bottom around the present keypoints, with a margin.

        Keypoints far less confident than the object's best one do not count.
        """
        best = (self.confidence * (self.presence > 0)).amax(dim=1, keepdim=True)
        counted = ((self.presence > 0) & (self.confidence >= OUTLYING * best))[..., None]
        low = torch.where(counted, self.xy, torch.inf).amin(dim=1)
        high = torch.where(counted, self.xy, -torch.inf).amax(dim=1)
        none = ~counted.any(dim=1)
        low, high = low.masked_fill(none, 0.0), high.masked_fill(none, 0.0)
        margin = MARGIN * (high - low)
        return torch.cat([low - margin, high + margin], dim=1)


def labelled(xy: Tensor, presence: Tensor) -> Instances:
    """Objects that a person labelled; see `Instances`."""
    xy = torch.where((presence > 0)[..., None], xy.float(), 0.0)  # absent ones may hold NaN
    return Instances(xy, presence, (presence > 0).float(), torch.ones(len(xy), device=xy.device))


def alikeness(one: Instances, other: Instances, sigmas: Sequence[float], least: float) -> Tensor:
    """(N, M) OKS between the objects of two lists, 0 apart ... 1 equal, at their mean area.

    Args:
        one, other: N and M objects; every keypoint has a location.
        sigmas: K numbers, the OKS falloff of each keypoint.
        least: in pixels, of a box's side; objects of one keypoint have none of their own.
    """
    areas = [
        (it.boxes[:, 2:] - it.boxes[:, :2]).clamp(min=least).prod(dim=1) for it in (one, other)
    ]
    spread = (2 * one.xy.new_tensor(sigmas)) ** 2  # (K,)
    apart = (one.xy[:, None] - other.xy).square().sum(dim=3)  # (N, M, K)
    scale = spread * (areas[0][:, None] + areas[1])[..., None]  # twice the mean area
    return (-apart / scale).exp().mean(dim=2)


def without_duplicates(found: Instances, sigmas: Sequence[float], least_side: float) -> Instances:
    """OKS-NMS: the best object stays, those with an OKS above .9 to it go, and so on.

    Args:
        found: every keypoint has a location.
        sigmas: K numbers, the OKS falloff of each keypoint.
        least_side: in pixels, of a box; objects of one keypoint have none of their own.

    Returns:
        The objects that stay, best first.
    """
    found = found.take(found.score.argsort(descending=True, stable=True))
    alike = (alikeness(found, found, sigmas, least_side) > OKS_ABOVE).tolist()
    kept: list[int] = []
    for index, row in enumerate(alike):
        if not any(row[better] for better in kept):
            kept.append(index)
    return found.take(torch.tensor(kept, dtype=torch.long, device=found.score.device))
