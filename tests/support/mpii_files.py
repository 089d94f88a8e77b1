"""MPII's release in miniature, with MATLAB's arrays of structures."""

from pathlib import Path

import numpy as np
from scipy.io import savemat


def struct(**columns) -> np.ndarray:
    """A 1 x n struct array, as MATLAB has them; n values a field."""
    count = len(next(iter(columns.values())))
    array = np.empty((1, count), dtype=[(name, object) for name in columns])
    for name, values in columns.items():
        for place, value in enumerate(values):
            array[0, place][name] = value
    return array


def rect(joints: dict[int, tuple[float, float]], box=(10.0, 20.0, 40.0, 60.0)) -> dict:
    """A person with these joints; without any, one of the test images."""
    points = struct(
        x=[float(x) for x, _ in joints.values()],
        y=[float(y) for _, y in joints.values()],
        id=list(joints),
        is_visible=["1"] * len(joints),
    )
    corners = dict(zip(("x1", "y1", "x2", "y2"), box, strict=True))
    return corners | {"annopoints": struct(point=[points]) if joints else np.zeros((0, 0))}


def write_release(path: Path, people: list[dict]) -> Path:
    """A release of a.jpg with these people, b.jpg of the test set, and c.jpg with nobody."""
    columns = {name: [person[name] for person in people] for name in people[0]}
    rects = [struct(**columns), struct(scale=[2.0]), np.zeros((0, 0))]
    images = [struct(name=[name]) for name in ("a.jpg", "b.jpg", "c.jpg")]
    annolist = struct(image=images, annorect=rects)
    savemat(path, {"RELEASE": struct(annolist=[annolist], version=["1"])})
    return path
