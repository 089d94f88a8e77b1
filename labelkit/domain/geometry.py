"""Affine maps between image pixels, crops, response maps and pictures of them.

Coordinates are continuous: (0, 0) is the outer corner of the top-left pixel or cell everywhere, so
one affine map leads from one to another and nothing is half a pixel off.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: (2, 3): takes (x, y) to (a x + b y + c, d x + e y + f).
Affine = NDArray[np.float64]


def apply_affine(affine: ArrayLike, xy: ArrayLike) -> NDArray[np.float64]:
    """Take points through an affine map.

    Args:
        affine: (2, 3), or its six numbers in a row.
        xy: (..., 2).

    Returns:
        (..., 2).
    """
    matrix = np.reshape(affine, (2, 3))
    moved: NDArray[np.float64] = np.asarray(xy) @ matrix[:, :2].T + matrix[:, 2]
    return moved


def invert_affine(affine: ArrayLike) -> Affine:
    """The (2, 3) map that undoes `affine`, a (2, 3) map or its six numbers in a row."""
    matrix = np.reshape(affine, (2, 3))
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])


def scale_affine(affine: ArrayLike, factors_xy: ArrayLike) -> Affine:
    """`affine` into a plane that is stretched.

    Args:
        affine: (2, 3), or its six numbers in a row.
        factors_xy: by how much, across and down, or one factor for both.

    Returns:
        (2, 3).
    """
    factors = np.broadcast_to(np.asarray(factors_xy, dtype=np.float64), 2)
    scaled: Affine = np.reshape(affine, (2, 3)) * factors[:, None]
    return scaled


def turn_affine(orientation: int, stored_wh: tuple[int, int]) -> Affine:
    """From the pixels of an image as stored to those as displayed.

    Args:
        orientation: of EXIF, 1 ... 8.
        stored_wh: width and height as stored.

    Returns:
        (2, 3).
    """
    w, h = stored_wh
    rows = {
        1: ([1, 0, 0], [0, 1, 0]),
        2: ([-1, 0, w], [0, 1, 0]),
        3: ([-1, 0, w], [0, -1, h]),
        4: ([1, 0, 0], [0, -1, h]),
        5: ([0, 1, 0], [1, 0, 0]),
        6: ([0, -1, h], [1, 0, 0]),
        7: ([0, -1, h], [-1, 0, w]),
        8: ([0, 1, 0], [-1, 0, w]),
    }
    return np.array(rows[orientation], dtype=np.float64)


def after(second: ArrayLike, first: ArrayLike) -> Affine:
    """The (2, 3) map that applies `first`, then `second`."""
    return np.reshape(second, (2, 3)) @ np.vstack([np.reshape(first, (2, 3)), [0.0, 0.0, 1.0]])
