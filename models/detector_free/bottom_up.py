"""Bottom-up: keypoints of all objects at once, grouped by associative embedding.

Tags, pull and push of Newell et al. ("Associative Embedding", NIPS 2017), grouped keypoint after
keypoint as in HigherHRNet (Cheng et al., CVPR 2020), which then fills in what a group lacks. Ours:
a tag is the place of its cell plus what the network adds ("semi-convolutional", Novotny et al.,
ECCV 2018): a convolution alone gives equal objects equal tags, wherever they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from labelkit.models.detector_free.instances import Instances, without_duplicates
from labelkit.models.detector_free.interface import (
    MOST_OBJECTS,
    SCORE_FLOOR,
    STRIDE,
    DetectorFree,
)
from labelkit.models.detector_free.maps import (
    AT_A_TIME,
    Trunk,
    block,
    cells_at,
    draw_together,
    heatmap_head,
    heatmap_loss,
    peaks,
    refined,
)
from labelkit.models.parts.backbone import Backbone

#: Weights of heatmaps, of pull and of push.
WEIGHTS = (1.0, 0.5, 0.5)
#: Cells that are 1 apart in tags. Groups that are 1 apart are different objects.
TAG_CELLS = 4.0
#: Lower peaks start or join no group.
PEAK_FLOOR = 0.05


class BottomUpOutput(NamedTuple):
    """Maps of B canvases.

    Attributes:
        logits: (B, K, h, w), keypoints of all objects.
        tags: (B, K, 2, h, w), near each other at the keypoints of one object.
    """

    logits: Tensor
    tags: Tensor


class BottomUp(DetectorFree):
    """Find the keypoints of all objects, then group those with like tags.

    Args:
        backbone: with the strides of `maps.STRIDES`.
        num_keypoints: K.
        sigmas: see `DetectorFree`.
        dim: channels of the merged map.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_keypoints: int,
        sigmas: Sequence[float],
        dim: int = 64,
    ) -> None:
        super().__init__(num_keypoints, sigmas)
        self.trunk = Trunk(backbone, dim)
        self.shared = nn.Sequential(block(dim, dim), heatmap_head(dim, num_keypoints))
        self.embed = nn.Sequential(block(dim, dim), nn.Conv2d(dim, 2 * num_keypoints, 1))

    def forward(self, images: Tensor) -> BottomUpOutput:
        """See `DetectorFree` and `BottomUpOutput`."""
        features = self.trunk(images)  # (B, dim, h, w)
        tags = self.embed(features).float().unflatten(1, (self.num_keypoints, 2))
        height, width = tags.shape[3:]
        x = torch.arange(width, device=tags.device) / TAG_CELLS
        y = torch.arange(height, device=tags.device)[:, None] / TAG_CELLS
        tags = tags + torch.stack((x.expand(height, width), y.expand(height, width)))
        return BottomUpOutput(self.shared(features).float(), tags)

    def heatmaps(self, output: BottomUpOutput) -> Tensor:
        """See `DetectorFree`."""
        return output.logits.sigmoid()

    def loss(self, output: BottomUpOutput, truths: Sequence[Instances], counts: Tensor) -> Tensor:
        """Heatmaps, and tags pulled together in and pushed apart between objects."""
        size_hw = (output.logits.shape[2], output.logits.shape[3])
        points = [one.xy / STRIDE for one in truths]
        there = [one.presence > 0 for one in truths]
        target = draw_together(points, there, size_hw)
        heat = heatmap_loss(output.logits, target, counts[:, None])
        pulls, pushes = [], []
        for tags, xy, shown in zip(output.tags, points, there, strict=True):
            pull, push = tag_losses(tags, xy, shown)
            pulls.append(pull)
            pushes.append(push)
        terms = (heat, torch.stack(pulls).mean(), torch.stack(pushes).mean())
        return sum((w * term for w, term in zip(WEIGHTS, terms, strict=True)), start=heat * 0.0)

    @torch.no_grad()
    def decode(self, output: BottomUpOutput) -> list[Instances]:
        """Group peaks, and fill in what a group lacks where its tag is; see `DetectorFree`."""
        return [
            self._decoded(logits, tags)
            for logits, tags in zip(output.logits, output.tags, strict=True)
        ]

    def _decoded(self, logits: Tensor, tags: Tensor) -> Instances:
        heat, width = logits.sigmoid(), logits.shape[2]
        keypoint, row, column, height = peaks(heat, PEAK_FLOOR, MOST_OBJECTS)
        group, means = grouped(keypoint, height, tags[keypoint, :, row, column])
        count = min(len(means), MOST_OBJECTS)
        known = group < count
        group, keypoint, height = group[known], keypoint[known], height[known]
        confidence = heat.new_zeros(count, self.num_keypoints)
        confidence[group, keypoint] = height
        xy = heat.new_zeros(count, self.num_keypoints, 2)
        xy[group, keypoint] = refined(logits, keypoint, row[known], column[known])
        missing = (confidence == 0).nonzero()
        for some in missing.split(AT_A_TIME * self.num_keypoints):
            group, keypoint = some.T
            apart = (tags[keypoint] - means[group, :, None, None]).square().sum(dim=1)  # (m, h, w)
            best, place = (heat[keypoint] * (-apart).exp()).flatten(1).max(dim=1)
            confidence[group, keypoint] = best
            xy[group, keypoint] = refined(logits, keypoint, place // width, place % width)
        found = Instances(
            STRIDE * xy, torch.ones_like(confidence).to(torch.int8), confidence, confidence.mean(1)
        )
        found = found.take(found.score >= SCORE_FLOOR)
        return without_duplicates(found, self.sigmas, STRIDE)


def tag_losses(tags: Tensor, xy: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """How far apart the tags of an object are, and how near those of two objects.

    Newell et al., eq. 1, for tags of two numbers.

    Args:
        tags: (K, 2, h, w) of one canvas.
        xy: (N, K, 2) in cells.
        present: (N, K) bool.

    Returns:
        pull: mean squared distance from an object's mean tag.
        push: 0 apart ... 1 equal, mean over pairs of objects. Both 0 where there is no object.
    """
    count = present.sum(dim=1)  # (N,)
    xy, present = xy[count > 0], present[count > 0]
    row, column = cells_at(xy, (tags.shape[2], tags.shape[3]))
    each = tags[torch.arange(xy.shape[1], device=xy.device), :, row, column]  # (N, K, 2)
    share = present / present.sum(dim=1, keepdim=True).clamp(min=1)  # (N, K)
    mean = (each * share[..., None]).sum(dim=1, keepdim=True)  # (N, 1, 2)
    objects = len(xy)
    pull = ((each - mean).square().sum(dim=2) * share).sum() / max(objects, 1)
    apart = (mean - mean.transpose(0, 1)).square().sum(dim=2)  # (N, N)
    push = ((-apart).exp().sum() - objects) / max(objects * (objects - 1), 1)
    return pull + 0.0 * tags.sum(), push


def grouped(keypoint: Tensor, height: Tensor, tags: Tensor) -> tuple[Tensor, Tensor]:
    """Assign the peaks of one canvas to objects, each with one peak of a keypoint at most.

    Keypoint after keypoint, the most certain first, peaks and groups are matched so that their
    distances are the smallest in all (HigherHRNet's grouping); peaks more than 1 away from their
    match start groups.

    Args:
        keypoint, height: (P,) of each peak.
        tags: (P, 2).

    Returns:
        group: (P,) index of each peak's group.
        means: (G, 2) tag of each group, the mean weighted by height.
    """
    from scipy.optimize import linear_sum_assignment

    group = torch.zeros_like(keypoint)
    sums, weights = tags.new_zeros(0, 2), tags.new_zeros(0)
    certain = {one: float(height[keypoint == one].mean()) for one in keypoint.unique().tolist()}
    for one in sorted(certain, key=certain.__getitem__, reverse=True):
        peak = (keypoint == one).nonzero()[:, 0]
        apart = torch.cdist(tags[peak], sums / weights[:, None])  # (P', G)
        # one unit more than any match costs, so that near pairs come before all others
        cost = torch.where(apart <= 1, apart, 1 + len(peak))
        first, second = linear_sum_assignment(cost.cpu().numpy())
        target = torch.full_like(peak, -1)
        target[first] = torch.from_numpy(second).to(peak.device)
        far = target < 0
        far[first] |= apart[first, second] > 1
        fresh = int(far.sum())
        target[far] = len(sums) + torch.arange(fresh, device=peak.device)
        sums = torch.cat([sums, sums.new_zeros(fresh, 2)])
        weights = torch.cat([weights, weights.new_zeros(fresh)])
        sums[target] += tags[peak] * height[peak, None]
        weights[target] += height[peak]
        group[peak] = target
    return group, sums / weights[:, None]
