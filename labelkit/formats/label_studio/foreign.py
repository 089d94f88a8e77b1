"""Keypoints that were labelled in another Label Studio project, from its JSON export.

An object is a box with the keypoints that have it as parent, that are related to it, or that lie in
it. Without boxes it is the keypoints of one group, or all keypoints of the image. Where that is not
clear, the user chooses one of these ways.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from labelkit.domain.annotation import Annotation, image_path_from
from labelkit.domain.instance import Box
from labelkit.domain.pose import ABSENT, OCCLUDED, VISIBLE, human_pose
from labelkit.domain.skeleton import Skeleton
from labelkit.domain.text import named
from labelkit.errors import FormatError
from labelkit.formats.coco_categories import skeleton_from_category
from labelkit.formats.label_studio.regions import (
    KeypointRegion,
    read_box,
    read_keypoint,
    seen_frame,
)
from labelkit.formats.label_studio.tasks import VISIBILITY_TASK

#: Answers to "can it be seen?", as people word them.
_CHOICES = {
    **dict.fromkeys(("visible", "seen"), VISIBLE),
    **dict.fromkeys(("occluded", "hidden", "invisible", "not visible", "covered"), OCCLUDED),
    **dict.fromkeys(("absent", "missing", "outside"), ABSENT),
}

#: A keypoint up to this share of a box's long side outside still belongs to it.
_BESIDE = 0.1

_IMAGE_KEYS = ("image_path", "image", "img", "photo", "picture", "url")
_POINTS, _BOXES = ("keypointlabels", "keypoint"), ("rectanglelabels", "rectangle")

#: The size of an image of which an annotation tells none: percentages then are shares of it.
_SHARE = {"original_width": 1, "original_height": 1}

#: What decides which object a keypoint belongs to: its parent or relation alone, the smallest box
#: around it, or the image, which shows one object.
Group = Literal["parent", "box", "image"]

_AS_JSON = "In Label Studio, export the project as JSON, not as JSON-MIN, CSV or COCO."
_GROUP = (
    "In Label Studio, drag the keypoint onto the box of its object in the list of regions, or draw "
    "that box, and export again."
)
_CHOOSE = (
    "Or choose what decides, with labelkit bootstrap or labels add: --group box (the smallest box "
    "around each keypoint), --group parent (its parent or relation) or --group image (one object "
    "in each image)."
)


class StudioLabels(NamedTuple):
    """What a Label Studio export holds.

    Attributes:
        skeleton: the given one, or one of the labels in the order in which they occur.
        annotations: objects, in pixels of `image_sizes`.
        image_paths: images that have an annotation, perhaps without any object.
        image_sizes: (width, height) by path of what Label Studio showed.
        notes: what was left out, a sentence each.
    """

    skeleton: Skeleton
    annotations: list[Annotation]
    image_paths: tuple[str, ...]
    image_sizes: dict[str, tuple[int, int]]
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Region:
    """What an annotation says of one region, perhaps in several items."""

    item: Mapping[str, Any]
    kind: str
    labels: list[str] = field(default_factory=list)
    choices: list[str] = field(default_factory=list)


class _Work(NamedTuple):
    """The annotation of a task that counts.

    Attributes:
        where: names it in messages.
        reference: its id.
        path: of the image.
        ours: `data["labelkit"]`, if the task is of a labelkit project.
        points, boxes: by region id.
        tied: ids of the regions that a region is related to, is the parent of, or has as parent.
    """

    where: str
    reference: str
    path: str
    ours: Mapping[str, Any]
    points: dict[str, _Region]
    boxes: dict[str, _Region]
    tied: dict[str, set[str]]


def read_foreign(
    document: Any, origin: str, skeleton: Skeleton | None, group: Group | None = None
) -> StudioLabels:
    """Read the keypoints of a JSON export, whatever the project's labelling interface.

    Of several annotations of a task, the one marked as ground truth or the newest counts.

    Args:
        document: the parsed JSON, a list of tasks.
        origin: name of the file, for messages.
        skeleton: of the project; None makes one of the labels.
        group: what decides to which object a keypoint belongs; those of which it does not tell are
            left out. None takes all ways, and refuses what they leave unclear.

    Raises:
        FormatError: if it is not clear which object a keypoint belongs to, or something is damaged.
        SkeletonError: if the labels make no skeleton.
    """
    left_out: Counter[str] = Counter()
    works = [
        work
        for number, task in enumerate(document, 1)
        if (work := _work(task, f"{origin}: task {_id(task, number)}", left_out)) is not None
    ]
    names = dict.fromkeys(
        label for work in works for point in work.points.values() for label in point.labels
    )
    if not names:
        raise FormatError(
            f"{origin} is a Label Studio export without keypoints.",
            "Label some first. For boxes alone, export the project as COCO: --boxes FILE",
        )
    if skeleton is None:
        category = {"name": "object", "keypoints": list(names)}
        skeleton, _ = skeleton_from_category(category, origin)
    elif not {skeleton.present_name(name) for name in names} & set(skeleton.keypoints):
        raise FormatError(
            f"{origin} labels {named(list(names))}, none of which is in the skeleton "
            f"{skeleton.name!r}.",
            f"Known: {', '.join(skeleton.keypoints)}. Rename them, or give another --skeleton.",
        )
    annotations: list[Annotation] = []
    sizes: dict[str, tuple[int, int]] = {}
    for work in works:
        with _undamaged(work.where):
            annotations += _objects(work, skeleton, sizes, left_out, group)
    notes = []
    if left_out:
        listed = named([f"{count} x {what}" for what, count in left_out.most_common()])
        notes.append(f"Left out of {origin}: {listed}.")
    paths = tuple(dict.fromkeys(work.path for work in works))
    return StudioLabels(skeleton, annotations, paths, sizes, tuple(notes))


def _id(task: Any, number: int) -> Any:
    return task.get("id", number) if isinstance(task, Mapping) else number


def _work(task: Any, where: str, left_out: Counter[str]) -> _Work | None:
    """The annotation of a task that counts; None if it has none."""
    if not isinstance(task, Mapping) or not isinstance(task.get("data"), Mapping):
        raise FormatError(f"{where} is not a task with data.", _AS_JSON)
    rows = task.get("annotations")
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise FormatError(f"{where} has no list of annotations.", _AS_JSON)
    ours = task["data"].get("labelkit")
    ours = ours if isinstance(ours, Mapping) else {}
    if ours.get("kind") == VISIBILITY_TASK:
        raise FormatError(
            f"{where} asks for visibility answers of a labelkit project.",
            "Bring the answers into that project: labelkit pull --file FILE",
        )
    done = [row for row in rows if not row.get("was_cancelled")]
    if not done:
        return None
    row = max(done, key=lambda row: (bool(row.get("ground_truth")), _time(row)))
    reference = str(row.get("id", ""))
    where += f", annotation {reference}"
    with _undamaged(where):
        for other in done:
            if other is not row:
                how = "equal to a" if _said(other) == _said(row) else "that differs from a"
                left_out[f"annotation {how} newer one of its task"] += 1
        return _sorted(
            row.get("result") or [], where, reference, _path(task, where), ours, left_out
        )


def _said(row: Mapping[str, Any]) -> list[str]:
    """What an annotation says, whatever its regions are called and in which order they are."""
    regions = row.get("result") or []
    return sorted(json.dumps([it["type"], it.get("value")], sort_keys=True) for it in regions)


@contextmanager
def _undamaged(where: str) -> Iterator[None]:
    """Name the annotation in which a part is missing or wrong."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(
            f"{where} is damaged ({type(error).__name__}: {error}).", _AS_JSON
        ) from error


