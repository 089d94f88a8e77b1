"""What people should correct next, kept until the next round says otherwise."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from labelkit.domain.prediction import Prediction
from labelkit.domain.selection import QueueItem, control_arm, labelled_count, queue
from labelkit.errors import ProjectError
from labelkit.files.atomic import write_json
from labelkit.project.project import Project
from labelkit.workflows.rounds.run_round import LabelSnapshot

#: Share of the queue that is served without pre-annotation, to measure what those save.
CONTROL_SHARE = 0.1
QUEUE_FILE = "queue.json"
CHOICES_FILE = "choices.json"

#: Reason of what somebody picked out.
CHOSEN = "chosen"


@dataclass(frozen=True, slots=True)
class Choices:
    """What the lead decided while looking; it holds until decided otherwise.

    Attributes:
        first: ids of instances to label next, in this order.
        excluded: ids of instances that are never queued.
    """

    first: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()


def fill_queue(
    project: Project, labels: LabelSnapshot, predictions: Mapping[str, Prediction], percent: float
) -> tuple[QueueItem, ...]:
    """Queue what was chosen, the dev set, then the least sure, up to a labelled percentage.

    Args:
        project: where the queue is kept.
        labels: what is labelled already.
        predictions: of the newest round, by instance id; may be empty.
        percent: labelled percentage that the queue should lead to.
    """
    missing = labelled_count(len(labels.instances), percent) - len(labels.trainable)
    dev_waiting = len(labels.dev - labels.poses.keys() - labels.skipped)
    items = queue(
        labels.instances,
        done=labels.poses.keys() | labels.skipped,
        dev=labels.dev,
        scores={item: prediction.score for item, prediction in predictions.items()},
        seed=project.seed,
        control_share=CONTROL_SHARE,
    )
    items = arrange(project, items, labels, read_choices(project))
    items = items[: max(dev_waiting + max(missing, 0), sum(i.reason == CHOSEN for i in items))]
    write_queue(project, items)
    return items


def arrange(
    project: Project, items: Iterable[QueueItem], labels: LabelSnapshot, choices: Choices
) -> tuple[QueueItem, ...]:
    """A queue with what was chosen in front and without what was excluded.

    Args:
        project: whose seed draws the control arm.
        items: of the queue.
        labels: what is labelled already, and so not chosen any more.
        choices: of the lead.
    """
    excluded = set(choices.excluded)
    first = [
        item
        for item in dict.fromkeys(choices.first)
        if item in labels.instances and item not in labels.poses and item not in excluded
    ]
    control = control_arm(first, project.seed, CONTROL_SHARE)
    chosen = [QueueItem(item, CHOSEN, item in control) for item in first]
    gone = excluded.union(first)
    rest = [
        QueueItem(i.instance_id, "dev" if i.instance_id in labels.dev else "unsure", i.control)
        for i in items
        if i.instance_id not in gone
    ]
    return (*chosen, *rest)


def write_queue(project: Project, items: Iterable[QueueItem]) -> None:
    """Keep a queue in the project."""
    rows = [{"instance": i.instance_id, "reason": i.reason, "control": i.control} for i in items]
    write_json(project.root / QUEUE_FILE, {"items": rows})


def read_queue(project: Project) -> tuple[QueueItem, ...]:
    """The queue as it was last filled; empty before the first round.

    Raises:
        ProjectError: if its file is damaged.
    """
    rows = _read(project, QUEUE_FILE, "Delete it; the next retrain fills it again.")
    try:
        items = rows["items"] if rows else ()
        return tuple(QueueItem(r["instance"], r["reason"], r["control"]) for r in items)
    except (KeyError, TypeError) as error:
        raise _damaged(project, QUEUE_FILE, error) from error


def waiting(project: Project, labels: LabelSnapshot) -> list[QueueItem]:
    """What of the queue still waits; what somebody skipped does only if it was picked out."""
    return [
        item
        for item in read_queue(project)
        if item.instance_id in labels.instances
        and item.instance_id not in labels.poses
        and (item.reason == CHOSEN or item.instance_id not in labels.skipped)
    ]


def write_choices(project: Project, choices: Choices) -> None:
    """Keep what the lead decided."""
    document = {"first": list(choices.first), "excluded": list(choices.excluded)}
    write_json(project.root / CHOICES_FILE, document)


def read_choices(project: Project) -> Choices:
    """What the lead decided; nothing at first.

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
        raise ProjectError(f"{path} is damaged (no JSON object).", next_step)
    return document


def _damaged(project: Project, name: str, error: Exception) -> ProjectError:
    return ProjectError(f"{project.root / name} is damaged ({error!r}).", "Delete it.")
