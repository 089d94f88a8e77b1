"""COCO keypoints: read into annotations, written without losing a digit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from labelkit.domain.annotation import Annotation, check_inside, image_path_from
from labelkit.domain.instance import Box, Instance
from labelkit.domain.pose import Pose, human_pose
from labelkit.domain.skeleton import BUILTIN, Skeleton, load_skeleton, make_skeleton
from labelkit.errors import FormatError, InputError

NO_KEYPOINTS = human_pose(np.zeros((0, 2)), np.zeros(0, dtype=np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class CocoFile:
    """What a COCO keypoints file holds.

    Attributes:
        skeleton: of the one category that has keypoints.
        image_sizes: (width, height) by image path, where the file gives them.
        annotations: of that category, in the order of the file.
        ignored: number of annotations in categories without keypoints.
    """

    skeleton: Skeleton
    image_sizes: dict[str, tuple[int, int]]
    annotations: list[Annotation]
    ignored: int


def read_coco(document: Mapping[str, Any], origin: str) -> CocoFile:
    """Read a parsed COCO keypoints file.

    Args:
        document: the parsed JSON.
        origin: name of the file, for messages.

    Raises:
        FormatError: on the first item that contradicts itself, naming it.
        SkeletonError: if the category's keypoints make no skeleton.
    """
    images, categories, rows = tables(document, origin)
    with_keypoints = {key: c for key, c in categories.items() if c.get("keypoints")}
    if not with_keypoints:
        raise FormatError(
            f"{origin} has no category with keypoints.",
            "For boxes alone, use --boxes. Keypoints need their names in `categories`.",
        )
    if len({str(c["keypoints"]) for c in with_keypoints.values()}) > 1:
        names = ", ".join(repr(c.get("name", key)) for key, c in with_keypoints.items())
        raise FormatError(
            f"{origin} has several categories with different keypoints: {names}.",
            "Keep one of these categories in the file, and make a project for each.",
        )
    skeleton = skeleton_from_category(next(iter(with_keypoints.values())), origin)
    annotations = []
    for row, item in rows:
        if row["category_id"] in with_keypoints:
            pose = _pose(row, skeleton, item)
            annotation = _annotation(row, images, pose, item)
            size = images.sizes.get(annotation.image_path)
            if size:
                check_inside(pose, size, skeleton.keypoints, item)
            annotations.append(annotation)
    if not annotations:
        raise FormatError(f"{origin} has no annotation of a category with keypoints.")
    return CocoFile(skeleton, images.sizes, annotations, len(rows) - len(annotations))


def read_boxes(document: Mapping[str, Any], origin: str) -> list[Annotation]:
    """Read the boxes of a parsed COCO file, which may have keypoints or not.

    The poses of the annotations have 0 keypoints.

    Args:
        document: the parsed JSON.
        origin: name of the file, for messages.

    Raises:
        FormatError: as `read_coco`, and on annotations of several categories or without a box.
    """
    images, categories, rows = tables(document, origin)
    used = {row["category_id"]: row for row, _ in rows}
    if len(used) > 1:
        names = ", ".join(repr(categories[key].get("name", key)) for key in used)
        raise FormatError(
            f"{origin} has boxes of several categories: {names}.",
            "Keep only the category that you want to label.",
        )
    annotations = [_annotation(row, images, NO_KEYPOINTS, item) for row, item in rows]
    for annotation, (_, item) in zip(annotations, rows, strict=True):
        if annotation.box is None:
            raise FormatError(f"{item} has no bbox.", "Give every annotation its box.")
    return annotations


def skeleton_from_category(category: Mapping[str, Any], origin: str) -> Skeleton:
    """The skeleton of a COCO category.

    If its keypoints are those of a built-in skeleton, in any order, the built-in pairs, sigmas and
    layout come with them.

    Args:
        category: with `keypoints`, and links in `skeleton` as pairs of numbers counted from 1.
        origin: name of the file, for messages.

    Raises:
        FormatError: if an entry has the wrong type.
        SkeletonError: if the entries contradict each other.
    """
    name = str(category.get("name") or "object")
    keypoints, links = category.get("keypoints"), category.get("skeleton") or []
    if not isinstance(keypoints, list) or not all(isinstance(k, str) for k in keypoints):
        raise FormatError(f"{origin}: category {name!r}: keypoints must be a list of names.")
    extension = category.get("labelkit")
    try:
        joined = tuple((int(a) - 1, int(b) - 1) for a, b in links)
        if isinstance(extension, Mapping):
            return Skeleton(
                name,
                tuple(keypoints),
                joined,
                tuple((keypoints.index(a), keypoints.index(b)) for a, b in extension["pairs"]),
                tuple(map(float, extension["sigmas"])),
                tuple((float(x), float(y)) for x, y in extension["layout"]),
            )
    except (TypeError, ValueError, KeyError) as error:
        raise FormatError(
            f"{origin}: category {name!r} has a damaged skeleton ({error}).",
            "Links are pairs of keypoint numbers, counted from 1.",
        ) from error
    for builtin in map(load_skeleton, BUILTIN):
        if builtin.keypoints == tuple(keypoints):
            return builtin
        if set(builtin.keypoints) == set(keypoints) and len(builtin) == len(keypoints):
            order = [builtin.index(k) for k in keypoints]
            return make_skeleton(
                name,
                keypoints,
                [(order.index(a), order.index(b)) for a, b in builtin.links],
                [(order.index(a), order.index(b)) for a, b in builtin.pairs],
                [builtin.sigmas[i] for i in order],
                [builtin.layout[i] for i in order],
            )
    return make_skeleton(name, keypoints, joined)


def write_coco(
    items: Sequence[tuple[Instance, Pose]], skeleton: Skeleton, *, scores: bool = False
) -> dict[str, Any]:
    """A COCO keypoints document; `json.dumps` of it keeps every digit.

    Ids are integers that depend only on the image's content and the instance's id, so two exports
    agree on them; `labelkit_id` holds labelkit's own. Pairs, sigmas and layout of the skeleton,
    which have no field in COCO, are in the category's "labelkit".

    Args:
        items: instances with their poses, in image pixels.
        skeleton: of all poses.
        scores: also write `score` (mean over present keypoints) and `keypoint_scores`.
    """
    image_ids, annotation_ids = _StableIds(), _StableIds()
    images: dict[str, dict[str, Any]] = {}
    annotations = []
    for instance, pose in items:
        image = instance.image
        if image.id not in images:
            images[image.id] = {
                "id": image_ids.number(image.id),
                "file_name": image.path,
                "width": image.width,
                "height": image.height,
                "labelkit_id": image.id,
            }
        triplets = np.column_stack([pose.xy, pose.visibility]).tolist()
        row: dict[str, Any] = {
            "id": annotation_ids.number(instance.id),
            "image_id": images[image.id]["id"],
            "category_id": 1,
            "bbox": [float(value) for value in instance.box],
            "area": float(instance.area),
            "iscrowd": 0,
            "keypoints": [value for x, y, v in triplets for value in (x, y, int(v))],
            "num_keypoints": int(pose.present.sum()),
            "labelkit_id": instance.id,
        }
        if scores:
            row["score"] = float(pose.score[pose.present].mean()) if pose.present.any() else 0.0
            row["keypoint_scores"] = pose.score.tolist()
        annotations.append(row)
    names = skeleton.keypoints
    category = {
        "id": 1,
        "name": skeleton.name,
        "supercategory": skeleton.name,
        "keypoints": list(names),
        "skeleton": [[a + 1, b + 1] for a, b in skeleton.links],
        "labelkit": {
            "pairs": [[names[a], names[b]] for a, b in skeleton.pairs],
            "sigmas": list(skeleton.sigmas),
            "layout": [list(point) for point in skeleton.layout],
        },
    }
    return {
        "info": {"description": "labelkit export"},
        "images": list(images.values()),
        "annotations": annotations,
        "categories": [category],
    }


class _StableIds:
    """Integers from names: above 0 (pycocotools takes 0 for "unmatched"), below 2**53 (floats)."""

    def __init__(self) -> None:
        self._taken: dict[int, str] = {}

    def number(self, name: str) -> int:
        number = int(hashlib.sha256(name.encode()).hexdigest()[:13], 16) or 1
        while self._taken.setdefault(number, name) != name:
            number += 1
        return number


@dataclass(frozen=True, slots=True)
class Images:
    """Paths by COCO image id, and sizes by path."""

    paths: dict[Any, str]
    sizes: dict[str, tuple[int, int]]


Rows = list[tuple[Mapping[str, Any], str]]


def tables(
    document: Mapping[str, Any], origin: str
) -> tuple[Images, dict[Any, Mapping[str, Any]], Rows]:
    """Images, categories by id, and annotations, each with its name for messages.

    Args:
        document: the parsed JSON.
        origin: name of the file, for messages.

    Raises:
        FormatError: on a missing or empty list, a missing, invalid or duplicate id, and an
            annotation of an image or category that the file does not list.
    """
    if not isinstance(document, Mapping):
        raise FormatError(
            f"{origin} is not a COCO file: it holds a {type(document).__name__}, not an object.",
            "A COCO file has images, annotations and categories.",
        )
    for key in ("images", "annotations", "categories"):
        entries = document.get(key)
        if not isinstance(entries, list) or not all(isinstance(e, Mapping) for e in entries):
            raise FormatError(
                f"{origin} is not a COCO file: it has no list {key!r}.",
                "A COCO file has images, annotations and categories.",
            )
        if not entries:
            raise FormatError(f"{origin}: {key} is empty.", "Export the annotations again.")
    images = _images(document["images"], origin)
    categories: dict[Any, Mapping[str, Any]] = {}
    for category in document["categories"]:
        number = _id(category, "id", f"{origin}: a category")
        if number in categories:
            raise FormatError(f"{origin}: two categories have the id {number}.")
        categories[number] = category
    rows: Rows = []
    seen = set()
    for place, row in enumerate(document["annotations"], 1):
        reference = _id(row, "id", f"{origin}: annotation number {place}")
        item = f"{origin}: annotation {reference}"
        if reference in seen:
            raise FormatError(f"{item}: two annotations have this id.", "Give each its own id.")
        seen.add(reference)
        if _id(row, "image_id", item) not in images.paths:
            raise FormatError(
                f"{item} belongs to image {row['image_id']!r}, which the file does not list.",
                'Add the image, write its id the same way (1 is not "1"), or remove the '
                "annotation.",
            )
        if _id(row, "category_id", item) not in categories:
            raise FormatError(
                f"{item} has category {row['category_id']}, which the file does not list.",
                "Add the category, or remove the annotation.",
            )
        rows.append((row, item))
    return images, categories, rows


def _images(entries: Sequence[Mapping[str, Any]], origin: str) -> Images:
    images = Images({}, {})
    for entry in entries:
        key = _id(entry, "id", f"{origin}: an image")
        name = entry.get("file_name")
        if not isinstance(name, str) or not name:
            raise FormatError(f"{origin}: image {key} has no file_name.")
        if key in images.paths:
            raise FormatError(f"{origin}: two images have the id {key}.", "Give each its own id.")
        path = images.paths[key] = image_path_from(name)
        width, height = entry.get("width"), entry.get("height")
        if not (isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0):
            continue  # the size is optional
        if images.sizes.setdefault(path, (width, height)) != (width, height):
            raise FormatError(f"{origin}: {path} is listed twice, with different sizes.")
    return images


def _id(entry: Mapping[str, Any], key: str, item: str) -> int | str:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise FormatError(f"{item} has no valid {key} (it is {value!r}).")
    return value


_FLAT = "Write one flat list of numbers, for example [10, 20.5, 2]."


def numbers(
    values: Any, what: str, item: str, advice: str = "Write absent keypoints as 0, 0, 0."
) -> list[float]:
    """A list of finite numbers from JSON.

    Args:
        values: the candidate.
        what: the field, for messages.
        item: the object that has the field, for messages.
        advice: what to do about a number that is not finite.

    Raises:
        FormatError: if it is not a list, or holds anything but finite numbers.
    """
    if not isinstance(values, list):
        raise FormatError(f"{item}: {what} must be a list of numbers, not {values!r}.", _FLAT)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            nested = isinstance(value, list)
            raise FormatError(
                f"{item}: {what} holds {value!r}, which is not a number.",
                _FLAT if nested else "Write a number there.",
            )
        if not abs(value) <= 1e15:  # NaN too
            raise FormatError(f"{item}: {what} holds {str(value)[:40]}.", advice)
    return [float(value) for value in values]


def _annotation(row: Mapping[str, Any], images: Images, pose: Pose, item: str) -> Annotation:
    box = None
    if row.get("bbox") is not None:
        values = numbers(row["bbox"], "bbox", item)
        if len(values) != 4:
            raise FormatError(f"{item}: bbox expects left, top, width, height, not {values}.")
        box = Box(*values)
        if box.w <= 0 or box.h <= 0:
            raise FormatError(
                f"{item} has a box without area: {values}.", "Correct or remove the annotation."
            )
    area = None
    if row.get("area") is not None:
        area = numbers([row["area"]], "area", item)[0]
        if area < 0:
            raise FormatError(f"{item} has the negative area {area}.")
    return Annotation(
        images.paths[row["image_id"]],
        str(row["id"]),
        box,
        area or None,  # 0: the file has a box or points, but no segment was drawn
        pose,
        bool(row.get("iscrowd", 0)),
    )


def _pose(row: Mapping[str, Any], skeleton: Skeleton, item: str) -> Pose:
    count = len(skeleton)
    if row.get("keypoints") is None:  # a box that is not labelled yet
        return human_pose(np.zeros((count, 2)), np.zeros(count, dtype=np.int64))
    values = numbers(row["keypoints"], "keypoints", item)
    if len(values) != 3 * count:
        raise FormatError(
            f"{item} has {len(values)} keypoint numbers; {count} keypoints need {3 * count}.",
            "Write x, y, v for every keypoint of the category, absent ones as 0, 0, 0.",
        )
    triplets = np.array(values).reshape(count, 3)
    scores = row.get("keypoint_scores")
    score = np.ones(count) if scores is None else numbers(scores, "keypoint_scores", item)
    try:
        return Pose(triplets[:, :2], triplets[:, 2], np.asarray(score))
    except InputError as error:
        raise FormatError(f"{item}: {error.problem}") from error
