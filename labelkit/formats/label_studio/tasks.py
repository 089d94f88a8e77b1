"""Label Studio tasks: an image with its boxes, or one object, and the keypoints to correct.

A task about one object has no box region. So a click on a drawn keypoint selects it, and Backspace
deletes nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labelkit.domain.instance import Box, Image, Instance
from labelkit.domain.pose import OCCLUDED, Pose
from labelkit.domain.skeleton import Skeleton
from labelkit.formats.label_studio.config import (
    BOX,
    IMAGE,
    KEYPOINTS,
    OBJECT,
    OCCLUDED_CHOICE,
    PRESENCE,
    VISIBILITY,
)

#: Values of `data["labelkit"]["kind"]` in a task.
VISIBILITY_TASK, CORRECTION_TASK = "visibility", "correction"

#: Ends the kind of a Label Studio project whose tasks are about one object each.
ONE_OBJECT = "/one"

#: Radius of a keypoint's dot, and of an occluded one, in percent of the width of what is shown; it
#: does not affect coordinates.
DOT, OCCLUDED_DOT = 0.6, 1.1


def visibility_task(
    image: Image,
    instances: Sequence[Instance],
    skeleton: Skeleton,
    image_url: str,
    model_version: str = "boxes",
    crop: Box | None = None,
    *,
    one_object: bool = False,
    ticks: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """A task that shows the boxes of one image, whose visible keypoints are to be ticked.

    Args:
        image: the image.
        instances: its objects; each becomes a box whose region id is the instance's id.
        skeleton: of the project.
        image_url: where Label Studio finds the image.
        model_version: of the prediction that holds the boxes; Label Studio shows it only if its
            project names the same version.
        crop: the part of the image that `image_url` shows, in its pixels; None for all of it.
        one_object: the task is about one object, and shows no box.
        ticks: keypoints that are ticked in advance, by the id of their instance.
    """
    frame = _frame(image, crop)
    result = [] if one_object else [_box(instance, frame) for instance in instances]
    for instance in instances:
        if names := list((ticks or {}).get(instance.id, ())):
            place = {} if one_object else _box(instance, frame)["value"]
            place.pop("rectanglelabels", None)
            choice = _region(frame, instance.id, PRESENCE, "choices")
            result.append(choice | {"value": {**place, "choices": names}})
    data = _data(
        image, instances, skeleton, image_url, VISIBILITY_TASK, {}, model_version, crop, one_object
    )
    return {"data": data, "predictions": [{"model_version": model_version, "result": result}]}


def correction_task(
    image: Image,
    items: Sequence[tuple[Instance, Pose | None]],
    skeleton: Skeleton,
    *,
    image_url: str,
    model_version: str,
    crop: Box | None = None,
    one_object: bool = False,
) -> dict[str, Any]:
    """A task that shows pre-annotated keypoints, to be corrected.

    Absent keypoints are left out. A point outside the shown part is moved to its border, because
    Label Studio cannot show it elsewhere. Keypoints come before boxes: the other way round,
    dragging a keypoint would move the box.

    Args:
        image: the image.
        items: its objects with their poses. None shows only the box: that is the control arm,
            whose tasks are the same in every other way.
        skeleton: of all poses.
        image_url: where Label Studio finds the image.
        model_version: of the prediction; Label Studio shows it only if its project names the same
            version.
        crop: the part of the image that `image_url` shows, in its pixels; None for all of it.
        one_object: the task is about one object, and shows no box.
    """
    frame = _frame(image, crop)
    result: list[dict[str, Any]] = []
    served: dict[str, list[str]] = {}
    scores: list[float] = []
    for instance, pose in items:
        if pose is None:
            continue
        shown = [k for k in range(len(skeleton)) if pose.present[k]]
        served[instance.id] = [skeleton.keypoints[k] for k in shown]
        for k in shown:
            scores.append(float(pose.score[k]))
            result += _keypoint(instance, pose, k, skeleton.keypoints[k], frame, one_object)
    instances = [instance for instance, _ in items]
    result += [] if one_object else [_box(instance, frame) for instance in instances]
    prediction: dict[str, Any] = {"model_version": model_version, "result": result}
    if scores:
        prediction["score"] = sum(scores) / len(scores)
    data = _data(
        image,
        instances,
        skeleton,
        image_url,
        CORRECTION_TASK,
        served,
        model_version,
        crop,
        one_object,
    )
    return {"data": data, "predictions": [prediction]}


def _data(
    image: Image,
    instances: Sequence[Instance],
    skeleton: Skeleton,
    image_url: str,
    kind: str,
    served: dict[str, list[str]],
    model_version: str,
    crop: Box | None,
    one_object: bool,
) -> dict[str, Any]:
    """The part of a task that every export returns unchanged, whatever happens to predictions."""
    frame = _frame(image, crop)
    return {
        "image": image_url,
        "image_id": image.id,
        "image_path": image.path,
        "labelkit": {
            "kind": kind,
            "width": frame.w,
            "height": frame.h,
            **({"crop": list(crop)} if crop else {}),
            **({"box": list(instances[0].box)} if one_object else {}),
            "skeleton": skeleton.name,
            "keypoints": list(skeleton.keypoints),
            "instances": [instance.id for instance in instances],
            **_named("categories", {i.id: i.category for i in instances}),
            **_named("individuals", {i.id: i.individual for i in instances}),
            "served": served,
            "model_version": model_version,
        },
    }


def _named(what: str, names: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """What a label file says of the objects, by id; nothing where it says nothing."""
    said = {id_: name for id_, name in names.items() if name}
    return {what: said} if said else {}


def _frame(image: Image, crop: Box | None) -> Box:
    """The part of the image that the annotator sees, in its pixels; percentages refer to it."""
    return crop or Box(0, 0, image.width, image.height)


def _region(frame: Box, region: str, control: str, kind: str) -> dict[str, Any]:
    return {
        "id": region,
        "from_name": control,
        "to_name": IMAGE,
        "type": kind,
        "original_width": frame.w,
        "original_height": frame.h,
        "image_rotation": 0,
    }


def _box(instance: Instance, frame: Box) -> dict[str, Any]:
    box = instance.box
    value = {
        "x": 100 * float(box.x - frame.x) / frame.w,
        "y": 100 * float(box.y - frame.y) / frame.h,
        "width": 100 * float(box.w) / frame.w,
        "height": 100 * float(box.h) / frame.h,
        "rotation": 0,
        "rectanglelabels": [OBJECT],
    }
    return _region(frame, instance.id, BOX, "rectanglelabels") | {"value": value}


def _keypoint(
    instance: Instance, pose: Pose, k: int, name: str, frame: Box, one_object: bool
) -> list[dict[str, Any]]:
    """The dot, and a choice with the same id if it is occluded."""
    region, occluded = f"{instance.id}.{k}", pose.visibility[k] == OCCLUDED
    x, y = pose.xy[k].tolist()
    place = {
        "x": min(max(100 * (x - frame.x) / frame.w, 0.0), 100.0),
        "y": min(max(100 * (y - frame.y) / frame.h, 0.0), 100.0),
        "width": OCCLUDED_DOT if occluded else DOT,
    }
    parent = {} if one_object else {"parentID": instance.id}
    dot = _region(frame, region, KEYPOINTS, "keypointlabels") | {
        "value": place | {"keypointlabels": [name]},
        **parent,
    }
    choice = _region(frame, region, VISIBILITY, "choices") | {
        "value": place | {"choices": [OCCLUDED_CHOICE]},
        **parent,
    }
    return [dot, choice] if occluded else [dot]
