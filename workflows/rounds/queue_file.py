"""What people should correct next, kept in a file until the next round fills it again."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from labelkit.domain.selection import QueueItem, control_arm, labelled_count, stable_order
from labelkit.errors import ProjectError
from labelkit.files.atomic import write_json
from labelkit.project.predictions import later_ids
from labelkit.project.project import Project, is_main_process
from labelkit.project.rounds import COMPLETE, Round, latest_complete, rounds
from labelkit.store.ids import Ids, among, in_stable_order, without
from labelkit.workflows.choosing.draw_records import DrawRecord, PoolDraw, add_record
from labelkit.workflows.choosing.signals import read_signals
from labelkit.workflows.choosing.strategies import MANUAL, MIXED, RANDOM, draw
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot
from labelkit.workflows.rounds.start import KEYPOINTS, start_of

#: Share of the queue that is served without pre-annotation, to measure what pre-annotation saves.
CONTROL_SHARE = 0.1
QUEUE_FILE = "queue.json"
CHOICES_FILE = "choices.json"
REFILL = "Delete it, then fill it again: labelkit retrain"

#: Reasons of items, see `QueueItem`.
DEV, UNSURE, AT_RANDOM, CHOSEN, NEW, INCOMPLETE = (
    "dev",
    "unsure",
    "random",
    "chosen",
    "new",
    "incomplete",
)

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
    percent: float,
) -> tuple[QueueItem, ...]:
    """Queue what was chosen, the dev set, then what is drawn, up to a labelled percentage.

    Labels that leave keypoints unknown are completed first, up to the same percentage. What came
    after the newest round is queued too: all of it, or as many as that percentage of it is where
    there are more than `ALL_NEW`. What was drawn, and with which probability, is kept: see
    `DrawRecord`. The draw is random before the first round, and until another model's keypoints
    are learned from labels.

    Args:
        project: where the queue is kept, and whose strategy counts.
        snapshot: what is labelled already.
        percent: 0 ... 100, labelled percentage once the queue is corrected.
    """
    choices, seed = read_choices(project), project.seed
    complete = [item for item in rounds(project) if item.status == COMPLETE]
    new = later_ids(complete[-1].path / "predictions.parquet") if complete else set()
    new &= snapshot.instances.keys()
    ids = snapshot.instances.ids
    waiting = without(in_stable_order(ids, seed), snapshot.poses.ids, snapshot.skipped)
    pool = without(waiting, snapshot.dev, choices.first, choices.excluded)
    chosen = [item for item in choices.first if item in snapshot.instances]
    missing = labelled_count(len(snapshot.instances), percent) - len(snapshot.trainable)
    missing -= sum(item not in snapshot.dev and item not in snapshot.poses for item in chosen)
    late = Ids(pool.array[among(pool, new)])
    late_count = min(max(min(len(new), ALL_NEW), labelled_count(len(new), percent)), len(late))
    record = _draw(project, snapshot, complete, pool, max(missing, 0), late, late_count)
    others = without(waiting, pool)
    reasons = dict.fromkeys(Ids(others.array[among(others, snapshot.dev)]), DEV)
    for drawn in record.draws:
        for item, at_random in zip(drawn.ids, drawn.at_random, strict=True):
            reasons[item] = NEW if item in new else AT_RANDOM if at_random else UNSURE
    control = _drawn_unshown(project, snapshot, reasons) if complete else frozenset()
    queued = [QueueItem(item, reason, item in control) for item, reason in reasons.items()]
    again = _incomplete(project, snapshot, percent)
    if complete and complete[-1].plan.finds_objects:
        queued = _of_whole_images(queued, waiting, snapshot)
    items = arrange(project, (*again, *queued), snapshot, choices)
    if is_main_process():  # the others only help to train
        add_record(project, record)
        write_queue(project, items, percent)
    return items


def unshown(project: Project, dev: Collection[str], ids: Iterable[str]) -> frozenset[str]:
    """Those of some instances that are served without pre-annotation, queued or not.

    They are the control arm, by which savings are measured, and the dev set: labels made from
    predictions would favour the round that made these. The queue says which of its own items are
    in the control arm.

    Args:
        project: whose queue and seed count.
        dev: ids of the dev set.
        ids: of instances.

    Raises:
        ProjectError: if the queue's file is damaged.
    """
    asked = frozenset(ids)
    queued = {i.instance_id: i.control for i in read_queue(project) if i.instance_id in asked}
    drawn = control_arm(asked, project.seed, CONTROL_SHARE)
    return frozenset(i for i in asked if queued.get(i, i in drawn) or i in dev)


def _drawn_unshown(project: Project, snapshot: LabelSnapshot, ids: Iterable[str]) -> frozenset[str]:
    """Those of some instances that a new queue serves without pre-annotation."""
    return control_arm(ids, project.seed, CONTROL_SHARE) | snapshot.dev


def _of_whole_images(
    items: Iterable[QueueItem], waiting: Iterable[str], snapshot: LabelSnapshot
) -> list[QueueItem]:
    """Each item followed by the others that wait in its image: an image teaches as a whole."""
    of_image: dict[str, dict[str, None]] = {}
    for id_ in waiting:
        of_image.setdefault(snapshot.instances[id_].image.id, {})[id_] = None
    own = {item.instance_id: item for item in items}
    result: dict[str, QueueItem] = {}
    for item in own.values():
        image = snapshot.instances[item.instance_id].image.id
        for id_ in (item.instance_id, *of_image.get(image, ())):
            result.setdefault(id_, own.get(id_, replace(item, instance_id=id_)))
    return list(result.values())


def _draw(
    project: Project,
    snapshot: LabelSnapshot,
    complete: Sequence[Round],
    pool: Collection[str],
    count: int,
    late: Collection[str],
    late_count: int,
) -> DrawRecord:
    """Draw `count` from a pool, and more of those that came late until `late_count` are drawn."""
    strategy = strategy_of(project) if complete else RANDOM
    if strategy != MANUAL and complete and _waits_for_labels(complete[-1]):
        strategy = RANDOM
    signals = read_signals(project, complete, snapshot.instances, snapshot.poses)
    ids = signals.objects.ids
    labelled, draws = among(ids, snapshot.poses.ids), list[PoolDraw]()
    before = np.zeros(len(ids), np.bool_)
    for candidates, wanted in ((pool, count), (late, late_count)):
        left = among(ids, candidates)
        wanted -= int((left & before).sum())
        left &= ~before
        drawn = [*draw(signals.objects, left, labelled, wanted, strategy, project.seed)]
        before[[it.place for it in drawn]] = True
        draws.append(
            PoolDraw(
                int(left.sum()),
                tuple(ids[it.place] for it in drawn),
                tuple(it.probability for it in drawn),
                tuple(it.at_random for it in drawn),
            )
        )
    version = f"round-{complete[-1].plan.number:03d}" if complete else ""
    return DrawRecord(version, strategy, signals.compared, tuple(draws))


def _waits_for_labels(newest: Round) -> bool:
    """Whether the next labels are the first that another model's keypoints are learned from.

    The objects that it is least sure of are those that it got wrong: they would teach errors.
    """
    plan = newest.plan
    if not plan.is_foreign or plan.labelled:
        return False
    return not all(row["reached"] for row in newest.facts["keypoints"].values())


def strategy_of(project: Project) -> str:
    """How the project draws what is labelled next."""
    return str(project.options.get("queue", MIXED))


def _incomplete(project: Project, snapshot: LabelSnapshot, percent: float) -> list[QueueItem]:
    """Labels to complete: all of the dev set, then others in random order up to a percentage.

    They show what was labelled; those of the dev set show no more than that.
    """
    complete = len(snapshot.trainable) - len(without(snapshot.trainable, snapshot.labelled))
    missing = labelled_count(len(snapshot.instances), percent) - complete
    partial = without(snapshot.poses, snapshot.labelled, snapshot.skipped)
    ids = [item for item in stable_order(partial, project.seed) if item in snapshot.instances]
    dev = [item for item in ids if item in snapshot.dev]
    others = [item for item in ids if item not in snapshot.dev][: max(missing, 0)]
    return [QueueItem(item, INCOMPLETE, item in snapshot.dev) for item in (*dev, *others)]


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
    control = _drawn_unshown(project, snapshot, first)
    chosen = [QueueItem(item, CHOSEN, item in control) for item in first]
    gone, dev = excluded.union(first), set(snapshot.dev)
    rest = [
        replace(i, reason=DEV if i.instance_id in dev else _other(i.reason))
        for i in items
        if i.instance_id not in gone
    ]
    return (*chosen, *rest)


def _other(reason: str) -> str:
    """The reason of an item that is neither chosen nor in the dev set."""
    return reason if reason in (AT_RANDOM, NEW, INCOMPLETE) else UNSURE


def write_queue(project: Project, items: Iterable[QueueItem], percent: float | None = None) -> None:
    """Keep a queue in the project.

    Args:
        project: where it is kept.
        items: of the queue.
        percent: 0 ... 100, up to which it was filled; None keeps what the file says.
    """
    rows = [{"instance": i.instance_id, "reason": i.reason, "control": i.control} for i in items]
    if percent is None:
        percent = queued_percent(project)
    write_json(project.root / QUEUE_FILE, {"percent": percent, "items": rows})


def queued_percent(project: Project) -> float | None:
    """Labelled percentage up to which the queue was filled last; None where it does not say."""
    percent = _read(project, QUEUE_FILE, REFILL).get("percent")
    return None if percent is None else float(percent)


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
    rows = _read(project, QUEUE_FILE, REFILL)
    try:
        items = rows["items"] if rows else ()
        return tuple(QueueItem(r["instance"], r["reason"], r["control"]) for r in items)
    except (KeyError, TypeError) as error:
        raise _damaged(project, QUEUE_FILE, error) from error


def waiting(project: Project, snapshot: LabelSnapshot) -> list[QueueItem]:
    """Queue items that still wait for keypoints. A skipped one waits only if the lead chose it.

    Once there are predictions, the dev set comes without them, also in the queue of an earlier
    version.
    """
    queue = current_queue(project, snapshot)
    ids = Ids.of(item.instance_id for item in queue)
    waits = among(ids, snapshot.instances.ids) & ~among(ids, snapshot.labelled)
    blank = among(ids, snapshot.dev) & (latest_complete(project) is not None)
    return [
        replace(item, control=True) if is_blank and not item.control else item
        for item, is_waiting, is_blank in zip(queue, waits.tolist(), blank.tolist(), strict=True)
        if is_waiting and (item.reason == CHOSEN or item.instance_id not in snapshot.skipped)
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