def _time(row: Mapping[str, Any]) -> str:
    return str(row.get("updated_at") or row.get("created_at") or "")


def _path(task: Mapping[str, Any], where: str) -> str:
    """The image of a task, as its address tells it."""
    data = task["data"]
    texts = {key: value for key, value in data.items() if isinstance(value, str) and value}
    for key in (*_IMAGE_KEYS, *texts):
        if key in texts:
            return image_path_from(texts[key])
    raise FormatError(
        f"{where}: its task has no image, only {named(list(data)) or 'no data'}.", _AS_JSON
    )


def _sorted(
    result: Sequence[Mapping[str, Any]],
    where: str,
    reference: str,
    path: str,
    ours: Mapping[str, Any],
    left_out: Counter[str],
) -> _Work:
    """The regions of an annotation by kind."""
    regions: dict[str, _Region] = {}
    tied: dict[str, set[str]] = defaultdict(set)
    for item in result:
        kind, value = str(item["type"]), item.get("value") or {}
        ends = item.get("from_id"), item.get("to_id")
        if kind != "relation":
            ends = item.get("id"), item.get("parentID")
        if all(ends):
            one, other = map(str, ends)
            tied[one].add(other)
            tied[other].add(one)
        if kind == "relation":
            continue
        region = regions.setdefault(str(item.get("id") or ""), _Region(item, kind))
        if kind in (*_POINTS, *_BOXES):
            region.item, region.kind = item, kind
        region.choices += map(str, value.get("choices") or [])
        if kind != "choices":
            region.labels += map(str, value.get(kind) or value.get("labels") or [])
    points = {id_: region for id_, region in regions.items() if region.kind in _POINTS}
    boxes = {id_: region for id_, region in regions.items() if region.kind in _BOXES}
    for id_, region in regions.items():
        if id_ not in points and id_ not in boxes:
            left_out[f"region of type {region.kind}"] += 1
    return _Work(where, reference, path, ours, points, boxes, tied)


