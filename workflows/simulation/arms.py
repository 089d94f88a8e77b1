"""The arms of a simulation, and how each is played: with the commands of a real project."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from labelkit.domain.instance import Instance
from labelkit.domain.pose import Pose
from labelkit.domain.selection import format_percent, labelled_count, labelled_set
from labelkit.progress import Progress
from labelkit.project.project import Project, project_with_own_store, remember
from labelkit.project.rounds import (
    COMPLETE,
    RoundPlan,
    latest_complete,
    locked_labelled,
    next_round_number,
    rounds,
    unfinished,
)
from labelkit.store.label_store import LabelStore
from labelkit.store.objects import NewInstance
from labelkit.store.ownership import open_store
from labelkit.workflows.choosing.strategies import MIXED, RANDOM
from labelkit.workflows.labelling.work import Mode, Work
from labelkit.workflows.loop.predictions import add_predictions, learn_adapter_again
from labelkit.workflows.loop.retrain import retrain
from labelkit.workflows.rounds.dev_set import begin_dev_set, settle_dev_set
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.networks import examples_of, learned, training_table
from labelkit.workflows.rounds.queue_file import fill_queue, queued_percent, waiting
from labelkit.workflows.rounds.run_round import run_round
from labelkit.workflows.rounds.settings import TrainingOptions, resolve, settings_of
from labelkit.workflows.rounds.start import KEYPOINTS as KEYPOINTS_FIRST
from labelkit.workflows.rounds.start import TICKS
from labelkit.workflows.simulation.hands import Annotator, Habits

#: Objects that are labelled from nothing before another model's poses are first adapted to them.
FIRST_TAUGHT = 10


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to label a data set.

    Attributes:
        name: in reports.
        strategy: of the queue.
        ticks: whether visibility answers about all objects come first.
        network: "lofr", "simple" for supervised-only training, or "" for none.
        foreign: whether another model's predictions come first, and are adapted to the first
            `FIRST_TAUGHT` labelled objects and after each percentage until a network is trained.
    """

    name: str
    strategy: str
    ticks: bool
    network: str
    foreign: bool = False


SCRATCH = Arm("from scratch", RANDOM, False, "")
SUPERVISED = Arm("supervised-only", RANDOM, False, "simple")
OURS_RANDOM = Arm("ours, random", RANDOM, True, "lofr")
OURS = Arm("ours, queued", MIXED, True, "lofr")
WITHOUT_TICKS = Arm("ours, queued, no ticks", MIXED, False, "lofr")
FOREIGN = Arm("foreign start", MIXED, False, "", True)
FOREIGN_THEN_OURS = Arm("foreign start, then ours", MIXED, False, "lofr", True)
ARMS = {
    arm.name: arm
    for arm in (
        SCRATCH,
        SUPERVISED,
        OURS_RANDOM,
        OURS,
        WITHOUT_TICKS,
        FOREIGN,
        FOREIGN_THEN_OURS,
    )
}


@dataclass(frozen=True, slots=True)
class Data:
    """A data set whose keypoints are all known.

    Attributes:
        project: that holds it.
        instances, truth: by instance id.
    """

    project: Project
    instances: Mapping[str, Instance]
    truth: Mapping[str, Pose]


