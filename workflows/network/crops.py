"""From a box in an image to the crop around it, for networks and for reviewers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image as PilImage

from labelkit.domain.geometry import Affine, apply_affine, invert_affine
from labelkit.domain.instance import Box
from labelkit.domain.skeleton import Skeleton
from labelkit.project.images import open_shrunk

#: Crop side over box side: the context around an object (1.25 since the simple baseline).
PADDING = 1.25
#: Sides of fitted crops are multiples of this many pixels: the networks read maps at stride 16.
CELL = 16
#: Objects this much larger in a crop of another shape are worth it: boxes that are twice as
#: elongated as the crop.
WORTHWHILE = math.sqrt(2)
#: ImageNet's mean colour fills what lies outside the image; it is about zero after normalisation.
FILL = (124, 116, 104)


@dataclass(frozen=True, slots=True)
class CropView:
    """How a crop differs from the plain upright one.

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


def fitted_size(boxes: ArrayLike, size_hw: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the crop in which elongated objects appear largest, for as many pixels.

    Args:
        boxes: (N, 4) of the objects; the geometric mean over them counts, so where as many lie as
            stand the crop stays as it is.
        size_hw: of the crop that is known to do; it stays unless objects grow by `WORTHWHILE`.

    Returns:
        rows and columns, multiples of `CELL`, with no more pixels than `size_hw`.
    """
    sides = np.reshape(boxes, (-1, 4))[:, 2:]
    if not len(sides):
        return size_hw
    rows, columns = size_hw
    heights = range(2 * CELL, rows * columns // (2 * CELL) + 1, CELL)
    sizes = [(height, rows * columns // height // CELL * CELL) for height in heights]
    w, h = sides.T

    def appears(size: tuple[int, int]) -> float:
        return float(np.log(np.minimum(size[1] / w, size[0] / h)).mean())

    best = max(sizes, key=appears)
    return best if appears(best) - appears(size_hw) >= math.log(WORTHWHILE) else size_hw


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


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Which random views of an object are still valid examples.

    Attributes:
        rotation: largest rotation in degrees, either way.
        mirror: whether a mirror image with renamed sides is valid too. It is not where the sides
            differ in more than position, as in colour-coded machines.
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
    """A stronger random view for objects with known keypoints.

    What leaves the crop is known to have left it. The range of scales is the paper's (section 4.2).
    """
    height, width = size_hw
    rotation, mirrored = augmentation.draw(rng)
    scale = math.exp(rng.uniform(math.log(0.65), math.log(1.35)))
    shift = (rng.uniform(-0.1, 0.1) * width, rng.uniform(-0.1, 0.1) * height)
    return CropView(rotation, scale, shift, mirrored)


def shrinkage(affine: Affine) -> int:
    """How many image pixels a crop pixel is wide, rounded down."""
    (a, b), (c, d) = affine[:, :2].tolist()
    return int(abs(a * d - b * c) ** -0.5 + 1e-6)


def read_crop(
    path: Path, affine: Affine, size_hw: tuple[int, int], interpolation: str = "bilinear"
) -> NDArray[np.uint8]:
    """The crop of an image's file, see `cut`.

    A large file is decoded smaller where `cut` then averages about as many pixels as without.

    Raises:
        ImageError: if the file cannot be read.
    """
    shrink = shrinkage(affine)
    factors = [it for it in (1, 2, 4, 8) if 2 * it <= shrink and shrink % it <= shrink / 10]
    image, factor = open_shrunk(path, max(factors, default=1))
    return cut(image, affine * (factor, factor, 1), size_hw, interpolation)


def cut(
    image: PilImage.Image,
    affine: Affine,
    size_hw: tuple[int, int],
    interpolation: str = "bilinear",
) -> NDArray[np.uint8]:
    """The crop of an RGB image, resampled once.

    Where the crop is much smaller than its part of the image, that part is first averaged down by
    a whole factor, because plain sampling would alias.

    Args:
        image: RGB.
        affine: (2, 3) image pixels to crop pixels.
        size_hw: rows and columns of the crop.
        interpolation: "bilinear", or "bicubic" as most backbones were trained with.

    Returns:
        (H, W, 3); `FILL` outside the image.
    """
    height, width = size_hw
    inverse = invert_affine(affine)
    if (shrink := shrinkage(affine)) >= 2:
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
        resample=PilImage.Resampling[interpolation.upper()],
        fillcolor=FILL,
    )
    return np.asarray(crop)


def mirror_keypoints(values: NDArray, skeleton: Skeleton) -> NDArray:
    """Per-keypoint rows (K, ...) of a mirror image, where the sides swap names."""
    return values[list(skeleton.flip_indices)]
