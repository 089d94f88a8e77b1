"""How a generated figure looks: limbs, a head, and a badge on each joint."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image as Pictures
from PIL import ImageDraw

from labelkit.domain.skeleton import load_skeleton
from labelkit.workflows.synthetic.textures import RGB, any_colour, hsv

SKELETON = load_skeleton("lsp14")

#: Row of each joint in every (14, 2) array.
AT = {name: index for index, name in enumerate(SKELETON.keypoints)}

#: Direction along x of each side of a figure seen from the front; x grows to the right.
SIDES = {"left": 1.0, "right": -1.0}

#: Radius of a joint's badge; the figure's torso is about 1 long.
BADGE = 0.26

#: Figures are drawn this much larger and then reduced, for smooth edges.
OVERSAMPLE = 2

_AROUND_TORSO = (("left", "shoulder"), ("right", "shoulder"), ("right", "hip"), ("left", "hip"))
#: Start, end and thickness of the bones of one side.
_BONES = (
    ("shoulder", "elbow", 0.2),
    ("elbow", "wrist", 0.16),
    ("hip", "knee", 0.26),
    ("knee", "ankle", 0.2),
)

#: Per joint: corners of the badge, hue inside its side's family (0..1), inner badge's darkness.
_BADGES = {
    "shoulder": (24, 0.0, 1.0),
    "hip": (3, 0.2, 0.0),
    "elbow": (4, 0.4, 1.0),
    "knee": (6, 0.6, 0.0),
    "wrist": (-5, 0.8, 1.0),
    "ankle": (-4, 1.0, 0.0),
}


class Outfit(NamedTuple):
    """The colours of one figure; the side determines the hue of each."""

    hue_shift: float
    saturation: float
    value: float
    limbs: dict[str, RGB]
    torso: RGB
    skin: RGB
    outline: RGB


def dress(rng: Generator) -> Outfit:
    """Choose colours; in some figures only the badges differ between left and right."""
    shift, saturation, value = rng.normal(0, 0.012), rng.uniform(0.6, 1.0), rng.uniform(0.6, 1.0)
    uniform = any_colour(rng) if rng.random() < 0.3 else None
    limbs = {
        side: uniform or hsv(middle + shift + rng.normal(0, 0.03), 0.5 * saturation, 0.7 * value)
        for side, middle in (("left", 0.06), ("right", 0.58))
    }
    skin = hsv(rng.uniform(0.04, 0.1), rng.uniform(0.25, 0.6), rng.uniform(0.4, 1.0))
    outline = hsv(rng.random(), 0.3, rng.uniform(0.0, 0.3))
    return Outfit(shift, saturation, value, limbs, any_colour(rng), skin, outline)


def draw_figure(
    rng: Generator,
    joints: NDArray[np.float64],
    unit: float,
    seen_from_front: bool,
    cut: set[str],
    size: int,
) -> Pictures.Image:
    """(size, size) RGBA: the figure alone; limbs named in `cut` end before their last joint."""
    outfit = dress(rng)
    layer = Pictures.new("RGBA", (size * OVERSAMPLE, size * OVERSAMPLE), (*outfit.outline, 0))
    draw = ImageDraw.Draw(layer)
    xy = {name: joints[index] * OVERSAMPLE for name, index in AT.items()}
    unit = unit * OVERSAMPLE
    corners = [xy[f"{a}_{b}"] for a, b in _AROUND_TORSO]
    draw.polygon([tuple(p) for p in corners], fill=outfit.torso)
    limb(draw, xy["left_hip"], xy["right_hip"], 0.36 * unit, outfit.torso, outfit.outline)
    limb(draw, xy["left_shoulder"], xy["right_shoulder"], 0.3 * unit, outfit.torso, outfit.torso)
    limbs = [(side, *bone) for side in SIDES for bone in _BONES]
    for at in rng.permutation(len(limbs)):
        side, start, end, width = limbs[at]
        first, last = xy[f"{side}_{start}"], xy[f"{side}_{end}"]
        if f"{side}_{end}" in cut:
            last = first + rng.uniform(0.3, 0.55) * (last - first)
        limb(draw, first, last, width * unit, outfit.limbs[side], outfit.outline)
    if "head_top" not in cut:
        _head(draw, xy["neck"], xy["head_top"], unit, outfit, seen_from_front)
    for name in SKELETON.keypoints:
        if name not in cut:
            _badge(draw, name, xy, unit, outfit)
    return layer.reduce(OVERSAMPLE)


def limb(
    draw: ImageDraw.ImageDraw,
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    width: float,
    fill: RGB,
    outline: RGB,
) -> None:
    """A thick line with round ends and a dark rim."""
    for colour, thick in ((outline, width), (fill, 0.75 * width)):
        draw.line([tuple(start), tuple(end)], fill=colour, width=max(1, round(thick)))
        for x, y in (start, end):
            r = thick / 2
            draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)


def _head(
    draw: ImageDraw.ImageDraw,
    neck: NDArray[np.float64],
    top: NDArray[np.float64],
    unit: float,
    outfit: Outfit,
    seen_from_front: bool,
) -> None:
    """A face with eyes, or the back of a head."""
    limb(draw, neck, (neck + top) / 2, 0.2 * unit, outfit.skin, outfit.outline)
    middle, up = neck + 0.62 * (top - neck), (top - neck) / np.linalg.norm(top - neck)
    fill = outfit.skin if seen_from_front else outfit.outline
    draw.ellipse((*(middle - 0.21 * unit), *(middle + 0.21 * unit)), fill=fill, outline=(0, 0, 0))
    if seen_from_front:
        across = np.array([-up[1], up[0]])
        for side in (-1, 1):
            eye = middle + unit * (0.08 * side * across + 0.03 * up)
            draw.ellipse((*(eye - 0.035 * unit), *(eye + 0.035 * unit)), fill=(0, 0, 0))


def _badge(
    draw: ImageDraw.ImageDraw,
    name: str,
    xy: dict[str, NDArray[np.float64]],
    unit: float,
    outfit: Outfit,
) -> None:
    """The mark on a joint; its corners rotate with the limb."""
    side, _, joint = name.partition("_")
    towards = xy["neck"] if name != "neck" else xy["head_top"]
    if side in SIDES:
        corners, family, inner = _BADGES[joint]
        hue = (-0.12 if side == "left" else 0.38) + 0.36 * family + outfit.hue_shift
        chain = {"elbow": "shoulder", "wrist": "elbow", "knee": "hip", "ankle": "knee"}
        if joint in chain:
            towards = xy[f"{side}_{chain[joint]}"]
    else:
        corners, hue, inner = (24, 0.3, 0.2) if name == "neck" else (3, 0.85, 1.0)
    fill = hsv(hue, 0.25 + 0.75 * outfit.saturation, 0.3 + 0.7 * outfit.value)
    way = xy[name] - towards
    angle = math.atan2(way[1], way[0])
    rim = round(255 * (1 - inner))
    draw.polygon(star(xy[name], BADGE * unit, corners, angle), fill=fill, outline=(0, 0, 0))
    draw.polygon(star(xy[name], 0.5 * BADGE * unit, corners, angle), fill=(rim, rim, rim))


def star(
    centre: NDArray[np.float64], radius: float, corners: int, angle: float
) -> list[tuple[float, float]]:
    """Corners of a regular polygon, or of a star where `corners` is negative."""
    count = corners if corners > 0 else -2 * corners
    turns = angle + np.arange(count) * (2 * math.pi / count)
    radii = np.full(count, 1.1 * radius)
    if corners < 0:
        radii[1::2] *= 0.5
    points = centre + radii[:, None] * np.column_stack([np.cos(turns), np.sin(turns)])
    return [tuple(point) for point in points.tolist()]


def patch(
    rng: Generator,
    image: Pictures.Image,
    cloth: Pictures.Image,
    centre: NDArray[np.float64],
    radius: float,
) -> None:
    """Paste a disc, polygon or star of `cloth` that covers `radius` around `centre`."""
    half = math.ceil(1.8 * radius)
    mask = Pictures.new("L", (4 * half, 4 * half), 0)
    corner = np.floor(centre).astype(int) - half
    middle = 2.0 * (centre - corner)
    corners = int(rng.choice([24, 24, 4, 5, 6, 8, -7]))
    reach = 2.0 * radius * (1.4 if corners in (4, -7) else 1.15)
    outline = star(middle, reach / 1.1, corners, rng.uniform(0, 2 * math.pi))
    ImageDraw.Draw(mask).polygon(outline, fill=255)
    x, y = (int(v) for v in rng.integers(0, max(1, cloth.width - 2 * half), 2))
    image.paste(
        cloth.crop((x, y, x + 2 * half, y + 2 * half)),
        (int(corner[0]), int(corner[1])),
        mask.reduce(2),
    )