def _objects(
    work: _Work,
    skeleton: Skeleton,
    sizes: dict[str, tuple[int, int]],
    left_out: Counter[str],
    group: Group | None,
) -> list[Annotation]:
    """The objects of one annotation."""
    boxes: dict[str, Box] = {}
    points: list[KeypointRegion] = []
    regions = {**work.boxes, **work.points}
    size = next((found for r in regions.values() if all((found := _size(r.item)).values())), _SHARE)
    for id_, region in regions.items():
        frame = seen_frame({**region.item, **size}, work.ours, work.where)
        if not work.ours.get("crop"):
            sizes[work.path] = (round(frame.w), round(frame.h))
        if id_ in work.boxes:
            boxes[id_] = read_box(region.item, frame, (work.path, work.path), work.where)
        elif region.labels and skeleton.present_name(region.labels[0]) not in skeleton.keypoints:
            left_out[f"keypoint {region.labels[0]!r}"] += 1
        else:
            value = {**region.item["value"], "keypointlabels": region.labels}
            item = {**region.item, "value": value}
            points.append(read_keypoint(item, id_, frame, skeleton, work.where))
    owned = _chosen(points, boxes, work, left_out, group) if group else _owned(points, boxes, work)
    for theirs in owned.values():
        labels = [point.label for point in theirs]
        for point in theirs:
            if labels.count(point.label) > 1:
                raise _unclear(work, point, "occurs twice in one object")
    objects = []
    for owner, theirs in owned.items():
        pose_xy = np.zeros((len(skeleton), 2))
        visibility = np.zeros(len(skeleton), dtype=np.int64)
        for point in theirs:
            index = skeleton.index(point.label)
            pose_xy[index] = point.xy
            visibility[index] = _visibility(work.points[point.region].choices, left_out)
        box = boxes.get(owner)
        category = "".join(work.boxes[owner].labels[:1]) if box else ""
        reference = f"{work.reference}/{owner}" if owner else work.reference
        pose = human_pose(pose_xy, visibility)
        objects.append(Annotation(work.path, reference, box, None, pose, False, category))
    return objects


def _size(item: Mapping[str, Any]) -> dict[str, Any]:
    """The size of the image that a region gives."""
    return {key: item.get(key) for key in _SHARE}


def _visibility(choices: Sequence[str], left_out: Counter[str]) -> int:
    code = VISIBLE
    for choice in choices:
        if choice.strip().lower() in _CHOICES:
            code = _CHOICES[choice.strip().lower()]
        else:
            left_out[f"choice {choice!r}"] += 1
    return code


