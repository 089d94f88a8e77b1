"""`labelkit retrain`: train at a labelled percentage, pre-annotate, queue what comes next."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from labelkit.domain.selection import format_percent, labelled_count, labelled_set
from labelkit.domain.text import counted
from labelkit.errors import WaitingForLabels
from labelkit.metrics.quality import hardly_learned
from labelkit.metrics.table import describe
from labelkit.progress import Progress
from labelkit.project.first_skeleton import first_skeleton
from labelkit.project.project import Project, is_main_process, is_one_of_several
from labelkit.project.rounds import (
    COMPLETE,
    Round,
    RoundPlan,
    abandon_round,
    latest_complete,
    latest_trained,
    locked_labelled,
    next_round_number,
    rounds,
    unfinished,
)
from labelkit.project.teacher import lessons, teacher_named
from labelkit.report import Report
from labelkit.store.ids import among
from labelkit.store.label_store import LabelStore
from labelkit.workflows.rounds.dev_set import settle_dev_set
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot, read_snapshot
from labelkit.workflows.rounds.networks import examples_of, learned, training_table
from labelkit.workflows.rounds.next_step import by_hand
from labelkit.workflows.rounds.queue_file import fill_queue
from labelkit.workflows.rounds.run_round import (
    check_plan,
    predict_later,
    run_round,
)
from labelkit.workflows.rounds.served import COMPARABLE, note_on_serving
from labelkit.workflows.rounds.settings import (
    TrainingOptions,
    resolve,
    settings_of,
    with_remembered,
)
from labelkit.workflows.rounds.start import FEW, start_of, waits_for_labels

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RoundReport(Report):
    """What a round learned from, how good it is, and what to do next.

    Attributes:
        round: its number; None if labels are missing and nothing was trained.
        kind: "location-free", "semi-weak" or "detector-free".
        labelled, instances: instances whose locations were trained on, and all of the project.
        missing: instances without keypoints that the labelled percentage needs.
        queued: instances in the queue now.
        is_new: False if an earlier round already is what the command asked for.
        predicted: instances that came after it and were predicted now.
        dev: measures on the dev set.
        next_step: what to type.
        note: what to know before that, a line each.
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
    predicted: int = 0

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
        if self.predicted:
            lines.append(f"Predicted {counted(self.predicted, 'new instance')} with it.")
        measures = describe(self.dev)
        if measures:
            located = self.dev.get("located", 0)
            few = ", too few to compare rounds" if 0 < located < COMPARABLE else ""
            lines.append(f"On the dev set ({located} with keypoints{few}): {measures}.")
        lines += [f"note: {note}" for note in self.note.splitlines()]
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
    dev_percent: float | None = None,
) -> RoundReport:
    """Train at a labelled percentage, nested in every larger and earlier one.

    Args:
        project: see `open_project`.
        store: its label store.
        progress: gets a line now and then.
        percent: 0 ... 100, of the project's instances: how many give locations; None for all that
            have human keypoints.
        now: train on the labels there are, even if they are fewer.
        options: how to train; what they leave out stays as it was given before, but the teacher,
            which is named each time.
        dev_percent: 0 ... 100, of the instances, to which the dev set grows; None leaves it.

    Raises:
        WaitingForLabels: if there are no visibility answers yet.
        UsageError: if there are no predictions of the teacher.
    """

    def remember_options() -> tuple[Project, TrainingOptions]:
        remembered = with_remembered(project, options)
        if dev_percent is not None and (note := settle_dev_set(project, store, dev_percent)):
            progress.line(note)
        return remembered

    project, options = first_alone(remember_options)
    snapshot = read_snapshot(project, store)
    if not snapshot.presences and not options.finds_objects:
        raise WaitingForLabels(
            "No visibility answers yet.",
            f"Type: {by_hand(store, 'tick what can be seen')}; then\n"
            f"labelkit bootstrap --images {project.images_root}",
        )
    if latest_trained(project) is None and unfinished(project) is None and not now:
        start = start_of(project, snapshot)
        if waits_for_labels(store, snapshot, start):
            raise WaitingForLabels(
                f"{start.note} {start.missing}".strip(),
                "Or train on the labels there are: add --now",
            )
    if percent is None:
        percent = snapshot.trainable_percent
    missing = labelled_count(len(snapshot.instances), percent) - len(snapshot.trainable)
    if missing > 0 and not now:
        items = fill_queue(project, snapshot, percent)
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
            f"Type: {by_hand(store, 'correct them')}, "
            f"then labelkit retrain --labeled {format_percent(percent)} again.\n"
            "Or train on the labels there are: "
            f"labelkit retrain --labeled {format_percent(percent)} --now",
        )
    found, is_new = round_at(project, store, snapshot, progress, percent, options)
    return report_round(project, store, snapshot, found, is_new, progress)


