"""YOLO-pose export: one text file for each image, and the data.yaml that goes with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import yaml

from labelkit.domain.instance import Instance
from labelkit.domain.pose import Pose
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import FormatError

#: First line of data.yaml.
HEADING = "# Written by labelkit export."


class YoloExport(NamedTuple):
    """Contents of the files.

    Attributes:
        labels: text by path below the export folder, for example "labels/a/0001.txt".
        data_yaml: content of data.yaml; it expects the images below "images/".
    """

    labels: dict[str, str]
    data_yaml: str


def write_yolo(items: Sequence[tuple[Instance, Pose]], skeleton: Skeleton) -> YoloExport:
    """YOLO-pose labels: class, box centre and size, then x y v of every keypoint.

    Coordinates are shares (0..1) of the image's width and height, with all their digits.

    Args:
        items: instances with their poses, in image pixels.
        skeleton: of all poses.

    Raises:
        FormatError: if two images differ only in their suffix and would share a label file.
    """
    lines: dict[str, list[str]] = {}
    images: dict[str, str] = {}
    for instance, pose in items:
        image, box = instance.image, instance.box
        path = "labels/" + PurePosixPath(image.path).with_suffix(".txt").as_posix()
        if images.setdefault(path, image.path) != image.path:
            raise FormatError(
                f"{images[path]} and {image.path} would share the label file {path}.",
                "Rename one of the images.",
            )
        shares = [
            (box.x + box.w / 2) / image.width,
            (box.y + box.h / 2) / image.height,
            box.w / image.width,
            box.h / image.height,
        ]
        cells = ["0", *(repr(float(share)) for share in shares)]
        for (x, y), v in zip(pose.xy.tolist(), pose.visibility.tolist(), strict=True):
            cells += [repr(x / image.width), repr(y / image.height), str(v)]
        lines.setdefault(path, []).append(" ".join(cells))
    data = {
        "path": ".",
        "train": "images",
        "val": "images",
        "kpt_shape": [len(skeleton), 3],
        "flip_idx": list(skeleton.flip_indices),
        "names": {0: skeleton.name},
        "kpt_names": {0: list(skeleton.keypoints)},
    }
    return YoloExport(
        {path: "\n".join(rows) + "\n" for path, rows in lines.items()},
        f"{HEADING}\n{yaml.safe_dump(data, sort_keys=False, allow_unicode=True)}",
    )
