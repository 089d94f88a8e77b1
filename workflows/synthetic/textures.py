"""Backgrounds and occluders of the generated data set: many kinds of simple textures."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image as Pictures
from PIL import ImageDraw

RGB = tuple[int, int, int]


def hsv(hue: float, saturation: float, value: float) -> RGB:
    """A colour from hue (any number, 1 is a full turn), saturation and value in 0..1."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, min(saturation, 1.0), min(value, 1.0))
    return round(255 * red), round(255 * green), round(255 * blue)


def any_colour(rng: Generator) -> RGB:
    """A colour of any hue, dull or bright."""
    return hsv(rng.random(), rng.uniform(0.0, 0.9), rng.uniform(0.15, 1.0))


def texture(rng: Generator, size: int) -> Pictures.Image:
    """A square RGB picture of one of the kinds in `KINDS`, chosen at random."""
    return KINDS[int(rng.integers(len(KINDS)))](rng, size)


def _ramp(rng: Generator, size: int) -> NDArray[np.float32]:
    """(size, size) rising from about -.7 to .7 along a random direction."""
    angle = rng.uniform(0, 2 * math.pi)
    line = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    return math.cos(angle) * line[None, :] + math.sin(angle) * line[:, None]


def _blend(rng: Generator, weight: NDArray[np.float32]) -> Pictures.Image:
    """Two random colours mixed by `weight` (H, W) in 0..1."""
    first, second = (np.array(any_colour(rng), np.float32) for _ in range(2))
    return Pictures.fromarray((first + weight[..., None] * (second - first)).astype(np.uint8))


def plain(rng: Generator, size: int) -> Pictures.Image:
    """One colour."""
    return Pictures.new("RGB", (size, size), any_colour(rng))


def gradient(rng: Generator, size: int) -> Pictures.Image:
    """One colour fading into another."""
    return _blend(rng, np.clip(_ramp(rng, size) + 0.5, 0, 1))


def stripes(rng: Generator, size: int) -> Pictures.Image:
    """Hard or soft stripes in a random direction."""
    wave = np.sin(_ramp(rng, size) * rng.uniform(20, 90))
    return _blend(rng, np.clip(wave * rng.uniform(0.7, 6) / 2 + 0.5, 0, 1))


def checks(rng: Generator, size: int) -> Pictures.Image:
    """A chessboard or tartan in a random direction."""
    period = rng.uniform(20, 60)
    wave = np.sign(np.sin(_ramp(rng, size) * period) * np.sin(_ramp(rng, size) * period))
    return _blend(rng, wave * 0.5 + 0.5)


def noise(rng: Generator, size: int) -> Pictures.Image:
    """Coloured clouds, from fine grain to patches a third of the picture."""
    cells = int(rng.integers(3, 40))
    grid = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    smooth = Pictures.Resampling.BICUBIC if rng.random() < 0.6 else Pictures.Resampling.NEAREST
    clouds = Pictures.fromarray(grid).resize((size, size), smooth)
    return Pictures.blend(clouds, plain(rng, size), rng.uniform(0.2, 0.7))


def blobs(rng: Generator, size: int) -> Pictures.Image:
    """Ellipses of many colours and sizes."""
    picture = plain(rng, size)
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(5, 25))):
        x, y = rng.uniform(0, size, 2)
        w, h = rng.uniform(0.03, 0.2, 2) * size
        draw.ellipse((x - w, y - h, x + w, y + h), fill=any_colour(rng))
    return picture


KINDS: tuple[Callable[[Generator, int], Pictures.Image], ...] = (
    plain,
    gradient,
    stripes,
    checks,
    noise,
    blobs,
)
