"""Single regions of a Label Studio annotation, converted from percent of the image to pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from labelkit.domain.annotation import SLACK_PX
from labelkit.domain.instance import Box, Image, check_box
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import FormatError, InputError

#: The meaning of Label Studio's `origin` for a keypoint.
ORIGINS = {"prediction": "untouched", "prediction-changed": "changed", "manual": "new"}


_AGAIN = "Export the project again as JSON."


class KeypointRegion(NamedTuple):
    """One dot.

    Attributes:
        region: its id.
        parent: id of the box it belongs to; "" where the annotator drew it.
        label: present name of the keypoint.
        xy: in upright image pixels.
        percent: x and y as Label Studio stores them, 0..100.
        origin: "untouched", "changed" or "new" according to Label Studio.
    """

    region: str
    parent: str
    label: str
    xy: tuple[float, float]
    percent: tuple[float, float]
    origin: str


def seen_frame(item: Mapping[str, Any], ours: Mapping[str, Any], where: str) -> Box:
    """The part of the image, in its pixels, that percentages refer to.

    Args:
        item: a region.
        ours: `data["labelkit"]` of the task; empty if the task is not ours.
        where: the annotation, for messages.

    Raises:
        FormatError: if the image was rotated, its size is unknown, or it is another image.
    """
    if item.get("image_rotation"):
        raise FormatError(
            f"{where}: the image was rotated by {item['image_rotation']} degrees.",
            "In Label Studio, rotate it back and submit again.",
        )
    seen_w, seen_h = (float(item.get(f"original_{side}") or 0) for side in ("width", "height"))
    if not ours.get("width"):
        if seen_w <= 0 or seen_h <= 0:
            raise FormatError(
                f"{where} does not give the size of the image.",
                _AGAIN,
            )
        return Box(0, 0, seen_w, seen_h)
    width, height = float(ours["width"]), float(ours["height"])
    # A smaller copy of the image is fine; a rotated or different image is not.
    if seen_w > 0 < seen_h and abs(math.log(seen_w / seen_h * height / width)) > 0.05:
        raise FormatError(
            f"{where} was made on an image of {seen_w:.0f} x {seen_h:.0f} pixels; the project's "
            f"image has {width:.0f} x {height:.0f}.",
            "The task shows a different image: check its address.",
        )
    left, top = (ours.get("crop") or (0, 0))[:2]
    return Box(float(left), float(top), width, height)


def _percent(value: Mapping[str, Any], key: str, where: str) -> float:
    number = value.get(key)
    if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) < 1e9:
        raise FormatError(
            f"{where}: a region has {key} = {number!r}, which is not a percentage.", _AGAIN
        )
    return float(number)


def read_box(item: Mapping[str, Any], frame: Box, image: tuple[str, str], where: str) -> Box:
    """A box in upright image pixels, cut at the border of the frame.

    Args:
        item: a region.
        frame: see `seen_frame`.
        image: id and path, for messages.
        where: the annotation, for messages.

    Raises:
        FormatError: if the box is rotated, has no area or is not given in percent.
    """
    value = item["value"]
    if value.get("rotation"):
        raise FormatError(
            f"{where}: the box {item['id']} is rotated by {value['rotation']} degrees.",
            "In Label Studio, make it upright and submit again.",
        )
    left, width = (_percent(value, key, where) * frame.w / 100 for key in ("x", "width"))
    top, height = (_percent(value, key, where) * frame.h / 100 for key in ("y", "height"))
    picture = Image(image[1], image[0], round(frame.w), round(frame.h))
    try:
        box = check_box(Box(left, top, width, height), picture)
        return Box(frame.x + box.x, frame.y + box.y, box.w, box.h)
    except InputError as error:
        raise FormatError(f"{where}: {error.problem}", "Correct it in Label Studio.") from error


def read_keypoint(
    item: Mapping[str, Any],
    region: str,
    frame: Box,
    skeleton: Skeleton,
    where: str,
) -> KeypointRegion:
    """A keypoint of the skeleton, by its present or a former name.

    Args:
        item: a region.
        region: its id.
        frame: see `seen_frame`.
        skeleton: of the project.
        where: the annotation, for messages.

    Raises:
        FormatError: if its label is not in the skeleton, or its place is outside the image or not
            given in percent.
    """
    labels = [skeleton.present_name(it) for it in item["value"].get("keypointlabels") or []]
    if len(labels) != 1 or labels[0] not in skeleton.keypoints:
        raise FormatError(
            f"{where}: the keypoint {region} is labelled {labels}, which is not in the skeleton "
            f"{skeleton.name!r}.",
            f"Known: {', '.join(skeleton.keypoints)}.",
        )
    xy = []
    percent = (_percent(item["value"], "x", where), _percent(item["value"], "y", where))
    sides = ((frame.x, frame.w), (frame.y, frame.h))
    for key, part, (first, side) in zip("xy", percent, sides, strict=True):
        pixel = part * side / 100
        if not -SLACK_PX <= pixel <= side + SLACK_PX:
            raise FormatError(
                f"{where}: {labels[0]!r} lies at {key} = {pixel} pixels, outside the image "
                f"({frame.w:.0f} x {frame.h:.0f}).",
                "Correct it in Label Studio.",
            )
        xy.append(first + min(max(pixel, 0.0), side))
    origin = ORIGINS.get(str(item.get("origin") or "manual"))
    if origin is None:
        raise FormatError(
            f"{where}: {labels[0]!r} has the unknown origin {item['origin']!r}.", _AGAIN
        )
    parent = str(item.get("parentID") or "")
    return KeypointRegion(region, parent, labels[0], (xy[0], xy[1]), percent, origin)