def round_at(
    project: Project,
    store: LabelStore,
    snapshot: LabelSnapshot,
    progress: Progress,
    percent: float,
    options: TrainingOptions,
) -> tuple[Round, bool]:
    """The round at a percentage: an earlier one if it fits, else a new one.

    Of several processes the first one decides which.

    Returns:
        the round, and whether anything was trained or predicted for it.
    """
    if options.finds_objects:
        from labelkit.workflows.detector_free.rounds import detector_free_round

        return detector_free_round(project, store, snapshot, progress, percent, options)
    decide = partial(_same_or_plan, project, store, snapshot, progress, percent, options)
    found = first_alone(decide)
    if isinstance(found, Round):
        return found, False
    return run_round(project, store, found, progress, options.devices), True


def first_alone(work: Callable[[], T]) -> T:
    """The result of some work, which the first of several processes does alone."""
    if not is_one_of_several():
        return work()  # without torch, which takes a second
    from labelkit.workflows.network.sharing import prepared

    return prepared(work)


def _same_or_plan(
    project: Project,
    store: LabelStore,
    snapshot: LabelSnapshot,
    progress: Progress,
    percent: float,
    options: TrainingOptions,
) -> Round | RoundPlan:
    """The earlier round that fits, or what to train; see `round_at`."""
    begun = unfinished(project)
    last = begun or latest_trained(project)
    if last is not None and last.plan.finds_objects:
        last = None
    seed = options.seed
    if seed is None:
        seed = begun.plan.seed if begun else project.seed
    labelled = labelled_set(
        snapshot.trainable, len(snapshot.instances), percent, locked_labelled(project), project.seed
    )
    teacher = {"teacher": teacher_named(project, options.teacher)} if options.teacher else {}
    examples = examples_of(snapshot, labelled, lessons(project, teacher))
    taught = learned(project.skeleton, examples)
    boxes = snapshot.instances.columns.boxes
    poses = [it.located for it in examples if it.located is not None]
    settings = resolve(options, settings_of(last) if last else {}, taught, boxes, poses)
    size = settings.get("input_size", (1, 1))
    if last is None and size[0] != size[1]:
        progress.line(f"Crops of {size[1]} x {size[0]} pixels, which fit these elongated objects.")
    plan = RoundPlan(
        number=next_round_number(project),
        kind="semi-weak" if labelled else "location-free",
        labelled=labelled,
        labelled_share=len(labelled) / len(snapshot.instances),
        journal_head=store.head(),
        settings={**settings, **teacher, "skeleton": training_table(taught)},
        seed=seed,
    )
    done = (item for item in reversed(rounds(project)) if item.status == COMPLETE)
    trained = (item for item in done if not item.plan.is_foreign)
    alike = (item for item in trained if _trains_alike(item, plan, project))
    same = next((item for item in alike if _is_current(item, project, store, snapshot)), None)
    if same is not None:
        return same
    if begun is not None:
        if _trains_alike(begun, plan, project):
            progress.line(f"Continuing round {begun.plan.number:03d}.")
            plan = begun.plan
        elif is_main_process():
            check_plan(project, store, plan)
            progress.line(f"Giving up round {begun.plan.number:03d} for another training.")
            abandon_round(begun.path, "another training was asked for")
            return _same_or_plan(project, store, snapshot, progress, percent, options)
    return plan


def _trains_alike(one: Round, plan: RoundPlan, project: Project) -> bool:
    """Whether a round differs from a plan only in when it began, and in names of keypoints."""
    same = ("kind", "labelled", "seed")
    # A round that an earlier version began may have any number format, names no skeleton, and
    # trained for its epochs only.
    earlier = {
        "precision": plan.settings["precision"],
        "least_steps": plan.settings["least_steps"],
        "skeleton": training_table(first_skeleton(project)),
    }
    one_has, plan_has = (
        {**settings, "skeleton": _by_name(settings["skeleton"], project)}
        for settings in (earlier | settings_of(one), plan.settings)
    )
    return one_has == plan_has and all(
        getattr(one.plan, name) == getattr(plan, name) for name in same
    )


