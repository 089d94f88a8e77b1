"""`labelkit retrain`: train on the locations there are, pre-annotate, queue what comes next."""

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
from labelkit.store.label_store import LabelStore
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot, read_snapshot
from labelkit.workflows.rounds.queue_file import fill_queue
from labelkit.workflows.rounds.run_round import latest_predictions, run_round
from labelkit.workflows.rounds.settings import TrainingOptions, resolve

#: Corrected instances that a round is worth correcting with: 1 % of LSPET
#: (benchmarks/README.md, Table 4).
FEW = 50

#: With fewer instances of the dev set located, chance alone moves PCK by seven points and more:
#: it is known to 1.5 points by the 235 of LSPET (benchmarks/README.md).
COMPARABLE = 10


@dataclass(frozen=True, slots=True)
class RoundReport:
    """What a round was, and what to do now.

    Attributes:
        round: its number; None where labels are missing and nothing was trained.
        kind: "location-free" or "semi-weak".
        labelled, instances: with locations that were trained on, and in the project.
        missing: human keypoints that are missing for the percentage asked for.
        queued: instances in the queue now.
        is_new: False where the newest round already answers to this command.
        dev: measures on the dev set.
        next_step: what to type.
        note: what to know before that; "" for nothing.
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
        """3 where people have to label first."""
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
        numbers = [f"{k} {v:.3f}" for k, v in self.dev.items() if isinstance(v, float)]
        if numbers:
            located = self.dev.get("located", 0)
            few = ", too few to compare rounds by" if 0 < located < COMPARABLE else ""
            lines.append(f"On the dev set ({located} with keypoints{few}): {', '.join(numbers)}.")
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
        progress: told one line an epoch.
        percent: of the project's instances that give locations; None for all that have them.
        now: train on what there is, even if that is less.
        options: how to train; what is not said stays as in the last round.

    Raises:
        WaitingForLabels: if nobody has answered anything yet.
    """
    labels = read_snapshot(project, store)
    if not labels.presences:
        raise WaitingForLabels(
            "Nobody has said yet which keypoints can be seen.",
            "Type: labelkit push, tick what can be seen, labelkit pull; then\n"
            f"labelkit bootstrap --images {project.images_root}",
        )
    share = (
        percent if percent is not None else 100.0 * len(labels.trainable) / len(labels.instances)
    )
    wanted = labelled_count(len(labels.instances), share)
    missing = wanted - len(labels.trainable)
    if missing > 0 and not now:
        predictions: Mapping[str, Prediction] = {}
        if latest_complete(project) is not None:
            predictions = latest_predictions(project)[1]
        items = fill_queue(project, labels, predictions, share)
        # The dev set gives no locations, nor does what was skipped or excluded.
        missing = min(missing, sum(item.instance_id not in labels.dev for item in items))
    if missing > 0 and not now:
        return RoundReport(
            None,
            "semi-weak",
            len(labels.trainable),
            len(labels.instances),
            missing,
            len(items),
            False,
            {},
            "Type: labelkit push, correct them, labelkit pull, "
            f"then labelkit retrain --labeled {format_percent(share)} again.\n"
            f"Or train on what there is: labelkit retrain --labeled {format_percent(share)} --now",
        )
    found, is_new = round_at(project, store, labels, progress, share, options)
    return report_round(project, labels, found, is_new)


