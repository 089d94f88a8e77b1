"""How a generated figure looks: a toy robot with a coloured cap on each joint."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from labelkit.domain.skeleton import load_skeleton
from labelkit.workflows.synthetic.solids import (
    RGB,
    Layer,
    Light,
    Outline,
    capsule,
    disc,
    empty,
    plate,
    polygon,
    star,
)
from labelkit.workflows.synthetic.textures import any_colour, hsv

SKELETON = load_skeleton("lsp14")

#: Row of each joint in every (14, 2) array.
AT = {name: index for index, name in enumerate(SKELETON.keypoints)}

#: Direction along x of each side of a figure seen from the front; x grows to the right.
SIDES = {"left": 1.0, "right": -1.0}

#: Radius of a joint's cap; the figure's torso is about 1 long.
CAP = 0.25

#: Start, end and thickness of the bones of one side.
_BONES = (
    ("hip", "knee", 0.145),
    ("knee", "ankle", 0.12),
    ("shoulder", "elbow", 0.12),
    ("elbow", "wrist", 0.1),
)
#: The joint before each joint of a limb.
_BEFORE = {"elbow": "shoulder", "wrist": "elbow", "knee": "hip", "ankle": "knee"}

#: Per joint: corners of the cap (negative: points of a star), hue inside its side's family (0..1),
#: saturation and brightness of the cap (shares of the figure's), brightness of its bolt.
_CAPS = {
    "shoulder": (0, 0.0, 1.0, 1.0, 0.1),
    "hip": (3, 0.2, 0.6, 1.0, 0.1),
    "elbow": (4, 0.4, 1.0, 0.65, 0.95),
    "knee": (6, 0.6, 1.0, 1.0, 0.1),
    "wrist": (-5, 0.8, 0.45, 1.0, 0.1),
    "ankle": (-4, 1.0, 1.0, 0.8, 0.95),
}
_FAMILIES = {"left": (-0.08, 0.28), "right": (0.4, 0.28)}  # hue of the first joint, range
_STEEL, _DARK = (0.6, 0.62, 0.66), (0.13, 0.14, 0.17)


class Paint(NamedTuple):
    """The colours of one figure; the side determines the hue of each limb and cap."""

    hue_shift: float
    saturation: float
    value: float
    limbs: dict[str, RGB]
    body: RGB
    eyes: RGB


class _Brush(NamedTuple):
    """Where bars are painted, and what a figure unit is there in pixels."""

    layer: Layer
    unit: float
    light: Light

    def bar(
        self, start: ArrayLike, end: ArrayLike, wide: float, colour: RGB, narrow: float = 1.0
    ) -> None:
        """A bar whose radius is `wide` units at its start, and `narrow` times that at its end."""
        radii = (wide * self.unit, narrow * wide * self.unit)
        capsule(self.layer, start, end, radii, colour, self.light)

    def ball(self, at: ArrayLike, wide: float, colour: RGB) -> None:
        """A ball of radius `wide` units."""
        self.bar(at, at, wide, colour)


def draw_figure(
    rng: Generator,
    joints: NDArray[np.float64],
    unit: float,
    seen_from_front: bool,
    cut: set[str],
    size: int,
    light: Light,
) -> Layer:
    """The figure alone; limbs named in `cut` end before their last joint.

    Args:
        rng: source of all randomness.
        joints: (14, 2) in pixels.
        unit: pixels of one figure unit.
        seen_from_front: else from behind.
        cut: names of joints that are missing.
        size: width and height of the layer.
        light: direction of the light.
    """
    paint, brush = _paint(rng), _Brush(empty(size, size), unit, light)
    xy = {name: joints[index] for name, index in AT.items()}
    limbs = [(side, *bone) for side in SIDES for bone in _BONES]
    behind = {side for side in SIDES if rng.random() < 0.3}  # whose arm is under the body

    def limb(side: str, start: str, end: str, wide: float) -> None:
        first, last = xy[f"{side}_{start}"], xy[f"{side}_{end}"]
        if f"{side}_{end}" in cut:
            last = first + rng.uniform(0.3, 0.55) * (last - first)
            brush.bar(first, last, 0.045, _STEEL)
            last = first + 0.8 * (last - first)
        else:
            brush.bar(first, last, 0.045, _STEEL)
            if end == "wrist":
                _hand(brush, last, last - first)
            elif end == "ankle":
                _foot(brush, last, last - first, paint.limbs[side])
        inner = first + 0.12 * (last - first)
        brush.bar(inner, first + 0.88 * (last - first), wide, paint.limbs[side], 0.8)

    under = [bone for bone in limbs if bone[0] in behind and bone[1] in ("shoulder", "elbow")]
    for bone in under:
        limb(*bone)
    _body(brush, xy, seen_from_front, paint)
    for bone in limbs:
        if bone not in under:
            limb(*bone)
    if "head_top" not in cut:
        _head(brush, xy["neck"], xy["head_top"], seen_from_front, paint)
    for name in SKELETON.keypoints:
        if name not in cut:
            _cap(brush, name, xy, paint)
    return brush.layer


def _paint(rng: Generator) -> Paint:
    """Choose colours; in some figures only the caps differ between left and right."""
    shift, saturation, value = rng.normal(0, 0.01), rng.uniform(0.6, 0.9), rng.uniform(0.75, 1.0)
    uniform = hsv(rng.random(), 0.1, rng.uniform(0.5, 0.95)) if rng.random() < 0.3 else None
    limbs = {
        side: uniform or hsv(middle + shift + rng.normal(0, 0.02), 0.6 * saturation, 0.85 * value)
        for side, middle in (("left", 0.06), ("right", 0.57))
    }
    eyes = hsv(rng.choice([0.13, 0.33, 0.5]), 0.5, 1.0)
    return Paint(shift, saturation, value, limbs, any_colour(rng), eyes)


def _body(
    brush: _Brush, xy: dict[str, NDArray[np.float64]], seen_from_front: bool, paint: Paint
) -> None:
    """A barrel between shoulders and hips, with lamps in front and vents behind."""
    neck, down = xy["neck"], (xy["left_hip"] + xy["right_hip"]) / 2 - xy["neck"]
    across = xy["left_shoulder"] - xy["right_shoulder"]
    across = brush.unit * across / np.linalg.norm(across)
    brush.bar(xy["left_hip"], xy["right_hip"], 0.14, _STEEL)
    brush.bar(xy["left_shoulder"], xy["right_shoulder"], 0.12, _STEEL)
    brush.bar(neck + 0.32 * down, neck + 0.8 * down, 0.36, paint.body, 0.72)
    if seen_from_front:
        brush.ball(neck + 0.45 * down - 0.13 * across, 0.07, paint.eyes)
        brush.ball(neck + 0.45 * down + 0.13 * across, 0.07, _DARK)
        belt = neck + 0.65 * down
        brush.bar(belt - 0.1 * across, belt + 0.1 * across, 0.05, _STEEL)
    else:
        for share in (0.35, 0.47, 0.59):
            vent = neck + share * down
            brush.bar(vent - 0.15 * across, vent + 0.15 * across, 0.03, _DARK)


def _head(
    brush: _Brush,
    neck: NDArray[np.float64],
    top: NDArray[np.float64],
    seen_from_front: bool,
    paint: Paint,
) -> None:
    """A helmet with two eyes, or its back, and an antenna."""
    up = brush.unit * (top - neck) / np.linalg.norm(top - neck)
    across, middle = np.array([-up[1], up[0]]), neck + 0.52 * (top - neck)
    brush.bar(neck, middle, 0.08, _STEEL)
    brush.bar(middle, top, 0.03, _STEEL)
    brush.bar(middle - 0.09 * across, middle + 0.09 * across, 0.19, paint.body)
    if seen_from_front:
        brush.bar(middle - 0.12 * across, middle + 0.12 * across, 0.09, _DARK)
        brush.ball(middle - 0.09 * across, 0.05, paint.eyes)
        brush.ball(middle + 0.09 * across, 0.05, paint.eyes)


def _hand(brush: _Brush, at: NDArray[np.float64], along: NDArray[np.float64]) -> None:
    """Two fingers of a gripper, beyond the last joint."""
    ahead = brush.unit * along / np.linalg.norm(along)
    across = np.array([-ahead[1], ahead[0]])
    for side in (-1, 1):
        knuckle = at + 0.12 * ahead + 0.15 * side * across
        brush.bar(knuckle, at + 0.3 * ahead + 0.08 * side * across, 0.05, _STEEL, 0.7)


def _foot(brush: _Brush, at: NDArray[np.float64], along: NDArray[np.float64], colour: RGB) -> None:
    """A shoe across the last joint."""
    ahead = brush.unit * along / np.linalg.norm(along)
    across, tip = np.array([-ahead[1], ahead[0]]), at + 0.17 * ahead
    brush.bar(tip - 0.12 * across, tip + 0.12 * across, 0.09, colour)


def _cap(brush: _Brush, name: str, xy: dict[str, NDArray[np.float64]], paint: Paint) -> None:
    """The hinge of a joint; its corners turn with the limb."""
    side, _, joint = name.partition("_")
    towards = xy["neck"] if name != "neck" else xy["head_top"]
    if side in SIDES:
        corners, family, vivid, bright, bolt = _CAPS[joint]
        first, span = _FAMILIES[side]
        hue = first + span * family + paint.hue_shift
        if joint in _BEFORE:
            towards = xy[f"{side}_{_BEFORE[joint]}"]
    else:
        corners, hue, vivid, bright, bolt = (
            (0, 0.3, 1, 1, 0.95) if name == "neck" else (3, 0, 0, 1, 0.1)
        )
    way = xy[name] - towards
    turn = math.atan2(way[1], way[0])
    saturation, value = 0.25 + 0.7 * paint.saturation, 0.2 + 0.8 * paint.value
    fill = hsv(hue, vivid * saturation, bright * value)
    brush.ball(xy[name], CAP, _DARK)
    outline, size = _outline(corners, turn)
    plate(brush.layer, xy[name], size * CAP * brush.unit, outline, fill, brush.light)
    brush.ball(xy[name], 0.33 * CAP, (bolt, bolt, bolt))


def _outline(corners: int, turn: float) -> tuple[Outline, float]:
    """The shape of a cap, and its size so that all are about as large."""
    if corners == 0:
        return disc, 0.92
    if corners < 0:
        return star(-corners, turn), 1.05
    return polygon(corners, turn), {3: 0.68, 4: 0.74, 6: 0.86}[corners]
