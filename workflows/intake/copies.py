"""Labels of copies: files with the same content are one image, and their objects are the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from labelkit.domain.annotation import Annotation
from labelkit.domain.instance import Box, Image
from labelkit.domain.pose import Pose
from labelkit.domain.text import named

#: Overlap (0 apart ... 1 equal) from which two boxes, or extents of keypoints, are one object.
SAME_OBJECT = 0.5

#: Pixels up to which a keypoint has the same location in both.
SAME_PX = 1.0


def without_copies(
    found: Sequence[tuple[Image, Annotation]], origin: str
) -> tuple[list[tuple[Image, Annotation]], list[str]]:
    """Each object once, as the first of several equal files has it, and a note on differences.

    An object that only a later file labels is kept too.

    Args:
        found: annotations of one label file in image pixels, with their images.
        origin: the label file, for messages.
    """
    of_image: dict[str, dict[str, list[tuple[Image, Annotation]]]] = defaultdict(dict)
    for image, item in found:
        of_image[image.id].setdefault(item.image_path, []).append((image, item))
    result: list[tuple[Image, Annotation]] = []
    differing = []
    for of_path in of_image.values():
        first, *copies = of_path
        kept = of_path[first]
        for path in copies:
            kept, apart = _merged(kept, of_path[path])
            if apart > SAME_PX:
                how = f"{apart:.1f} pixels" if np.isfinite(apart) else "other keypoints"
                differing.append(f"{path} (of {first}: {how})")
        result += kept
    if not differing:
        return result, []
    return result, [
        f"{origin} labels copies of an image otherwise than the image; the labels of the first "
        f"count: {named(differing)}."
    ]


def _merged(
    kept: Sequence[tuple[Image, Annotation]], copies: Sequence[tuple[Image, Annotation]]
) -> tuple[list[tuple[Image, Annotation]], float]:
    """The objects of two equal images, and how far apart, in pixels, both have a keypoint."""
    result, free, apart = list(kept), list(range(len(kept))), 0.0
    for image, item in copies:
        overlaps = {place: _overlap(kept[place][1], item) for place in free}
        place = max(overlaps, key=overlaps.__getitem__, default=None)
        alone = len(kept) == len(copies) == 1
        if place is None or (overlaps[place] < SAME_OBJECT and not alone):
            result.append((image, item))
            continue
        free.remove(place)
        ours, theirs = kept[place][1].pose, item.pose
        if not ours.present.any():
            result[place] = (image, item)
        elif theirs.present.any():
            apart = max(apart, _distance(ours, theirs))
    return result, apart


def _overlap(one: Annotation, other: Annotation) -> float:
    boxes = [item.box or item.pose.extent for item in (one, other)]
    if boxes[0] is None or boxes[1] is None:
        return 0.0
    return _wide(boxes[0]).overlap(_wide(boxes[1]))


def _wide(box: Box) -> Box:
    """A box at least two pixels wide and high: the extent of one keypoint has no area."""
    return Box(box.x - 1, box.y - 1, box.w + 2, box.h + 2)


def _distance(one: Pose, other: Pose) -> float:
    """The largest of any keypoint, in pixels; infinite if they do not show the same keypoints."""
    if not np.array_equal(one.visibility, other.visibility):
        return np.inf
    return float(np.hypot(*(one.xy - other.xy).T).max())
