"""COCO keypoints: read into annotations, written without losing a digit."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from labelkit.domain.annotation import Annotation, image_path_from
from labelkit.domain.instance import Box, Instance, category_names
from labelkit.domain.pose import ABSENT, UNKNOWN, Pose, human_pose
from labelkit.domain.skeleton import Skeleton
from labelkit.domain.text import counted, named
from labelkit.errors import FormatError, InputError
from labelkit.formats.coco_categories import category_name, keypoint_categories
from labelkit.formats.coco_wholebody import with_parts
from labelkit.formats.drawn_boxes import with_drawn_boxes

_COCO = (
    "A COCO file has images, annotations and categories. Other formats that labelkit reads are in: "
    "labelkit bootstrap --help"
)

_INFO = {"description": "labelkit export"}

NO_KEYPOINTS = human_pose(np.zeros((0, 2)), np.zeros(0, dtype=np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class CocoFile:
    """What a COCO keypoints file holds.

    Attributes:
        skeleton: of the categories with keypoints.
        image_paths: every image of the file, with annotations or without.
        image_sizes: (width, height) by image path, as the file gives them; 0 for one that is
            missing.
        annotations: of these categories, in the order of the file.
        notes: what was read differently or left out, a sentence each.
    """

    skeleton: Skeleton
    image_paths: tuple[str, ...]
    image_sizes: dict[str, tuple[int, int]]
    annotations: list[Annotation]
    notes: tuple[str, ...]


class CocoBoxes(NamedTuple):
    """The boxes of a COCO file.

    Attributes:
        annotations: a box each, and a pose of 0 keypoints.
        image_sizes, notes: as in `CocoFile`.
    """

    annotations: list[Annotation]
    image_sizes: dict[str, tuple[int, int]]
    notes: tuple[str, ...]


def read_coco(
    document: Mapping[str, Any], origin: str, skeleton: Skeleton | None = None
) -> CocoFile:
    """Read a parsed COCO keypoints file.

    A box without area means that no one drew a box. An annotation with neither a box nor keypoints
    is left out. An object whose box is only the extent of its keypoints takes the box of another
    category that holds them, if it is certain which: Label Studio writes the two apart.

    Args:
        document: the parsed JSON.
        origin: name of the file, for messages.
        skeleton: chooses among categories with different keypoints, and names those of a file
            that has no names.

    Raises:
        FormatError: on the first item that contradicts itself, naming it.
        SkeletonError: if the category's keypoints make no skeleton.
    """
    images, bodies, bare = tables(document, origin)
    categories, rows, left_out = with_parts(bodies, bare, origin, skeleton)
    chosen = keypoint_categories(categories, [row for row, _ in rows], origin, skeleton)
    objects: list[Annotation] = []
    others: list[Annotation] = []
    for row, item in rows:
        category = categories[row["category_id"]]
        if row["category_id"] in chosen.ids:
            pose = _pose(row, chosen.skeleton, item)
            objects.append(_annotation(row, images, category_name(category), pose, item))
        else:
            others.append(_other(row, images, category, item))
    drawn, unused = with_drawn_boxes(objects, others)
    annotations = [
        item for item in drawn if item.pose.present.any() or _has_box(item) or item.iscrowd
    ]
    if not annotations:
        raise FormatError(
            f"{origin} has no annotation with keypoints.",
            f"For boxes alone, type: --boxes {shlex.quote(origin)}",
        )
    notes = [*left_out, *chosen.notes]
    if empty := len(drawn) - len(annotations):
        notes.append(
            f"Left out {counted(empty, 'annotation')} of {origin} with neither a box nor keypoints."
        )
    if taken := len(others) - len(unused):
        notes.append(
            f"{counted(taken, 'object')} of {origin} took the drawn box of another category that "
            "holds its keypoints."
        )
    if unused:
        names = Counter(item.category for item in unused).most_common()
        notes.append(
            f"Left out {counted(len(unused), 'annotation')} of {origin}, of categories without "
            f"keypoints: {named([f'{count} x {name}' for name, count in names])}."
        )
    return CocoFile(
        chosen.skeleton,
        tuple(dict.fromkeys(images.paths.values())),
        images.sizes,
        annotations,
        tuple(notes),
    )


def skeleton_of_coco(document: Mapping[str, Any], origin: str) -> tuple[Skeleton, list[str]]:
    """The skeleton of a parsed COCO file, which may hold no annotation, and notes on it.

    Args:
        document: the parsed JSON.
        origin: name of the file, for messages.

    Raises:
        FormatError: if no category has keypoints, or several have different ones.
        SkeletonError: if the category's keypoints make no skeleton.
    """
    categories = document.get("categories") if isinstance(document, Mapping) else None
    if not isinstance(categories, list) or not all(isinstance(c, Mapping) for c in categories):
        raise FormatError(f"{origin} has no list 'categories'.", _COCO)
    found = keypoint_categories(dict(enumerate(categories)), [], origin, None)
    return found.skeleton, found.notes


def read_boxes(document: Mapping[str, Any], origin: str) -> CocoBoxes:
    """Read the boxes of a parsed COCO file, which may have keypoints or not.

    Boxes without area are left out.

    Args:
        document: the parsed JSON.
        origin: name of the file, for messages.

    Raises:
        FormatError: as `read_coco`, on annotations without a box, and on those of several
            categories, unless these have the same keypoints.
    """
    images, categories, rows = tables(document, origin)
    used = {row["category_id"]: category_name(categories[row["category_id"]]) for row, _ in rows}
    keypoints = [categories[key].get("keypoints") for key in used]
    if len(used) > 1 and not (keypoints[0] and all(it == keypoints[0] for it in keypoints)):
        raise FormatError(
            f"{origin} has boxes of several categories: {', '.join(map(repr, used.values()))}.",
            "Keep only the category that you want to label.",
        )
    boxes = []
    for row, item in rows:
        boxes.append(_annotation(row, images, used[row["category_id"]], NO_KEYPOINTS, item))
        if boxes[-1].box is None:
            raise FormatError(f"{item} has no bbox.", "Give every annotation its box.")
    with_area = [item for item in boxes if _has_box(item)]
    notes = []
    if flat := len(boxes) - len(with_area):
        notes.append(f"Left out {counted(flat, 'annotation')} of {origin} whose box has no area.")
    return CocoBoxes(with_area, images.sizes, tuple(notes))


def write_coco(
    items: Sequence[tuple[Instance, Pose]], skeleton: Skeleton, *, scores: bool = False
) -> dict[str, Any]:
    """A COCO keypoints document; `json.dumps` of it keeps every digit.

    Ids are integers that depend only on the image's content and the instance's id, so two exports
    agree on them; `labelkit_id` holds labelkit's own. Pairs, sigmas and layout of the skeleton,
    which have no field in COCO, are in the "labelkit" of each category. For a keypoint that is not
    labelled COCO has no code but that of an absent one: `labelkit_unknown` names them.

    Args:
        items: instances with their poses, in image pixels.
        skeleton: of all poses.
        scores: also write `score` (mean over present keypoints) and `keypoint_scores`.
    """
    poses = (pose for _, pose in items)
    tables = _written([instance for instance, _ in items], poses, skeleton, scores)
    return {"info": _INFO, **{name: [*rows] for name, rows in tables.items()}}


def coco_text(
    instances: Sequence[Instance],
    poses: Iterable[Pose],
    skeleton: Skeleton,
    *,
    scores: bool = False,
) -> Iterator[str]:
    """The JSON of `write_coco`, row by row: of a large project it is never in memory as a whole.

    Args:
        instances: N, read more than once.
        poses: N, read once.
        skeleton, scores: see `write_coco`.
    """
    encode = json.JSONEncoder(ensure_ascii=False).encode
    yield f'{{"info": {encode(_INFO)}'
    for name, rows in _written(instances, poses, skeleton, scores).items():
        yield f', "{name}": ['
        for number, row in enumerate(rows):
            yield f", {encode(row)}" if number else encode(row)
        yield "]"
    yield "}"


def _written(
    instances: Sequence[Instance], poses: Iterable[Pose], skeleton: Skeleton, scores: bool
) -> dict[str, Iterable[dict[str, Any]]]:
    """The tables of a document in their order, each row made when it is asked for."""
    keypoints = skeleton.keypoints
    names = category_names(instances, skeleton.name)
    categories = {name: id_ for id_, name in enumerate(sorted(set(names.values())), 1)}
    shared = {
        "supercategory": skeleton.name,
        "keypoints": list(keypoints),
        "skeleton": [[a + 1, b + 1] for a, b in skeleton.links],
        "labelkit": {
            "name": skeleton.name,
            "pairs": [[keypoints[a], keypoints[b]] for a, b in skeleton.pairs],
            "sigmas": list(skeleton.sigmas),
            "layout": [list(point) for point in skeleton.layout],
        },
    }
    ids = {name: categories[written] for name, written in names.items()}
    # As bytes, because a million texts take ten times the memory.
    images = np.array([instance.image.id.encode() for instance in instances])
    _, first, image_of = np.unique(images, return_index=True, return_inverse=True)
    by_place = np.argsort(first)  # the order in which the images first appear
    image_ids = np.empty(len(first), np.int64)
    image_ids[by_place] = _stable_ids(images[place].decode() for place in first[by_place])
    return {
        "images": _image_rows(instances, first[by_place], image_ids[by_place]),
        "annotations": _annotation_rows(
            instances, poses, keypoints, image_ids[image_of], ids, scores
        ),
        "categories": [{"id": id_, "name": name, **shared} for name, id_ in categories.items()],
    }


def _image_rows(
    instances: Sequence[Instance], places: NDArray[np.int64], ids: NDArray[np.int64]
) -> Iterator[dict[str, Any]]:
    """The images of the instances at some places."""
    for place, id_ in zip(places.tolist(), ids.tolist(), strict=True):
        image = instances[place].image
        yield {
            "id": id_,
            "file_name": image.path,
            "width": image.width,
            "height": image.height,
            "labelkit_id": image.id,
        }


def _annotation_rows(
    instances: Sequence[Instance],
    poses: Iterable[Pose],
    keypoints: Sequence[str],
    image_ids: NDArray[np.int64],
    categories: Mapping[str, int],
    scores: bool,
) -> Iterator[dict[str, Any]]:
    numbers = _stable_ids(instance.id for instance in instances)
    for instance, pose, number, image in zip(instances, poses, numbers, image_ids, strict=True):
        triplets = np.column_stack([pose.xy, pose.visibility.clip(ABSENT)]).tolist()
        row: dict[str, Any] = {
            "id": int(number),
            "image_id": int(image),
            "category_id": categories[instance.category],
            "bbox": [float(value) for value in instance.box],
            "area": float(instance.area),
            "iscrowd": 0,
            "keypoints": [value for x, y, v in triplets for value in (x, y, int(v))],
            "num_keypoints": int(pose.present.sum()),
            "labelkit_id": instance.id,
        }
        if instance.individual:
            row["labelkit_individual"] = instance.individual
        if not pose.known.all():
            row["labelkit_unknown"] = [keypoints[k] for k in np.flatnonzero(~pose.known)]
        if scores:
            row["score"] = float(pose.score[pose.present].mean()) if pose.present.any() else 0.0
            row["keypoint_scores"] = pose.score.tolist()
        yield row


def _stable_ids(names: Iterable[str]) -> NDArray[np.int64]:
    """An integer of each name: above 0 (pycocotools takes 0 for "unmatched"), below 2**53 (floats).

    Args:
        names: each once.
    """
    taken: dict[int, None] = {}
    for name in names:
        number = int(hashlib.sha256(name.encode()).hexdigest()[:13], 16) or 1
        while number in taken:
            number += 1
        taken[number] = None
    return np.fromiter(taken, np.int64, len(taken))


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
            _COCO,
        )
    for key in ("images", "annotations", "categories"):
        entries = document.get(key)
        if not isinstance(entries, list) or not all(isinstance(e, Mapping) for e in entries):
            raise FormatError(
                f"{origin} is not a COCO file: it has no list {key!r}.",
                _COCO,
            )
        if not entries:
            raise FormatError(f"{origin}: {key} is empty.", "Export the annotations again.")
    images = _images(document["images"], origin)
    categories: dict[Any, Mapping[str, Any]] = {}
    for category in document["categories"]:
        number = _id(category, "id", f"{origin}: a category")
        if number in categories:
            raise FormatError(
                f"{origin}: two categories have the id {number}.", "Give each its own id."
            )
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
            raise FormatError(
                f"{origin}: image {key} has no file_name.",
                "Write its path below the images folder.",
            )
        if key in images.paths:
            raise FormatError(f"{origin}: two images have the id {key}.", "Give each its own id.")
        path = images.paths[key] = image_path_from(name)
        size = _side(entry.get("width")), _side(entry.get("height"))
        if any(size) and images.sizes.setdefault(path, size) != size:
            raise FormatError(
                f"{origin}: {path} is listed with two sizes, {images.sizes[path]} and {size}.",
                "Remove the wrong one.",
            )
    return images


def _side(value: Any) -> int:
    """A width or height in pixels; 0, as some files write it, where it is not known."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if number and 0 < value < 1e9 else 0


