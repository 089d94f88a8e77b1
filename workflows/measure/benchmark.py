"""`labelkit benchmark`: a table of the paper on your own labelled images, with several seeds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from labelkit.domain.pose import Pose
from labelkit.domain.pose_priors import MeanPose, skeleton_in_box
from labelkit.domain.prediction import prior_predictions
from labelkit.domain.selection import labelled_set
from labelkit.domain.skeleton import Skeleton, pairs_in_words
from labelkit.errors import UsageError
from labelkit.files.atomic import write_json
from labelkit.progress import Progress
from labelkit.project.project import (
    BENCHMARK_FILE,
    PROJECT_FILE,
    Project,
    lock_project,
    open_project,
    project_with_own_store,
)
from labelkit.store.ownership import open_store
from labelkit.workflows.benchmarking.report import BenchmarkReport, Line, finished
from labelkit.workflows.benchmarking.runs import Bench, planned, scored
from labelkit.workflows.benchmarking.scores import prior_scores
from labelkit.workflows.benchmarking.tables import Table, Trial, tables
from labelkit.workflows.detector_free.table import DETECTOR_FREE, run_table
from labelkit.workflows.detector_free.table import Trial as DetectorFreeTrial
from labelkit.workflows.detector_free.table import trials as detector_free_trials
from labelkit.workflows.intake.evaluation_set import evaluation_set
from labelkit.workflows.intake.label_sets import read_label_files
from labelkit.workflows.intake.register import register_labelled
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.settings import (
    TrainingOptions,
    note_on_mirroring,
    preset_of,
    resolve,
)

T = TypeVar("T", Trial, DetectorFreeTrial)


def benchmark(
    table: str,
    progress: Progress,
    *,
    root: Path,
    images: Path | None,
    labels: Path | None,
    test_images: Path | None,
    test_labels: Path | None,
    percent: Sequence[float],
    only: str,
    seeds: int,
    options: TrainingOptions,
) -> BenchmarkReport:
    """Run and score the chosen trials of a table, except those that have been run before.

    The report has every row of the table that has been run with these settings, now or before.

    Args:
        table: one of `tables`, or "detector-free".
        progress: gets a line for each step.
        root: folder of the benchmark; an existing one is continued.
        images, labels: to learn from; may be left out when the folder exists.
        test_images, test_labels: to score on; None for both scores on the dev set.
        percent: labelled percentages to run, 0 ... 100; empty for all of the table.
        only: name of the rows to run, or a part of their names; "" for all.
        seeds: number of seeds, from 0; each draws its own labelled instances and first weights.
        options: how to train; what they leave out stays as in the last run. `seed` is ignored.

    Raises:
        UsageError: on an unknown table, or one that has no such rows.
        LabelkitError: if images or labels cannot be used.
    """
    if (test_images is None) != (test_labels is None):
        raise UsageError("A test set needs both --test-images DIR and --test-labels FILE.")
    skeleton, poses = _taught(root, images, labels)
    kept = _kept(root)
    if options.pretrained is None and options.weights is None and not kept:
        options = replace(options, pretrained=True)  # all rows start alike, or none does
    settings = resolve(options, kept, skeleton, poses=poses)
    known = tables(preset_of(settings))
    names = (*known, DETECTOR_FREE)
    if table not in names:
        raise UsageError(f"There is no table {table!r}.", f"Tables: {', '.join(names)}.")

    chosen = known.get(table)
    if chosen is None:
        from labelkit.workflows.detector_free.networks import with_canvas

        settings = with_canvas(settings, options, kept)
    trials = _asked(chosen.trials, table, only, percent) if chosen else []
    detector_free = [] if chosen else _asked(detector_free_trials(), table, only, percent)
    project = _project(root, images, skeleton, progress)
    if note := note_on_mirroring(settings, skeleton):
        progress.line(f"note: {note}")
    with lock_project(project), open_store(project) as store:
        write_json(root / BENCHMARK_FILE, settings)
        if images is not None and labels is not None:
            register_labelled(project, store, progress, labels)
        snapshot = read_snapshot(project, store)
        with evaluation_set(project, snapshot, progress, test_images, test_labels) as test:
            name = "dev" if test_labels is None else test_labels.resolve().parent.name
            bench = Bench(project, snapshot, settings, store.head(), test, name)
            if chosen is None:
                return run_table(bench, detector_free, seeds, progress)
            lines = _lines(bench, chosen, trials, seeds, progress)
    return finished(bench.project, table, chosen, bench.name, bench.settings, lines)


def _asked(trials: Sequence[T], table: str, only: str, percent: Sequence[float]) -> list[T]:
    """The rows of this name, or else those that contain it, at these percentages.

    Raises:
        UsageError: if there are none.
    """
    names = {trial.name.lower() for trial in trials}
    asked = {only.lower()} if only.lower() in names else {n for n in names if only.lower() in n}
    chosen = [
        trial
        for trial in trials
        if trial.name.lower() in asked and (not percent or trial.percent in percent)
    ]
    if not chosen:
        raise UsageError(
            f"--only and --labeled leave no row of {table!r}.", "Leave out --only or --labeled."
        )
    return chosen


def _kept(root: Path) -> dict[str, Any]:
    """The settings of the last run; empty before the first."""
    path = root / BENCHMARK_FILE
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def _taught(
    root: Path, images: Path | None, labels: Path | None
) -> tuple[Skeleton, Sequence[Pose]]:
    """The skeleton, and of a new benchmark the poses."""
    if (root / PROJECT_FILE).is_file():
        return open_project(root).skeleton, ()
    if images is None or labels is None:
        raise UsageError(
            f"{root} is not a benchmark yet.", "Name what to learn from: --images DIR --labels FILE"
        )
    (file, *_) = read_label_files([labels], None)
    return file.skeleton, [item.pose for item in file.annotations if item.pose.present.any()]


def _project(root: Path, images: Path | None, skeleton: Skeleton, progress: Progress) -> Project:
    is_new = not (root / PROJECT_FILE).is_file()
    if not (is_new or (root / BENCHMARK_FILE).is_file() or open_project(root).has_own_store):
        raise UsageError(
            f"{root} is a project for labelling.", "A benchmark needs a folder of its own."
        )
    project = project_with_own_store(root, images or root, skeleton)
    if is_new:
        progress.line(f"Made the benchmark {root}. {pairs_in_words(skeleton)}")
    return project


def _lines(
    bench: Bench, table: Table, asked: Sequence[Trial], seeds: int, progress: Progress
) -> list[Line]:
    """The chosen rows, and those of the table that have been run before."""
    rows = [[planned(bench, trial, seed) for seed in range(seeds)] for trial in table.trials]
    folders = dict.fromkeys(r.folder for row in rows for r in row if r.trial in asked)
    place = {folder: f"{n} of {len(folders)}" for n, folder in enumerate(folders, start=1)}
    lines = []
    for trial, row in zip(table.trials, rows, strict=True):
        if trial in asked:
            runs = [scored(bench, r, progress, place[r.folder], table.pictures) for r in row]
        else:
            runs = [scores for run in row if (scores := run.known(table.pictures)) is not None]
        if len(runs) == seeds:
            lines.append(Line(trial.name, trial.percent, tuple(runs)))
    return [*_priors(bench, {line.percent for line in lines if line.percent}, seeds), *lines]


def _priors(bench: Bench, percents: Set[float], seeds: int) -> Iterator[Line]:
    """The rows that a result has to beat: pose priors, made without the images."""
    skeleton, test = bench.project.skeleton, bench.test
    boxes = [instance.box for instance in test.instances.values()]
    ids = list(test.instances)
    flat = skeleton_in_box(boxes, skeleton)
    nothing = [float("nan")] * len(skeleton)
    yield Line(
        "skeleton in box",
        None,
        (prior_scores(prior_predictions(ids, flat, nothing), test, skeleton),),
    )
    for percent in sorted(percents) or [100.0]:
        runs = []
        for seed in range(seeds):
            poses, trainable = bench.labels.poses, bench.labels.trainable
            labelled = labelled_set(trainable, len(trainable), percent, (), seed)
            boxes_of = [bench.labels.instances[item].box for item in labelled]
            mean = MeanPose.fit([poses[item] for item in labelled], boxes_of, skeleton)
            priors = prior_predictions(ids, mean.apply(boxes), mean.share)
            runs.append(prior_scores(priors, test, skeleton))
        yield Line("mean pose", percent, tuple(runs))
