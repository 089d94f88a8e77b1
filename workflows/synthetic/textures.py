"""The grounds that figures lie on, seen from above: wood, tiles, grass, sand and more."""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray
from PIL import Image as Pictures

from labelkit.workflows.synthetic.solids import RGB

#: (H, W, 3) red, green and blue, 0 to 1.
Ground = NDArray[np.float32]


def hsv(hue: float, saturation: float, value: float) -> RGB:
    """A colour from hue (any number, 1 is a full turn), saturation and value in 0..1."""
    return colorsys.hsv_to_rgb(hue % 1.0, min(max(saturation, 0.0), 1.0), min(value, 1.0))


def any_colour(rng: Generator) -> RGB:
    """A colour of any hue, as paint, cloth and plastic have it."""
    return hsv(rng.random(), rng.uniform(0.05, 0.6), rng.uniform(0.3, 0.9))


def ground(rng: Generator, size: int) -> Ground:
    """A square of one of the kinds in `KINDS`, chosen at random."""
    return KINDS[int(rng.integers(len(KINDS)))](rng, size)


def wood(rng: Generator, size: int) -> Ground:
    """Planks with grain."""
    side = _side(size)
    plank = max(8, int(side * rng.uniform(0.12, 0.3)))
    rows = np.arange(side)
    along = _noise(rng, side, 5, side // 2)
    grain = 0.5 * along + 0.3 * _noise(rng, side, 12, side) + 0.2 * _noise(rng, side, 4, 30)
    tone = rng.uniform(-0.12, 0.12, side // plank + 1)[rows // plank]
    gap = np.where(rows % plank < max(1, side // 130), 0.55, 1.0)
    shade = (0.75 + 0.35 * (grain - 0.5) + tone[:, None]) * gap[:, None]
    colour = hsv(rng.uniform(0.05, 0.1), rng.uniform(0.25, 0.6), rng.uniform(0.55, 1.0))
    return _turned(rng, shade, colour, size)


def tiles(rng: Generator, size: int) -> Ground:
    """Square tiles, each of its own tone, with joints."""
    side = _side(size)
    tile = max(8, int(side * rng.uniform(0.1, 0.3)))
    cell = np.arange(side) // tile
    tones = rng.uniform(0.85, 1.0, (cell[-1] + 1, cell[-1] + 1))
    if rng.random() < 0.4:
        tones[np.indices(tones.shape).sum(axis=0) % 2 == 0] *= rng.uniform(0.45, 0.8)
    joint = np.arange(side) % tile < max(1, side // 90)
    shade = tones[np.ix_(cell, cell)] * (0.9 + 0.2 * _noise(rng, side, 9, 9))
    shade[joint] = shade[:, joint] = rng.uniform(0.5, 0.7)
    colour = hsv(rng.random(), rng.uniform(0.0, 0.25), rng.uniform(0.6, 1.0))
    return _turned(rng, shade, colour, size)


def grass(rng: Generator, size: int) -> Ground:
    """Short grass, dry in places."""
    blades = 0.6 * _noise(rng, size, size // 2, size // 4) + 0.4 * _noise(rng, size, size, size)
    dry = _noise(rng, size, 5, 5)[..., None]
    green = np.array(hsv(rng.uniform(0.2, 0.3), rng.uniform(0.4, 0.65), rng.uniform(0.4, 0.62)))
    straw = np.array(hsv(rng.uniform(0.12, 0.17), 0.4, 0.7))
    mixed = green + 0.6 * dry * (straw - green)
    return _clipped(mixed * (0.45 + 0.85 * blades[..., None]))


def sand(rng: Generator, size: int) -> Ground:
    """Sand or gravel in soft waves."""
    coarse = int(size * rng.uniform(0.15, 1.0))
    shade = 0.65 + 0.25 * _noise(rng, size, 6, 6) + 0.3 * (_noise(rng, size, coarse, coarse) - 0.5)
    colour = hsv(rng.uniform(0.07, 0.12), rng.uniform(0.1, 0.45), rng.uniform(0.6, 1.0))
    return _clipped(shade[..., None] * np.array(colour))


def concrete(rng: Generator, size: int) -> Ground:
    """A stained floor of one colour, with speckles."""
    shade = 0.6 + 0.3 * _noise(rng, size, 4, 4) + 0.15 * _noise(rng, size, 20, 20)
    shade = shade + 0.12 * (_noise(rng, size, size, size) - 0.5)
    colour = hsv(rng.random(), rng.uniform(0.0, 0.2), rng.uniform(0.4, 1.0))
    return _clipped(shade[..., None] * np.array(colour))


def carpet(rng: Generator, size: int) -> Ground:
    """Woven cloth, in stripes of two colours or plain."""
    side = _side(size)
    x = np.arange(side) * rng.uniform(1.2, 2.2)
    weave = 0.85 + 0.1 * np.sin(x)[:, None] * np.sin(x)[None, :]
    weave = weave * (0.85 + 0.25 * _noise(rng, side, side // 2, side // 2))
    stripe = (np.sin(np.arange(side) * 2 * np.pi / (side * rng.uniform(0.08, 0.3))) > 0.4)[:, None]
    first, second = (np.array(any_colour(rng)) for _ in range(2))
    strength = rng.choice([0.0, 0.8])
    colours = first + strength * stripe[..., None] * (second - first)
    return _turned(rng, weave, colours * np.ones((side, side, 1)), size)


def cutting_mat(rng: Generator, size: int) -> Ground:
    """A desk mat with a fine grid."""
    side = _side(size)
    step = max(5, int(side * rng.uniform(0.05, 0.1)))
    lines = np.where(np.arange(side) % step == 0, 0.22, 0.0)
    lines[:: 5 * step] = 0.4
    shade = 0.8 + 0.1 * _noise(rng, side, 6, 6) + np.maximum(lines[:, None], lines[None, :])
    colour = hsv(rng.choice([0.38, 0.42, 0.56, 0.6]), rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.6))
    return _turned(rng, shade, colour, size)


KINDS: tuple[Callable[[Generator, int], Ground], ...] = (
    wood,
    tiles,
    grass,
    sand,
    concrete,
    carpet,
    cutting_mat,
)


def _noise(rng: Generator, size: int, columns: int, rows: int) -> NDArray[np.float32]:
    """(size, size) smooth random values around .5, 0 to 1, from a grid of rows and columns."""
    grid = rng.random((max(rows, 2), max(columns, 2)), dtype=np.float32)
    smooth = Pictures.fromarray(grid).resize((size, size), Pictures.Resampling.BICUBIC)
    return np.clip(np.asarray(smooth), 0, 1)


def _side(size: int) -> int:
    """Side of a square of which a turned square of `size` can be cut."""
    return int(1.42 * size) + 4


def _turned(rng: Generator, shade: NDArray[np.floating], colour: ArrayLike, size: int) -> Ground:
    """The middle of a shaded ground, turned by any angle."""
    pixels = 255 * _clipped(shade[..., None] * np.asarray(colour))
    picture = Pictures.fromarray(pixels.astype(np.uint8))
    picture = picture.rotate(rng.uniform(0, 360), Pictures.Resampling.BICUBIC)
    edge = (picture.width - size) // 2
    cut = picture.crop((edge, edge, edge + size, edge + size))
    return np.asarray(cut, np.float32) / np.float32(255)


def _clipped(colours: NDArray[np.floating]) -> Ground:
    return np.clip(colours, 0, 1).astype(np.float32)
