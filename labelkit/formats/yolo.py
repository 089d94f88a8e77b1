"""YOLO-pose data sets: images, one text file for each, and the data.yaml that goes with them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import yaml

from labelkit.domain.annotation import Annotation
from labelkit.domain.instance import Box, Instance, category_names
from labelkit.domain.pose import ABSENT, OCCLUDED, VISIBLE, Pose, human_pose
from labelkit.domain.sides import are_one_sided
from labelkit.domain.skeleton import Skeleton, make_skeleton
from labelkit.domain.text import counted
from labelkit.errors import FormatError, SkeletonError
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
    it is the other. `flip_idx` is left out where the skeleton does not tell left from right, or has
    no sides and no object looks like the mirror image of another, so that no mirrored image is
    trained on.

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
    one_sided = not skeleton.pairs and are_one_sided([pose for _, pose in items])
    if not (skeleton.unpaired_sides or one_sided):
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


class YoloLabels(NamedTuple):
    """What a YOLO-pose data set holds.

    Attributes:
        skeleton: the given one, or that of data.yaml.
        annotations: objects in the order of their files; coordinates are shares (0..1).
        notes: what was read differently, a sentence each.
    """

    skeleton: Skeleton
    annotations: list[Annotation]
    notes: tuple[str, ...]


def yolo_settings(text: str, origin: str) -> Mapping[str, Any] | None:
    """The content of a data.yaml; None if the YAML is of another kind.

    Args:
        text: of the file.
        origin: name of the file, for messages.

    Raises:
        FormatError: if it is not YAML.
    """
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FormatError(f"{origin} is not a YAML file ({reason}).", "Correct it.") from error
    is_yolo = isinstance(data, Mapping) and ("kpt_shape" in data or {"names", "train"} <= set(data))
    return data if is_yolo else None


def skeleton_from_settings(data: Mapping[str, Any], origin: str) -> Skeleton:
    """The skeleton of a data.yaml, with the left/right pairs of its `flip_idx`.

    Keypoints without names are called "keypoint 1", "keypoint 2", ...

    Args:
        data: the result of `yolo_settings`.
        origin: name of the file, for messages.

    Raises:
        FormatError: if it contradicts itself.
        SkeletonError: if the names make no skeleton.
    """
    count, _ = _shape(data, origin)
    named = data.get("kpt_names")
    tables = list(named.values()) if isinstance(named, Mapping) else [named]
    if named is None:
        tables = [[f"keypoint {number}" for number in range(1, count + 1)]]
    names = tables[0] if tables else None
    if (
        not isinstance(names, list)
        or not all(isinstance(name, str) for name in names)
        or len(names) != count
        or any(table != names for table in tables)
    ):
        raise FormatError(
            f"{origin}: kpt_names does not name the same {counted(count, 'keypoint')} for each "
            "class.",
            "Correct it, or name them with --skeleton FILE.toml",
        )
    kinds = data.get("names")
    kinds = list(kinds.values()) if isinstance(kinds, Mapping) else kinds
    kind = kinds[0] if isinstance(kinds, list) and kinds else ""
    try:
        skeleton = make_skeleton(str(kind or "object"), names)
        flip: Any = data.get("flip_idx")
        if not _swaps(flip, count):
            return skeleton
        pairs = tuple((index, other) for index, other in enumerate(flip) if index < other)
        same = set(map(frozenset, pairs)) == set(map(frozenset, skeleton.pairs))
        return skeleton if same else replace(skeleton, pairs=pairs)
    except SkeletonError as error:
        raise SkeletonError(
            f"{origin}: {error.problem}", error.next_step or "Correct kpt_names."
        ) from error


def _swaps(flip: Any, count: int) -> bool:
    """Whether a `flip_idx` swaps keypoints, so that doing it twice changes nothing."""
    return (
        isinstance(flip, list)
        and len(flip) == count
        and all(isinstance(index, int) and 0 <= index < count for index in flip)
        and [flip[index] for index in flip] == list(range(count))
    )


def read_yolo(
    data: Mapping[str, Any], labels: Mapping[str, str], origin: str, skeleton: Skeleton | None
) -> YoloLabels:
    """Read the label files of a YOLO-pose data set.

    Args:
        data: the result of `yolo_settings`.
        labels: content of the label file of each image, by the image's path.
        origin: name of data.yaml, for messages.
        skeleton: of the project; its keypoints name those of a data set without names.

    Raises:
        FormatError: on the first line that cannot be read, naming it.
        SkeletonError: if the names make no skeleton.
    """
    count, dims = _shape(data, origin)
    notes = []
    if skeleton is None or data.get("kpt_names") is not None:
        own = skeleton_from_settings(data, origin)
        if data.get("kpt_names") is None:
            first = own.keypoints[0]
            notes.append(
                f"{origin} does not name its {counted(count, 'keypoint')}: they are called "
                f"{first!r} ... {own.keypoints[-1]!r}. Give each its name: labelkit skeleton edit "
                f"--rename '{first}=NAME'; or name all in their order with --skeleton FILE.toml"
            )
    elif len(skeleton) == count:
        own = skeleton
        notes.append(
            f"{origin} does not name its keypoints: they are taken in the order of the skeleton "
            f"{skeleton.name!r} ({', '.join(skeleton.keypoints)})."
        )
    else:
        raise FormatError(
            f"{origin} has {counted(count, 'keypoint')}; the skeleton {skeleton.name!r} has "
            f"{len(skeleton)}.",
            f"Name all {count} in their order: --skeleton FILE.toml",
        )
    classes = data.get("names")
    if isinstance(classes, list):
        classes = dict(enumerate(classes))
    if not isinstance(classes, Mapping):
        raise FormatError(
            f"{origin}: names is {classes!r}.", "Name the classes there, for example: [fish]"
        )
    annotations = []
    for path, text in labels.items():
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                where = f"{_label_path(path)}, line {number}"
                kind, box, pose = _object(line.split(), count, dims, f"{origin}: {where}")
                category = str(classes.get(kind, "object"))
                reference = f"{_label_path(path)}:{number}"
                annotations.append(Annotation(path, reference, box, None, pose, False, category))
    return YoloLabels(own, annotations, tuple(notes))


def _shape(data: Mapping[str, Any], origin: str) -> tuple[int, int]:
    """Number of keypoints, and of numbers for each."""
    shape = data.get("kpt_shape")
    if shape is None:
        raise FormatError(
            f"{origin} is of a YOLO data set without keypoints (it has no kpt_shape).",
            "For boxes alone, convert it to COCO and give it as --boxes FILE",
        )
    if (
        not isinstance(shape, list)
        or len(shape) != 2
        or not all(isinstance(side, int) and side > 0 for side in shape)
        or shape[1] not in (2, 3)
    ):
        raise FormatError(
            f"{origin}: kpt_shape is {shape!r}.", "Write [number of keypoints, 2 or 3] there."
        )
    return shape[0], shape[1]


def _object(cells: Sequence[str], count: int, dims: int, where: str) -> tuple[int, Box, Pose]:
    """Class, box and pose of a line, in shares."""
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        wrong = next(cell for cell in cells if not _is_number(cell))
        raise FormatError(f"{where}: {wrong!r} is not a number.", "Correct the line.") from None
    if len(numbers) not in (5, 5 + count * dims) or not all(map(math.isfinite, numbers)):
        raise FormatError(
            f"{where} has {len(numbers)} numbers; a class, a box and {counted(count, 'keypoint')} "
            f"are {5 + count * dims}.",
            f"Correct the line, or kpt_shape, which is [{count}, {dims}].",
        )
    kind, x, y, w, h = numbers[:5]
    if w < 0 or h < 0:
        raise FormatError(
            f"{where} has a box of {w} x {h}.", "The box is centre, width and height: correct it."
        )
    rows = np.zeros((count, 3))
    if numbers[5:]:
        rows[:, :dims] = np.reshape(numbers[5:], (count, dims))
    if dims == 2:  # Ultralytics takes (0, 0) for a keypoint that is not labelled
        rows[:, 2] = np.where(rows[:, :2].any(axis=1), VISIBLE, ABSENT)
    wrong = rows[~np.isin(rows[:, 2], (ABSENT, OCCLUDED, VISIBLE)), 2]
    if len(wrong):
        raise FormatError(
            f"{where}: visibility {wrong[0]:g} is not 0 (absent), 1 (occluded) or 2 (visible).",
            "Correct the line.",
        )
    pose = human_pose(rows[:, :2], rows[:, 2])
    return int(kind), Box(x - w / 2, y - h / 2, w, h), pose


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
