"""`labelkit demo`: the whole loop on generated figures, with a simulated annotator."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture

from labelkit.domain.annotation import VisibilityAnswer
from labelkit.domain.instance import Instance
from labelkit.domain.pose import Pose
from labelkit.domain.skeleton import load_skeleton
from labelkit.domain.text import duration
from labelkit.errors import ProjectError
from labelkit.files.atomic import atomic_path, write_json, write_text
from labelkit.files.documents import load_json
from labelkit.formats.coco import CocoFile, read_coco
from labelkit.formats.visibility_csv import write_visibility_csv
from labelkit.metrics.table import ResultTable
from labelkit.progress import Progress, Silent
from labelkit.project.project import Project, project_with_own_store
from labelkit.project.rounds import COMPLETE, rounds
from labelkit.report import Report
from labelkit.store.label_store import LabelStore
from labelkit.store.ownership import open_store
from labelkit.workflows.loop.bootstrap import bootstrap
from labelkit.workflows.loop.retrain import retrain
from labelkit.workflows.measure.evaluate import evaluate
from labelkit.workflows.reviewing.contact_sheet import contact_sheet, sheet_items
from labelkit.workflows.rounds.settings import TrainingOptions, check_options
from labelkit.workflows.sync.pull_file import pull_file
from labelkit.workflows.sync.push_files import push_files
from labelkit.workflows.synthetic.simulated_annotator import NAME, correct

#: Small, and from random weights: the demo needs neither internet nor a GPU.
BACKBONE, INPUT_SIZE = "test_resnet", "96"
PICTURE_SIZE = 192
SHEET_FIGURES, GRID = 4, (6, 4)

#: What is compared in words and in the chart, and the rows that no network gives.
MEASURE, PRIORS = "pck@0.1", ("skeleton in box", "mean pose")


@dataclass(frozen=True, slots=True)
class Size:
    """How long the demo is.

    Attributes:
        figures, test_figures: how many to generate to learn from and to score on.
        epochs_on_ticks, epochs: of the training without locations, and of each with locations,
            which needs fewer.
        percentages: of the figures that are corrected before a training.
    """

    figures: int
    test_figures: int
    epochs_on_ticks: int
    epochs: int
    percentages: tuple[float, ...]


QUICK = Size(192, 100, 45, 14, (10.0,))
FULL = Size(400, 300, 36, 16, (5.0, 10.0))


@dataclass(frozen=True, slots=True)
class DemoReport(Report):
    """What the demo measured.

    Attributes:
        table: scores on figures that no training used.
        figures: how many those are.
        folder: holds everything that was made.
        pictures: one of each stage.
        seconds: how long it took.
    """

    table: ResultTable
    figures: int
    folder: Path
    pictures: tuple[Path, ...]
    seconds: float
    exit_code: int = 0

    def text(self) -> str:
        """For people."""
        return (
            f"\n{self.figures} generated robots that no training used:\n\n"
            f"{self.table.to_markdown()}\n"
            f"{_in_words(self.table)}\n"
            f"Every correction came from a {NAME}, which knows the truth.\n"
            f"Pictures  {self.pictures[0].parent}\n"
            f"Label Studio files  {self.folder / 'project' / 'label_studio'}\n"
            f"Took {duration(self.seconds)}. Your own images: labelkit bootstrap --images DIR\n"
            "Correct some robots yourself, in the browser: "
            f"labelkit label --project {shlex.quote(str(self.folder / 'project'))}"
        )

    def data(self) -> dict[str, Any]:
        """For machines."""
        return self.table.as_dict()


def demo(folder: Path, progress: Progress, *, seed: int, size: Size = QUICK) -> DemoReport:
    """Generate figures, bootstrap without locations, correct, retrain, evaluate.

    Run again in the same folder, it continues where it stopped.

    Args:
        folder: for images, project and results.
        progress: gets a line and a picture for each stage, and its bars.
        seed: of the figures and of the trainings.
        size: how long it is.

    Raises:
        UsageError: on no epochs.
        ProjectError: if the folder holds a demo with other figures.
    """
    started = time.monotonic()
    options = TrainingOptions(
        preset="tiny",
        backbone=BACKBONE,
        input_size=INPUT_SIZE,
        epochs=size.epochs,
        pretrained=False,
        rotation=180.0,
        mirror=False,
        seed=seed,
        devices=1,  # several trainings follow each other in this process
    )
    first = replace(options, epochs=size.epochs_on_ticks)
    check_options(options)
    check_options(first)
    bars, stages = _Bars(progress), len(size.percentages) + 3
    pictures: list[Path] = []

    def stage(what: str) -> None:
        progress.line(f"{len(pictures) + 1}/{stages}  {what}")

    def show(picture: Path) -> None:
        progress.line(f"     Picture: {picture}")
        pictures.append(picture)

    stage(f"Drawing {size.figures} robots to learn from and {size.test_figures} to test on.")
    truth = _figures(folder / "train", size.figures, seed, bars)
    _figures(folder / "test", size.test_figures, seed + 1_000_003, bars)
    show(_grid(folder / "train" / "images", _picture(folder, 1, "robots")))

    stage("Training on ticks: which keypoints can be seen, never where they are.")
    answers = folder / "visibility.csv"
    write_text(answers, _ticks(truth))
    images = folder / "train" / "images"
    project = project_with_own_store(folder / "project", images, load_skeleton("lsp14"), seed)
    bootstrap(
        images,
        bars,
        project_root=project.root,
        skeleton=None,
        labels=[answers],
        boxes=str(folder / "train" / "keypoints.json"),
        percent=0.0,
        skip=dict.fromkeys(("unreadable", "duplicates", "missing"), False),
        options=first,
    )
    with open_store(project) as store:
        poses = _true_poses(project, store.instances(), truth)
        show(_sheet(project, 0, poses, _picture(folder, 2, "ticks"), "Trained on ticks alone."))
        for percent in size.percentages:
            stage(
                f"Correcting {percent:g} % of the robots, and training on those and on the ticks."
            )
            report = retrain(project, store, bars, percent=percent, now=False, options=options)
            if report.missing:
                progress.line(f"     {_annotate(project, store, poses, folder, percent)}")
                retrain(project, store, bars, percent=percent, now=False, options=options)
            title = f"Trained on ticks and on the keypoints of {percent:g} %."
            name = _picture(folder, len(pictures) + 1, f"{percent:g}_percent_corrected")
            show(_sheet(project, -1, poses, name, title))
        stage("Training supervised-only on the same corrections, and scoring on the test robots.")
        table = evaluate(
            project,
            store,
            bars,
            images=folder / "test" / "images",
            labels=folder / "test" / "keypoints.json",
            supervised=True,
            output=folder / "results.json",
        ).table
    show(_chart(table, _picture(folder, stages, "compared")))
    seconds = time.monotonic() - started
    return DemoReport(table, size.test_figures, folder, tuple(pictures), seconds)


class _Bars(Silent):
    """Shows the bars of a workflow and drops its lines."""

    def __init__(self, progress: Progress) -> None:
        self.bar = progress.bar  # type: ignore[method-assign]
        self.track = progress.track  # type: ignore[method-assign]


def _picture(folder: Path, number: int, name: str) -> Path:
    (folder / "pictures").mkdir(exist_ok=True)
    return folder / "pictures" / f"{number}_{name}.png"


def _figures(folder: Path, count: int, seed: int, progress: Progress) -> CocoFile:
    from labelkit.workflows.synthetic.figures import generate

    path, made_for = folder / "keypoints.json", folder / "made_for.json"
    these = {"figures": count, "seed": seed}
    if made_for.is_file() and json.loads(made_for.read_text()) != these:
        raise ProjectError(
            f"{folder} holds the figures of another demo.",
            "Delete the folder, or choose another with: labelkit demo --folder DIR",
        )
    if not made_for.is_file():
        with progress.bar("Drawing figures") as step:
            generate(folder, count, seed, PICTURE_SIZE, lambda done: step(done, count))
        write_json(made_for, these)
    return read_coco(load_json(path), str(path))


def _ticks(truth: CocoFile) -> str:
    """The visibility answers of an annotator who only ticks."""
    rows = [
        VisibilityAnswer(a.image_path, "", a.pose.present.astype(np.int8))
        for a in truth.annotations
    ]
    return write_visibility_csv(rows, truth.skeleton)


def _annotate(
    project: Project,
    store: LabelStore,
    poses: Mapping[str, Pose],
    folder: Path,
    percent: float,
) -> str:
    """Push the queue, correct it, pull it; what was corrected."""
    pushed = push_files(project, store, dry_run=False)
    tasks = json.loads(pushed.files[1].read_text(encoding="utf-8"))
    export = folder / f"corrected_{percent:g}.json"
    write_json(export, correct(tasks, store.instances(), poses, project.skeleton))
    report = pull_file(project, store, export)
    return f"The {NAME} corrected {report.poses} robots. {report.text().splitlines()[1]}"


def _true_poses(
    project: Project, instances: Mapping[str, Instance], truth: CocoFile
) -> dict[str, Pose]:
    """True poses by instance id."""
    by_path = {annotation.image_path: annotation.pose for annotation in truth.annotations}
    order = [truth.skeleton.index(name) for name in project.skeleton.keypoints]
    return {
        id_: Pose(pose.xy[order], pose.visibility[order], pose.score[order])
        for id_, instance in instances.items()
        for pose in [by_path[instance.image.path]]
    }


def _grid(images: Path, path: Path) -> Path:
    """The first figures side by side."""
    files, (columns, rows) = sorted(images.iterdir()), GRID
    grid = Picture.new("RGB", (columns * PICTURE_SIZE, rows * PICTURE_SIZE))
    for index, file in enumerate(files[: columns * rows]):
        with Picture.open(file) as picture:
            grid.paste(
                picture, (PICTURE_SIZE * (index % columns), PICTURE_SIZE * (index // columns))
            )
    with atomic_path(path) as beside:
        grid.save(beside, format="PNG")
    return path


def _sheet(project: Project, which: int, truth: Mapping[str, Pose], path: Path, title: str) -> Path:
    """Predictions and maps of a round, the first or the last, where no figure was corrected."""
    complete = [item for item in rounds(project) if item.status == COMPLETE]
    items = list(sheet_items(project, complete[which], SHEET_FIGURES, truth))
    note = f"Generated robots, corrected by a {NAME}. None of these was corrected."
    return contact_sheet(items, project.skeleton, path, title=title, note=note)


def _chart(table: ResultTable, path: Path) -> Path:
    """A bar for each row of the table."""
    from matplotlib.figure import Figure

    rows = list(reversed(table.rows))
    figure = Figure(figsize=(7.5, 0.5 * len(rows) + 1), layout="constrained")
    axes = figure.subplots()
    colours = ["tab:blue" if row.name.startswith("LOFR") else "silver" for row in rows]
    bars = axes.barh(range(len(rows)), [row[MEASURE] for row in rows], color=colours)
    axes.bar_label(bars, fmt="%.3f", padding=3)
    names = [f"{row.name}, {row.labeled} located" if row.labeled else row.name for row in rows]
    axes.set_yticks(range(len(rows)), names)
    axes.set(xlim=(0, 1.1), xlabel="keypoints within a tenth of the box (share)")
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as beside:
        figure.savefig(beside, format="png", dpi=120)
    return path


def _in_words(table: ResultTable) -> str:
    """Whether LOFR is better than what needs no images, and than the same keypoints alone."""
    rows = {(row.name, row.labeled): row for row in table.rows}
    last = table.rows[-1].labeled
    prior = max((row for row in table.rows if row.name in PRIORS), key=lambda row: row[MEASURE])
    pairs = (
        ("Ticks alone", rows["LOFR location-free", "0%"], f"the {prior.name}", prior),
        (
            f"Ticks and {last} located",
            rows["LOFR semi-weak", last],
            "those keypoints alone",
            rows["supervised-only", last],
        ),
    )
    return "\n".join(
        f"{name} {'beat' if ours[MEASURE] > theirs[MEASURE] else 'do NOT beat'} {other}: "
        f"{ours[MEASURE]:.1%} of the keypoints lie within a tenth of the box, against "
        f"{theirs[MEASURE]:.1%}; the median error is {ours['median_px']:.1f} pixels, against "
        f"{theirs['median_px']:.1f}."
        for name, ours, other, theirs in pairs
    )
