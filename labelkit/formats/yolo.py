"""YOLO-pose export: images, one text file for each, and the data.yaml that goes with them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import PurePosixPath
from typing import Any

import yaml

from labelkit.domain.instance import Instance, category_names
from labelkit.domain.pose import ABSENT, Pose
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import FormatError
from labelkit.formats.folder_export import FolderExport

#: First line of data.yaml.
HEADING = "# Written by labelkit export."

#: The file that Ultralytics opens.
SETTINGS = "data.yaml"


def write_yolo(
    items: Sequence[tuple[Instance, Pose]], skeleton: Skeleton, val: Collection[str] = ()
) -> FolderExport:
    """A YOLO-pose data set that Ultralytics opens wherever its folder lies.

    A line of a label file is class, box centre and size, then x y v of every keypoint: shares
    (0..1) of the image's width and height, with all their digits. Locations outside the image,
    which Ultralytics refuses with the whole image, move to its border. `train.txt` and `val.txt`
    list the images, because paths in them start from the folder; without images for one of them,
    it is the other. `flip_idx` is left out where the skeleton does not tell left from right, so
    that no mirrored image is trained on.

    Args:
        items: instances with their poses, in image pixels.
        skeleton: of all poses.
        val: ids of the images to validate on; the others are trained on.

    Raises:
        FormatError: if two images differ only in their suffix and would share a label file.
    """
    names = category_names((instance for instance, _ in items), skeleton.name)
    classes = list(dict.fromkeys(sorted(names.values())))
    lines: dict[str, list[str]] = {}
    pictures: dict[str, str] = {}
    written: dict[str, str] = {}
    splits: dict[str, list[str]] = {"train": [], "val": []}
    for instance, pose in items:
        image = instance.image
        place = f"images/{image.path}"
        path = _label_path(place)
        if written.setdefault(path, image.path) != image.path:
            raise FormatError(
                f"{written[path]} and {image.path} would share the label file {path}.",
                "Rename one of the images.",
            )
        if place not in pictures:
            pictures[place] = image.path
            splits["val" if image.id in val else "train"].append(f"./{place}")
        number = classes.index(names[instance.category])
        lines.setdefault(path, []).append(_line(number, instance, pose))
    texts = {path: "\n".join(rows) + "\n" for path, rows in lines.items()}
    for split, other in (("train", "val"), ("val", "train")):
        texts[f"{split}.txt"] = "\n".join(splits[split] or splits[other]) + "\n"
    data: dict[str, Any] = {
        "train": "train.txt",
        "val": "val.txt",
        "kpt_shape": [len(skeleton), 3],
        "names": dict(enumerate(classes)),
        "kpt_names": {number: list(skeleton.keypoints) for number in range(len(classes))},
    }
    if not skeleton.unpaired_sides:
        data["flip_idx"] = list(skeleton.flip_indices)
    settings = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    return FolderExport({SETTINGS: f"{HEADING}\n{settings}", **texts}, pictures)


def _label_path(place: str) -> str:
    """Where Ultralytics looks for an image's labels: the last folder `images` becomes `labels`."""
    before, _, after = f"/{place}".rpartition("/images/")
    return PurePosixPath(f"{before}/labels/{after}").with_suffix(".txt").as_posix().lstrip("/")


def _line(number: int, instance: Instance, pose: Pose) -> str:
    image, box = instance.image, instance.box
    shares = [
        (box.x + box.w / 2) / image.width,
        (box.y + box.h / 2) / image.height,
        box.w / image.width,
        box.h / image.height,
    ]
    cells = [str(number), *(repr(float(share)) for share in shares)]
    for (x, y), v in zip(pose.xy.tolist(), pose.visibility.tolist(), strict=True):
        for share in (x / image.width, y / image.height):
            cells.append(repr(min(max(share, 0.0), 1.0)))
        cells.append(str(max(v, ABSENT)))  # unknown is not labelled, as in COCO
    return " ".join(cells)
