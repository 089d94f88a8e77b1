"""Label Studio's JSON export: the annotators' answers to our tasks, object by object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from labelkit.domain.instance import Box
from labelkit.domain.pose import ABSENT, OCCLUDED, UNKNOWN, VISIBLE, Pose, human_pose
from labelkit.domain.skeleton import Skeleton, make_skeleton
from labelkit.errors import FormatError
from labelkit.formats.label_studio.config import (
    ABSENT_CHOICE,
    ALL_CHOICE,
    NOTHING_CHOICE,
    OCCLUDED_CHOICE,
    VISIBLE_CHOICE,
)
from labelkit.formats.label_studio.grouping import (
    Place,
    Shown,
    began_with,
    by_box,
    of_one_object,
    origin,
    what_was_shown,
)
from labelkit.formats.label_studio.regions import (
    KeypointRegion,
    read_box,
    read_keypoint,
    seen_frame,
)
from labelkit.formats.label_studio.tasks import CORRECTION_TASK, VISIBILITY_TASK

CODES = {VISIBLE_CHOICE: VISIBLE, OCCLUDED_CHOICE: OCCLUDED, ABSENT_CHOICE: ABSENT}

#: How many items of a kind one message lists.
LISTED = 10

_AS_JSON = "Export the project as JSON, not as JSON-MIN, CSV or COCO."


@dataclass(frozen=True, slots=True, eq=False)
class StudioInstance:
    """One object of an annotation.

    Attributes:
        region_id: of its box; the instance's id if the box came from us.
        is_new: the box was drawn by the annotator.
        box: in upright image pixels, cut at the image's border; as registered where the task shows
            no box.
        presence: answer by keypoint name, of those that the task asks about or that are ticked;
            None in a correction task, or without an answer.
        pose: K keypoints in upright image pixels; None in a visibility task. Those that the task
            does not ask about are unknown, unless they were placed.
        origins: K times "untouched" (still where it was shown, perhaps marked as occluded),
            "changed" (moved), "new" (was not shown), "removed" (was shown, is absent now) or ""
            (absent before and after); empty in a visibility task.
    """

    region_id: str
    is_new: bool
    box: Box
    presence: dict[str, bool] | None
    pose: Pose | None
    origins: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class StudioAnnotation:
    """One annotator's answer to one task.

    Attributes:
        annotation_id: Label Studio's; together with `updated_at` it names one version.
        task_id: Label Studio's; "" if the export leaves it out.
        address: where a browser shows the task; "" if it was not read from a server.
        image_id: of our task; "" if the task is not ours.
        image_path: of our task; the address of the image if the task is not ours.
        created_at, updated_at: as Label Studio writes them (ISO 8601).
        annotator: e-mail address, or number if the export has only that.
        lead_time_s: seconds of work; None if unknown.
        skipped: the annotator skipped the task; then there are no instances.
        parent_prediction: Label Studio's id of the prediction it started from; "" if none.
        model_version: of that prediction; "" if none.
        asked: ids of the instances in our task; empty if the task is not ours.
        labelled: which labels the task showed: their version (see `content_version`) by instance.
        control: ids of the instances that the task showed without pre-annotation.
        skeleton: of the poses: the project's, and after its keypoints those that it has lost since
            the task was made.
        instances: in the order of their boxes.
    """

    annotation_id: str
    task_id: str
    address: str
    image_id: str
    image_path: str
    created_at: str
    updated_at: str
    annotator: str
    lead_time_s: float | None
    skipped: bool
    parent_prediction: str
    model_version: str
    asked: tuple[str, ...]
    labelled: Mapping[str, str]
    control: tuple[str, ...]
    skeleton: Skeleton
    instances: tuple[StudioInstance, ...]

    @property
    def declined(self) -> tuple[str, ...]:
        """Ids of the instances in the task whose boxes the annotator deleted; all, if skipped.

        An annotation that began on a blank page declines none.
        """
        there = {instance.region_id for instance in self.instances}
        blank = there.isdisjoint(self.asked) and not self.parent_prediction and not self.skipped
        return () if blank else tuple(id_ for id_ in self.asked if id_ not in there)


def read_export(
    document: Any, skeleton: Skeleton, origin: str, first_keypoints: Sequence[str] = ()
) -> list[StudioAnnotation]:
    """Read a JSON export completely, or not at all.

    Args:
        document: the parsed JSON.
        skeleton: of the project.
        origin: name of the file, for messages.
        first_keypoints: what a task asks about that does not say, because an earlier version or
            another program made it; empty takes the skeleton's.

    Raises:
        FormatError: if an annotation cannot be used; it names every task and annotation to
            correct, up to `LISTED`.
    """
    annotations, bad = read_tasks(document, skeleton, origin, first_keypoints)
    if bad:
        raise _all_in_one(bad)
    return annotations


def read_tasks(
    document: Any, skeleton: Skeleton, origin: str, first_keypoints: Sequence[str] = ()
) -> tuple[list[StudioAnnotation], list[FormatError]]:
    """Read tasks with annotations, as the JSON export and the tasks API give them.

    Drafts are left out. A task may hold several annotations.

    Args:
        document: the parsed JSON, a list of tasks.
        skeleton: of the project.
        origin: name of the file or server, for messages.
        first_keypoints: see `read_export`.

    Returns:
        the usable annotations, and an error for each of the others, which people have to correct.

    Raises:
        FormatError: if the document itself is damaged.
    """
    if not isinstance(document, list):
        raise FormatError(
            f"{origin} is not a Label Studio export: it is not a list of tasks.",
            _AS_JSON,
        )
    annotations = []
    bad: list[FormatError] = []
    for number, task in enumerate(document, 1):
        if not isinstance(task, Mapping) or not isinstance(task.get("data"), Mapping):
            raise FormatError(
                f"{origin}: entry {number} is not a task with data.",
                _AS_JSON,
            )
        if not isinstance(task.get("annotations"), list):
            raise FormatError(
                f"{origin}: task {task.get('id', number)} has no list of annotations.",
                _AS_JSON,
            )
        asked = _asked(task["data"].get("labelkit") or {}, skeleton, first_keypoints)
        for annotation in task["annotations"]:
            address = _address(origin, task)
            where = address or f"{origin}: task {task.get('id', number)}"
            if not isinstance(annotation, Mapping) or annotation.get("id") is None:
                raise FormatError(f"{where} has an annotation without an id.", _AS_JSON)
            where += f", annotation {annotation['id']}"
            try:
                annotations.append(_annotation(task, annotation, asked, address, where))
            except FormatError as error:
                bad.append(error)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise FormatError(
                    f"{where} is damaged ({type(error).__name__}: {error}).",
                    _AS_JSON,
                ) from error
    return annotations, bad


def _address(origin: str, task: Mapping[str, Any]) -> str:
    """Where a browser shows a task; "" if it was not read from a server."""
    if not origin.startswith(("http://", "https://")) or "project" not in task:
        return ""
    return f"{origin}/projects/{task['project']}/data?task={task.get('id')}"


def _all_in_one(bad: Sequence[FormatError]) -> FormatError:
    """One error for all annotations that have to be corrected, to save repeated exports."""
    again = "Then press Update there and export again. Nothing of this export was recorded."
    if len(bad) == 1:
        return FormatError(bad[0].problem, f"{bad[0].next_step}\n{again}".lstrip())
    lines = [f"{error.problem} {error.next_step}".strip() for error in bad[:LISTED]]
    if len(bad) > LISTED:
        lines.append(f"... and {len(bad) - LISTED} more.")
    head = f"{len(bad)} annotations have to be corrected in Label Studio:"
    return FormatError("\n".join([head, *lines]), again)


class _Asked(NamedTuple):
    """What a task asks about.

    Attributes:
        skeleton: see `StudioAnnotation`.
        names: present names of the keypoints that it asks about.
    """

    skeleton: Skeleton
    names: frozenset[str]


def _asked(ours: Mapping[str, Any], skeleton: Skeleton, first_keypoints: Sequence[str]) -> _Asked:
    asked = ours.get("keypoints") or first_keypoints or skeleton.keypoints
    names = [skeleton.present_name(str(name)) for name in asked]
    if lost := [name for name in names if name not in skeleton.keypoints]:
        keypoints = [*skeleton.keypoints, *lost]
        skeleton = make_skeleton(skeleton.name, keypoints, renamed=skeleton.renamed)
    return _Asked(skeleton, frozenset(names))


def _annotation(
    task: Mapping[str, Any],
    annotation: Mapping[str, Any],
    asked: _Asked,
    address: str,
    where: str,
) -> StudioAnnotation:
    data = task["data"]
    ours: Mapping[str, Any] = data.get("labelkit") or {}
    path = data.get("image_path") or data.get("image")
    if not isinstance(path, str):
        raise FormatError(f"{where}: its task has no image.", "Make the tasks with: labelkit push")
    who = annotation.get("completed_by")
    if isinstance(who, Mapping):
        who = who.get("email") or who.get("id")
    parent = _parent_prediction(task, annotation)
    skipped = bool(annotation.get("was_cancelled"))
    instances: tuple[StudioInstance, ...] = ()
    if not skipped:
        shown = what_was_shown(parent, ours, asked.skeleton)
        image_id = str(data.get("image_id") or "")
        result = annotation.get("result") or []
        blank = not (result or parent) and ours.get("box") and ours.get("served")
        if not blank:
            instances = _instances(result, ours, shown, asked, (image_id, path), where)
    lead_time = annotation.get("lead_time")
    version = (parent.get("model_version") or ours.get("model_version", "")) if parent else ""
    return StudioAnnotation(
        annotation_id=str(annotation["id"]),
        task_id=str(task.get("id") or ""),
        address=address,
        image_id=str(data.get("image_id") or ""),
        image_path=path,
        created_at=str(annotation.get("created_at") or ""),
        updated_at=str(annotation.get("updated_at") or annotation.get("created_at") or ""),
        annotator="" if who is None else str(who),
        lead_time_s=None if lead_time is None else float(lead_time),
        skipped=skipped,
        parent_prediction=str(parent.get("id") or "") if parent else "",
        model_version=str(version),
        asked=tuple(map(str, ours.get("instances") or ())),
        labelled=dict(ours.get("labelled") or {}),
        control=tuple(map(str, ours.get("control") or ())),
        skeleton=asked.skeleton,
        instances=instances,
    )


def _parent_prediction(
    task: Mapping[str, Any], annotation: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """The prediction that the annotator started from, as far as the export shows."""
    parent = annotation.get("parent_prediction")
    copy = annotation.get("prediction")
    if isinstance(copy, Mapping) and copy.get("result") and parent in (None, copy.get("id")):
        return copy
    predictions = [p for p in task.get("predictions") or [] if isinstance(p, Mapping)]
    if parent is None:  # Label Studio forgets it if the annotator continued from a draft
        return next((p for p in predictions if began_with(p, annotation)), None)
    return next((p for p in predictions if p.get("id") == parent), {"id": parent})


def _instances(
    result: Sequence[Mapping[str, Any]],
    ours: Mapping[str, Any],
    shown: Shown,
    asked: _Asked,
    image: tuple[str, str],
    where: str,
) -> tuple[StudioInstance, ...]:
    """Group regions by object, in pixels."""
    boxes: dict[str, Box] = {}
    keypoints: dict[str, KeypointRegion] = {}
    choices: dict[str, list[str]] = {}
    for item in result:
        region, kind = str(item.get("id") or ""), item.get("type")
        if kind == "choices":
            choices.setdefault(region, []).extend(item["value"]["choices"])
            continue
        if kind not in ("rectanglelabels", "rectangle", "keypointlabels"):
            continue
        if not region or region in boxes or region in keypoints:
            raise FormatError(
                f"{where}: the region id {region!r} is missing or duplicate.", _AS_JSON
            )
        frame = seen_frame(item, ours, where)
        if kind == "keypointlabels":
            keypoints[region] = read_keypoint(item, region, frame, asked.skeleton, where)
        else:
            boxes[region] = read_box(item, frame, image, where)
    if ours.get("box"):
        return (_only_object(list(keypoints.values()), choices, ours, shown, asked, where),)
    known = set(map(str, ours.get("instances") or ()))
    owned = by_box(list(keypoints.values()), boxes, known, choices, shown, where)
    answered = any(region in boxes for region in choices)
    kind = ours.get("kind") or (VISIBILITY_TASK if answered else CORRECTION_TASK)
    instances = []
    for region, box in boxes.items():
        if kind == CORRECTION_TASK and region in choices:
            raise FormatError(
                f"{where}: the box {region} is marked as {', '.join(choices[region])}; only "
                "keypoints can be marked.",
                "In Label Studio, click inside the box and press the same key again, then mark the "
                "keypoint. If there is no object, delete the box.",
            )
        presence: dict[str, bool] | None = None
        pose: Pose | None = None
        origins: tuple[str, ...] = ()
        if kind == VISIBILITY_TASK:
            presence = _presence(choices.get(region, []), asked, f"{where}, box {region}")
        else:
            mine = shown.get(region, {})
            pose, origins = _pose(owned[region], choices, mine, asked, where)
        is_new = region not in known
        instances.append(StudioInstance(region, is_new, box, presence, pose, origins))
    return tuple(instances)


def _only_object(
    points: Sequence[KeypointRegion],
    choices: Mapping[str, Sequence[str]],
    ours: Mapping[str, Any],
    shown: Shown,
    asked: _Asked,
    where: str,
) -> StudioInstance:
    """The object of a task that shows no box: everything in the annotation is about it."""
    (id_,), box = ours["instances"], Box(*ours["box"])
    if ours["kind"] == VISIBILITY_TASK:
        ticks = [tick for chosen in choices.values() for tick in chosen]
        return StudioInstance(id_, False, box, _presence(ticks, asked, where), None, ())
    points = of_one_object(points, choices, where)
    pose, origins = _pose(points, choices, shown.get(id_, {}), asked, where)
    return StudioInstance(id_, False, box, None, pose, origins)


def _pose(
    points: Sequence[KeypointRegion],
    choices: Mapping[str, Sequence[str]],
    shown: Mapping[str, Place],
    asked: _Asked,
    where: str,
) -> tuple[Pose, tuple[str, ...]]:
    skeleton = asked.skeleton
    xy = np.zeros((len(skeleton), 2))
    visibility = np.array([ABSENT if it in asked.names else UNKNOWN for it in skeleton.keypoints])
    origins = ["removed" if name in shown else "" for name in skeleton.keypoints]
    for point in points:
        chosen = choices.get(point.region) or [VISIBLE_CHOICE]
        if len(chosen) != 1 or chosen[0] not in CODES:
            raise FormatError(
                f"{where}: {point.label!r} is marked as {list(chosen)}.",
                f"In Label Studio, choose one of {', '.join(CODES)}.",
            )
        index = skeleton.index(point.label)
        visibility[index] = CODES[chosen[0]]
        if visibility[index] != ABSENT:
            xy[index], origins[index] = point.xy, origin(point, shown)
        elif point.origin != "new":
            origins[index] = "removed"
    return human_pose(xy, visibility), tuple(origins)


def _presence(ticks: Sequence[str], asked: _Asked, where: str) -> dict[str, bool] | None:
    """The answer for one object; None if nothing is ticked, not even `NOTHING_CHOICE`."""
    if not ticks:
        return None
    skeleton = asked.skeleton
    for tick in ticks:
        known = skeleton.present_name(tick) in skeleton.keypoints
        if tick not in (ALL_CHOICE, NOTHING_CHOICE) and not known:
            raise FormatError(
                f"{where}: {tick!r} is not a keypoint of the skeleton {skeleton.name!r}.",
                f"Known: {', '.join(skeleton.keypoints)}.",
            )
    if NOTHING_CHOICE in ticks and len(set(ticks)) > 1:
        others = ", ".join(dict.fromkeys(tick for tick in ticks if tick != NOTHING_CHOICE))
        raise FormatError(
            f"{where}: {NOTHING_CHOICE!r} is ticked together with {others}.",
            "Correct it in Label Studio.",
        )
    seen = set(map(skeleton.present_name, ticks))
    return {
        name: ALL_CHOICE in ticks or name in seen
        for name in skeleton.keypoints
        if name in asked.names or name in seen
    }
