"""A generated data set: toy robots whose keypoints are known exactly.

Each figure is one robot of the lsp14 skeleton that lies on a floor, a lawn or a desk. It is rotated
by any angle, bent at every joint, drawn at any place and scale, from the front or from behind, so
the average pose is a poor prediction. Left limbs have warm colours and right ones cold colours,
under a colour cast; each joint has a cap of a shape of its own. Each keypoint is hidden
independently, by a thing that lies on it or because the limb ends before it; then it is absent from
the truth.

Colour marks the sides here, not the arrangement: a mirrored figure is again a valid figure with
the same sides. Training that mirrors these images must not swap left and right.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image as Pictures

from labelkit.domain.instance import Box
from labelkit.domain.pose import ABSENT, VISIBLE, Pose, human_pose
from labelkit.workflows.synthetic.figure_drawing import (
    AT,
    CAP,
    SIDES,
    SKELETON,
    draw_figure,
)
from labelkit.workflows.synthetic.solids import Layer, Light, cast_shadow, on_top
from labelkit.workflows.synthetic.textures import ground
from labelkit.workflows.synthetic.things import lay_stick, lay_thing

#: Probability that a keypoint is hidden, independently of the others.
HIDDEN_SHARE = 0.2

#: Standard deviation of the logarithm of the light's red, green and blue: its colour cast.
LIGHT = 0.1

#: Joints that a limb may end before; a tuple, because their order consumes random numbers.
_ENDS = ("left_wrist", "right_wrist", "left_ankle", "right_ankle", "head_top")


class Figure(NamedTuple):
    """One generated picture and its truth.

    Attributes:
        image: RGB, square.
        pose: in image pixels; hidden and cut-off keypoints are absent.
        box: around the whole figure, including hidden parts, clipped to the image.
        area: square pixels that the figure itself covers inside the image.
    """

    image: Pictures.Image
    pose: Pose
    box: Box
    area: float


def figure(rng: Generator, size: int = 160) -> Figure:
    """Draw one figure; the same generator state gives the same figure.

    Args:
        rng: source of all randomness.
        size: width and height of the picture in pixels.
    """
    joints, unit, seen_from_front = _place(bend(rng), rng, size)
    hidden = rng.random(len(joints)) < HIDDEN_SHARE
    cut = {name for name in _ENDS if hidden[AT[name]] and rng.random() < 0.5}
    light = light_from(rng)
    layer = draw_figure(rng, joints, unit, seen_from_front, cut, size, light)
    picture = background(rng, size, unit, light)
    cast_shadow(picture, layer, light, 0.15 * unit)
    on_top(picture, layer)
    covered = _cover(rng, picture, joints, unit, hidden, cut, light)
    inside = ((joints >= 1) & (joints <= size - 1)).all(axis=1)
    present = inside & ~hidden & ~covered & ~_under_a_cap(joints, unit)
    return Figure(
        develop(rng, picture),
        human_pose(joints, np.where(present, VISIBLE, ABSENT)),
        _box(rng, joints, unit, size),
        float(layer[..., 3].sum(dtype=np.float64)),
    )


def generate(
    folder: Path,
    count: int,
    seed: int,
    size: int = 160,
    on_progress: Callable[[int], None] = lambda done: None,
) -> Path:
    """Write `count` figures to folder/images and their truth to folder/keypoints.json.

    Figure i depends on (seed, i) only: a larger set begins with the smaller one.

    Args:
        folder: made if it does not exist.
        count: how many pictures, one figure each.
        seed: of the figures.
        size: width and height of the pictures in pixels.
        on_progress: called after each picture with their number.

    Returns:
        The path of keypoints.json, in COCO's format.
    """
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    rows, annotations = [], []
    for index in range(count):
        drawn = figure(np.random.default_rng((seed, index)), size)
        name = f"{index:06d}.jpg"
        drawn.image.save(images / name, quality=92)
        rows.append({"id": index, "file_name": name, "width": size, "height": size})
        annotations.append(_annotation(index, drawn))
        on_progress(index + 1)
    document = {
        "info": {"description": f"Generated figures, seed {seed}"},
        "images": rows,
        "annotations": annotations,
        "categories": [
            {
                "id": 1,
                "name": "figure",
                "keypoints": list(SKELETON.keypoints),
                "skeleton": [[a + 1, b + 1] for a, b in SKELETON.links],
            }
        ],
    }
    path = folder / "keypoints.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def _annotation(index: int, drawn: Figure) -> dict[str, object]:
    triples = np.column_stack([drawn.pose.xy, drawn.pose.visibility])
    return {
        "id": index,
        "image_id": index,
        "category_id": 1,
        "keypoints": [int(v) if i % 3 == 2 else v for i, v in enumerate(triples.ravel().tolist())],
        "num_keypoints": int(drawn.pose.present.sum()),
        "bbox": list(drawn.box),
        "area": drawn.area,
        "iscrowd": 0,
    }


def bend(rng: Generator) -> NDArray[np.float64]:
    """(14, 2) joints of a figure seen from the front, head up, hips at (0, 0), torso about 1.

    Bones are foreshortened at random. Poses whose joints lie on each other are drawn again.
    """
    for _ in range(30):
        xy = np.zeros((len(SKELETON), 2))
        torso, width = rng.uniform(0.85, 1.1), rng.uniform(0.75, 1.1)
        xy[AT["neck"]] = neck = np.array([0.0, -torso])
        xy[AT["head_top"]] = neck + _bone(rng.uniform(0.5, 0.65), math.pi + rng.normal(0, 0.35), 1)
        for name, side in SIDES.items():
            shoulder = neck + np.array([side * 0.46 * width, 0.1])
            hip = np.array([side * 0.3 * width, 0.0])
            lift, bend = rng.uniform(-0.5, 3.2), rng.uniform(-2.3, 2.3)
            elbow = shoulder + _bone(rng.uniform(0.5, 0.8), lift, side)
            spread, knee_bend = rng.uniform(-0.4, 2.0), rng.uniform(-2.1, 2.1)
            knee = hip + _bone(rng.uniform(0.6, 1.0), spread, side)
            xy[AT[f"{name}_shoulder"]], xy[AT[f"{name}_hip"]] = shoulder, hip
            xy[AT[f"{name}_elbow"]], xy[AT[f"{name}_knee"]] = elbow, knee
            wrist = elbow + _bone(rng.uniform(0.45, 0.75), lift + bend, side)
            xy[AT[f"{name}_wrist"]] = wrist
            ankle = knee + _bone(rng.uniform(0.6, 1.0), spread + knee_bend, side)
            xy[AT[f"{name}_ankle"]] = ankle
        apart = np.linalg.norm(xy[:, None] - xy[None], axis=-1) + 9 * np.eye(len(xy))
        if apart.min() > 1.5 * CAP:
            break
    return xy


def _bone(length: float, angle: float, side: float) -> NDArray[np.float64]:
    """A bone's vector: angle 0 hangs down, pi / 2 points away from the body's middle."""
    return length * np.array([side * math.sin(angle), math.cos(angle)])


def _place(
    joints: NDArray[np.float64], rng: Generator, size: int
) -> tuple[NDArray[np.float64], float, bool]:
    """Rotate, mirror, scale and shift a figure into the picture.

    Returns:
        joints: (14, 2) in image pixels.
        unit: pixels of one figure unit.
        seen_from_front: else from behind, with left and right swapped.
    """
    seen_from_front = bool(rng.random() < 0.5)
    angle = rng.uniform(0, 2 * math.pi)
    cos, sin = math.cos(angle), math.sin(angle)
    if not seen_from_front:
        joints = joints * (-1.0, 1.0)
    joints = joints @ np.array([[cos, sin], [-sin, cos]])
    low, extent = joints.min(axis=0), np.ptp(joints, axis=0)
    unit = size * rng.uniform(0.5, 0.88) / extent.max()
    room = size - unit * extent
    edge = 0.06 * size if rng.random() < 0.8 else -0.12 * size  # negative: may be cut off
    start = edge + rng.random(2) * (room - 2 * edge)
    return start + unit * (joints - low), float(unit), seen_from_front


def _box(rng: Generator, joints: NDArray[np.float64], unit: float, size: int) -> Box:
    """The figure's box with a random margin on each side, clipped to the picture."""
    margin = unit * rng.uniform(1.1 * CAP, 1.9 * CAP, 4)
    left, top = np.maximum(joints.min(axis=0) - margin[:2], 0)
    right, bottom = np.minimum(joints.max(axis=0) + margin[2:], size)
    return Box(float(left), float(top), float(right - left), float(bottom - top))


