"""MPII's own release, `mpii_human_pose_v1_u12_1.mat`, and predictions of people in it by name.

The release lists images, each with its people; people of the test images have no joints. It counts
pixels from 1, and joints have the numbers 0 to 15 of the skeleton mpii16. Predictions are JSON
that names the people, each by image and by number in it, counted from 1:

    {"first_pixel": 0,
     "people": [{"image": "015601864.jpg", "person": 1, "keypoints": [[x, y], ... 16]}, ...]}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from labelkit.errors import FormatError
from labelkit.formats.mat_file import GUESS, finite
from labelkit.formats.mpii import MpiiTruth
from labelkit.metrics.official.people import Bools, Floats

_LAYOUT = (
    'Write {"first_pixel": 0, "people": [{"image": "NAME.jpg", "person": 1, "keypoints": [[x, y], '
    '...]}, ...]}, or "first_pixel": 1 where the first pixel is number 1, as in MATLAB.'
)

_Person = tuple[Floats, Bools, Floats]


def read_named_poses(document: Any, origin: str) -> dict[tuple[str, int], Floats]:
    """Read parsed predictions of people of the release.

    Args:
        document: the parsed JSON.
        origin: name of the file, for messages.

    Returns:
        (16, 2) in pixels counted from 1, by image and number of the person; a third number, a
        score, is left out.

    Raises:
        FormatError: if something is missing, has another shape, or is there twice.
    """
    rows = document.get("people") if isinstance(document, Mapping) else None
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise FormatError(f"{origin} names no people of MPII's release.", _LAYOUT)
    first = document.get("first_pixel")
    if isinstance(first, bool) or first not in (0, 1):
        raise FormatError(f"{origin}: first_pixel is {first!r}; it wants 0 or 1.", _LAYOUT)
    poses: dict[tuple[str, int], Floats] = {}
    for place, row in enumerate(rows, start=1):
        image, person = row.get("image"), row.get("person")
        if not isinstance(image, str) or isinstance(person, bool) or not isinstance(person, int):
            raise FormatError(
                f"{origin}: number {place} is of person {person!r} of image {image!r}.", _LAYOUT
            )
        item = f"{origin}: person {person} of {image}"
        if (image, person) in poses:
            raise FormatError(f"{item} is there twice.", "Keep one pose for each person.")
        xy = finite(row.get("keypoints"), item, GUESS)
        if xy.shape not in ((16, 2), (16, 3)):
            raise FormatError(
                f"{item} has keypoints of the shape {xy.shape}, not (16, 2).", _LAYOUT
            )
        poses[image, person] = xy[:, :2] + (1 - first)
    if not poses:
        raise FormatError(f"{origin} names nobody.", _LAYOUT)
    return poses


def read_release(
    contents: Mapping[str, Any], names: list[tuple[str, int]], origin: str
) -> tuple[MpiiTruth, int]:
    """Read the people that were predicted.

    Args:
        contents: as `load_mat` gives them.
        names: images, and numbers of people in them from 1.
        origin: name of the file, for messages.

    Returns:
        These people in this order, and how many labelled people their images have.

    Raises:
        FormatError: if the file is no release, or one of the people is not labelled in it.
    """
    try:
        images = np.ravel(contents["RELEASE"][0, 0]["annolist"])
        places = {str(entry["image"][0, 0]["name"][0]): entry for entry in images}
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise FormatError(
            f"{origin} is no release of MPII: it has no RELEASE.annolist.", "Download it again."
        ) from error
    labelled: dict[str, dict[int, _Person]] = {}
    people = []
    for image, person in names:
        if image not in places:
            raise FormatError(
                f"{origin} has no image {image!r}, which the predictions name.",
                "Name images as the release does, such as 015601864.jpg.",
            )
        if image not in labelled:
            try:
                labelled[image] = _labelled(places[image])
            except (KeyError, IndexError, TypeError, ValueError) as error:
                raise FormatError(
                    f"{origin}: the people of {image} cannot be read ({error}).",
                    "Download it again.",
                ) from error
        if person not in labelled[image]:
            raise FormatError(
                f"{origin}: person {person} of {image} has no joints or no head box.",
                "Only labelled people can be scored; those of the test images are not published.",
            )
        people.append(labelled[image][person])
    xy, present, boxes = (np.stack(arrays) for arrays in zip(*people, strict=True))
    return MpiiTruth(xy, present, boxes), sum(map(len, labelled.values()))


def _labelled(entry: Any) -> dict[int, _Person]:
    """People with joints and a head box: joints, which of them are there, and corners."""
    found: dict[int, _Person] = {}
    for number, person in enumerate(np.ravel(entry["annorect"]), start=1):
        fields = person.dtype.names or ()
        corners = [name for name in ("x1", "y1", "x2", "y2") if name in fields]
        if len(corners) < 4 or "annopoints" not in fields:
            continue
        if not all(np.size(person[corner]) for corner in corners):
            continue
        if not np.size(person["annopoints"]):
            continue
        x1, y1, x2, y2 = (float(np.ravel(person[corner])[0]) for corner in corners)
        xy, present = np.zeros((16, 2)), np.zeros(16, dtype=bool)
        for point in np.ravel(np.ravel(person["annopoints"])[0]["point"]):
            joint = int(np.ravel(point["id"])[0])
            if joint < 0:
                raise IndexError(f"person {number} has a joint of the number {joint}")
            xy[joint] = np.ravel(point["x"])[0], np.ravel(point["y"])[0]
            present[joint] = True
        if not np.isfinite([x1, y1, x2, y2, *xy.flat]).all():
            raise ValueError(f"person {number} has a joint or a head box at NaN or infinity")
        if present.any() and (x1, y1) != (x2, y2):
            found[number] = xy, present, np.array([[x1, y1], [x2, y2]])
    return found