@dataclass(frozen=True, slots=True)
class Play:
    """One arm with one seed.

    Attributes:
        data: that is labelled.
        arm: how.
        seed: of the project, and so of its dev set, draws and trainings.
        percents: labelled percentages after which a network is trained.
        habits: of the annotator.
        options: how to train.
        predictions: file of another model, for foreign arms.
    """

    data: Data
    arm: Arm
    seed: int
    percents: Sequence[float]
    habits: Habits
    options: TrainingOptions
    predictions: Path | None = None

    def folder(self, root: Path) -> Path:
        """Of the project that is played: another one for anything else that decides it."""
        what = [asdict(self.arm), self.seed, self.percents, asdict(self.habits)]
        poses = [(i, p.xy.tolist(), p.visibility.tolist()) for i, p in self.data.truth.items()]
        if self.predictions is not None and self.arm.foreign:
            what.append(hashlib.sha256(self.predictions.read_bytes()).hexdigest())
        boxes = [list(instance.box) for instance in self.data.instances.values()]
        text = json.dumps([what, asdict(self.options), poses, boxes], sort_keys=True)
        name = self.arm.name.replace(", ", "-").replace(" ", "-")
        return root / f"{name}-{self.seed}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def play(one: Play, root: Path, progress: Progress) -> tuple[Project, LabelStore]:
    """Play a project to its end, or the rest of it.

    Args:
        one: what is played.
        root: folder of all projects that are played.
        progress: gets a line for each step.

    Returns:
        the project, and its open label store.
    """
    folder = one.folder(root)
    source = one.data.project
    project = project_with_own_store(folder, source.images_root, source.skeleton, one.seed)
    start = TICKS if one.arm.ticks else KEYPOINTS_FIRST
    follow = one.habits.follows
    project = remember(project, queue=one.arm.strategy, start=start, follow=follow)
    store = open_store(project)
    begin_dev_set(store)
    if not store.instances():
        instances = one.data.instances.values()
        store.add_images({item.image.id: item.image for item in instances}.values())
        made = store.add_instances(
            NewInstance(item.image, item.box, item.box_source, item.area) for item in instances
        )
        assert [item.id for item in made] == [item.id for item in instances]
        settle_dev_set(project, store, None)
    if one.arm.foreign and one.predictions is not None and not rounds(project):
        add_predictions(project, store, one.predictions, name="foreign")
    if one.arm.ticks:
        _answer(one, project, store, "ticks")
    if one.arm.foreign:
        first = 100.0 * FIRST_TAUGHT / len(one.data.instances)
        for percent in sorted({min(first, 100.0), *one.percents}):
            if any(not it.plan.is_foreign for it in rounds(project)):
                break  # the rest is played without learning the adapter again
            _label(one, project, store, percent)
            learn_adapter_again(project, store)
            if one.arm.network and percent >= min(one.percents):
                break
    stages = [0.0, *one.percents] if one.arm.ticks else list(one.percents)
    for number, percent in enumerate(stages if one.arm.network else ()):
        trained = [it for it in rounds(project) if it.status == COMPLETE and not it.plan.is_foreign]
        if len(trained) > number:
            continue
        if percent:
            _label(one, project, store, percent)
        progress.line(f"{folder.name}: training at {format_percent(percent)}.")
        if one.arm.network == "lofr":
            retrain(
                project,
                store,
                progress,
                percent=percent,
                now=True,
                options=_options(one, project, store),
            )
        else:
            _train_supervised(one, project, store, percent, progress)
    _label(one, project, store, 100.0)
    return project, store


def _options(one: Play, project: Project, store: LabelStore) -> TrainingOptions:
    """How to train: as many steps in every arm, also where fewer objects have an answer."""
    options = replace(one.options, seed=one.seed)
    if options.epochs is None:
        return options  # the preset's least number of steps counts
    snapshot = read_snapshot(project, store)
    answered = len(snapshot.presences.keys() - snapshot.dev)
    return replace(options, epochs=math.ceil(options.epochs * len(snapshot.instances) / answered))


def _label(one: Play, project: Project, store: LabelStore, percent: float) -> None:
    """Fill the queue up to a percentage, unless that is done, and answer all of it."""
    snapshot = read_snapshot(project, store)
    missing = labelled_count(len(snapshot.instances), percent) > len(snapshot.trainable)
    if missing and not (queued_percent(project) == percent and waiting(project, snapshot)):
        fill_queue(project, snapshot, percent)
    if waiting(project, read_snapshot(project, store)):  # else the page asks about all others
        _answer(one, project, store, "keypoints")


def _answer(one: Play, project: Project, store: LabelStore, mode: Mode) -> None:
    Annotator(Work(project, store, mode), one.data.truth, one.habits).answer_all()


def _train_supervised(
    one: Play, project: Project, store: LabelStore, percent: float, progress: Progress
) -> None:
    """A round of the supervised-only baseline."""
    snapshot = read_snapshot(project, store)
    begun = unfinished(project)
    if begun is not None:
        run_round(project, store, begun.plan, progress, None)
        return
    labelled = labelled_set(
        snapshot.trainable,
        len(snapshot.instances),
        percent,
        locked_labelled(project),
        project.seed,
    )
    last = latest_complete(project)
    taught = learned(project.skeleton, examples_of(snapshot, labelled))
    boxes = [instance.box for instance in snapshot.instances.values()]
    poses = [snapshot.poses[item] for item in labelled]
    settings: dict[str, Any] = resolve(
        _options(one, project, store), settings_of(last) if last else {}, taught, boxes, poses
    )
    plan = RoundPlan(
        number=next_round_number(project),
        kind="semi-weak",
        labelled=labelled,
        labelled_share=len(labelled) / len(snapshot.instances),
        journal_head=store.head(),
        settings={**settings, "skeleton": training_table(taught), "network": one.arm.network},
        seed=one.seed,
    )
    run_round(project, store, plan, progress, None)
