"""Single-stage: one heatmap set per object, decoupled from the others by its centre.

After "Contextual Instance Decoupling for Robust Multi-Person Pose Estimation" (Wang and Zhang,
CVPR 2022): a centre map, features sampled at centres, attention to the channels and to the places
of each object. Ours: the place attention is told how large the object is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
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
    centres,
    draw,
    draw_together,
    heatmap_head,
    heatmap_loss,
    peaks,
    refined,
)
from labelkit.models.parts.backbone import Backbone

#: Weights of the shared maps, of contrast and of each object's heatmaps (CID, eq. 9).
WEIGHTS = (1.0, 1.0, 4.0)
#: Temperature of the contrastive loss (CID, eq. 3).
TEMPERATURE = 0.05
#: Lower centres are not decoded: each costs a set of heatmaps.
CENTRE_FLOOR = 0.03
#: Objects of a batch whose own heatmaps are trained, drawn at random where there are more.
MOST_TRAINED = 128


class SingleStageOutput(NamedTuple):
    """Maps of B canvases.

    Attributes:
        logits: (B, K + 1, h, w), keypoints of all objects, then centres.
        features: (B, dim, h, w), sampled at centres.
        places: (B, d, h, w), from which each object's heatmaps are made.
    """

    logits: Tensor
    features: Tensor
    places: Tensor


class SingleStage(DetectorFree):
    """Find centres, then read each object's keypoints off heatmaps of its own.

    Args:
        backbone: with the strides of `maps.STRIDES`.
        num_keypoints: K.
        sigmas: see `DetectorFree`.
        dim: channels of the merged map.
        instance_dim: d, channels of the map from which an object's heatmaps are made.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_keypoints: int,
        sigmas: Sequence[float],
        dim: int = 64,
        instance_dim: int = 32,
    ) -> None:
        super().__init__(num_keypoints, sigmas)
        self.trunk = Trunk(backbone, dim)
        self.shared = nn.Sequential(block(dim, dim), heatmap_head(dim, num_keypoints + 1))
        self.places = block(dim, instance_dim)
        self.describe = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(inplace=True))
        self.gains = nn.Linear(dim, instance_dim)
        self.query = nn.Linear(dim, instance_dim)
        self.size = nn.Linear(dim, 1)
        self.attend = nn.Sequential(nn.Conv2d(4, 16, 1), nn.ReLU(inplace=True), nn.Conv2d(16, 1, 1))
        self.last = nn.Sequential(
            nn.Conv2d(instance_dim, instance_dim, 1),
            nn.ReLU(inplace=True),
            heatmap_head(instance_dim, num_keypoints),
        )

    def forward(self, images: Tensor) -> SingleStageOutput:
        """See `DetectorFree` and `SingleStageOutput`."""
        features = self.trunk(images)  # (B, dim, h, w)
        return SingleStageOutput(
            self.shared(features).float(), features.float(), self.places(features).float()
        )

    def heatmaps(self, output: SingleStageOutput) -> Tensor:
        """See `DetectorFree`."""
        return output.logits[:, :-1].sigmoid()

    def instance_logits(
        self, output: SingleStageOutput, image: Tensor, row: Tensor, column: Tensor
    ) -> Tensor:
        """Heatmaps of the objects at some centres (CID, eq. 4-7).

        Args:
            output: of `forward`.
            image: (N,) index of each object's canvas.
            row, column: (N,) cell of each object's centre.

        Returns:
            (N, K, h, w) logits.
        """
        places = output.places[image]  # (N, d, h, w)
        about = self.describe(output.features[image, :, row, column])  # (N, dim)
        query = self.query(about)[..., None, None]  # (N, d, 1, 1)
        alike = (places * query).mean(dim=1)  # (N, h, w)
        size = 8 * self.size(about).clamp(-3, 3).exp()[..., None]  # (N, 1, 1), in cells
        height, width = places.shape[2:]
        across = torch.arange(width, device=image.device) - column[:, None, None]  # (N, 1, w)
        down = torch.arange(height, device=image.device)[:, None] - row[:, None, None]  # (N, h, 1)
        x, y = (across / size).expand_as(alike), (down / size).expand_as(alike)
        where = torch.stack((alike, x, y, x.square() + y.square()), dim=1)  # (N, 4, h, w)
        attention = self.attend(where.clamp(-20, 20)).sigmoid()  # (N, 1, h, w)
        gains = self.gains(about).sigmoid()[..., None, None]  # (N, d, 1, 1)
        return self.last(places * gains * attention).float()

    def loss(
        self, output: SingleStageOutput, truths: Sequence[Instances], counts: Tensor
    ) -> Tensor:
        """Shared maps, contrast of objects, and each object's heatmaps; see `DetectorFree`."""
        size_hw = (output.logits.shape[2], output.logits.shape[3])
        there = [(one.presence > 0).any(dim=1) for one in truths]
        truths = [one.take(some) for one, some in zip(truths, there, strict=True)]
        middles = [centres(one) / STRIDE for one in truths]  # (N, 2) each
        target = draw_together(
            [
                torch.cat([one.xy / STRIDE, middle[:, None]], dim=1)
                for one, middle in zip(truths, middles, strict=True)
            ],
            [F.pad(one.presence > 0, (0, 1), value=True) for one in truths],
            size_hw,
        )
        loss = WEIGHTS[0] * heatmap_loss(output.logits, target, counts[:, None])
        image = torch.cat(
            [one.score.new_full((len(one.score),), i).long() for i, one in enumerate(truths)]
        )
        if len(image) == 0:
            return loss + 0.0 * sum(parameter.sum() for parameter in self.parameters())
        objects = Instances(*(torch.cat(values) for values in zip(*truths, strict=True)))
        chosen = torch.randperm(len(image))[:MOST_TRAINED].to(image.device)
        objects, image = objects.take(chosen), image[chosen]
        row, column = cells_at(torch.cat(middles)[chosen], size_hw)
        about = output.features[image, :, row, column]
        own = draw(objects.xy / STRIDE, objects.presence > 0, size_hw)
        known = (objects.presence >= 0).float()[..., None, None]
        logits = self.instance_logits(output, image, row, column)
        loss = loss + WEIGHTS[1] * contrast_loss(about, image)
        return loss + WEIGHTS[2] * heatmap_loss(logits, own, known)

    @torch.no_grad()
    def decode(self, output: SingleStageOutput) -> list[Instances]:
        """Centres, then the peak of each heatmap there; see `DetectorFree`."""
        return [self._decoded(output, image) for image in range(len(output.logits))]

    def _decoded(self, output: SingleStageOutput, image: int) -> Instances:
        centre = output.logits[image, -1:].sigmoid()
        _, row, column, height = peaks(centre, CENTRE_FLOOR, MOST_OBJECTS)
        keypoints, device = self.num_keypoints, centre.device
        xy = torch.zeros(len(row), keypoints, 2, device=device)
        confidence = torch.zeros(len(row), keypoints, device=device)
        for some in torch.arange(len(row), device=device).split(AT_A_TIME):
            if not len(some):
                break
            where = torch.full_like(some, image)
            logits = self.instance_logits(output, where, row[some], column[some])
            logits, width = logits.flatten(0, 1), logits.shape[3]  # (N K, h, w)
            best, place = logits.flatten(1).max(dim=1)
            which = torch.arange(len(logits), device=device)
            exact = refined(logits, which, place // width, place % width)
            xy[some] = STRIDE * exact.view(-1, keypoints, 2)
            confidence[some] = best.sigmoid().view(-1, keypoints)
        found = Instances(
            xy,
            torch.ones(len(row), keypoints, dtype=torch.int8, device=device),
            confidence,
            height * confidence.mean(dim=1),
        )
        found = found.take(found.score >= SCORE_FLOOR)
        return without_duplicates(found, self.sigmas, STRIDE)


def contrast_loss(about: Tensor, image: Tensor) -> Tensor:
    """Cross entropy that tells the objects of an image apart (CID, eq. 3): 0 if they are.

    Args:
        about: (N, d), features of objects.
        image: (N,) of each object; other images do not count.
    """
    unit = F.normalize(about, dim=1)
    alike = (unit @ unit.T / TEMPERATURE).masked_fill(image[:, None] != image, -torch.inf)
    return F.cross_entropy(alike, torch.arange(len(about), device=about.device))