def _by_name(table: Mapping[str, Any], project: Project) -> tuple[Any, ...]:
    """The skeleton of a training by present names, whatever their order."""
    names = [project.skeleton.present_name(name) for name in table["keypoints"]]
    now = dict(zip(table["keypoints"], names, strict=True))
    return (
        dict(zip(names, map(tuple, table["layout"]), strict=True)),
        {frozenset((now[a], now[b])) for a, b in table["links"]},
        {frozenset((now[a], now[b])) for a, b in table["pairs"]},
    )


def _is_current(done: Round, project: Project, store: LabelStore, snapshot: LabelSnapshot) -> bool:
    """Whether a round learned from the labels of now."""
    if store.head() == done.plan.journal_head:
        return True
    then = read_snapshot(project, store, done.plan.journal_head)
    return _teach_the_same(then, snapshot, done.plan.labelled)


def _teach_the_same(then: LabelSnapshot, now: LabelSnapshot, labelled: tuple[str, ...]) -> bool:
    """Whether two snapshots give a training equal answers and equal locations."""

    def answers(snapshot: LabelSnapshot) -> tuple[NDArray[Any], NDArray[Any]]:
        ids, counts = snapshot.presences.ids, ~among(snapshot.presences.ids, now.dev)
        order = np.argsort(ids.array[counts])
        return ids.array[counts][order], snapshot.presences.in_order[counts][order]

    return all(map(np.array_equal, answers(then), answers(now))) and all(
        then.poses.get(item) == now.poses.get(item) for item in labelled
    )


def _note_on_stopping(found: Round) -> str:
    """That the user or `--minutes` ended a training before its last step; "" if none did."""
    training = found.facts.get("training", {})
    recipe = training.get("recipe", {})
    minutes = recipe.get("minutes", 0.0)
    if training.get("stopped"):
        why, advice = "", "--epochs N"
    elif minutes and training["steps"] < recipe["steps"]:
        why, advice = f" (--minutes {minutes:g})", "--minutes 0"
    else:
        return ""
    return (
        f"the training was stopped after {training['steps']:,} of {recipe['steps']:,} steps{why}. "
        f"For a full one: labelkit retrain {advice}"
    )


def percent_after(found: Round) -> float:
    """Up to which labelled percentage is queued after a round: twice its own, at least 10."""
    return max(10.0, min(100.0, 200.0 * found.plan.labelled_share))


def report_round(
    project: Project,
    store: LabelStore,
    snapshot: LabelSnapshot,
    found: Round,
    is_new: bool,
    progress: Progress,
) -> RoundReport:
    """Predict what came after a round, queue up to twice its percentage, and report what is next.

    At least 10 % are queued. Processes that only helped to train and predict end here.

    After a location-free round that has hardly learned, only `FEW` are queued: enough for a next
    round worth correcting. Where `FEW` is more than 10 % of the project, its dev set is too small
    to tell.
    """
    from labelkit.workflows.network.sharing import together

    newest = latest_complete(project) or found

    def predict_what_came() -> int:
        nonlocal snapshot
        predicted = 0
        for item in {found.plan.number: found, newest.plan.number: newest}.values():
            if item.plan.finds_objects:
                from labelkit.workflows.detector_free.rounds import find_later

                predicted = find_later(project, store, item, progress)
                snapshot = read_snapshot(project, store)
            else:
                predicted = predict_later(project, item, snapshot.instances, progress)
        return predicted

    predicted = together(predict_what_came)
    if not is_main_process():
        raise SystemExit(0)  # it only helped
    dev = found.facts.get("dev", {})
    percent = percent_after(found)
    note = "\n".join(filter(None, (_note_on_stopping(found), note_on_serving(found))))
    few_percent = float(math.ceil(100 * FEW / len(snapshot.instances)))
    learned_little = hardly_learned(dev.get("presence_map"), dev.get("presence_map_chance"))
    if not found.plan.labelled and few_percent < percent and learned_little:
        percent = few_percent
        note = (
            f"{note}\n".lstrip() + "its presence predictions are hardly better than chance "
            "(presence_map), so its locations cannot be trusted; the keypoints of some "
            f"{FEW} instances teach it far more."
        )
    percent = float(round(percent))
    items = fill_queue(project, snapshot, percent)
    retrain_command = f"labelkit retrain --labeled {format_percent(percent)}"
    if items:
        following = f"Next: {by_hand(store, 'correct the queue')}, then {retrain_command}"
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
        predicted,
    )
