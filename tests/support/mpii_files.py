"""MPII's truth in miniature: the variables of `gt_valid.mat`, and the release's structures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

from labelkit.formats.matlab.mpii import JOINTS


def joint_names(joints: Sequence[str] = JOINTS) -> np.ndarray:
    """Joint names as MATLAB saves a row of them."""
    row = np.empty((1, len(joints)), dtype=object)
    row[0] = joints
    return row


def gt_valid(people: int = 2, **changes: Any) -> dict[str, Any]:
    """All joints at (3, 4) px, the ankle of the first person missing; heads of 30 x 40 px."""
    missing = np.zeros((16, people))
    missing[0, 0] = 1
    boxes = np.zeros((2, 2, people))
    boxes[1] = [[30.0] * people, [40.0] * people]
    xy = np.empty((16, 2, people))
    xy[:, 0], xy[:, 1] = 3.0, 4.0
    return {
        "dataset_joints": joint_names(),
        "pos_gt_src": xy,
        "jnt_missing": missing,
        "headboxes_src": boxes,
    } | changes


def struct(**columns) -> np.ndarray:
    """A 1 x n struct array as MATLAB saves it; n values for each field."""
    count = len(next(iter(columns.values())))
    array = np.empty((1, count), dtype=[(name, object) for name in columns])
    for name, values in columns.items():
        for place, value in enumerate(values):
            array[0, place][name] = value
    return array


def rect(joints: dict[int, tuple[float, float]], box=(10.0, 20.0, 40.0, 60.0)) -> dict:
    """A person with these joints; without any, one in a test image."""
    points = struct(
        x=[float(x) for x, _ in joints.values()],
        y=[float(y) for _, y in joints.values()],
        id=list(joints),
        is_visible=["1"] * len(joints),
    )
    corners = dict(zip(("x1", "y1", "x2", "y2"), box, strict=True))
    return corners | {"annopoints": struct(point=[points]) if joints else np.zeros((0, 0))}


def write_release(path: Path, people: list[dict]) -> Path:
    """A release of a.jpg with these people, b.jpg of the test set, and c.jpg without people."""
    columns = {name: [person[name] for person in people] for name in people[0]}
    rects = [struct(**columns), struct(scale=[2.0]), np.zeros((0, 0))]
    images = [struct(name=[name]) for name in ("a.jpg", "b.jpg", "c.jpg")]
    annolist = struct(image=images, annorect=rects)
    savemat(path, {"RELEASE": struct(annolist=[annolist], version=["1"])})
    return path
