"""Small objects that many tests need, with every detail optional."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from labelkit.domain.instance import Box, Image, Instance
from labelkit.domain.pose import Pose, human_pose
from labelkit.domain.skeleton import Skeleton, make_skeleton
from labelkit.project.project import Project, create_project


def stick_skeleton() -> Skeleton:
    """Four keypoints: nose and tail on the axis, a left and a right paw."""
    return make_skeleton(
        "stick",
        ["nose", "left_paw", "right_paw", "tail"],
        links=[(0, 1), (0, 2), (0, 3)],
        sigmas=[0.05, 0.1, 0.1, 0.05],
        layout=[(0.5, 0.1), (0.2, 0.4), (0.8, 0.4), (0.5, 0.9)],
    )


def make_image(path: str = "a.png", width: int = 100, height: int = 80) -> Image:
    """An image that exists in no folder; its content hash comes from its path."""
    return Image(path, hashlib.sha256(path.encode()).hexdigest(), width, height)


def make_instance(
    image: Image | str = "a.png",
    ordinal: int = 0,
    box: Sequence[float] = (10.0, 20.0, 40.0, 30.0),
    box_source: str = "given",
    area: float | None = None,
) -> Instance:
    """An instance; its area is the box's unless given."""
    image = make_image(image) if isinstance(image, str) else image
    box = Box(*map(float, box))
    return Instance(image, ordinal, box, box_source, box.w * box.h if area is None else area)


def make_pose(
    xy: Sequence[Sequence[float]] = ((1.5, 2.25), (3.0, 4.0), (5.0, 6.0), (7.0, 8.0)),
    visibility: Sequence[int] | None = None,
) -> Pose:
    """A human pose of the stick skeleton, by default all visible."""
    return human_pose(xy, [2] * len(xy) if visibility is None else visibility)


def write_picture(path: Path, size_wh: tuple[int, int] = (12, 8), seed: int = 0) -> Path:
    """A small noise picture, different for each seed. Makes the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(
        0, 256, (size_wh[1], size_wh[0], 3), dtype=np.uint8
    )
    Picture.fromarray(pixels).save(path)
    return path


def make_project(folder: Path, pictures: int = 2) -> Project:
    """A project in folder/frames-labelkit with folder/frames/0.png, 1.png, ..."""
    for number in range(pictures):
        write_picture(folder / "frames" / f"{number}.png", seed=number)
    return create_project(folder / "frames-labelkit", folder / "frames", stick_skeleton(), seed=7)