def _under_a_cap(joints: NDArray[np.float64], unit: float) -> NDArray[np.bool_]:
    """(14,) True where a cap drawn later covers the joint's centre."""
    apart = np.linalg.norm(joints[:, None] - joints[None], axis=-1)
    return np.asarray(np.triu(apart < 0.9 * CAP * unit, k=1).any(axis=1))


def light_from(rng: Generator) -> Light:
    """The light comes from any side, rather high."""
    azimuth, height = rng.uniform(0, 2 * math.pi), rng.uniform(0.6, 1.1)
    flat = math.cos(height)
    return flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(height)


def background(rng: Generator, size: int, unit: float, light: Light) -> Layer:
    """A ground with sticks and other things on it."""
    picture = np.ones((size, size, 4), np.float32)
    picture[..., :3] = ground(rng, size)
    for _ in range(int(rng.integers(0, 3))):
        start, end = rng.uniform(0, size, (2, 2))
        end = start + (end - start) * unit / max(float(np.linalg.norm(end - start)), 1.0)
        lay_stick(rng, picture, start, end, rng.uniform(0.05, 0.1) * unit, light)
    for _ in range(int(rng.integers(0, 4))):
        lay_thing(rng, picture, rng.uniform(0, size, 2), rng.uniform(1.1, 2.0) * CAP * unit, light)
    return picture


def _cover(
    rng: Generator,
    picture: Layer,
    joints: NDArray[np.float64],
    unit: float,
    hidden: NDArray[np.bool_],
    cut: set[str],
    light: Light,
) -> NDArray[np.bool_]:
    """Cover every hidden joint whose limb does not end early.

    Returns:
        (14,) True where a joint's centre is under a thing, its own or a neighbour's.
    """
    covered = np.zeros(len(joints), dtype=bool)
    for index in np.flatnonzero(hidden):
        if SKELETON.keypoints[index] in cut:
            continue
        centre = joints[index] + rng.uniform(-0.1, 0.1, 2) * CAP * unit
        radius = rng.uniform(1.25, 1.5) * CAP * unit
        lay_thing(rng, picture, centre, radius, light)
        covered |= np.linalg.norm(joints - centre, axis=1) < 1.2 * radius
    return covered


def develop(rng: Generator, picture: Layer) -> Pictures.Image:
    """Effects of light and camera: colour cast, exposure, a darker side and grain."""
    gain = np.exp(rng.normal(0, LIGHT, 3)) * rng.uniform(0.8, 1.15)
    slope = np.linspace(1, rng.uniform(0.75, 1.0), len(picture), dtype=np.float32)
    slope = slope[:, None, None] if rng.random() < 0.5 else slope[None, ::-1, None]
    pixels = 255 * picture[..., :3] * gain.astype(np.float32) * slope
    grain = rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(rng.uniform(0, 6))
    return Pictures.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))
