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
#: A tile is so many times as long as the median labelled object. Images that are less than so many
#: times as long as a tile are read as a whole only.
OBJECTS_ACROSS, TILED_FROM = 6.0, 1.5
#: Share of the training views of a tiled image that are tiles of the smallest size.
SMALLEST_TILES = 0.75


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


def whole(image: Image) -> Box:
    """All of an image, as the part of it that a canvas shows."""
    return Box(0.0, 0.0, float(image.width), float(image.height))


def tile_sides(image: Image, tile: float, size_hw: tuple[int, int]) -> list[tuple[float, float]]:
    """Widths and heights of an image's tiles, the smallest first; each size doubles the one before.

    An object that is too large for a tile fits one of the next size, or the whole image.

    Args:
        image: to be read.
        tile: long side of the smallest tiles in image pixels; 0 for no tiles.
        size_hw: rows and columns of a canvas, whose shape tiles have.

    Returns:
        None for an image that is hardly larger than a tile.
    """
    height, width = (side / max(size_hw) for side in size_hw)
    sides: list[tuple[float, float]] = []
    while tile and max(image.width / width, image.height / height) >= TILED_FROM * tile:
        sides.append((tile * width, tile * height))
        tile *= 2
    return sides


def windows(image: Image, tile: float, size_hw: tuple[int, int]) -> list[Box]:
    """The parts of an image that are read: all of it, and its tiles, which overlap by half.

    Args:
        image, tile, size_hw: see `tile_sides`.
    """
    found = [whole(image)]
    for w, h in tile_sides(image, tile, size_hw):
        xs, ys = _starts(image.width, w), _starts(image.height, h)
        found += [Box(float(x), float(y), w, h) for y in ys for x in xs]
    return found


def _starts(length: int, side: float) -> NDArray[np.float64]:
    """Where tiles begin that cover a length and overlap by at least half."""
    if length <= side:
        return np.array([(length - side) / 2])
    count = math.ceil((length - side) / (side / 2)) + 1
    return np.linspace(0.0, length - side, count, dtype=np.float64)


def random_window(
    rng: Generator, item: LabelledImage, tile: float, size_hw: tuple[int, int]
) -> Box:
    """A part of an image to train on: around one of its objects, if there is any.

    Args:
        rng: source of randomness.
        item: the image and its objects.
        tile, size_hw: see `tile_sides`.
    """
    sides = tile_sides(item.image, tile, size_hw)
    if not sides:
        return whole(item.image)
    choice = 0 if rng.random() < SMALLEST_TILES else int(rng.integers(len(sides) + 1))
    if choice >= len(sides):
        return whole(item.image)
    side, size = np.array(sides[choice]), np.array([item.image.width, item.image.height])
    poses = [pose for pose in item.poses if pose.present.any()]
    middle = rng.random(2) * size
    if poses:
        pose = poses[int(rng.integers(len(poses)))]
        middle = pose.xy[pose.present].mean(axis=0) + (rng.random(2) - 0.5) * side / 2
    room = np.maximum(size - side, 0)
    corner = np.where(size > side, np.clip(middle - side / 2, 0, room), (size - side) / 2)
    return Box(*map(float, corner), *map(float, side))


def fit_affine(window: Box, size_hw: tuple[int, int]) -> Affine:
    """(2, 3) map that fits a part of an image in the middle of a canvas, its shape unchanged."""
    height, width = size_hw
    scale = min(width / window.w, height / window.h)
    middle = np.array([window.x + window.w / 2, window.y + window.h / 2])
    return np.column_stack([scale * np.eye(2), np.array([width, height]) / 2 - scale * middle])


def random_affine(
    rng: Generator, window: Box, size_hw: tuple[int, int], augmentation: Augmentation
) -> tuple[Affine, bool]:
    """A random view of a part of an image: turned, magnified, shifted and perhaps mirrored.

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
    fitted = fit_affine(window, size_hw)
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
        tile: see `tile_sides`.
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
        tile: float = 0.0,
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
        self.tile = tile

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
        window = random_window(rng, item, self.tile, self.size_hw)
        affine, mirrored = random_affine(rng, window, self.size_hw, self.augmentation)
        return make_canvas(
            self.root, item, self.skeleton, self.size_hw, affine, mirrored, self.interpolation
        )