def _owned(
    points: Sequence[KeypointRegion], boxes: Mapping[str, Box], work: _Work
) -> dict[str, list[KeypointRegion]]:
    """The keypoints of each box, and those of objects without a box by any other name.

    Raises:
        FormatError: if it is not clear which object a keypoint belongs to.
    """
    owned: dict[str, list[KeypointRegion]] = {id_: [] for id_ in boxes}
    unclear = []
    for group in _groups(points, work):
        told = boxes.keys() & {region for point in group for region in work.tied[point.region]}
        if len(told) > 1:
            raise _unclear(work, group[0], f"is tied to {len(told)} boxes")
        if told:
            owned[told.pop()] += group
        else:
            unclear.append(group)
    for group in sorted(unclear, key=lambda group: len(_around(group, boxes, 0.0))):
        labels = {point.label for point in group}
        free = {
            id_: box
            for id_, box in boxes.items()
            if labels.isdisjoint(point.label for point in owned[id_])
        }
        around = _around(group, free, 0.0) or _around(group, free, _BESIDE)
        if len(group) == 1 and len(boxes) < 2:
            owner = next(iter(boxes), "")  # one object
        elif len(around) == 1:
            owner = around[0]
        elif len(group) > 1 and not around:
            owner = group[0].region  # an object without a box
        else:
            raise _unclear(work, group[0], f"could belong to {len(around)} of {len(boxes)} boxes")
        owned.setdefault(owner, []).extend(group)
    return owned


def _chosen(
    points: Sequence[KeypointRegion],
    boxes: Mapping[str, Box],
    work: _Work,
    left_out: Counter[str],
    group: Group,
) -> dict[str, list[KeypointRegion]]:
    """The keypoints of each box as the user chose to group them; "" is an object without a box."""
    if group == "image":
        if len(boxes) > 1:
            left_out["box of an image that is one object"] += len(boxes)
        return {next(iter(boxes)) if len(boxes) == 1 else "": list(points)} if points else {}
    owned: dict[str, list[KeypointRegion]] = {id_: [] for id_ in boxes}
    for tied in _groups(points, work) if group == "parent" else [[point] for point in points]:
        around = {region for point in tied for region in work.tied[point.region]} & boxes.keys()
        if group == "box":
            around = set(_around(tied, boxes, 0.0) or _around(tied, boxes, _BESIDE))
        if around:
            owner = min(around, key=lambda id_: (boxes[id_].w * boxes[id_].h, id_))
            owned[owner] += tied
        elif group == "parent" and len(tied) > 1:
            owned[tied[0].region] = tied  # an object without a box
        else:
            left_out[f"keypoint without a {group}"] += len(tied)
    return owned


def _groups(points: Sequence[KeypointRegion], work: _Work) -> list[list[KeypointRegion]]:
    """Keypoints that are tied to each other, by a relation or a parent that is no box."""
    of_region = {point.region: point for point in points}
    groups, seen = [], set()
    for point in points:
        group, pending = [], [point.region]
        while pending:
            region = pending.pop()
            if region in seen or region in work.boxes:
                continue
            seen.add(region)
            group += [of_region[region]] if region in of_region else []
            pending += sorted(work.tied[region])
        if group:
            groups.append(group)
    return groups


def _around(group: Sequence[KeypointRegion], boxes: Mapping[str, Box], beside: float) -> list[str]:
    """The boxes that hold all of these keypoints, or have them beside them."""
    return [
        id_ for id_, box in boxes.items() if all(_holds(box, point.xy, beside) for point in group)
    ]


def _unclear(work: _Work, point: KeypointRegion, why: str) -> FormatError:
    x, y = point.xy
    return FormatError(
        f"{work.where}: {point.label!r} at ({x:.1f}, {y:.1f}) pixels of {work.path} {why}.",
        f"{_GROUP}\n{_CHOOSE}",
    )


def _holds(box: Box, xy: tuple[float, float], beside: float) -> bool:
    margin = beside * box.long_side
    left, top, right, bottom = box.corners
    return left - margin <= xy[0] <= right + margin and top - margin <= xy[1] <= bottom + margin
