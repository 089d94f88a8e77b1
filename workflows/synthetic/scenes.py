"""Generated images with many objects: toy robots that overlap, and mosaics of labelled people.

Both are written in COCO's format with the Crowd Index of each image (Li et al., "CrowdPose",
CVPR 2019, section 3.2), so that they are scored as COCO and CrowdPose are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image as Pictures

from labelkit.domain.geometry import apply_affine
from labelkit.domain.instance import Box
from labelkit.domain.pose import ABSENT, OCCLUDED, VISIBLE, Pose, human_pose
from labelkit.domain.skeleton import Skeleton
from labelkit.metrics.official.crowdpose import crowd_index
from labelkit.workflows.synthetic.figure_drawing import CAP, SKELETON, draw_figure
from labelkit.workflows.synthetic.figures import background, bend, develop, light_from
from labelkit.workflows.synthetic.solids import cast_shadow, on_top
from labelkit.workflows.synthetic.textures import ground

#: Long side of an object as a share of the picture's, where there is one and where there are many.
LARGEST, SMALLEST = (0.4, 0.6), (0.16, 0.3)
#: Share of the objects that lie beside another one, so that they overlap or touch.
NEAR_ANOTHER = 0.5
#: Least distance between the middles of two objects, as a share of half the long side.
APART = 0.8
#: Opacity of what lies above from which a keypoint is occluded.
COVERED = 0.5


class Member(NamedTuple):
    """One object of a scene.

    Attributes:
        pose: in image pixels.
        box: around the object, clipped to the image.
        area: square pixels of the object inside the image, covered parts included.
    """

    pose: Pose
    box: Box
    area: float


class Scene(NamedTuple):
    """One picture and its objects, the lowest first."""

    image: Pictures.Image
    members: tuple[Member, ...]


def robot_scene(rng: Generator, count: int, size: int = 192) -> Scene:
    """Draw robots that lie on and beside each other; the same generator state, the same scene.

    A keypoint under a later robot is occluded, one outside the picture absent.

    Args:
        rng: source of all randomness.
        count: of robots.
        size: width and height of the picture in pixels.
    """
    placed: list[tuple[NDArray[np.float64], float, bool]] = []
    for _ in range(count):
        joints = bend(rng)
        front = bool(rng.random() < 0.5)
        angle = rng.uniform(0, 2 * math.pi)
        turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        joints = (joints if front else joints * (-1.0, 1.0)) @ turn
        unit = size * _share(rng, count) / float(np.ptp(joints, axis=0).max())
        joints = unit * (joints - joints.mean(axis=0))
        placed.append(
            (joints + _middle(rng, joints, [one for one, *_ in placed], size), unit, front)
        )
    light = light_from(rng)
    picture = background(rng, size, max(unit for _, unit, _ in placed), light)
    layers = []
    for joints, unit, front in placed:
        layer = draw_figure(rng, joints, unit, front, set(), size, light)
        cast_shadow(picture, layer, light, 0.15 * unit)
        on_top(picture, layer)
        layers.append(layer[..., 3])
    members = []
    for index, (joints, unit, _) in enumerate(placed):
        visibility = _visibility(joints, _above(size, layers[index + 1 :]), OCCLUDED)
        area = float(layers[index].sum(dtype=np.float64))
        box = _box(joints, 1.3 * CAP * unit, (size, size))
        members.append(Member(human_pose(joints, visibility), box, area))
    return Scene(develop(rng, picture), tuple(m for m in members if m.pose.present.any()))


def mosaic(
    rng: Generator,
    people: Sequence[tuple[Pictures.Image, Pose]],
    size: int = 192,
) -> Scene:
    """Lay cut-out pictures of one person each on a ground, turned and scaled, with overlap.

    What lies under a later picture cannot be seen and counts as absent.

    Args:
        rng: source of all randomness.
        people: pictures and the poses in them, in their pixels.
        size: width and height of the mosaic in pixels.
    """
    canvas = Pictures.fromarray((255 * ground(rng, size)).clip(0, 255).astype(np.uint8))
    placed: list[tuple[NDArray[np.float64], NDArray[Any], Pose]] = []
    for picture, pose in people:
        scale = size * _share(rng, len(people)) / max(picture.size)
        angle = rng.normal(0, 0.2)
        cos, sin = scale * math.cos(angle), scale * math.sin(angle)
        linear = np.array([[cos, -sin], [sin, cos]])
        corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * picture.size
        frame = (corners - corners.mean(axis=0)) @ linear.T
        shift = _middle(rng, frame, [one for one, *_ in placed], size) - linear @ corners.mean(
            axis=0
        )
        back = np.linalg.inv(linear)
        inverse = np.column_stack([back, -back @ shift])
        small = picture.transform(
            (size, size),
            Pictures.Transform.AFFINE,
            tuple(inverse.ravel().tolist()),
            Pictures.Resampling.BICUBIC,
        )
        mask = Pictures.new("L", picture.size, 255).transform(
            (size, size), Pictures.Transform.AFFINE, tuple(inverse.ravel().tolist())
        )
        canvas.paste(small, mask=mask)
        xy = apply_affine(np.column_stack([linear, shift]), pose.xy)
        placed.append((xy, np.asarray(mask, np.float32) / 255, pose))
    members = []
    for index, (xy, _, pose) in enumerate(placed):
        above = _above(size, [mask for _, mask, _ in placed[index + 1 :]])
        visibility = np.minimum(pose.visibility, _visibility(xy, above, ABSENT))
        laid = human_pose(xy, visibility)
        if laid.present.any():
            shown = xy[pose.present]
            box = _box(shown, 0.1 * float(np.ptp(shown, axis=0).max()), (size, size))
            members.append(Member(laid, box, 0.53 * box.w * box.h))
    return Scene(canvas, tuple(members))


def write_scenes(
    folder: Path,
    count: int,
    seed: int,
    scene: Callable[[Generator], Scene],
    skeleton: Skeleton = SKELETON,
) -> Path:
    """Write scenes to folder/images and their truth to folder/keypoints.json, in COCO's format.

    Scene i depends on (seed, i) only: a larger set begins with the smaller one.

    Args:
        folder: made if it does not exist.
        count: how many pictures.
        seed: of the scenes.
        scene: draws one.
        skeleton: of its objects.

    Returns:
        The path of keypoints.json.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(count):
        drawn = scene(np.random.default_rng((seed, index)))
        name = f"{index:06d}.jpg"
        drawn.image.save(folder / "images" / name, quality=92)
        width, height = drawn.image.size
        row = {"id": index, "file_name": name, "width": width, "height": height}
        poses = [np.column_stack([m.pose.xy, m.pose.visibility]) for m in drawn.members]
        boxes = np.array([m.box for m in drawn.members], np.float64).reshape(-1, 4)
        keypoints = np.array(poses, np.float64).reshape(-1, len(skeleton), 3)
        crowding = crowd_index(keypoints, boxes)
        rows.append({**row, "crowdIndex": crowding})
        for member, points in zip(drawn.members, poses, strict=True):
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": index,
                    "category_id": 1,
                    "keypoints": [
                        int(v) if i % 3 == 2 else v for i, v in enumerate(points.ravel().tolist())
                    ],
                    "num_keypoints": int(member.pose.present.sum()),
                    "bbox": list(member.box),
                    "area": member.area,
                    "iscrowd": 0,
                }
            )
    category = {
        "id": 1,
        "name": skeleton.name,
        "keypoints": list(skeleton.keypoints),
        "skeleton": [[a + 1, b + 1] for a, b in skeleton.links],
    }
    document = {"images": rows, "annotations": annotations, "categories": [category]}
    path = folder / "keypoints.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def _share(rng: Generator, count: int) -> float:
    """Long side over the picture's: the more objects, the smaller each."""
    crowd = min(1.0, (count - 1) / 8)
    low, high = ((1 - crowd) * a + crowd * b for a, b in zip(LARGEST, SMALLEST, strict=True))
    return float(rng.uniform(low, high))


