"""Boxes that a file keeps apart from the keypoints they were drawn for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from labelkit.domain.annotation import Annotation
from labelkit.domain.instance import Box

#: Pixels by which a box exceeds its keypoints if it was drawn and not made of them.
_DRAWN_PX = 1.0


def with_drawn_boxes(
    objects: Sequence[Annotation], others: Sequence[Annotation]
) -> tuple[list[Annotation], list[Annotation]]:
    """Give each object without a drawn box the one that holds its keypoints, if that is certain.

    It is certain if only one box is left for the object and this box for no other object, counting
    out the boxes that are certain for others.

    Args:
        objects: with keypoints; a box that is only their extent was not drawn.
        others: annotations of the same file without keypoints.

    Returns:
        the objects in their order, and the others that belong to none.
    """
    free: dict[str, list[int]] = defaultdict(list)
    for place, item in enumerate(others):
        if item.box is not None and item.box.has_area:
            free[item.image_path].append(place)
    waiting = {
        number: {place for place in free[item.image_path] if _holds(others[place].box, item)}
        for number, item in enumerate(objects)
        if not _is_drawn(item)
    }
    result, taken = list(objects), set()
    while True:
        only = {number: min(places) for number, places in waiting.items() if len(places) == 1}
        claims = list(only.values())
        certain = {number: place for number, place in only.items() if claims.count(place) == 1}
        if not certain:
            return result, [item for place, item in enumerate(others) if place not in taken]
        for number, place in certain.items():
            box = others[place]
            result[number] = replace(
                result[number], box=box.box, area=box.area, category=box.category
            )
            taken.add(place)
        waiting = {
            number: places - taken for number, places in waiting.items() if number not in certain
        }


def _is_drawn(item: Annotation) -> bool:
    extent = item.pose.extent
    if extent is None:
        return True  # nothing tells which box is its own
    if item.box is None or not item.box.has_area:
        return False
    return (
        max(abs(a - b) for a, b in zip(item.box.corners, extent.corners, strict=True)) > _DRAWN_PX
    )


def _holds(box: Box | None, item: Annotation) -> bool:
    extent = item.pose.extent
    if box is None or extent is None:
        return False
    left, top, right, bottom = extent.corners
    return box.x <= left and box.y <= top and right <= box.corners[2] and bottom <= box.corners[3]