def _id(entry: Mapping[str, Any], key: str, item: str) -> int | str:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise FormatError(
            f"{item} has no valid {key} (it is {value!r}).", "Write a number or a text there."
        )
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


def _annotation(
    row: Mapping[str, Any], images: Images, category: str, pose: Pose, item: str
) -> Annotation:
    box = None
    if row.get("bbox") not in (None, []):
        values = numbers(row["bbox"], "bbox", item)
        if len(values) != 4 or values[2] < 0 or values[3] < 0:
            raise FormatError(
                f"{item}: bbox expects left, top, width, height, not {values}.",
                "Correct these four numbers, or remove the annotation.",
            )
        box = Box(*values)
    area = None
    if row.get("area") is not None:
        area = numbers([row["area"]], "area", item)[0]
        if area < 0:
            raise FormatError(f"{item} has the negative area {area}.", "Correct or remove it.")
    return Annotation(
        images.paths[row["image_id"]],
        str(row["id"]),
        box,
        area or None,  # 0: the file has a box or points, but no segment was drawn
        pose,
        bool(row.get("iscrowd", 0)),
        category,
        str(row.get("labelkit_individual") or ""),
    )


def _other(
    row: Mapping[str, Any], images: Images, category: Mapping[str, Any], item: str
) -> Annotation:
    """An annotation of which only a box that was drawn for the keypoints of another is of use."""
    name = category_name(category)
    if not category.get("keypoints"):
        with contextlib.suppress(FormatError):
            return _annotation(row, images, name, NO_KEYPOINTS, item)
    bare = {**row, "bbox": None, "area": None}
    return _annotation(bare, images, name, NO_KEYPOINTS, item)


