"""Small things that lie about and hide keypoints: stones, leaves, notes, coins and sticks."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from labelkit.workflows.synthetic.solids import (
    Layer,
    Light,
    Outline,
    capsule,
    cast_shadow,
    disc,
    empty,
    on_top,
    plate,
    polygon,
)
from labelkit.workflows.synthetic.textures import any_colour, hsv

#: Hues of sticky notes.
_NOTES = (0.0, 0.14, 0.3, 0.55)

#: Brightness of a leaf and of its veins.
_VEINED = np.array([1.0, 1.25])


def lay_thing(
    rng: Generator, ground: Layer, centre: ArrayLike, radius: float, light: Light
) -> None:
    """Lay something that hides all within `radius` pixels of `centre`, in place."""
    part, middle = _around(ground, np.asarray(centre), 2.2 * radius)
    layer, turn = empty(*part.shape[:2]), rng.uniform(0, 2 * np.pi)
    kind = rng.integers(4)
    if kind == 0:
        grey = hsv(rng.uniform(0.0, 0.12), rng.uniform(0.0, 0.3), rng.uniform(0.3, 0.85))
        plate(layer, middle, radius, _pebble(rng), grey, light, bulge=2.5, gloss=0.05)
    elif kind == 1:
        hue, saturation = rng.uniform(0.05, 0.33), rng.uniform(0.5, 0.8)
        green, vein = (hsv(hue, saturation, value) for value in rng.uniform(0.35, 0.6) * _VEINED)
        plate(layer, middle, radius, _leaf(turn), green, light, bulge=4, gloss=0.05)
        for angle in turn + np.arange(5) * 2 * np.pi / 5:
            tip = middle + 1.15 * radius * np.array([np.cos(angle), np.sin(angle)])
            capsule(layer, middle, tip, (0.06 * radius, 0.02 * radius), vein, light, 0)
    elif kind == 2:
        paper = hsv(rng.choice(_NOTES), rng.uniform(0.05, 0.45), rng.uniform(0.8, 1.0))
        plate(layer, middle, radius, polygon(4, turn), paper, light, bulge=20, gloss=0)
    else:
        metal = hsv(rng.choice([0.08, 0.12, 0.6]), rng.uniform(0.05, 0.5), rng.uniform(0.6, 0.9))
        for share in (1.06, 0.8):
            plate(layer, middle, share * radius, disc, metal, light, bulge=14, gloss=0.3)
    cast_shadow(part, layer, light, 0.25 * radius)
    on_top(part, layer)


def lay_stick(
    rng: Generator,
    ground: Layer,
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    radius: float,
    light: Light,
) -> None:
    """Lay a pencil or a twig between two points, in place."""
    layer = empty(*ground.shape[:2])
    capsule(layer, start, end, (radius, radius * rng.uniform(0.6, 1.0)), any_colour(rng), light)
    cast_shadow(ground, layer, light, radius)
    on_top(ground, layer)


def _around(
    ground: Layer, centre: NDArray[np.float64], reach: float
) -> tuple[Layer, NDArray[np.float64]]:
    """The part of a ground within `reach` of a point, not a copy, and the point in it."""
    low = np.maximum(np.floor(centre - reach), 0).astype(int)
    high = np.maximum(np.ceil(centre + reach), low + 1).astype(int)
    return ground[low[1] : high[1], low[0] : high[0]], centre - low


def _pebble(rng: Generator) -> Outline:
    """A smooth irregular outline of 1 at least."""
    two, three = rng.uniform(0, 2 * np.pi, 2)

    def outline(angle: NDArray[np.float32]) -> NDArray[np.float32]:
        return 1.17 + 0.11 * np.cos(2 * angle + two) + 0.06 * np.cos(3 * angle + three)

    return outline


def _leaf(turned: float) -> Outline:
    """Five lobes; the notches between them reach 1."""
    return lambda angle: 1.02 + 0.3 * np.abs(np.cos(2.5 * (angle - turned))) ** 1.5