def _middle(
    rng: Generator, frame: NDArray[np.float64], placed: Sequence[NDArray[np.float64]], size: int
) -> NDArray[np.float64]:
    """Where the middle of an object lies: beside another one, or anywhere.

    Of some places, the first that is `APART` from the middles of all others, else the farthest.
    """
    half = np.ptp(frame, axis=0) / 2
    low, high = np.minimum(0.9 * half, size / 2), np.maximum(size - 0.9 * half, size / 2)
    others = np.array([one.mean(axis=0) for one in placed]).reshape(-1, 2)
    best, farthest = rng.uniform(low, high), -1.0
    for _ in range(20):
        place = rng.uniform(low, high)
        if len(others) and rng.random() < NEAR_ANOTHER:
            way = rng.uniform(0, 2 * math.pi)
            reach = rng.uniform(APART, 1.8) * half.max()
            place = others[int(rng.integers(len(others)))] + reach * np.array(
                [math.cos(way), math.sin(way)]
            )
        if not ((place >= low) & (place <= high)).all():
            continue
        apart = float(np.linalg.norm(others - place, axis=1).min(initial=math.inf))
        if apart > farthest:
            best, farthest = place, apart
        if apart >= APART * half.max():
            break
    return best


def _above(size: int, layers: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """(size, size) the largest opacity of some layers, 0 where there are none."""
    nothing = np.zeros((size, size), np.float32)
    return np.max([nothing, *layers], axis=0)


def _visibility(xy: NDArray[np.float64], above: NDArray[Any], covered: int) -> NDArray[np.int64]:
    """(K,) of points under a layer of some opacity; absent outside of it."""
    height, width = above.shape
    inside = ((xy >= 1) & (xy <= (width - 1, height - 1))).all(axis=1)
    column, row = np.clip(xy.astype(int), 0, (width - 1, height - 1)).T
    seen = np.where(above[row, column] >= COVERED, covered, VISIBLE)
    return np.where(inside, seen, ABSENT)


def _box(xy: NDArray[np.float64], margin: float, size_wh: tuple[int, int]) -> Box:
    """Around points, with a margin in pixels, clipped to the picture."""
    left, top = np.clip(xy.min(axis=0) - margin, 0, size_wh).tolist()
    right, bottom = np.clip(xy.max(axis=0) + margin, 0, size_wh).tolist()
    return Box(left, top, right - left, bottom - top)
