"""Whole images on canvases of one size: what a detector-free network learns from and reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from labelkit.domain.geometry import Affine, apply_affine
from labelkit.domain.instance import Box, Image
from labelkit.domain.pose import ABSENT, UNKNOWN, Pose
from labelkit.domain.skeleton import Skeleton
from labelkit.models.detector_free.instances import Instances, labelled
from labelkit.models.detector_free.interface import STRIDE
from labelkit.project.images import image_file, open_upright
from labelkit.workflows.network.crops import Augmentation, cut

#: Range of random magnifications, and of shifts as a share of the canvas, either way.
SCALES, SHIFT = (0.75, 1.3), 0.1


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImage:
    """One image with the objects that people labelled.

    Attributes:
        image: where it is.
        poses: of labelled objects.
        unlabelled: boxes of objects without keypoints; what is found there is no error.
    """

    image: Image
    poses: tuple[Pose, ...]
    unlabelled: tuple[Box, ...] = ()


class Canvas(NamedTuple):
    """A view of an image, and what is known of it.

    Attributes:
        pixels: (3, H, W) uint8.
        objects: those of which a keypoint is on the canvas.
        counts: (H/4, W/4) bool, where an object that is not among them would be an error.
    """

    pixels: Tensor
    objects: Instances
    counts: Tensor


class Batch(NamedTuple):
    """Canvases with labels and canvases without, of one step.

    Attributes:
        pixels: (B, 3, H, W) uint8, of labelled images.
        truths: B images' objects.
        counts: (B, H/4, W/4) bool; see `Canvas`.
        unlabelled: (B', 3, H, W) uint8, of other images.
    """

    pixels: Tensor
    truths: list[Instances]
    counts: Tensor
    unlabelled: Tensor


def fit_affine(size_wh: tuple[int, int], size_hw: tuple[int, int]) -> Affine:
    """(2, 3) map that fits an image in the middle of a canvas, its shape unchanged."""
    height, width = size_hw
    scale = min(width / size_wh[0], height / size_wh[1])
    shift = (np.array([width, height]) - scale * np.array(size_wh)) / 2
    return np.column_stack([scale * np.eye(2), shift])


def random_affine(
    rng: Generator, size_wh: tuple[int, int], size_hw: tuple[int, int], augmentation: Augmentation
) -> tuple[Affine, bool]:
    """A random view of an image: turned, magnified, shifted and perhaps mirrored.

    Returns:
        (2, 3) map from image pixels to the canvas, and whether it mirrors.
    """
    height, width = size_hw
    rotation, mirrored = augmentation.draw(rng)
    scale = math.exp(rng.uniform(*np.log(SCALES)))
    cos, sin = scale * math.cos(rotation), scale * math.sin(rotation)
    linear = np.array([[cos, -sin], [sin, cos]])
    if mirrored:
        linear[0] *= -1.0
    fitted = fit_affine(size_wh, size_hw)
    middle = np.array([width, height]) / 2
    shift = rng.uniform(-SHIFT, SHIFT, 2) * (width, height)
    return np.column_stack(
        [linear @ fitted[:, :2], linear @ (fitted[:, 2] - middle) + middle + shift]
    ), mirrored


def make_canvas(
    root: Path,
    item: LabelledImage,
    skeleton: Skeleton,
    size_hw: tuple[int, int],
    affine: Affine,
    mirrored: bool = False,
    interpolation: str = "bilinear",
) -> Canvas:
    """Draw an image, and take its labels along.

    A keypoint that leaves the canvas becomes absent, and an object that leaves it is dropped.

    Args:
        root: folder below which the image lies.
        item: what is known of it.
        skeleton: for mirrored views.
        size_hw: rows and columns of the canvas in pixels.
        affine: (2, 3) map from image to canvas pixels.
        mirrored: whether the map mirrors.
        interpolation: see `cut`.
    """
    height, width = size_hw
    picture = open_upright(image_file(root, item.image.path))
    pixels = torch.from_numpy(cut(picture, affine, size_hw, interpolation).copy())
    shape = (len(item.poses), len(skeleton))
    xy = apply_affine(affine, np.array([pose.xy for pose in item.poses]).reshape(*shape, 2))
    answers = [pose.presence for pose in item.poses]
    presence: NDArray[np.int64] = np.array(answers, np.int64).reshape(shape)
    if mirrored:
        columns = list(skeleton.flip_indices)
        xy, presence = xy[:, columns], presence[:, columns]
        presence[:, list(skeleton.unpaired_sides)] = UNKNOWN
    outside = ((xy < 0) | (xy >= (width, height))).any(axis=2) & (presence > ABSENT)
    presence = np.where(outside, ABSENT, presence)
    objects = labelled(torch.from_numpy(xy), torch.from_numpy(presence))
    counts = torch.ones(height // STRIDE, width // STRIDE, dtype=torch.bool)
    for box in item.unlabelled:
        left, top, right, bottom = box.corners
        corners = np.array([[left, top], [right, top], [left, bottom], [right, bottom]])
        moved = apply_affine(affine, corners) / STRIDE
        low, high = np.floor(moved.min(axis=0)), np.ceil(moved.max(axis=0))
        (x0, y0), (x1, y1) = np.maximum(low, 0).astype(int), np.maximum(high, 0).astype(int)
        counts[y0:y1, x0:x1] = False
    there = (objects.presence > 0).any(dim=1)
    return Canvas(pixels.permute(2, 0, 1), objects.take(there), counts)


class Batches(Dataset[Batch]):
    """The batch of every step: drawn by the step, so that a resumed training has the same ones.

    Args:
        root: folder below which the images lie.
        with_labels: images with labels; at least one.
        without: further images, whose labels are not used; may be empty.
        skeleton: of the labels.
        size_hw: rows and columns of a canvas in pixels.
        augmentation: which views are allowed.
        batch_size: labelled images of a batch.
        ratio: unlabelled images for each labelled one, 1 to 4.
        seed: of the training.
        interpolation: see `cut`.
    """

    def __init__(
        self,
        root: Path,
        with_labels: Sequence[LabelledImage],
        without: Sequence[Image],
        skeleton: Skeleton,
        size_hw: tuple[int, int],
        augmentation: Augmentation,
        batch_size: int,
        ratio: int,
        seed: int,
        interpolation: str = "bilinear",
    ) -> None:
        self.root = root
        self.with_labels = with_labels
        self.without = without
        self.skeleton = skeleton
        self.size_hw = size_hw
        self.augmentation = augmentation
        self.batch_size = batch_size
        self.ratio = ratio
        self.seed = seed
        self.interpolation = interpolation

    def __getitem__(self, step: int) -> Batch:
        """The batch of one step."""
        rng = np.random.default_rng((self.seed, step))
        chosen = rng.integers(len(self.with_labels), size=self.batch_size)
        labels = [self._canvas(rng, self.with_labels[index]) for index in chosen]
        count = self.ratio * self.batch_size if self.without else 0
        others = rng.integers(max(len(self.without), 1), size=count)
        free = [self._canvas(rng, LabelledImage(self.without[index], ())) for index in others]
        return Batch(
            torch.stack([one.pixels for one in labels]),
            [one.objects for one in labels],
            torch.stack([one.counts for one in labels]),
            torch.stack([one.pixels for one in free])
            if free
            else torch.zeros(0, 3, *self.size_hw, dtype=torch.uint8),
        )

    def _canvas(self, rng: Generator, item: LabelledImage) -> Canvas:
        size_wh = (item.image.width, item.image.height)
        affine, mirrored = random_affine(rng, size_wh, self.size_hw, self.augmentation)
        return make_canvas(
            self.root, item, self.skeleton, self.size_hw, affine, mirrored, self.interpolation
        )
