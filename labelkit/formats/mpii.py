"""MPII's truth as training code shares it: `gt_valid.mat`, one column for each person.

Its coordinates count pixels from 1, as MATLAB does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from labelkit.errors import FormatError
from labelkit.formats.mat_file import CORRECT, array_of
from labelkit.metrics.official.people import Bools, Floats

#: MPII's 16 joints as the file abbreviates them, in the order of the skeleton mpii16.
JOINTS = [
    *("rank", "rkne", "rhip", "lhip", "lkne", "lank", "pelv", "thor"),
    *("neck", "head", "rwri", "relb", "rsho", "lsho", "lelb", "lwri"),
]

_SHAPES = "pos_gt_src (16, 2, N), jnt_missing (16, N) and headboxes_src (2, 2, N)"


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
        contents: as `load_mat` gives them.
        origin: name of the file, for messages.

    Raises:
        FormatError: if a variable is missing, has another shape or holds something else, the
            joints have another order, or a head box has no size.
    """
    xy = array_of(contents, ["pos_gt_src"], origin, CORRECT)
    missing = array_of(contents, ["jnt_missing"], origin, CORRECT)
    head_box = array_of(contents, ["headboxes_src"], origin, CORRECT)
    count = xy.shape[-1]
    shapes = (xy.shape, missing.shape, head_box.shape)
    if shapes != ((16, 2, count), (16, count), (2, 2, count)):
        raise FormatError(f"{origin} has arrays of the shapes {shapes}.", f"It wants {_SHAPES}.")
    if not np.isin(missing, (0, 1)).all():
        raise FormatError(f"{origin}: jnt_missing holds other numbers than 0 and 1.", CORRECT)
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
            "Correct headboxes_src: PCKh divides by it.",
        )
    return MpiiTruth(xy.transpose(2, 0, 1), missing.T == 0, boxes)
