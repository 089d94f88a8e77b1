"""MPII's truth, from its own release or from `gt_valid.mat`, which training code shares.

Both count pixels from 1, as MATLAB does, and have the joints of the skeleton mpii16 in its order.
The release, `mpii_human_pose_v1_u12_1.mat`, lists images, each with its people; people in the test
images have no joints. `gt_valid.mat` has one column for each person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from labelkit.errors import FormatError
from labelkit.formats.matlab.mat_file import FIX_TRUTH, array_of
from labelkit.metrics.official.people import Bools, Floats

#: MPII's 16 joints as `gt_valid.mat` abbreviates them, in the order of the skeleton mpii16.
JOINTS = [
    *("rank", "rkne", "rhip", "lhip", "lkne", "lank", "pelv", "thor"),
    *("neck", "head", "rwri", "relb", "rsho", "lsho", "lelb", "lwri"),
]

_SHAPES = "pos_gt_src (16, 2, N), jnt_missing (16, N) and headboxes_src (2, 2, N)"

_Person = tuple[Floats, Bools, Floats]


@dataclass(frozen=True, slots=True, eq=False)
class MpiiTruth:
    """The N labelled people.

    Attributes:
        xy: (N, 16, 2) in pixels counted from 1, in MPII's order.
        labelled: (N, 16), which keypoints have a location.
        head_box: (N, 2, 2) two opposite corners in pixels.
    """

    xy: Floats
    labelled: Bools
    head_box: Floats


def read_mpii(contents: Mapping[str, Any], origin: str) -> MpiiTruth:
    """Read the variables of `gt_valid.mat`.

    Args:
        contents: the result of `load_mat`.
        origin: name of the file, for messages.

    Raises:
        FormatError: if a variable is missing, has the wrong shape or holds a wrong value, if the
            joints are in another order, or if a head box has no size.
    """
    xy = array_of(contents, ["pos_gt_src"], origin, FIX_TRUTH)
    missing = array_of(contents, ["jnt_missing"], origin, FIX_TRUTH)
    head_box = array_of(contents, ["headboxes_src"], origin, FIX_TRUTH)
    count = xy.shape[-1]
    shapes = (xy.shape, missing.shape, head_box.shape)
    if shapes != ((16, 2, count), (16, count), (2, 2, count)):
        raise FormatError(f"{origin} has arrays of shape {shapes}.", f"It needs {_SHAPES}.")
    if not np.isin(missing, (0, 1)).all():
        raise FormatError(f"{origin}: jnt_missing holds a value other than 0 and 1.", FIX_TRUTH)
    cells = np.ravel(contents.get("dataset_joints", []))
    names = [str(np.ravel(cell)[0]) if np.size(cell) else "(none)" for cell in cells]
    if names and names != JOINTS:
        raise FormatError(
            f"{origin} has the joints {' '.join(names)}, not MPII's: {' '.join(JOINTS)}.",
            "Sort the arrays into that order.",
        )
    boxes = head_box.transpose(2, 0, 1)
    empty = np.flatnonzero((boxes[:, 0] == boxes[:, 1]).all(axis=1))
    if len(empty):
        raise FormatError(
            f"{origin}: the head box of person {int(empty[0]) + 1} has no size.",
            "Correct headboxes_src: PCKh divides by the size.",
        )
    return MpiiTruth(xy.transpose(2, 0, 1), missing.T == 0, boxes)


def read_release(
    contents: Mapping[str, Any], names: list[tuple[str, int]], origin: str
) -> tuple[MpiiTruth, int]:
    """Read the people of the release that have a prediction.

    Args:
        contents: the result of `load_mat`.
        names: (image, number of the person in it, counted from 1) of each.
        origin: name of the file, for messages.

    Returns:
        These people in this order, and how many labelled people their images have.

    Raises:
        FormatError: if the file is not MPII's release, or one of the people is not labelled in it.
    """
    try:
        images = np.ravel(contents["RELEASE"][0, 0]["annolist"])
        places = {str(entry["image"][0, 0]["name"][0]): entry for entry in images}
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise FormatError(
            f"{origin} is not MPII's release: it has no RELEASE.annolist.", "Download it again."
        ) from error
    labelled: dict[str, dict[int, _Person]] = {}
    people = []
    for image, person in names:
        if image not in places:
            raise FormatError(
                f"{origin} has no image {image!r}, which the predictions name.",
                "Name images as the release does, for example 015601864.jpg.",
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
                "Predict labelled people only; the labels of the test images are not published.",
            )
        people.append(labelled[image][person])
    xy, present, boxes = (np.stack(arrays) for arrays in zip(*people, strict=True))
    return MpiiTruth(xy, present, boxes), sum(map(len, labelled.values()))


def _labelled(entry: Any) -> dict[int, _Person]:
    """People with joints and a head box, by number: joints, which of them exist, and corners."""
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
                raise IndexError(f"person {number} has a joint numbered {joint}")
            xy[joint] = np.ravel(point["x"])[0], np.ravel(point["y"])[0]
            present[joint] = True
        if not np.isfinite([x1, y1, x2, y2, *xy.flat]).all():
            raise ValueError(f"person {number} has a joint or a head box at NaN or infinity")
        if present.any() and (x1, y1) != (x2, y2):
            found[number] = xy, present, np.array([[x1, y1], [x2, y2]])
    return found
