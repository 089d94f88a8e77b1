"""From a box in an image to the crop a network sees, and back.

Coordinates are continuous: (0, 0) is the outer corner of the top-left pixel in images, crops and
maps alike, so that going from one to the other is one affine map and nothing is half a pixel off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PilImage
from torch import Tensor

from labelkit.domain.instance import Box
from labelkit.domain.skeleton import Skeleton

#: Crop side over box side: the context around an object (1.25 since the simple baseline).
PADDING = 1.25
#: ImageNet's mean colour fills what lies outside the image; it is zero after normalisation.
FILL = (124, 116, 104)

Affine = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CropView:
    """How a crop departs from the plain upright one.

    Attributes:
        rotation: radians, clockwise on the screen.
        scale: magnification relative to the plain crop.
        shift: (x, y) in crop pixels.
        mirrored: left and right swapped.
    """

    rotation: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    mirrored: bool = False


PLAIN = CropView()


def plain_scale(box: Box, size_hw: tuple[int, int]) -> float:
    """Crop pixels per image pixel of the plain crop: the padded box just fits."""
    height, width = size_hw
    return min(width / (box.w * PADDING), height / (box.h * PADDING))


def crop_affine(box: Box, size_hw: tuple[int, int], view: CropView = PLAIN) -> Affine:
    """(2, 3) map from image pixels to crop pixels, the box's centre in the middle."""
    height, width = size_hw
    scale = plain_scale(box, size_hw) * view.scale
    cos, sin = math.cos(view.rotation) * scale, math.sin(view.rotation) * scale
    linear = np.array([[cos, -sin], [sin, cos]])
    if view.mirrored:
        linear[0] *= -1.0
    centre = np.array([box.x + box.w / 2, box.y + box.h / 2])
    target = np.array([width / 2 + view.shift[0], height / 2 + view.shift[1]])
    return np.column_stack([linear, target - linear @ centre])


def apply_affine(affine: Affine, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (..., 2) through a (2, 3) map."""
    return xy @ affine[:, :2].T + affine[:, 2]


def invert_affine(affine: Affine) -> Affine:
    """The (2, 3) map that undoes `affine`."""
    linear = np.linalg.inv(affine[:, :2])
    return np.column_stack([linear, -linear @ affine[:, 2]])


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Which views of an object are still views of such an object.

    Attributes:
        rotation: largest turn in degrees, either way.
        mirror: whether a mirror image, sides renamed, is one too. It is not where the sides
            differ by more than their place, as in colour-coded machines.
    """

    rotation: float
    mirror: bool

    def draw(self, rng: np.random.Generator) -> tuple[float, bool]:
        """A random rotation in radians, and whether to mirror."""
        rotation = math.radians(rng.uniform(-self.rotation, self.rotation))
        return rotation, self.mirror and bool(rng.random() < 0.5)


def safe_view(
    rng: np.random.Generator, box: Box, size_hw: tuple[int, int], augmentation: Augmentation
) -> CropView:
    """A random view that keeps the whole box in the crop.

    For objects without keypoint locations: a view that cut a joint off would make its
    visibility answer wrong, and choosing views by where joints are would leak their locations.
    """
    height, width = size_hw
    plain = plain_scale(box, size_hw)
    rotation, mirrored = augmentation.draw(rng)
    cos, sin = abs(math.cos(rotation)), abs(math.sin(rotation))
    rotated_w = (box.w * cos + box.h * sin) * plain
    rotated_h = (box.w * sin + box.h * cos) * plain
    largest = min(width / rotated_w, height / rotated_h)
    scale = min(math.exp(rng.uniform(-0.2, 0.2)), largest)
    room = ((width - rotated_w * scale) / 2, (height - rotated_h * scale) / 2)
    shift = tuple(rng.uniform(-1, 1) * min(max(r, 0.0), 0.15 * width) for r in room)
    return CropView(rotation, scale, (shift[0], shift[1]), mirrored)


def free_view(
    rng: np.random.Generator, size_hw: tuple[int, int], augmentation: Augmentation
) -> CropView:
    """A stronger random view for objects whose keypoints are known: what leaves the crop is
    known to have left it (scale range of the paper, section 4.2)."""
    height, width = size_hw
    rotation, mirrored = augmentation.draw(rng)
    scale = math.exp(rng.uniform(math.log(0.65), math.log(1.35)))
    shift = (rng.uniform(-0.1, 0.1) * width, rng.uniform(-0.1, 0.1) * height)
    return CropView(rotation, scale, shift, mirrored)


def warp(image: PilImage.Image, affine: Affine, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """The crop (H, W, 3) that `affine` cuts out of an RGB image, resampled once.

    Where the crop is much smaller than its part of the image, that part is averaged down by a
    whole factor first, because plain bilinear sampling would alias.
    """
    height, width = size_hw
    inverse = invert_affine(affine)
    shrink = int(math.sqrt(abs(np.linalg.det(inverse[:, :2]))) + 1e-6)
    if shrink >= 2:
        corners = apply_affine(
            inverse, np.array([[0, 0], [width, 0], [0, height], [width, height]], float)
        )
        low = np.clip(np.floor(corners.min(axis=0)), 0, np.array(image.size) - 1).astype(int)
        high = np.clip(np.ceil(corners.max(axis=0)), low + 1, image.size).astype(int)
        (left, top), (right, bottom) = low.tolist(), high.tolist()
        image = image.reduce(shrink, box=(left, top, right, bottom))
        inverse = inverse.copy()
        inverse[:, 2] -= low
        inverse /= shrink
    crop = image.transform(
        (width, height),
        PilImage.Transform.AFFINE,
        data=tuple(inverse.ravel().tolist()),
        resample=PilImage.Resampling.BILINEAR,
        fillcolor=FILL,
    )
    return np.asarray(crop)


def normalise(image: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 crops as the floats that ImageNet backbones expect."""
    mean = torch.tensor((123.675, 116.28, 103.53), device=image.device).view(1, 3, 1, 1)
    std = torch.tensor((58.395, 57.12, 57.375), device=image.device).view(1, 3, 1, 1)
    return (image.float() - mean) / std


def mirror_keypoints(values: NDArray, skeleton: Skeleton) -> NDArray:
    """Per-keypoint rows (K, ...) after a mirror image swapped the sides' names."""
    return values[list(skeleton.flip_indices)]
