"""The object of each keypoint of a Label Studio annotation, and what happened to the keypoint."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from labelkit.domain.instance import Box
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import FormatError
from labelkit.formats.label_studio.config import ABSENT_CHOICE
from labelkit.formats.label_studio.regions import KeypointRegion

#: A shift of at most this many percent of the image is float noise, not a move.
SAME_PLACE = 1e-6

#: x and y in percent; None if the export does not tell.
Place = tuple[float, float] | None

#: Keypoints that were on the screen at the start, by instance id and keypoint name.
Shown = Mapping[str, Mapping[str, Place]]


def what_was_shown(
    parent: Mapping[str, Any] | None, ours: Mapping[str, Any], skeleton: Skeleton
) -> Shown:
    """The keypoints that an annotator started from.

    Args:
        parent: the prediction that was shown, if any; an export may leave out its result.
        ours: `data["labelkit"]` of our task.
        skeleton: gives the names that keypoints have now.
    """
    now = skeleton.present_name
    if parent is None:
        return {}
    if not parent.get("result"):
        served: Mapping[str, Sequence[str]] = ours.get("served") or {}
        return {id_: dict.fromkeys(map(now, labels)) for id_, labels in served.items()}
    shown: dict[str, dict[str, Place]] = defaultdict(dict)
    only = ours["instances"][0] if ours.get("box") else ""
    for item in parent["result"]:
        for label in item["value"].get("keypointlabels") or []:
            place = (item["value"]["x"], item["value"]["y"])
            shown[str(item.get("parentID") or only)][now(label)] = place
    return shown


def began_with(prediction: Mapping[str, Any], annotation: Mapping[str, Any]) -> bool:
    """Whether the regions that Label Studio calls untouched are where a prediction has them."""
    untouched = {
        item.get("id"): _place(item)
        for item in annotation.get("result") or ()
        if item.get("origin") == "prediction" and item.get("type") != "choices"
    }
    shown = {item.get("id"): _place(item) for item in prediction.get("result") or ()}
    return bool(untouched) and untouched.items() <= shown.items()


def _place(item: Mapping[str, Any]) -> tuple[Any, Any]:
    value = item.get("value") or {}
    return value.get("x"), value.get("y")


def by_box(
    points: Sequence[KeypointRegion],
    boxes: Mapping[str, Box],
    asked: Collection[str],
    choices: Mapping[str, Sequence[str]],
    shown: Shown,
    where: str,
) -> dict[str, list[KeypointRegion]]:
    """The points of each box; a keypoint that an annotator draws does not name its box.

    Label Studio deletes a box without its keypoints. They go to the box that was drawn in its
    place, if there is one. Otherwise, if none of them was moved or marked, there is no object.

    Args:
        points: of an annotation.
        boxes: of the same annotation, by region id.
        asked: ids of the boxes that came from us.
        choices: for example "Occluded", by region id.
        shown: the keypoints on the screen at the start.
        where: the annotation, for messages.

    Raises:
        FormatError: if the box of a point is ambiguous, or an object has a keypoint twice.
    """
    owned = {region: [p for p in points if p.parent == region] for region in boxes}
    left_behind: dict[str, list[KeypointRegion]] = defaultdict(list)
    for point in points:
        if point.parent and point.parent not in boxes:
            left_behind[point.parent].append(point)
    for parent, theirs in left_behind.items():
        around = [
            region
            for region, box in boxes.items()
            if region not in asked and any(_contains(box, point.xy) for point in theirs)
        ]
        instead = around[0] if len(around) == 1 and not owned[around[0]] else None
        if instead and all(_contains(boxes[instead], point.xy) for point in theirs):
            owned[instead] += theirs
        elif around or any(
            parent not in asked
            or point.region in choices
            or origin(point, shown.get(parent, {})) != "untouched"
            for point in theirs
        ):
            raise FormatError(
                f"{where}: the box {parent} was deleted, but not its keypoints "
                f"{', '.join(point.label for point in theirs)}.",
                "In Label Studio, delete these keypoints too, or drag them onto another box in the "
                "list of regions, or enlarge the box that replaces it until it holds them all. If "
                "the box was deleted by mistake, delete the annotation: the task starts again from "
                "its pre-annotation.",
            )
    absent = _marked_absent(choices)
    for point in points:
        if not point.parent:
            only = next(iter(boxes)) if len(boxes) == 1 and not left_behind else None
            theirs = owned[only or _owner(point, owned, boxes, absent, shown, where)]
            # It replaces a point that was marked as absent.
            theirs[:] = [p for p in theirs if p.label != point.label or p.region not in absent]
            theirs.append(point)
    _refuse_twice(owned, where)
    return owned


def _owner(
    point: KeypointRegion,
    owned: Mapping[str, Sequence[KeypointRegion]],
    boxes: Mapping[str, Box],
    absent: Collection[str],
    shown: Shown,
    where: str,
) -> str:
    """The box that a drawn point belongs to: one around it, or one that lost this keypoint."""
    name = point.label
    around = [region for region, box in boxes.items() if _contains(box, point.xy)]
    maybe = [
        region
        for region, theirs in owned.items()
        if (region in around or name in shown.get(region, {}))
        and all(p.label != name or p.region in absent for p in theirs)
    ]
    if len(maybe) == 1:
        return maybe[0]
    at = f"{where}: {name!r} at ({point.xy[0]:.1f}, {point.xy[1]:.1f}) pixels"
    raise FormatError(
        f"{at} is in an object that has this keypoint already."
        if around and not maybe
        else f"{at} could belong to {len(maybe)} of {len(boxes)} boxes.",
        "In Label Studio, drag the keypoint onto its box in the list of regions, or delete it.",
    )


def of_one_object(
    points: Sequence[KeypointRegion], choices: Mapping[str, Sequence[str]], where: str
) -> list[KeypointRegion]:
    """The points of a task about one object.

    Args:
        points: of an annotation.
        choices: for example "Occluded", by region id.
        where: the annotation, for messages.

    Raises:
        FormatError: if the object has a keypoint twice.
    """
    absent, labels = _marked_absent(choices), [point.label for point in points]
    # Another point replaces one that was marked as absent.
    kept = [p for p in points if p.region not in absent or labels.count(p.label) == 1]
    _refuse_twice({"": kept}, where)
    return kept


def _marked_absent(choices: Mapping[str, Sequence[str]]) -> set[str]:
    return {region for region, chosen in choices.items() if ABSENT_CHOICE in chosen}


def _refuse_twice(owned: Mapping[str, Sequence[KeypointRegion]], where: str) -> None:
    """Make sure that no object, by the id of its box, has a keypoint twice."""
    for region, theirs in owned.items():
        labels = [point.label for point in theirs]
        for label in labels:
            if labels.count(label) > 1:
                elsewhere = ", or drag it onto the box that it belongs to in the list of regions"
                raise FormatError(
                    f"{where}: the object{f' {region}' if region else ''} has {label!r} twice.",
                    f"In Label Studio, delete one of the two{elsewhere if region else ''}.",
                )


def _contains(box: Box, xy: tuple[float, float]) -> bool:
    return box.x <= xy[0] <= box.x + box.w and box.y <= xy[1] <= box.y + box.h


def origin(point: KeypointRegion, shown: Mapping[str, Place]) -> str:
    """What happened to a point, judged by its place: "untouched", "changed" or "new".

    Label Studio's own origin also changes with a choice, and is "manual" for a point that was
    deleted and drawn again.

    Args:
        point: of an object.
        shown: the keypoints of that object on the screen at the start.
    """
    if point.label not in shown:  # another keypoint was renamed
        return "new" if shown and point.origin == "changed" else point.origin
    place = shown[point.label]
    if place is None:
        return "changed" if point.origin == "new" else point.origin
    moved = max(abs(now - then) for now, then in zip(point.percent, place, strict=True))
    return "untouched" if moved <= SAME_PLACE else "changed"
