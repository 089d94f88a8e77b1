"""Predicted poses in the files that the official scores of MPII and LSP take.

A MATLAB file holds `preds` (N x K x 2, as HRNet writes it) or `pred` (2 x K x N, as LSP's
evaluation reads it), in pixels counted from 1. JSON gives the number of the first pixel, and lists
poses in the order of the truth, or people of MPII's release by image and number, counted from 1:

    {"first_pixel": 0, "poses": [[[x, y], ... K], ... N]}
    {"first_pixel": 0,
     "people": [{"image": "015601864.jpg", "person": 1, "keypoints": [[x, y], ... 16]}, ...]}

A third number after x and y, a score, is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labelkit.errors import FormatError
from labelkit.formats.matlab.mat_file import FIX_PREDICTIONS, array_of, finite
from labelkit.metrics.official.people import Floats

_FIRST = 'or "first_pixel": 1 if the first pixel has the number 1, as in MATLAB.'
_POSES = f'Write {{"first_pixel": 0, "poses": [[[x, y], ...], ...]}}, {_FIRST}'
_PEOPLE = (
    'Write {"first_pixel": 0, "people": [{"image": "NAME.jpg", "person": 1, "keypoints": [[x, y], '
    f"...]}}, ...]}}, {_FIRST}"
)


def read_pose_arrays(contents: Mapping[str, Any], origin: str, keypoints: int) -> Floats:
    """Read the variables of a MATLAB file.

    Args:
        contents: the result of `load_mat`.
        origin: name of the file, for messages.
        keypoints: K of the data set.

    Returns:
        (N, K, 2) in pixels counted from 1.

    Raises:
        FormatError: if neither variable is there, or it has the wrong shape.
    """
    poses = array_of(contents, ["preds", "pred"], origin, FIX_PREDICTIONS)
    by_person = poses.ndim == 3 and poses.shape[1] == keypoints and poses.shape[2] in (2, 3)
    by_axis = poses.ndim == 3 and poses.shape[1] == keypoints and poses.shape[0] in (2, 3)
    if by_axis and (not by_person or "preds" not in contents):
        return poses.transpose(2, 1, 0)[..., :2]
    if by_person:
        return poses[..., :2]
    raise FormatError(
        f"{origin}: the poses have the shape {poses.shape}.",
        f"Write preds as (N, {keypoints}, 2), or pred as (2, {keypoints}, N).",
    )


def read_pose_list(document: Any, origin: str, keypoints: int) -> Floats:
    """Read parsed JSON with poses in the order of the truth.

    Args:
        document: the parsed JSON.
        origin: name of the file, for messages.
        keypoints: K of the data set.

    Returns:
        (N, K, 2) in pixels counted from 1.

    Raises:
        FormatError: if something is missing or has the wrong shape.
    """
    if not isinstance(document, Mapping) or "poses" not in document:
        raise FormatError(f"{origin} is not a list of poses.", _POSES)
    first = _first_pixel(document, origin, _POSES)
    poses = finite(document["poses"], f"{origin}: poses", FIX_PREDICTIONS)
    if poses.shape[1:] not in ((keypoints, 2), (keypoints, 3)):
        raise FormatError(
            f"{origin}: the poses have the shape {poses.shape}; {keypoints} keypoints need "
            f"(N, {keypoints}, 2).",
            _POSES,
        )
    return poses[..., :2] + (1 - first)


def read_named_poses(document: Any, origin: str) -> dict[tuple[str, int], Floats]:
    """Read parsed JSON with people of MPII's release.

    Args:
        document: the parsed JSON.
        origin: name of the file, for messages.

    Returns:
        (16, 2) in pixels counted from 1, by image and number of the person.

    Raises:
        FormatError: if something is missing, has the wrong shape, or occurs twice.
    """
    rows = document.get("people") if isinstance(document, Mapping) else None
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise FormatError(f"{origin} does not list people of MPII's release.", _PEOPLE)
    first = _first_pixel(document, origin, _PEOPLE)
    poses: dict[tuple[str, int], Floats] = {}
    for place, row in enumerate(rows, start=1):
        image, person = row.get("image"), row.get("person")
        if not isinstance(image, str) or isinstance(person, bool) or not isinstance(person, int):
            raise FormatError(
                f"{origin}: entry {place} is person {person!r} of image {image!r}.", _PEOPLE
            )
        item = f"{origin}: person {person} of {image}"
        if (image, person) in poses:
            raise FormatError(f"{item} occurs twice.", "Keep one pose for each person.")
        xy = finite(row.get("keypoints"), item, FIX_PREDICTIONS)
        if xy.shape not in ((16, 2), (16, 3)):
            raise FormatError(f"{item} has keypoints of shape {xy.shape}, not (16, 2).", _PEOPLE)
        poses[image, person] = xy[:, :2] + (1 - first)
    if not poses:
        raise FormatError(f"{origin} lists no people.", _PEOPLE)
    return poses


def _first_pixel(document: Mapping[str, Any], origin: str, layout: str) -> int:
    """The number that a file gives to the first pixel: 0 or 1."""
    first = document.get("first_pixel")
    if isinstance(first, bool) or first not in (0, 1):
        raise FormatError(f"{origin}: first_pixel is {first!r}, not 0 or 1.", layout)
    return int(first)


def check_people(poses: Floats, people: int, origin: str) -> None:
    """Make sure that there is one pose for each person of the truth.

    Args:
        poses: (N, K, 2).
        people: how many the truth has.
        origin: name of the predictions file, for messages.

    Raises:
        FormatError: if N is another number.
    """
    if len(poses) != people:
        raise FormatError(
            f"{origin} has {len(poses)} poses; the truth has {people} people.",
            "Write one pose for each person, in the order of the truth.",
        )