def round_at(
    project: Project,
    store: LabelStore,
    labels: LabelSnapshot,
    progress: Progress,
    percent: float,
    options: TrainingOptions,
) -> tuple[Round, bool]:
    """The round at a percentage: an earlier one if it fits, else one that is trained now.

    Returns:
        the round, and whether anything was done for it.
    """
    begun = unfinished(project)
    last = begun or latest_complete(project)
    settings = resolve(options, last.plan.settings if last else {})
    seed = options.seed
    if seed is None:
        seed = begun.plan.seed if begun else project.seed
    labelled = labelled_set(
        labels.trainable, len(labels.instances), percent, locked_labelled(project), project.seed
    )
    plan = RoundPlan(
        number=next_round_number(project),
        kind="semi-weak" if labelled else "location-free",
        labelled=labelled,
        labelled_share=len(labelled) / len(labels.instances),
        journal_head=store.head(),
        settings=settings,
        seed=seed,
    )
    done = (item for item in reversed(rounds(project)) if item.status == COMPLETE)
    asked_before = (item for item in done if _asks_the_same(item.plan, plan))
    same = next((item for item in asked_before if _is_current(item, project, store, labels)), None)
    if same is not None:
        return same, False
    if begun is not None:
        if _asks_the_same(begun.plan, plan):
            progress.line(f"Going on with round {begun.plan.number:03d}.")
            plan = begun.plan
        elif is_main_process():
            progress.line(f"Round {begun.plan.number:03d} is given up for another training.")
            abandon_round(begun.path, "another training was asked for")
            return round_at(project, store, labels, progress, percent, options)
    return run_round(project, store, plan, progress, options.devices), True


def _asks_the_same(one: RoundPlan, other: RoundPlan) -> bool:
    """Whether two rounds differ in nothing but when they began."""
    same = ("kind", "labelled", "settings", "seed")
    return all(getattr(one, name) == getattr(other, name) for name in same)


def _is_current(done: Round, project: Project, store: LabelStore, labels: LabelSnapshot) -> bool:
    """Whether a round learned from the labels of today and has posed every instance."""
    if store.head() != done.plan.journal_head:
        then = read_snapshot(project, store, done.plan.journal_head)
        if not _teach_the_same(then, labels, done.plan.labelled):
            return False
    posed = iter_predictions(done.path / "predictions.parquet", project.skeleton)
    return labels.instances.keys() <= {item.instance_id for item in posed}


def _teach_the_same(then: LabelSnapshot, now: LabelSnapshot, labelled: tuple[str, ...]) -> bool:
    """Whether training sees equal answers, and equal places of what gives its locations."""
    before, after = (
        {item: answer for item, answer in labels.presences.items() if item not in now.dev}
        for labels in (then, now)
    )
    return (
        before.keys() == after.keys()
        and all(np.array_equal(answer, after[item]) for item, answer in before.items())
        and all(then.poses.get(item) == now.poses.get(item) for item in labelled)
    )


def report_round(
    project: Project, labels: LabelSnapshot, found: Round, is_new: bool
) -> RoundReport:
    """Queue up to twice the percentage (at least 10 %), and say what to do.

    After a location-free round that has learned next to nothing, few are queued: so many that the
    next round is worth correcting. A project of which they are a tenth has too small a dev set to
    tell.
    """
    predictions = latest_predictions(project)[1]
    dev = found.facts.get("dev", {})
    at, note = max(10.0, min(100.0, 200.0 * found.plan.labelled_share)), ""
    few = float(math.ceil(100 * FEW / len(labels.instances)))
    learned_little = hardly_learned(dev.get("presence_map"), dev.get("presence_map_chance"))
    if not found.plan.labelled and few < at and learned_little:
        at = few
        note = (
            "it hardly tells what can be seen better than chance (presence_map), so where it puts "
            f"keypoints is a guess; keypoints of some {FEW} instances teach it far more."
        )
    at = float(round(at))
    items = fill_queue(project, labels, predictions, at)
    percent = format_percent(at)
    if items:
        following = (
            "Next: labelkit push, correct the queue, labelkit pull, "
            f"then labelkit retrain --labeled {percent}"
        )
    elif len(labels.trainable) > len(found.plan.labelled):
        following = (
            f"{len(labels.trainable)} instances have keypoints. "
            f"Next: labelkit retrain --labeled {percent}"
        )
    else:
        following = "Everything is labelled. Next: labelkit export --format coco"
    return RoundReport(
        found.plan.number,
        found.plan.kind,
        len(found.plan.labelled),
        len(labels.instances),
        0,
        len(items),
        is_new,
        dev,
        following,
        note,
    )