def _has_box(item: Annotation) -> bool:
    return item.box is not None and item.box.has_area


def _pose(row: Mapping[str, Any], skeleton: Skeleton, item: str) -> Pose:
    count = len(skeleton)
    if row.get("keypoints") in (None, []):  # a box that is not labelled yet
        return human_pose(np.zeros((count, 2)), np.zeros(count, dtype=np.int64))
    values = numbers(row["keypoints"], "keypoints", item)
    if len(values) != 3 * count:
        raise FormatError(
            f"{item} has {len(values)} keypoint numbers; {count} keypoints need {3 * count}.",
            "Write x, y, v for every keypoint of the category, absent ones as 0, 0, 0.",
        )
    triplets = np.array(values).reshape(count, 3)
    if (triplets[:, 2] < ABSENT).any():
        raise FormatError(
            f"{item}: visibility {triplets[:, 2].min():g} is not 0 (absent), 1 (occluded) or 2 "
            "(visible).",
            "Correct it.",
        )
    triplets[np.isin(skeleton.keypoints, row.get("labelkit_unknown", [])), 2] = UNKNOWN
    scores = row.get("keypoint_scores")
    score = np.ones(count) if scores is None else numbers(scores, "keypoint_scores", item)
    try:
        return Pose(triplets[:, :2], triplets[:, 2], np.asarray(score))
    except InputError as error:
        raise FormatError(f"{item}: {error.problem}", error.next_step or "Correct it.") from error
