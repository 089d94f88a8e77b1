"""Shaded, antialiased shapes on a layer: capsules, balls and flat plates, each with its shadow."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image as Pictures
from PIL import ImageFilter

#: (H, W, 4) red, green and blue times opacity, and opacity, all 0 to 1.
Layer = NDArray[np.float32]

#: Red, green and blue, 0 to 1.
RGB = tuple[float, float, float]

#: A unit vector towards the light; x and y as in the picture, z points at the viewer.
Light = tuple[float, float, float]

#: A plate's radius by angle, as a share of its size.
Outline = Callable[[NDArray[np.float32]], NDArray[np.float32]]

_AMBIENT, _DIFFUSE = 0.5, 0.65


def empty(height: int, width: int) -> Layer:
    """A layer on which nothing is."""
    return np.zeros((height, width, 4), np.float32)


def on_top(below: Layer, layer: Layer) -> None:
    """Put a layer over another, in place."""
    below *= 1 - layer[..., 3:]
    below += layer


def cast_shadow(below: Layer, layer: Layer, light: Light, height: float) -> None:
    """Darken, in place, where a layer `height` pixels above keeps the light away."""
    alpha = Pictures.fromarray((255 * layer[..., 3]).astype(np.uint8))
    dx, dy = -height * light[0], -height * light[1]
    moved = alpha.transform(alpha.size, Pictures.Transform.AFFINE, (1, 0, -dx, 0, 1, -dy))
    soft = np.asarray(moved.filter(ImageFilter.GaussianBlur(0.5 * height)), np.float32) / 255
    below[..., :3] *= 1 - 0.55 * soft[..., None]


def capsule(
    layer: Layer,
    start: ArrayLike,
    end: ArrayLike,
    radii: tuple[float, float],
    colour: RGB,
    light: Light,
    gloss: float = 0.3,
) -> None:
    """A round bar between two points; a ball where they are one.

    Args:
        layer: painted on in place.
        start, end: x, y in pixels.
        radii: at start and end, in pixels.
        colour: of its surface.
        light: direction of the light.
        gloss: strength of the highlight.
    """
    (x0, y0), (x1, y1) = (np.asarray(point, np.float64).tolist() for point in (start, end))
    window, x, y = _window(layer, (x0, x1), (y0, y1), max(radii) + 1)
    dx, dy = x1 - x0, y1 - y0
    t = ((x - x0) * dx + (y - y0) * dy) / max(dx * dx + dy * dy, 1e-6)
    np.clip(t, 0, 1, out=t)
    radius = radii[0] + t * (radii[1] - radii[0])
    away_x, away_y = x - x0 - t * dx, y - y0 - t * dy
    apart = np.hypot(away_x, away_y)
    reach = np.maximum(radius, apart)
    lit = _lit(away_x / reach, away_y / reach, colour, light, gloss)
    _paint(layer, window, lit, radius - apart)


def plate(
    layer: Layer,
    centre: ArrayLike,
    radius: float,
    outline: Outline,
    colour: RGB,
    light: Light,
    bulge: float = 8.0,
    gloss: float = 0.2,
) -> None:
    """A flat piece with a rounded rim.

    Args:
        layer: painted on in place.
        centre: x, y in pixels.
        radius: in pixels; `outline` gives the share of it that is reached at each angle.
        outline: from angles in radians to shares.
        colour: of its surface.
        light: see `capsule`.
        bulge: exponent of the slope; 1 is a dome, 8 is flat but for the rim.
        gloss: strength of the highlight.
    """
    x0, y0 = np.asarray(centre, np.float64).tolist()
    window, x, y = _window(layer, (x0,), (y0,), 2 * radius + 1)
    away_x, away_y = np.broadcast_arrays(x - x0, y - y0)
    apart = np.maximum(np.hypot(away_x, away_y), 1e-6)
    edge = radius * outline(np.arctan2(away_y, away_x))
    lean = 0.9 * np.minimum(apart / edge, 1) ** bulge / apart
    _paint(layer, window, _lit(lean * away_x, lean * away_y, colour, light, gloss), edge - apart)


def polygon(corners: int, turned: float) -> Outline:
    """A regular polygon around a circle of the plate's radius."""
    part = 2 * np.pi / corners
    return lambda angle: 1 / np.cos((angle - turned) % part - part / 2)


def star(points: int, turned: float, depth: float = 0.45) -> Outline:
    """A star; its notches reach 1 - depth."""
    part = 2 * np.pi / points
    return lambda angle: 1.15 - 2 * depth * np.abs(((angle - turned) / part) % 1 - 0.5) * 1.15


def disc(angle: NDArray[np.float32]) -> NDArray[np.float32]:
    """A circle."""
    return np.ones_like(angle)


def _window(
    layer: Layer, x: Sequence[float], y: Sequence[float], reach: float
) -> tuple[tuple[slice, slice], NDArray[np.float32], NDArray[np.float32]]:
    """The part of a layer within `reach` of points: its rows and columns, and x and y of pixels.

    Returns:
        rows and columns.
        (1, w) x and (h, 1) y of the pixels' centres.
    """
    spans = []
    for size, values in zip(layer.shape[1::-1], (x, y), strict=True):
        low = min(max(math.floor(min(values) - reach), 0), size)
        spans.append((low, max(low, min(math.ceil(max(values) + reach), size))))
    across, down = (np.arange(low, high, dtype=np.float32) + 0.5 for low, high in spans)
    return (slice(*spans[1]), slice(*spans[0])), across[None, :], down[:, None]


def _lit(
    slope_x: NDArray[np.float32],
    slope_y: NDArray[np.float32],
    colour: RGB,
    light: Light,
    gloss: float,
) -> NDArray[np.float32]:
    """(h, w, 3) colours of a surface whose normal leans by a slope of length 1 at most."""
    upright = np.sqrt(np.maximum(1 - slope_x * slope_x - slope_y * slope_y, 0))
    x, y, z = light
    facing = np.maximum(slope_x * x + slope_y * y + upright * z, 0)
    shade = (_AMBIENT + _DIFFUSE * facing) * (0.7 + 0.3 * upright)
    # The highlight lies where the normal halves the angle between light and viewer.
    half = math.sqrt(2 + 2 * z)
    shine = np.maximum(slope_x * (x / half) + slope_y * (y / half) + upright * ((z + 1) / half), 0)
    shine **= 30
    lit = shade[..., None] * np.array(colour, np.float32) + (gloss * shine)[..., None]
    return np.clip(lit, 0, 1, out=lit)


def _paint(
    layer: Layer,
    window: tuple[slice, slice],
    colours: NDArray[np.float32],
    inside: NDArray[np.float32],
) -> None:
    """Paint colours where `inside`, the distance to the edge in pixels, is positive."""
    cover = np.clip(inside + 0.5, 0, 1)[..., None].astype(np.float32)
    part = layer[window]
    part *= 1 - cover
    part[..., :3] += cover * colours
    part[..., 3:] += cover
