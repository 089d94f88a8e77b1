"""Crops for tasks of one object each. The task itself carries the crop."""

from __future__ import annotations

import base64
import io
import math

from PIL import Image as Picture

from labelkit.domain.instance import Box, Instance
from labelkit.domain.pose import Pose
from labelkit.project.images import image_file, open_upright
from labelkit.project.project import Project

#: Margin on each side, as a share of the box's long side.
MARGIN = 0.25

#: Long side of a crop in pixels; larger crops are scaled down.
LARGEST = 1600

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
        left, top = min(left, least_x), min(top, least_y)
        right, bottom = max(right, most_x), max(bottom, most_y)
    x, y = max(0, math.floor(left)), max(0, math.floor(top))
    return Box(
        x, y, min(image.width, math.ceil(right)) - x, min(image.height, math.ceil(bottom)) - y
    )


def crop_url(project: Project, instance: Instance, crop: Box) -> str:
    """The crop as a `data:` URL, which a browser shows without access to the image.

    Raises:
        ImageError: if the image cannot be read.
    """
    picture = open_upright(image_file(project.images_root, instance.image.path))
    part = picture.crop((int(crop.x), int(crop.y), int(crop.x + crop.w), int(crop.y + crop.h)))
    part.thumbnail((LARGEST, LARGEST), Picture.Resampling.LANCZOS)
    stream = io.BytesIO()
    part.save(stream, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
