"""`labelkit queue`: what is corrected next, with the choices that a lead made in a review."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from labelkit.bridges.fiftyone.dataset import find_dataset, put_tags, quiet_fiftyone, tagged
from labelkit.bridges.fiftyone.mongod import prepare_database
from labelkit.bridges.fiftyone.samples import EXCLUDE, LABEL_NEXT
from labelkit.domain.text import counted
from labelkit.errors import ProjectError, UsageError
from labelkit.files.atomic import write_json
from labelkit.metrics.accuracy import pck
from labelkit.metrics.sampling import Estimate, hajek
from labelkit.project.preannotation import unshown_keypoints
from labelkit.project.predictions import find_predictions
from labelkit.project.project import Project, remember
from labelkit.project.rounds import COMPLETE, latest_complete, rounds
from labelkit.report import Report
from labelkit.store.label_store import LabelStore
from labelkit.workflows.choosing.draw_records import DrawRecord, newest_record
from labelkit.workflows.choosing.signals import read_signals
from labelkit.workflows.choosing.strategies import MANUAL, STRATEGIES
from labelkit.workflows.choosing.why import reasons
from labelkit.workflows.loop.retrain import percent_after
from labelkit.workflows.reviewing.app import SELECTION_FILE
from labelkit.workflows.rounds.image_files import ImageFiles
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot, read_snapshot
from labelkit.workflows.rounds.next_step import next_step
from labelkit.workflows.rounds.queue_file import (
    AT_RANDOM,
    CHOSEN,
    DEV,
    INCOMPLETE,
    NEW,
    UNSURE,
    Choices,
    arrange,
    current_queue,
    fill_queue,
    queued_percent,
    read_choices,
    strategy_of,
    waiting,
    write_choices,
    write_queue,
)

#: A predicted keypoint is right within this share of the box's long side.
RIGHT_WITHIN = 0.1

#: Fewer labelled draws do not tell how good a round is.
FEWEST = 10

#: Reasons of items, in words.
IN_WORDS = {
    DEV: "It is in the dev set, on which rounds are compared.",
    UNSURE: "The strategy chose it.",
    AT_RANDOM: "It was drawn at random, as a share of the queue always is.",
    CHOSEN: "The lead chose it.",
    NEW: "It came after the newest round.",
    INCOMPLETE: "It has keypoints, but not those that the skeleton got later.",
}


@dataclass(frozen=True, slots=True)
class QueueReport(Report):
    """The queue as it is now.

    Attributes:
        queued: instances that wait for correction.
        reasons: their number by reason, see `QueueItem`.
        strategy: how the project draws what is labelled next.
        chosen, excluded: instances that the lead put first, and took out.
        labelled: chosen instances that already have keypoints and are not sent again.
        control: queued instances that are served without pre-annotation.
        unshown: keypoints that are, of all instances.
        next_ids: ids of all that wait, in order.
        right: of all objects that the queue was drawn from, the share of keypoints that the round
            placed right, within .1 of the box's long side, as the labels of those drawn tell; None
            where too few are labelled.
        right_of_drawn: the same share among those drawn alone; None likewise.
        why: about the object that was asked about, a sentence each.
        next_step: what to type.
        note: what to know before that.
    """

    queued: int
    reasons: Mapping[str, int]
    chosen: int
    excluded: int
    labelled: int
    control: int
    unshown: tuple[str, ...]
    next_ids: tuple[str, ...]
    strategy: str
    right: Estimate | None
    right_of_drawn: float | None
    next_step: str
    why: tuple[str, ...] = ()
    note: str = ""
    exit_code: int = 0

    def text(self) -> str:
        """For people."""
        if self.why:
            return "\n".join(self.why)
        parts = ", ".join(f"{count} {reason}" for reason, count in self.reasons.items())
        queued = f"{counted(self.queued, 'instance')} {'is' if self.queued == 1 else 'are'} queued"
        lines = [queued + (f": {parts}." if parts else "."), f"Strategy: {self.strategy}."]
        if self.labelled:
            lines.append(f"With keypoints already, of those chosen: {self.labelled}.")
        if self.excluded:
            lines.append(f"Excluded: {self.excluded}.")
        if self.control:
            lines.append(f"Served without pre-annotation: {self.control}.")
        if self.unshown:
            lines.append(f"Keypoints without pre-annotation: {', '.join(self.unshown)}.")
        if self.right is not None:
            lines.append(
                f"The newest round places {self.right.mean:.0%} of the keypoints right "
                f"({self.right.low:.0%} to {self.right.high:.0%}), judged by the labels of its "
                f"queue. In the queue itself it is {self.right_of_drawn:.0%}."
            )
        if self.note:
            lines.append(f"note: {self.note}")
        return "\n".join([*lines, self.next_step])

    def data(self) -> dict[str, Any]:
        """For machines."""
        return {**asdict(self), "right": self.right._asdict() if self.right else None}


def queue(
    project: Project,
    store: LabelStore,
    *,
    from_review: bool = False,
    strategy: str | None = None,
    unshown: Sequence[str] | None = None,
    why: str | None = None,
) -> QueueReport:
    """Show the queue, after applying what was tagged and selected in FiftyOne.

    Tags are compared with those of the last run: a new tag in either of the project's datasets
    adds a choice, a removed one takes it back.

    Args:
        project: see `open_project`.
        store: its label store.
        from_review: apply FiftyOne's tags and the App's selection.
        strategy: draw the queue again, and all later ones, by another of `STRATEGIES`.
        unshown: keypoints that people place without pre-annotation from now on, instead of those
            until now.
        why: id of an instance to explain.

    Raises:
        MissingDependencyError: if FiftyOne is not installed or its database does not answer.
        ProjectError: if the project was never reviewed.
        UsageError: if there is no such strategy, keypoint or instance.
    """
    if strategy not in (None, *STRATEGIES):
        raise UsageError(
            f"There is no strategy {strategy!r}.", f"Strategies: {', '.join(STRATEGIES)}."
        )
    for name in unshown or ():
        if name not in project.skeleton.keypoints:
            raise UsageError(
                f"The skeleton has no keypoint {name!r}.",
                f"Keypoints: {', '.join(project.skeleton.keypoints)}.",
            )
    if unshown is not None:
        project = remember(project, unshown=list(unshown))
    if from_review:
        _apply_review(project, store)
    if strategy is not None:
        project = remember(project, queue=strategy)
        newest = latest_complete(project)
        if newest is not None:
            percent = queued_percent(project) or percent_after(newest)
            fill_queue(project, read_snapshot(project, store), percent)
    report = _report(project, store, read_choices(project))
    return report if why is None else replace(report, why=_why(project, store, why))


def _apply_review(project: Project, store: LabelStore) -> None:
    prepare_database()
    quiet_fiftyone()
    datasets = [found for kind in (False, True) if (found := find_dataset(project, kind))]
    if not datasets:
        raise ProjectError("The project has no FiftyOne dataset.", "Make one with: labelkit review")
    choices = read_choices(project)
    first, excluded = dict.fromkeys(choices.first), dict.fromkeys(choices.excluded)
    known = {LABEL_NEXT: first, EXCLUDE: excluded}
    before = {tag: set(ids) for tag, ids in known.items()}
    for dataset in datasets:
        now, present = tagged(dataset, known)
        for tag, ids in known.items():
            ids.update(dict.fromkeys(sorted(now[tag] - before[tag])))
            for id_ in (before[tag] & present) - now[tag]:
                ids.pop(id_, None)
    first.update(dict.fromkeys(_selected(project)))
    write_json(project.root / SELECTION_FILE, {"instances": []})
    _write(project, store, Choices(tuple(first), tuple(excluded)))


def decide(
    project: Project, store: LabelStore, instance_ids: Iterable[str], *, exclude: bool
) -> QueueReport:
    """Move instances to the front of the queue, or exclude them from it.

    Args:
        project: see `open_project`.
        store: its label store.
        instance_ids: of the project.
        exclude: exclude them instead of moving them to the front.
    """
    ids = dict.fromkeys(instance_ids)
    choices = read_choices(project)
    first = [item for item in choices.first if item not in ids]
    excluded = [item for item in choices.excluded if item not in ids]
    if exclude:
        excluded += ids
    else:
        first += ids
    _write(project, store, Choices(tuple(first), tuple(excluded)))
    return _report(project, store, read_choices(project))


def _write(project: Project, store: LabelStore, choices: Choices) -> None:
    """Write choices, the queue that follows from them, and the tags that show them."""
    known = store.instances()
    choices = Choices(
        tuple(i for i in choices.first if i in known and i not in set(choices.excluded)),
        tuple(i for i in choices.excluded if i in known),
    )
    snapshot = read_snapshot(project, store)
    items = arrange(project, current_queue(project, snapshot), snapshot, choices)
    write_choices(project, choices)
    write_queue(project, items)
    for kind in (False, True):
        dataset = find_dataset(project, kind)
        if dataset is not None:
            put_tags(dataset, {LABEL_NEXT: choices.first, EXCLUDE: choices.excluded})


def _selected(project: Project) -> list[str]:
    path = project.root / SELECTION_FILE
    if not path.exists():
        return []
    try:
        return [str(item) for item in json.loads(path.read_text(encoding="utf-8"))["instances"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProjectError(
            f"{path} is damaged ({error!r}).", "Delete it and select again: labelkit review"
        ) from error


def _report(project: Project, store: LabelStore, choices: Choices) -> QueueReport:
    snapshot = read_snapshot(project, store)
    items = waiting(project, snapshot)
    record = newest_record(project)
    right, plain = _right(project, snapshot, record)
    by_poses = record is not None and record.compared == "poses"
    return QueueReport(
        queued=len(items),
        reasons=dict(Counter(item.reason for item in items)),
        strategy=strategy_of(project),
        chosen=len(choices.first),
        excluded=len(choices.excluded),
        labelled=sum(item in snapshot.poses for item in choices.first),
        control=sum(item.control for item in items),
        unshown=tuple(unshown_keypoints(project)),
        next_ids=tuple(item.instance_id for item in items),
        right=right,
        right_of_drawn=plain,
        note=f"{record.round} stored no features: objects were compared by their predicted poses."
        if record and by_poses
        else "",
        next_step=next_step(project, store, snapshot, ImageFiles(project, store)),
    )


def _right(
    project: Project, snapshot: LabelSnapshot, record: DrawRecord | None
) -> tuple[Estimate | None, float | None]:
    """See `QueueReport`: of the pool, and of those drawn, as far as all before are labelled."""
    newest = latest_complete(project)
    if record is None or newest is None or record.round != f"round-{newest.plan.number:03d}":
        return None, None
    drawn = record.draws[0]
    done = snapshot.poses.keys() | snapshot.skipped
    count = next((n for n, id_ in enumerate(drawn.ids) if id_ not in done), len(drawn.ids))
    path = newest.path / "predictions.parquet"
    shown = find_predictions(path, project.skeleton, drawn.ids[:count])
    shares, probabilities = [], []
    for id_, probability in zip(drawn.ids[:count], drawn.probabilities[:count], strict=True):
        pose = snapshot.poses.get(id_)
        if pose is not None and pose.present.any() and id_ in shown:
            long_side = [snapshot.instances[id_].box.long_side]
            xy = shown[id_].xy[None]
            shares.append(pck(xy, pose.xy[None], pose.present[None], long_side, RIGHT_WITHIN))
            probabilities.append(probability)
    found = hajek(shares, probabilities, drawn.pool)
    if len(shares) < FEWEST or not np.isfinite(found.low):
        return None, None
    return found, float(np.mean(shares))


def _why(project: Project, store: LabelStore, id_: str) -> tuple[str, ...]:
    """Where an instance stands in the queue, and what strategies know of it."""
    snapshot = read_snapshot(project, store)
    if id_ not in snapshot.instances:
        raise UsageError(
            f"There is no object {id_!r} in the project.", "List ids with: labelkit queue --json"
        )
    items = waiting(project, snapshot)
    place = next((n for n, item in enumerate(items) if item.instance_id == id_), None)
    image = snapshot.instances[id_].image.path
    if place is not None:
        lines = [f"{id_} in {image} is number {place + 1} of {len(items)} in the queue."]
        lines.append(IN_WORDS[items[place].reason])
        if items[place].control:
            lines.append("It comes without pre-annotation.")
    else:
        lines = [f"{id_} in {image} is not queued: {_missing(project, snapshot, id_)}."]
    record, newest = newest_record(project), latest_complete(project)
    filled = f"round-{newest.plan.number:03d}" if newest else ""
    is_drawn = strategy_of(project) != MANUAL  # the newest record may be of an earlier queue
    for drawn in record.draws if record and record.round == filled and is_drawn else ():
        if id_ in drawn.ids:
            turn = drawn.ids.index(id_)
            lines.append(
                f"Of {drawn.pool} objects it was draw {turn + 1}, "
                f"which took it with probability {drawn.probabilities[turn]:.4f}."
            )
    complete = [item for item in rounds(project) if item.status == COMPLETE]
    signals = read_signals(project, complete, snapshot.instances, snapshot.poses)
    ids = list(signals.objects.ids)
    labelled = [n for n, item in enumerate(ids) if item in snapshot.poses]
    return (*lines, *reasons(signals, ids.index(id_), labelled, project.skeleton.keypoints))


def _missing(project: Project, snapshot: LabelSnapshot, id_: str) -> str:
    """Why an instance is not queued."""
    if snapshot.is_labelled(id_):
        return "it has keypoints"
    if id_ in read_choices(project).excluded:
        return "the lead excluded it"
    if id_ in snapshot.skipped:
        return "an annotator skipped it"
    if strategy_of(project) == MANUAL:
        return (
            "the strategy manual queues the dev set and what you choose; choose it in labelkit "
            "review, then type labelkit queue --from-review"
        )
    return "others were drawn, as many as the next round needs"
