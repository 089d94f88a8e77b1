"""Images and the objects in them, with ids that are the same in every service."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from labelkit.errors import InputError


class Box(NamedTuple):
    """A box in upright image pixels: left, top, width, height."""

    x: float
    y: float
    w: float
    h: float

    @property
    def long_side(self) -> float:
        """The longer of width and height, in pixels; PCK thresholds are fractions of it."""
        return max(self.w, self.h)

    @property
    def has_area(self) -> bool:
        """False for a line or a point, and where width or height is negative."""
        return self.w > 0 and self.h > 0

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        return self.x, self.y, self.x + self.w, self.y + self.h

    def overlap(self, other: Box) -> float:
        """0 apart ... 1 equal: the area that both cover, as a share of what either covers."""
        w = min(self.x + self.w, other.x + other.w) - max(self.x, other.x)
        h = min(self.y + self.h, other.y + other.h) - max(self.y, other.y)
        both = max(w, 0.0) * max(h, 0.0)
        either = self.w * self.h + other.w * other.h - both
        return both / either if either > 0 else 0.0

    def is_nearly(self, other: Box) -> bool:
        """Whether no number of them differs by more than a millionth of their longest side."""
        tolerance = 1e-6 * max(self.long_side, other.long_side)
        return all(abs(a - b) <= tolerance for a, b in zip(self, other, strict=True))


_CORRECT = "Correct or remove it."


def check_box(box: Box, image: Image) -> Box:
    """Clip a box to its image.

    Raises:
        InputError: if the box has no area, is not finite, or lies outside the image.
    """
    if not all(math.isfinite(value) for value in box):
        raise InputError(f"{image.path}: the box {tuple(box)} is not finite.", _CORRECT)
    if box.w <= 0 or box.h <= 0:
        raise InputError(f"{image.path}: the box {tuple(box)} has no area.", _CORRECT)
    left, top = max(box.x, 0.0), max(box.y, 0.0)
    right, bottom = min(box.x + box.w, image.width), min(box.y + box.h, image.height)
    if right <= left or bottom <= top:
        raise InputError(
            f"{image.path}: the box {tuple(box)} lies outside the image "
            f"({image.width} x {image.height} pixels).",
            _CORRECT,
        )
    inside = box.x >= 0 and box.y >= 0 and box.x + box.w <= image.width
    if inside and box.y + box.h <= image.height:
        return box
    return Box(left, top, right - left, bottom - top)


@dataclass(frozen=True, slots=True)
class Image:
    """One image of the project.

    Attributes:
        path: below the images root, with forward slashes.
        sha256: of the file's bytes; two files with the same hash are the same image.
        width, height: in pixels, as displayed (EXIF orientation applied).
    """

    path: str
    sha256: str
    width: int
    height: int

    @property
    def id(self) -> str:
        """First 16 hex digits of the content hash: it survives a rename."""
        return self.sha256[:16]


@dataclass(frozen=True, slots=True)
class Instance:
    """One object to be posed.

    Attributes:
        image: the image it is in.
        ordinal: 0, 1, ... in the order in which the image's boxes were registered.
        box: in upright image pixels.
        box_source: "given", "keypoints" (around them), "whole-image", "detected", "human", or
            "found" by a network that reads whole images ("lost" if it was an earlier one).
        area: of the object's segment in square pixels, the scale of OKS; the box's where no
            segment is known.
        category: its name; "" where no label file gave one.
        individual: who it is, where a label file tells animals apart; "" elsewhere.
    """

    image: Image
    ordinal: int
    box: Box
    box_source: str
    area: float
    category: str = ""
    individual: str = ""

    @property
    def id(self) -> str:
        """The image's id and the ordinal; the same in every service."""
        return f"{self.image.id}-{self.ordinal}"


def image_of(instance_id: str) -> str:
    """The id of the image that an instance is in."""
    return instance_id.rpartition("-")[0]


def category_names(instances: Iterable[Instance], otherwise: str) -> dict[str, str]:
    """Category -> its name in an export, sorted; "" is among them if an object has none.

    An object without category, such as one that an annotator drew, belongs to the only category
    there is; where there are none or several, to `otherwise`.
    """
    found = {instance.category for instance in instances}
    names = {name: name for name in sorted(found - {""})}
    if "" in found or not names:
        names[""] = next(iter(names)) if len(names) == 1 else otherwise
    return names
