"""`labelkit demo`: the whole loop on generated figures, with a simulated annotator."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from labelkit.domain.annotation import VisibilityAnswer
from labelkit.domain.instance import Instance
from labelkit.domain.pose import Pose
from labelkit.domain.skeleton import load_skeleton
from labelkit.domain.text import duration
from labelkit.errors import ProjectError
from labelkit.files.atomic import write_json, write_text
from labelkit.files.documents import load_json
from labelkit.formats.coco import CocoFile, read_coco
from labelkit.formats.visibility_csv import write_visibility_csv
from labelkit.metrics.table import ResultTable
from labelkit.progress import Progress
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

TRAIN_FIGURES, TEST_FIGURES = 400, 300
# Figures take fewer epochs than photographs, and fewer with locations than without.
BACKBONE, LOCATION_FREE_EPOCHS, EPOCHS = "test_resnet", 36, 16
PERCENTAGES = (5.0, 10.0)
SHEET_FIGURES = 4


@dataclass(frozen=True, slots=True)
class DemoReport(Report):
    """What the demo measured.

    Attributes:
        table: scores on figures that no training used.
        folder: holds everything that was made.
        contact_sheet: pictures of predictions and response maps.
        seconds: how long it took.
    """

    table: ResultTable
    folder: Path
    contact_sheet: Path
    seconds: float
    exit_code: int = 0

    def text(self) -> str:
        """For people."""
        return (
            f"\n{TEST_FIGURES} generated figures that no training used:\n\n"
            f"{self.table.to_markdown()}\n"
            f"Every correction came from a {NAME}, which knows the truth.\n"
            f"Pictures  {self.contact_sheet}\n"
            f"Label Studio files  {self.folder / 'project' / 'label_studio'}\n"
            f"Took {duration(self.seconds)}. Your own images: labelkit bootstrap --images DIR"
        )

    def data(self) -> dict[str, Any]:
        """For machines."""
        return self.table.as_dict()


def demo(
    folder: Path,
    progress: Progress,
    *,
    seed: int,
    epochs: int | None,
    figures: int = TRAIN_FIGURES,
    test_figures: int = TEST_FIGURES,
) -> DemoReport:
    """Generate figures, bootstrap without locations, correct, retrain at 5 % and 10 %, evaluate.

    Run again in the same folder, it continues where it stopped.

    Args:
        folder: for images, project and results.
        progress: gets a line for each step.
        seed: of the figures and of the trainings.
        epochs: of each training; None for `LOCATION_FREE_EPOCHS`, and `EPOCHS` with locations.
        figures, test_figures: how many to generate.

    Raises:
        UsageError: on no epochs.
        ProjectError: if the folder holds a demo with other figures.
    """
    started = time.monotonic()
    first, later = (LOCATION_FREE_EPOCHS, EPOCHS) if epochs is None else (epochs, epochs)
    options = TrainingOptions(
        preset="tiny",
        backbone=BACKBONE,
        epochs=later,
        pretrained=False,
        rotation=180.0,
        mirror=False,
        seed=seed,
        devices=1,  # several trainings follow each other in this process
    )
    check_options(options)
    truth = _figures(folder / "train", figures, seed, progress)
    _figures(folder / "test", test_figures, seed + 1_000_003, progress)
    answers = folder / "visibility.csv"
    write_text(answers, _ticks(truth))
    progress.line(
        "Five trainings: on ticks alone, with 5 % and 10 % corrected, and supervised-only on the "
        "same 5 % and 10 %."
    )
    progress.line("Bootstrap: no locations, only visibility answers.")
    images = folder / "train" / "images"
    project = project_with_own_store(folder / "project", images, load_skeleton("lsp14"), seed)
    bootstrap(
        images,
        progress,
        project_root=project.root,
        skeleton=None,
        labels=[answers],
        boxes=str(folder / "train" / "keypoints.json"),
        percent=0.0,
        skip=dict.fromkeys(("unreadable", "duplicates", "missing"), False),
        options=replace(options, epochs=first),
    )
    with open_store(project) as store:
        for percent in PERCENTAGES:
            report = retrain(project, store, progress, percent=percent, now=False, options=options)
            if report.missing:
                _annotate(project, store, truth, folder, percent, progress)
                retrain(project, store, progress, percent=percent, now=False, options=options)
        table = evaluate(
            project,
            store,
            progress,
            images=folder / "test" / "images",
            labels=folder / "test" / "keypoints.json",
            supervised=True,
            output=folder / "results.json",
        ).table
        sheet = _contact_sheet(project, _true_poses(project, store.instances(), truth), folder)
    return DemoReport(table, folder, sheet, time.monotonic() - started)


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
            generate(folder, count, seed, on_progress=lambda done: step(done, count))
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
    truth: CocoFile,
    folder: Path,
    percent: float,
    progress: Progress,
) -> None:
    """Push the queue, correct it, pull it."""
    pushed = push_files(project, store, dry_run=False)
    instances = store.instances()
    poses = _true_poses(project, instances, truth)
    tasks = json.loads(pushed.files[1].read_text(encoding="utf-8"))
    export = folder / f"corrected_{percent:g}.json"
    write_json(export, correct(tasks, instances, poses, project.skeleton))
    report = pull_file(project, store, export)
    progress.line(f"The {NAME} corrected {report.poses} figures.\n{report.text().splitlines()[1]}")


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


def _contact_sheet(project: Project, truth: Mapping[str, Pose], folder: Path) -> Path:
    """The first figures with the predictions of the first and the last round."""
    complete = [item for item in rounds(project) if item.status == COMPLETE]
    items = [
        item
        for found in (complete[0], complete[-1])
        for item in sheet_items(project, found, SHEET_FIGURES, truth)
    ]
    return contact_sheet(
        items,
        project.skeleton,
        folder / "contact_sheet.png",
        title="Upper half: trained on ticks alone. Lower half: with 10 % corrected.",
        note=f"Generated figures; corrections by a {NAME}. None of these figures was corrected.",
    )
