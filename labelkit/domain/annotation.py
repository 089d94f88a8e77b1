"""One object as an annotation file describes it, before it is matched with the project."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from labelkit.domain.instance import Box
from labelkit.domain.pose import Pose
from labelkit.errors import FormatError

#: How addresses on a Label Studio server begin.
_STUDIO = ("/data/upload/", "/data/local-files/")

#: Pixels by which a coordinate may exceed its image: rounding error of converted percentages.
SLACK_PX = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """One object of an annotation file.

    Coordinates are those of the file until they are brought into place: then upright image pixels.

    Attributes:
        image_path: as the file writes it, with forward slashes.
        reference: identifies the object within its file.
        box: None where the file gives none; without area where it gives one that no one drew.
        area: of the object's segment, squared; None where the file gives none.
        pose: every keypoint is absent where the file locates none, and there are no keypoints at
            all where the file holds boxes only.
        iscrowd: the box covers a group of objects that are not separated.
        category: of the object, by name; "" where the file gives none.
        individual: who it is, in files that tell animals apart; "" elsewhere.
    """

    image_path: str
    reference: str
    box: Box | None
    area: float | None
    pose: Pose
    iscrowd: bool
    category: str = ""
    individual: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class VisibilityAnswer:
    """Which keypoints of one object an annotator can see, without locations.

    Attributes:
        image_path: as the file writes it, with forward slashes.
        reference: instance id, or 0, 1, ... for the first, second object of the image; "" where it
            has one.
        presence: (K,) whether the keypoint can be seen: -1 unknown, 0 no, 1 yes.
    """

    image_path: str
    reference: str
    presence: NDArray[np.int8]


def image_path_from(text: str) -> str:
    """An image path as labelkit writes it: with forward slashes.

    An address becomes the path in it. Of a file that was uploaded to Label Studio only the name is
    known.
    """
    if "://" in text or text.startswith(_STUDIO):
        address = urlsplit(text)
        inside = parse_qs(address.query).get("d")  # Label Studio's local files
        path = inside[0] if inside else unquote(address.netloc + address.path)
        return path.rpartition("/")[2] if "/data/upload/" in text else path
    return text.replace("\\", "/")


def check_inside(
    pose: Pose, size_wh: tuple[float, float], keypoints: tuple[str, ...], item: str
) -> None:
    """Check that every present keypoint lies inside the image.

    Args:
        pose: in upright image pixels.
        size_wh: width and height of the image in pixels.
        keypoints: K names, for the message.
        item: the file and object, for the message.

    Raises:
        FormatError: naming the first keypoint outside.
    """
    outside = ((pose.xy < -SLACK_PX) | (pose.xy > np.add(size_wh, SLACK_PX))).any(axis=1)
    outside &= pose.present
    if outside.any():
        index = int(np.flatnonzero(outside)[0])
        x, y = pose.xy[index].tolist()
        raise FormatError(
            f"{item}: {keypoints[index]!r} lies at ({x}, {y}), outside the image "
            f"({size_wh[0]} x {size_wh[1]} pixels).",
            "Correct the coordinates, or mark the keypoint as absent (v = 0).",
        )
