"""What people should correct next, kept in a file until the next round fills it again."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from labelkit.domain.prediction import Prediction
from labelkit.domain.selection import QueueItem, control_arm, labelled_count, queue, stable_order
from labelkit.errors import ProjectError
from labelkit.files.atomic import write_json
from labelkit.project.project import Project
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot
from labelkit.workflows.rounds.start import KEYPOINTS, start_of

#: Share of the queue that is served without pre-annotation, to measure what pre-annotation saves.
CONTROL_SHARE = 0.1
QUEUE_FILE = "queue.json"
CHOICES_FILE = "choices.json"

#: Reasons of items; "dev" and "unsure" as `queue` gives them, what the lead chose, what came after
#: the newest round, and labels without the keypoints that the skeleton got later.
DEV, UNSURE, CHOSEN, NEW, INCOMPLETE = "dev", "unsure", "chosen", "new", "incomplete"

#: So many instances that came after the newest round are all queued.
ALL_NEW = 50


@dataclass(frozen=True, slots=True)
class Choices:
    """What the lead decided in a review; it holds until the lead changes it.

    Attributes:
        first: ids of instances to label next, in this order.
        excluded: ids of instances that are never queued.
    """

    first: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()


def fill_queue(
    project: Project,
    snapshot: LabelSnapshot,
    predictions: Mapping[str, Prediction],
    percent: float,
    new: Collection[str] = (),
) -> tuple[QueueItem, ...]:
    """Queue what was chosen, the dev set, then the least confident, up to a labelled percentage.

    Labels that leave keypoints unknown are completed first, up to the same percentage.

    Args:
        project: where the queue is kept.
        snapshot: what is labelled already.
        predictions: of the newest round, by instance id; may be empty.
        percent: 0 ... 100, labelled percentage once the queue is corrected.
        new: ids of instances that came after the newest round. All of them are queued too, or the
            least confident at that percentage where there are more than `ALL_NEW`.
    """
    missing = labelled_count(len(snapshot.instances), percent) - len(snapshot.trainable)
    dev_waiting = len(snapshot.dev - snapshot.poses.keys() - snapshot.skipped)
    items = queue(
        snapshot.instances,
        done=snapshot.poses.keys() | snapshot.skipped,
        dev=snapshot.dev,
        scores={item: prediction.score for item, prediction in predictions.items()},
        seed=project.seed,
        control_share=CONTROL_SHARE if predictions else 0.0,
    )
    again = _incomplete(project, snapshot, percent)
    items = arrange(project, (*again, *items), snapshot, read_choices(project))
    asked = {item.instance_id for item in again}
    first = {item for item in items if item.instance_id in asked}
    others = [item for item in items if item not in first]
    count = max(dev_waiting + max(missing, 0), sum(i.reason == CHOSEN for i in items))
    added = max(min(len(new), ALL_NEW), labelled_count(len(new), percent))
    first |= {*others[:count], *[item for item in others if item.instance_id in new][:added]}
    items = tuple(
        replace(item, reason=NEW) if item.instance_id in new and item.reason == UNSURE else item
        for item in items
        if item in first
    )
    write_queue(project, items)
    return items


def _incomplete(project: Project, snapshot: LabelSnapshot, percent: float) -> list[QueueItem]:
    """Labels to complete: all of the dev set, then others in random order up to a percentage.

    They show what was labelled, so none is in the control arm.
    """
    complete = sum(snapshot.is_labelled(item) for item in snapshot.trainable)
    missing = labelled_count(len(snapshot.instances), percent) - complete
    ids = [
        item
        for item in stable_order(snapshot.poses.keys() - snapshot.skipped, project.seed)
        if item in snapshot.instances and not snapshot.is_labelled(item)
    ]
    dev = [item for item in ids if item in snapshot.dev]
    others = [item for item in ids if item not in snapshot.dev][: max(missing, 0)]
    return [QueueItem(item, INCOMPLETE, False) for item in (*dev, *others)]


def arrange(
    project: Project, items: Iterable[QueueItem], snapshot: LabelSnapshot, choices: Choices
) -> tuple[QueueItem, ...]:
    """A queue with what was chosen in front and without what was excluded.

    Args:
        project: whose seed draws the control arm.
        items: of the queue.
        snapshot: what is labelled already, and so no longer chosen.
        choices: of the lead.
    """
    excluded = set(choices.excluded)
    first = [
        item
        for item in dict.fromkeys(choices.first)
        if item in snapshot.instances and item not in snapshot.poses and item not in excluded
    ]
    control = control_arm(first, project.seed, CONTROL_SHARE)
    chosen = [QueueItem(item, CHOSEN, item in control) for item in first]
    gone = excluded.union(first)
    rest = [
        replace(i, reason=DEV if i.instance_id in snapshot.dev else _other(i.reason))
        for i in items
        if i.instance_id not in gone
    ]
    return (*chosen, *rest)


def _other(reason: str) -> str:
    """The reason of an item that is neither chosen nor in the dev set."""
    return reason if reason in (NEW, INCOMPLETE) else UNSURE


def write_queue(project: Project, items: Iterable[QueueItem]) -> None:
    """Keep a queue in the project."""
    rows = [{"instance": i.instance_id, "reason": i.reason, "control": i.control} for i in items]
    write_json(project.root / QUEUE_FILE, {"items": rows})


def current_queue(project: Project, snapshot: LabelSnapshot) -> tuple[QueueItem, ...]:
    """The queue as it was last written; before that, the keypoints to begin with, if any.

    Raises:
        ProjectError: if its file is damaged.
    """
    if (project.root / QUEUE_FILE).exists():
        return read_queue(project)
    start = start_of(project, snapshot)
    ids = start.ids if start.asks == KEYPOINTS else ()
    return tuple(QueueItem(i, DEV if i in snapshot.dev else UNSURE, False) for i in ids)


def read_queue(project: Project) -> tuple[QueueItem, ...]:
    """The queue as it was last written; empty before the first round.

    Raises:
        ProjectError: if its file is damaged.
    """
    rows = _read(project, QUEUE_FILE, "Delete it, then fill it again: labelkit retrain")
    try:
        items = rows["items"] if rows else ()
        return tuple(QueueItem(r["instance"], r["reason"], r["control"]) for r in items)
    except (KeyError, TypeError) as error:
        raise _damaged(project, QUEUE_FILE, error) from error


def waiting(project: Project, snapshot: LabelSnapshot) -> list[QueueItem]:
    """Queue items that still wait for keypoints. A skipped one waits only if the lead chose it."""
    return [
        item
        for item in current_queue(project, snapshot)
        if item.instance_id in snapshot.instances
        and not snapshot.is_labelled(item.instance_id)
        and (item.reason == CHOSEN or item.instance_id not in snapshot.skipped)
    ]


def write_choices(project: Project, choices: Choices) -> None:
    """Keep the lead's choices in the project."""
    document = {"first": list(choices.first), "excluded": list(choices.excluded)}
    write_json(project.root / CHOICES_FILE, document)


def read_choices(project: Project) -> Choices:
    """The lead's choices; none at first.

    Raises:
        ProjectError: if its file is damaged.
    """
    rows = _read(project, CHOICES_FILE, "Delete it and choose again: labelkit review")
    try:
        return Choices(
            tuple(map(str, rows.get("first", ()))), tuple(map(str, rows.get("excluded", ())))
        )
    except TypeError as error:
        raise _damaged(project, CHOICES_FILE, error) from error


def _read(project: Project, name: str, next_step: str) -> dict[str, Any]:
    path = project.root / name
    if not path.exists():
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ProjectError(f"{path} is damaged ({error}).", next_step) from error
    if not isinstance(document, dict):
        raise ProjectError(f"{path} is damaged (not a JSON object).", next_step)
    return document


def _damaged(project: Project, name: str, error: Exception) -> ProjectError:
    return ProjectError(f"{project.root / name} is damaged ({error!r}).", "Delete it.")
