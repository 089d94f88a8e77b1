"""Predicted poses without names, in the order of the truth: the files that MPII and LSP take.

A MATLAB file holds `preds` (N x K x 2, as HRNet writes it) or `pred` (2 x K x N, as LSP's
evaluation reads it), in pixels counted from 1. JSON says where it counts from:

    {"first_pixel": 0, "poses": [[[x, y], ... K], ... N]}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labelkit.errors import FormatError
from labelkit.formats.mat_file import GUESS, array_of, finite
from labelkit.metrics.official.people import Floats

_LAYOUT = (
    'Write {"first_pixel": 0, "poses": [[[x, y], ...], ...]}, or "first_pixel": 1 where the first '
    "pixel is number 1, as in MATLAB."
)


def read_pose_arrays(contents: Mapping[str, Any], origin: str, keypoints: int) -> Floats:
    """Read the variables of a MATLAB file.

    Args:
        contents: as `load_mat` gives them.
        origin: name of the file, for messages.
        keypoints: K of the data set.

    Returns:
        (N, K, 2) in pixels counted from 1; a third number, a score, is left out.

    Raises:
        FormatError: if there is no such variable, or it has another shape.
    """
    poses = array_of(contents, ["preds", "pred"], origin, GUESS)
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
    """Read the parsed JSON.

    Args:
        document: the parsed JSON.
        origin: name of the file, for messages.
        keypoints: K of the data set.

    Returns:
        (N, K, 2) in pixels counted from 1.

    Raises:
        FormatError: if something is missing, or has another shape.
    """
    if not isinstance(document, Mapping) or "poses" not in document:
        raise FormatError(f"{origin} is no list of poses.", _LAYOUT)
    first = document.get("first_pixel")
    if isinstance(first, bool) or first not in (0, 1):
        raise FormatError(f"{origin}: first_pixel is {first!r}; it wants 0 or 1.", _LAYOUT)
    poses = finite(document["poses"], f"{origin}: poses", GUESS)
    if poses.shape[1:] not in ((keypoints, 2), (keypoints, 3)):
        raise FormatError(
            f"{origin}: the poses have the shape {poses.shape}; {keypoints} keypoints want "
            f"(N, {keypoints}, 2).",
            _LAYOUT,
        )
    return poses[..., :2] + (1 - first)


def check_people(poses: Floats, people: int, origin: str) -> None:
    """Make sure that there is a pose for each person of the truth.

    Raises:
        FormatError: with both numbers.
    """
    if len(poses) != people:
        raise FormatError(
            f"{origin} has {len(poses)} poses; the truth has {people} people.",
            "Write one pose for each person, in the order of the truth.",
        )
