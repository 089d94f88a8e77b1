"""Crops for tasks of one object each. The task itself carries the crop."""

from __future__ import annotations

import base64
import io
import math
from itertools import product

from PIL import Image as Picture
from PIL import ImageDraw

from labelkit.domain.instance import Box, Instance
from labelkit.domain.pose import Pose
from labelkit.project.images import image_file, open_upright
from labelkit.project.project import Project

#: Margin on each side of the box, and around the keypoints, as shares of the box's long side. A
#: keypoint at the border could hardly be grabbed.
MARGIN, KEYPOINT_MARGIN = 0.25, 0.05

#: Long side of a crop in pixels; larger crops are scaled down.
LARGEST = 1600

#: Length of the corners that mark an object, as a share of its sides.
CORNER = 0.12

#: Of the JPEG.
QUALITY = 92


def crop_around(instance: Instance, pose: Pose | None) -> Box:
    """A box in whole pixels of the image, around an object and the keypoints shown with it."""
    image, box = instance.image, instance.box
    margin = MARGIN * box.long_side
    left, top = box.x - margin, box.y - margin
    right, bottom = box.x + box.w + margin, box.y + box.h + margin
    if pose is not None and pose.present.any():
        shown = pose.xy[pose.present]
        (least_x, least_y), (most_x, most_y) = shown.min(axis=0), shown.max(axis=0)
        around = KEYPOINT_MARGIN * box.long_side
        left, top = min(left, least_x - around), min(top, least_y - around)
        right, bottom = max(right, most_x + around), max(bottom, most_y + around)
    x, y = max(0, math.floor(left)), max(0, math.floor(top))
    return Box(
        x, y, min(image.width, math.ceil(right)) - x, min(image.height, math.ceil(bottom)) - y
    )


def crop_url(project: Project, instance: Instance, crop: Box, *, mark: bool) -> str:
    """The crop as a `data:` URL, which a browser shows without access to the image.

    Args:
        project: of the instance.
        instance: in the crop.
        crop: in whole pixels of the image.
        mark: draw corners around the instance, because others may be in the crop too.

    Raises:
        ImageError: if the image cannot be read.
    """
    picture = open_upright(image_file(project.images_root, instance.image.path))
    part = picture.crop((int(crop.x), int(crop.y), int(crop.x + crop.w), int(crop.y + crop.h)))
    scale = min(1.0, LARGEST / crop.long_side)
    part.thumbnail((LARGEST, LARGEST), Picture.Resampling.LANCZOS)
    if mark:
        box = instance.box
        x, y = scale * (box.x - crop.x), scale * (box.y - crop.y)
        _draw_corners(part, Box(x, y, scale * box.w, scale * box.h))
    stream = io.BytesIO()
    part.save(stream, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _draw_corners(picture: Picture.Image, box: Box) -> None:
    """Draw the corners of a box, just outside it: white with a dark rim, for any image."""
    draw, thick = ImageDraw.Draw(picture), max(1, round(picture.width / 250))
    horizontal = (box.x, box.x + box.w, CORNER * box.w, picture.width)
    vertical = (box.y, box.y + box.h, CORNER * box.h, picture.height)
    for (x, to_x), (y, to_y) in product(_ends(*horizontal, thick), _ends(*vertical, thick)):
        for colour, width in (("black", 3 * thick), ("white", thick)):
            draw.line([(to_x, y), (x, y), (x, to_y)], colour, width, joint="curve")


def _ends(
    first: float, last: float, length: float, side: int, thick: int
) -> list[tuple[float, float]]:
    """Where the corner lines along one side of a box start and end, all of it in the picture."""
    start, end = max(first - 2 * thick, thick), min(last + 2 * thick, side - 1 - thick)
    return [(start, start + length), (end, end - length)]
