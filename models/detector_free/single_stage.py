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
        self, output: SingleStageOutput, image: int, row: Tensor, column: Tensor
    ) -> Tensor:
        """Heatmaps of the objects at some centres of one canvas (CID, eq. 4-7).

        The attention to places is one number a cell and the attention to channels one a channel, so
        both commute with the mixing of channels: the map of the canvas is mixed with weights of
        each object's own, and is not copied for each object.

        Args:
            output: of `forward`.
            image: index of the canvas.
            row, column: (N,) cell of each object's centre.

        Returns:
            (N, K, h, w) logits.
        """
        places = output.places[image]  # (d, h, w)
        shape, places = places.shape, places.flatten(1)
        about = self.describe(output.features[image, :, row, column].T)  # (N, dim)
        attention = self._attention(places, about, row, column, shape[1:])  # (N, 1, h w)
        (mix, mix_bias), (head, head_bias) = pointwise(self.last[0]), pointwise(self.last[2])
        weight = mix * self.gains(about).sigmoid()[:, None]  # (N, d, d)
        mixed = (weight.flatten(0, 1) @ places).view(-1, *places.shape)  # (N, d, h w)
        mixed = (mixed * attention).add_(mix_bias).relu_()
        each = head.expand(len(mixed), -1, -1)  # (N, K, d)
        return torch.baddbmm(head_bias, each, mixed).unflatten(2, shape[1:]).float()

    def _attention(
        self, places: Tensor, about: Tensor, row: Tensor, column: Tensor, size_hw: torch.Size
    ) -> Tensor:
        """(N, 1, h w), 0 ... 1: how much each cell has to do with each object.

        Two convolutions of one cell, of how alike the cell is, how far it is to the right and below
        in sizes of the object, and the squares of both. The first one is a sum of what a column,
        what a row and what a cell says.
        """
        height, width = size_hw
        (first, first_bias), (second, bias) = pointwise(self.attend[0]), pointwise(self.attend[2])
        alike = (self.query(about) / len(places)) @ places  # (N, h w)
        size = 8 * self.size(about).clamp(-3, 3).exp()  # (N, 1), in cells
        x = (torch.arange(width, device=row.device) - column[:, None]) / size  # (N, w)
        y = (torch.arange(height, device=row.device) - row[:, None]) / size  # (N, h)
        of_cell, of_x, of_y, of_square = first.T[..., None]  # (c, 1) each

        def said(far: Tensor, weight: Tensor) -> Tensor:
            far = far[:, None]
            return weight * far.clamp(-20, 20) + of_square * far.square().clamp(max=20)

        places_said = said(y, of_y)[..., None] + said(x, of_x)[:, :, None]  # (N, c, h, w)
        places_said = places_said.flatten(2) + first_bias
        both = torch.addcmul(places_said, of_cell, alike[:, None].clamp(-20, 20)).relu_()
        return (second @ both + bias).sigmoid()

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
        chosen = torch.randperm(len(image))[:MOST_TRAINED].sort().values.to(image.device)
        objects, image = objects.take(chosen), image[chosen]
        row, column = cells_at(torch.cat(middles)[chosen], size_hw)
        about = output.features[image, :, row, column]
        own = draw(objects.xy / STRIDE, objects.presence > 0, size_hw)
        known = (objects.presence >= 0).float()[..., None, None]
        logits = torch.cat(
            [
                self.instance_logits(output, index, row[image == index], column[image == index])
                for index in image.unique(sorted=True).tolist()
            ]
        )
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
            logits = self.instance_logits(output, image, row[some], column[some])
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


def pointwise(convolution: nn.Module) -> tuple[Tensor, Tensor]:
    """(out, in) weights and (out, 1) biases of a convolution of one cell."""
    weight, bias = (convolution.get_parameter(name) for name in ("weight", "bias"))
    return weight[..., 0, 0], bias[:, None]


def contrast_loss(about: Tensor, image: Tensor) -> Tensor:
    """Cross entropy that tells the objects of an image apart (CID, eq. 3): 0 if they are.

    Args:
        about: (N, d), features of objects.
        image: (N,) of each object; other images do not count.
    """
    unit = F.normalize(about, dim=1)
    alike = (unit @ unit.T / TEMPERATURE).masked_fill(image[:, None] != image, -torch.inf)
    return F.cross_entropy(alike, torch.arange(len(about), device=about.device))
