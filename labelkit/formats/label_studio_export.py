"""Label Studio's JSON export: what annotators made of our tasks, object by object."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from labelkit.annotation import SLACK_PX
from labelkit.errors import FormatError, InputError
from labelkit.formats.label_studio_config import (
    ABSENT_CHOICE,
    NOTHING_CHOICE,
    OCCLUDED_CHOICE,
    VISIBLE_CHOICE,
)
from labelkit.formats.label_studio_tasks import CORRECTION_TASK, VISIBILITY_TASK
from labelkit.instance import Box, Image, check_box
from labelkit.pose import ABSENT, OCCLUDED, VISIBLE, Pose, human_pose
from labelkit.skeleton import Skeleton

CODES = {VISIBLE_CHOICE: VISIBLE, OCCLUDED_CHOICE: OCCLUDED, ABSENT_CHOICE: ABSENT}

#: What Label Studio's `origin` of a region means for a keypoint.
ORIGINS = {"prediction": "untouched", "prediction-changed": "changed", "manual": "new"}


@dataclass(frozen=True, slots=True, eq=False)
class StudioInstance:
    """One object of an annotation.

    Attributes:
        region_id: of its box; the instance's id where the box came from us.
        is_new: the box was drawn by the annotator.
        box: in upright image pixels, cut at the image's border.
        presence: answer by keypoint name; None in a correction task, or without an answer.
        pose: in the order of the skeleton; None in a visibility task.
        origins: K times "untouched", "changed" or "new" (present), "removed" (was shown, is
            absent now) or "" (never there); empty in a visibility task.
    """

    region_id: str
    is_new: bool
    box: Box
    presence: dict[str, bool] | None
    pose: Pose | None
    origins: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class StudioAnnotation:
    """What one annotator made of one task.

    Attributes:
        annotation_id: Label Studio's; together with `updated_at` it names one version.
        image_id, image_path: of our task; the id is "" and the path that of the picture where
            the task is not ours.
        created_at, updated_at: as Label Studio writes them (ISO 8601).
        annotator: e-mail address, or number where the export has only that.
        lead_time_s: seconds of work; None where unknown.
        skipped: the annotator refused the task; there are no instances then.
        parent_prediction: Label Studio's id of the prediction it started from; "" if none.
        model_version: of that prediction; "" if none.
        instances: in the order of their boxes.
    """

    annotation_id: str
    image_id: str
    image_path: str
    created_at: str
    updated_at: str
    annotator: str
    lead_time_s: float | None
    skipped: bool
    parent_prediction: str
    model_version: str
    instances: tuple[StudioInstance, ...]


def read_export(document: Any, skeleton: Skeleton, origin: str) -> list[StudioAnnotation]:
    """Read tasks with annotations, as the JSON export and the tasks API give them.

    Drafts are left out. A task may hold several annotations.

    Args:
        document: the parsed JSON, a list of tasks.
        skeleton: of the project.
        origin: name of the file or server, for messages.

    Raises:
        FormatError: on the first item that cannot be understood, naming task and annotation.
    """
    if not isinstance(document, list):
        raise FormatError(
            f"{origin} is not a Label Studio export: it is not a list of tasks.",
            "Export the project as JSON.",
        )
    annotations = []
    for number, task in enumerate(document, 1):
        if not isinstance(task, Mapping) or not isinstance(task.get("data"), Mapping):
            raise FormatError(
                f"{origin}: entry {number} is not a task with data.",
                "Export the project as JSON, not as JSON-MIN, CSV or COCO.",
            )
        if not isinstance(task.get("annotations"), list):
            raise FormatError(
                f"{origin}: task {task.get('id', number)} has no list of annotations.",
                "Export the project as JSON, not as JSON-MIN, CSV or COCO.",
            )
        for annotation in task["annotations"]:
            where = f"{origin}: task {task.get('id', number)}"
            if not isinstance(annotation, Mapping) or annotation.get("id") is None:
                raise FormatError(f"{where} has an annotation without an id.")
            where += f", annotation {annotation['id']}"
            try:
                annotations.append(_annotation(task, annotation, skeleton, where))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise FormatError(
                    f"{where} is damaged ({type(error).__name__}: {error}).",
                    "Export the project again as JSON.",
                ) from error
    return annotations


def _annotation(
    task: Mapping[str, Any], annotation: Mapping[str, Any], skeleton: Skeleton, where: str
) -> StudioAnnotation:
    data = task["data"]
    ours: Mapping[str, Any] = data.get("labelkit") or {}
    path = data.get("image_path") or data.get("image")
    if not isinstance(path, str):
        raise FormatError(f"{where}: its task names no image.", "Push the tasks with labelkit.")
    who = annotation.get("completed_by")
    if isinstance(who, Mapping):
        who = who.get("email") or who.get("id")
    parent = _parent_prediction(task, annotation)
    skipped = bool(annotation.get("was_cancelled"))
    instances: tuple[StudioInstance, ...] = ()
    if not skipped:
        shown = _shown(parent, ours)
        image_id = str(data.get("image_id") or "")
        result = annotation.get("result") or []
        instances = _instances(result, ours, shown, skeleton, (image_id, path), where)
    lead_time = annotation.get("lead_time")
    version = (parent.get("model_version") or ours.get("model_version", "")) if parent else ""
    return StudioAnnotation(
        annotation_id=str(annotation["id"]),
        image_id=str(data.get("image_id") or ""),
        image_path=path,
        created_at=str(annotation.get("created_at") or ""),
        updated_at=str(annotation.get("updated_at") or annotation.get("created_at") or ""),
        annotator="" if who is None else str(who),
        lead_time_s=None if lead_time is None else float(lead_time),
        skipped=skipped,
        parent_prediction=str(parent.get("id") or "") if parent else "",
        model_version=str(version),
        instances=instances,
    )


def _parent_prediction(
    task: Mapping[str, Any], annotation: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """The prediction that the annotator started from, as far as the export tells."""
    parent = annotation.get("parent_prediction")
    copy = annotation.get("prediction")
    if isinstance(copy, Mapping) and copy.get("result") and parent in (None, copy.get("id")):
        return copy
    if parent is None:
        return None
    for prediction in task.get("predictions") or []:
        if isinstance(prediction, Mapping) and prediction.get("id") == parent:
            return prediction
    return {"id": parent}


def _shown(parent: Mapping[str, Any] | None, ours: Mapping[str, Any]) -> set[tuple[str, str]]:
    """(instance id, keypoint) that were on the screen at the start."""
    if parent is None:
        return set()
    if parent.get("result"):
        return {
            (str(item.get("parentID") or ""), label)
            for item in parent["result"]
            for label in item["value"].get("keypointlabels") or []
        }
    served: Mapping[str, Sequence[str]] = ours.get("served") or {}
    return {(instance, label) for instance, labels in served.items() for label in labels}


class _Keypoint(NamedTuple):
    region: str
    parent: str
    label: str
    xy: tuple[float, float]
    origin: str


def _instances(
    result: Sequence[Mapping[str, Any]],
    ours: Mapping[str, Any],
    shown: set[tuple[str, str]],
    skeleton: Skeleton,
    image: tuple[str, str],
    where: str,
) -> tuple[StudioInstance, ...]:
    """Group regions by their box and turn percentages into pixels."""
    boxes: dict[str, Box] = {}
    keypoints: dict[str, _Keypoint] = {}
    choices: dict[str, list[str]] = {}
    for item in result:
        region, kind = str(item.get("id") or ""), item.get("type")
        if kind == "choices":
            choices.setdefault(region, []).extend(item["value"]["choices"])
            continue
        if kind not in ("rectanglelabels", "rectangle", "keypointlabels"):
            continue
        if not region or region in boxes or region in keypoints:
            raise FormatError(f"{where}: the region id {region!r} is missing or there twice.")
        size_wh = _size(item, ours, where)
        if kind == "keypointlabels":
            keypoints[region] = _keypoint(item, region, size_wh, skeleton, where)
        else:
            boxes[region] = _box(item, size_wh, image, where)
    owned: dict[str, list[_Keypoint]] = {region: [] for region in boxes}
    for point in keypoints.values():
        parent = point.parent
        if parent not in owned:
            if len(boxes) != 1:
                raise FormatError(
                    f"{where}: {point.label!r} belongs to none of its {len(boxes)} boxes.",
                    "In Label Studio, drag the keypoint onto its box in the list of regions.",
                )
            parent = next(iter(boxes))
        if any(other.label == point.label for other in owned[parent]):
            raise FormatError(
                f"{where}: {point.label!r} is there twice in the object {parent}.",
                "In Label Studio, delete one of the two, or drag it onto the box it belongs to.",
            )
        owned[parent].append(point)
    known = set(map(str, ours.get("instances") or ()))
    answered = any(region in boxes for region in choices)
    kind = ours.get("kind") or (VISIBILITY_TASK if answered else CORRECTION_TASK)
    instances = []
    for region, box in boxes.items():
        presence: dict[str, bool] | None = None
        pose: Pose | None = None
        origins: tuple[str, ...] = ()
        if kind == VISIBILITY_TASK:
            presence = _presence(choices.get(region, []), skeleton, f"{where}, box {region}")
        else:
            was_shown = {label for owner, label in shown if owner == region}
            pose, origins = _pose(owned[region], choices, was_shown, skeleton, where)
        instances.append(StudioInstance(region, region not in known, box, presence, pose, origins))
    return tuple(instances)


def _size(item: Mapping[str, Any], ours: Mapping[str, Any], where: str) -> tuple[float, float]:
    """Width and height that percentages refer to: ours, if the browser saw the same picture."""
    if item.get("image_rotation"):
        raise FormatError(
            f"{where}: the image was rotated by {item['image_rotation']} degrees.",
            "In Label Studio, rotate it back and submit again.",
        )
    seen_w, seen_h = (float(item.get(f"original_{side}") or 0) for side in ("width", "height"))
    if not ours.get("width"):
        if seen_w <= 0 or seen_h <= 0:
            raise FormatError(f"{where} does not say how large the image is.")
        return seen_w, seen_h
    width, height = float(ours["width"]), float(ours["height"])
    # A smaller copy of the picture is fine; a turned or another one is not.
    if seen_w > 0 < seen_h and abs(math.log(seen_w / seen_h * height / width)) > 0.05:
        raise FormatError(
            f"{where} was made on an image of {seen_w:.0f} x {seen_h:.0f} pixels, "
            f"the project's has {width:.0f} x {height:.0f}.",
            "The picture behind the task is another one: check the image's address.",
        )
    return width, height


def _percent(value: Mapping[str, Any], key: str, where: str) -> float:
    number = value.get(key)
    if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) < 1e9:
        raise FormatError(f"{where}: a region has {key} = {number!r}, which is no percentage.")
    return float(number)


def _box(
    item: Mapping[str, Any], size_wh: tuple[float, float], image: tuple[str, str], where: str
) -> Box:
    value = item["value"]
    if value.get("rotation"):
        raise FormatError(
            f"{where}: the box {item['id']} is rotated by {value['rotation']} degrees.",
            "In Label Studio, make it upright and submit again.",
        )
    left, width = (_percent(value, key, where) * size_wh[0] / 100 for key in ("x", "width"))
    top, height = (_percent(value, key, where) * size_wh[1] / 100 for key in ("y", "height"))
    picture = Image(image[1], image[0], round(size_wh[0]), round(size_wh[1]))
    try:
        return check_box(Box(left, top, width, height), picture)
    except InputError as error:
        raise FormatError(f"{where}: {error.problem}", "Correct it in Label Studio.") from error


def _keypoint(
    item: Mapping[str, Any],
    region: str,
    size_wh: tuple[float, float],
    skeleton: Skeleton,
    where: str,
) -> _Keypoint:
    labels = item["value"].get("keypointlabels") or []
    if len(labels) != 1 or labels[0] not in skeleton.keypoints:
        raise FormatError(
            f"{where}: the keypoint {region} is labelled {labels}, "
            f"not one of the skeleton {skeleton.name!r}.",
            f"Known: {', '.join(skeleton.keypoints)}.",
        )
    xy = []
    for key, side in zip("xy", size_wh, strict=True):
        pixel = _percent(item["value"], key, where) * side / 100
        if not -SLACK_PX <= pixel <= side + SLACK_PX:
            raise FormatError(
                f"{where}: {labels[0]!r} lies at {key} = {pixel} pixels, outside the image "
                f"({size_wh[0]:.0f} x {size_wh[1]:.0f}).",
                "Correct it in Label Studio.",
            )
        xy.append(min(max(pixel, 0.0), side))
    origin = ORIGINS.get(str(item.get("origin") or "manual"))
    if origin is None:
        raise FormatError(f"{where}: {labels[0]!r} has the unknown origin {item['origin']!r}.")
    return _Keypoint(region, str(item.get("parentID") or ""), labels[0], (xy[0], xy[1]), origin)


def _pose(
    points: Sequence[_Keypoint],
    choices: Mapping[str, Sequence[str]],
    was_shown: set[str],
    skeleton: Skeleton,
    where: str,
) -> tuple[Pose, tuple[str, ...]]:
    xy = np.zeros((len(skeleton), 2))
    visibility = np.zeros(len(skeleton), dtype=np.int64)
    origins = ["removed" if name in was_shown else "" for name in skeleton.keypoints]
    for point in points:
        chosen = choices.get(point.region) or [VISIBLE_CHOICE]
        if len(chosen) != 1 or chosen[0] not in CODES:
            raise FormatError(
                f"{where}: {point.label!r} is marked as {list(chosen)}.",
                f"Choose one of {', '.join(CODES)}.",
            )
        index = skeleton.index(point.label)
        visibility[index] = CODES[chosen[0]]
        if visibility[index] != ABSENT:
            xy[index], origins[index] = point.xy, point.origin
        elif point.origin != "new":
            origins[index] = "removed"
    return human_pose(xy, visibility), tuple(origins)


def _presence(ticks: Sequence[str], skeleton: Skeleton, where: str) -> dict[str, bool] | None:
    """The answer for one box; None where nothing is ticked, not even that there is nothing."""
    if not ticks:
        return None
    for tick in ticks:
        if tick != NOTHING_CHOICE and tick not in skeleton.keypoints:
            raise FormatError(
                f"{where}: {tick!r} is no keypoint of the skeleton {skeleton.name!r}.",
                f"Known: {', '.join(skeleton.keypoints)}.",
            )
    if NOTHING_CHOICE in ticks and len(set(ticks)) > 1:
        raise FormatError(
            f"{where}: {NOTHING_CHOICE!r} is ticked together with {len(set(ticks)) - 1} keypoints.",
            "Correct it in Label Studio.",
        )
    return {name: name in ticks for name in skeleton.keypoints}
