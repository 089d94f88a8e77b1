"""Which keypoints of a Label Studio annotation belong to which box, and what happened to them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from labelkit.domain.instance import Box
from labelkit.errors import FormatError
from labelkit.formats.label_studio.config import ABSENT_CHOICE
from labelkit.formats.label_studio.regions import KeypointRegion

#: Percent of the image within which a keypoint is where it was shown; float noise, not a move.
SAME_PLACE = 1e-6

#: x and y in percent; None where the export does not tell.
Place = tuple[float, float] | None

#: Keypoints that were on the screen at the start, by id of the instance and name.
Shown = Mapping[str, Mapping[str, Place]]


def what_was_shown(parent: Mapping[str, Any] | None, ours: Mapping[str, Any]) -> Shown:
    """What an annotator started from.

    Args:
        parent: the prediction it was, if any; an export may leave out its result.
        ours: what our task says of itself.
    """
    if parent is None:
        return {}
    if not parent.get("result"):
        served: Mapping[str, Sequence[str]] = ours.get("served") or {}
        return {instance: dict.fromkeys(labels) for instance, labels in served.items()}
    shown: dict[str, dict[str, Place]] = defaultdict(dict)
    for item in parent["result"]:
        for label in item["value"].get("keypointlabels") or []:
            place = (item["value"]["x"], item["value"]["y"])
            shown[str(item.get("parentID") or "")][label] = place
    return shown


def began_with(prediction: Mapping[str, Any], annotation: Mapping[str, Any]) -> bool:
    """Whether what is said to be untouched in an annotation is where a prediction has it."""
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
    """Every point under the box it belongs to; what an annotator draws names no box.

    Label Studio deletes a box alone. What it leaves behind belongs to the box that was drawn
    instead, if one was; else, if nobody moved or marked any of it, there is no object.

    Args:
        points, boxes: of an annotation.
        asked: ids of the boxes that came from us.
        choices: such as "Occluded", by id of their region.
        shown: what was on the screen at the start.
        where: for messages.

    Raises:
        FormatError: if it is not clear whose a point is.
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
                f"{where}: the box {parent} is not there, its keypoints "
                f"{', '.join(point.label for point in theirs)} are.",
                "In Label Studio, delete these keypoints too, or drag them onto another box in the "
                "list of regions, or make the box that was drawn instead large enough for all. Was "
                "the box deleted by mistake? Delete the annotation: the task starts anew from its "
                "pre-annotation.",
            )
    absent = {region for region, chosen in choices.items() if ABSENT_CHOICE in chosen}
    for point in points:
        if not point.parent:
            only = next(iter(boxes)) if len(boxes) == 1 and not left_behind else None
            theirs = owned[only or _owner(point, owned, boxes, absent, shown, where)]
            # One that was marked as absent gives way.
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
    """The box that a drawn point belongs to: around it, or one whose own point is gone."""
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
        f"{at} is where its object has one already."
        if around and not maybe
        else f"{at} could belong to {len(maybe)} of its {len(boxes)} boxes.",
        "In Label Studio, drag the keypoint onto its box in the list of regions, or delete it.",
    )


def _refuse_twice(owned: Mapping[str, Sequence[KeypointRegion]], where: str) -> None:
    for region, theirs in owned.items():
        labels = [point.label for point in theirs]
        for label in labels:
            if labels.count(label) > 1:
                raise FormatError(
                    f"{where}: {label!r} is there twice in the object {region}.",
                    "In Label Studio, delete one of the two, or drag it onto the box it belongs "
                    "to in the list of regions.",
                )


def _contains(box: Box, xy: tuple[float, float]) -> bool:
    return box.x <= xy[0] <= box.x + box.w and box.y <= xy[1] <= box.y + box.h


def origin(point: KeypointRegion, shown: Mapping[str, Place]) -> str:
    """What happened to a point, by its place, where its object showed these at the start.

    Label Studio's own word also changes with a choice, and is "manual" where a point was deleted
    and drawn again.
    """
    if point.label not in shown:  # another keypoint was renamed
        return "new" if shown and point.origin == "changed" else point.origin
    place = shown[point.label]
    if place is None:
        return "changed" if point.origin == "new" else point.origin
    moved = max(abs(now - then) for now, then in zip(point.percent, place, strict=True))
    return "untouched" if moved <= SAME_PLACE else "changed"
