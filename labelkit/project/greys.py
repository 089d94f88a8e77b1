"""Grey values of more than 8 bits, as the 8 bits that everything here shows and learns from.

Black and white are the same for all images of a folder, never taken from the values of one image:
those of a file `labelkit-window.txt` in the folder, or the nearest one above it, which holds the
value that is black and the value that is white; without one, the ends of the file's number format.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import TiffImagePlugin as Tiff

WINDOW_FILE = "labelkit-window.txt"

#: (value that is black, value that is white); white may be the smaller one.
Window = tuple[float, float]


class WindowError(ValueError):
    """A file that does not state a window."""


def is_deep(picture: Picture.Image) -> bool:
    """Whether an opened image has grey values of more than 8 bits."""
    return picture.mode.startswith("I") or picture.mode == "F"


def window_of(picture: Picture.Image, path: Path) -> Window | None:
    """Black and white of an opened image with deep greys.

    Returns:
        None where neither a file states them nor the number format has ends: floating point,
        signed and 32-bit numbers.

    Raises:
        WindowError: if the file that should state them does not.
    """
    for folder in path.absolute().parents:
        if (file := folder / WINDOW_FILE).is_file():
            return _read(file)
    tags = picture.tag_v2 if isinstance(picture, Tiff.TiffImageFile) else {}
    signed = tags.get(Tiff.SAMPLEFORMAT, (1,))[0] != 1
    bits = tags.get(Tiff.BITSPERSAMPLE, (16,))[0]
    return None if picture.mode == "F" or signed or bits > 16 else (0.0, 2.0**bits - 1)


def eight_bits(picture: Picture.Image, window: Window | None) -> NDArray[np.uint8]:
    """(H, W) grey levels of an image with deep greys.

    Args:
        picture: see `is_deep`.
        window: see `window_of`; None takes the range of the image itself. Earlier versions
            registered such images.
    """
    values = np.nan_to_num(np.asarray(picture, dtype=np.float64), posinf=0, neginf=0)
    black, white = window or (values.min(), values.max())
    levels = (values - black) * (255.0 / ((white - black) or 1.0))
    return np.rint(np.clip(levels, 0, 255)).astype(np.uint8)


def _read(file: Path) -> Window:
    try:
        black, white = map(float, file.read_text(encoding="utf-8").split())
    except (OSError, ValueError):
        black = white = np.nan
    if not (np.isfinite([black, white]).all() and black != white):
        raise WindowError(f"{file} does not hold two numbers, black and white, such as: 0 4095")
    return black, white
