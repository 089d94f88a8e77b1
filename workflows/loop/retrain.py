"""`labelkit retrain`: train at a labelled percentage, pre-annotate, queue what comes next."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from labelkit.domain.prediction import Prediction
from labelkit.domain.selection import format_percent, labelled_count, labelled_set
from labelkit.domain.text import counted
from labelkit.errors import WaitingForLabels
from labelkit.metrics.quality import hardly_learned
from labelkit.metrics.table import describe
from labelkit.progress import Progress
from labelkit.project.predictions import iter_predictions
from labelkit.project.project import Project, is_main_process
from labelkit.project.rounds import (
    COMPLETE,
    Round,
    RoundPlan,
    abandon_round,
    latest_complete,
    locked_labelled,
    next_round_number,
    rounds,
    unfinished,
)
from labelkit.report import Report
from labelkit.store.label_store import LabelStore
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot, read_snapshot
from labelkit.workflows.rounds.queue_file import fill_queue
from labelkit.workflows.rounds.run_round import latest_predictions, run_round
from labelkit.workflows.rounds.settings import TrainingOptions, resolve

#: With this many corrected instances a round gives pre-annotations worth correcting: 1 % of LSPET
#: (benchmarks/README.md, Table 4).
FEW = 50

#: With fewer located instances in the dev set, chance alone moves PCK by seven points or more. The
#: 235 of LSPET give it to 1.5 points (benchmarks/README.md).
COMPARABLE = 10


@dataclass(frozen=True, slots=True)
class RoundReport(Report):
    """What a round learned from, how good it is, and what to do next.

    Attributes:
        round: its number; None if labels are missing and nothing was trained.
        kind: "location-free" or "semi-weak".
        labelled, instances: instances whose locations were trained on, and all of the project.
        missing: instances without keypoints that the labelled percentage needs.
        queued: instances in the queue now.
        is_new: False if an earlier round already is what the command asked for.
        dev: measures on the dev set.
        next_step: what to type.
        note: what to know before that, or "".
    """

    round: int | None
    kind: str
    labelled: int
    instances: int
    missing: int
    queued: int
    is_new: bool
    dev: Mapping[str, Any]
    next_step: str
    note: str = ""

    @property
    def exit_code(self) -> int:
        """3 if people have to label first."""
        return 3 if self.missing else 0

    def text(self) -> str:
        """For people."""
        if self.round is None:
            return (
                f"Waiting for corrected keypoints of {counted(self.missing, 'more instance')} "
                f"({self.labelled} of {self.labelled + self.missing} are there).\n"
                f"Queued: {counted(self.queued, 'instance')}.\n{self.next_step}"
            )
        state = "is complete" if self.is_new else "is up to date, nothing to train"
        lines = [
            f"Round {self.round:03d} ({self.kind}) {state}: "
            f"{self.labelled} of {counted(self.instances, 'instance')} gave locations."
        ]
        measures = describe(self.dev)
        if measures:
            located = self.dev.get("located", 0)
            few = ", too few to compare rounds" if 0 < located < COMPARABLE else ""
            lines.append(f"On the dev set ({located} with keypoints{few}): {measures}.")
        if self.note:
            lines.append(f"note: {self.note}")
        lines += [f"Queued for correction: {counted(self.queued, 'instance')}.", self.next_step]
        return "\n".join(lines)


def retrain(
    project: Project,
    store: LabelStore,
    progress: Progress,
    *,
    percent: float | None,
    now: bool,
    options: TrainingOptions,
) -> RoundReport:
    """Train at a labelled percentage, nested in every larger and earlier one.

    Args:
        project: see `open_project`.
        store: its label store.
        progress: gets one line an epoch.
        percent: 0 ... 100, of the project's instances: how many give locations; None for all that
            have human keypoints.
        now: train on the labels there are, even if they are fewer.
        options: how to train; what they leave out stays as in the last round.

    Raises:
        WaitingForLabels: if there are no visibility answers yet.
    """
    snapshot = read_snapshot(project, store)
    if not snapshot.presences:
        raise WaitingForLabels(
            "No visibility answers yet.",
            "Type: labelkit push, tick what can be seen, labelkit pull; then\n"
            f"labelkit bootstrap --images {project.images_root}",
        )
    if percent is None:
        percent = snapshot.trainable_percent
    missing = labelled_count(len(snapshot.instances), percent) - len(snapshot.trainable)
    if missing > 0 and not now:
        predictions: Mapping[str, Prediction] = {}
        if latest_complete(project) is not None:
            predictions = latest_predictions(project)[1]
        items = fill_queue(project, snapshot, predictions, percent)
        # The dev set gives no locations, nor does what was skipped or excluded.
        missing = min(missing, sum(item.instance_id not in snapshot.dev for item in items))
    if missing > 0 and not now:
        return RoundReport(
            None,
            "semi-weak",
            len(snapshot.trainable),
            len(snapshot.instances),
            missing,
            len(items),
            False,
            {},
            "Type: labelkit push, correct them, labelkit pull, "
            f"then labelkit retrain --labeled {format_percent(percent)} again.\n"
            "Or train on the labels there are: "
            f"labelkit retrain --labeled {format_percent(percent)} --now",
        )
    found, is_new = round_at(project, store, snapshot, progress, percent, options)
    return report_round(project, snapshot, found, is_new)


def round_at(
    project: Project,
    store: LabelStore,
    snapshot: LabelSnapshot,
    progress: Progress,
    percent: float,
    options: TrainingOptions,
) -> tuple[Round, bool]:
    """The round at a percentage: an earlier one if it fits, else a new one.

    Returns:
        the round, and whether anything was trained or predicted for it.
    """
    begun = unfinished(project)
    last = begun or latest_complete(project)
    settings = resolve(options, last.plan.settings if last else {}, project.skeleton)
    seed = options.seed
    if seed is None:
        seed = begun.plan.seed if begun else project.seed
    labelled = labelled_set(
        snapshot.trainable, len(snapshot.instances), percent, locked_labelled(project), project.seed
    )
    plan = RoundPlan(
        number=next_round_number(project),
        kind="semi-weak" if labelled else "location-free",
        labelled=labelled,
        labelled_share=len(labelled) / len(snapshot.instances),
        journal_head=store.head(),
        settings=settings,
        seed=seed,
    )
    done = (item for item in reversed(rounds(project)) if item.status == COMPLETE)
    alike = (item for item in done if _trains_alike(item.plan, plan))
    same = next((item for item in alike if _is_current(item, project, store, snapshot)), None)
    if same is not None:
        return same, False
    if begun is not None:
        if _trains_alike(begun.plan, plan):
            progress.line(f"Continuing round {begun.plan.number:03d}.")
            plan = begun.plan
        elif is_main_process():
            progress.line(f"Giving up round {begun.plan.number:03d} for another training.")
            abandon_round(begun.path, "another training was asked for")
            return round_at(project, store, snapshot, progress, percent, options)
    return run_round(project, store, plan, progress, options.devices), True


def _trains_alike(one: RoundPlan, other: RoundPlan) -> bool:
    """Whether two rounds differ only in when they began."""
    same = ("kind", "labelled", "settings", "seed")
    return all(getattr(one, name) == getattr(other, name) for name in same)


def _is_current(done: Round, project: Project, store: LabelStore, snapshot: LabelSnapshot) -> bool:
    """Whether a round learned from the labels of now and has predicted every instance."""
    if store.head() != done.plan.journal_head:
        then = read_snapshot(project, store, done.plan.journal_head)
        if not _teach_the_same(then, snapshot, done.plan.labelled):
            return False
    predictions = iter_predictions(done.path / "predictions.parquet", project.skeleton)
    return snapshot.instances.keys() <= {item.instance_id for item in predictions}


def _teach_the_same(then: LabelSnapshot, now: LabelSnapshot, labelled: tuple[str, ...]) -> bool:
    """Whether two snapshots give a training equal answers and equal locations."""
    before, after = (
        {item: answer for item, answer in snapshot.presences.items() if item not in now.dev}
        for snapshot in (then, now)
    )
    return (
        before.keys() == after.keys()
        and all(np.array_equal(answer, after[item]) for item, answer in before.items())
        and all(then.poses.get(item) == now.poses.get(item) for item in labelled)
    )


def report_round(
    project: Project, snapshot: LabelSnapshot, found: Round, is_new: bool
) -> RoundReport:
    """Queue up to twice the labelled percentage (at least 10 %), and report what to do next.

    After a location-free round that has hardly learned, only `FEW` are queued: enough for a next
    round worth correcting. Where `FEW` is more than 10 % of the project, its dev set is too small
    to tell.
    """
    predictions = latest_predictions(project)[1]
    dev = found.facts.get("dev", {})
    percent, note = max(10.0, min(100.0, 200.0 * found.plan.labelled_share)), ""
    few_percent = float(math.ceil(100 * FEW / len(snapshot.instances)))
    learned_little = hardly_learned(dev.get("presence_map"), dev.get("presence_map_chance"))
    if not found.plan.labelled and few_percent < percent and learned_little:
        percent = few_percent
        note = (
            "its presence predictions are hardly better than chance (presence_map), so its "
            f"locations cannot be trusted; the keypoints of some {FEW} instances teach it far more."
        )
    percent = float(round(percent))
    items = fill_queue(project, snapshot, predictions, percent)
    retrain_command = f"labelkit retrain --labeled {format_percent(percent)}"
    if items:
        following = f"Next: labelkit push, correct the queue, labelkit pull, then {retrain_command}"
    elif len(snapshot.trainable) > len(found.plan.labelled):
        following = f"{len(snapshot.trainable)} instances have keypoints. Next: {retrain_command}"
    else:
        following = "Everything is labelled. Next: labelkit export --format coco"
    return RoundReport(
        found.plan.number,
        found.plan.kind,
        len(found.plan.labelled),
        len(snapshot.instances),
        0,
        len(items),
        is_new,
        dev,
        following,
        note,
    )
