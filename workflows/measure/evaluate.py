"""`labelkit evaluate`: every round beside its baselines, on images that no training used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labelkit.domain.pose import Pose
from labelkit.domain.pose_priors import MeanPose, skeleton_in_box
from labelkit.domain.prediction import Prediction, nothing_found, prior_predictions
from labelkit.domain.selection import format_percent
from labelkit.domain.text import counted, named
from labelkit.errors import CheckpointError, ProjectError
from labelkit.files.atomic import write_text
from labelkit.metrics.table import ResultRow, ResultTable, evaluate_row
from labelkit.progress import Progress
from labelkit.project.outputs import check_output
from labelkit.project.predictions import find_predictions
from labelkit.project.project import Project
from labelkit.project.rounds import COMPLETE, Round, in_words, rounds
from labelkit.report import Report
from labelkit.store.conflicts import SAME_PX
from labelkit.store.label_store import LabelStore
from labelkit.workflows.intake.evaluation_set import EvaluationSet, evaluation_set
from labelkit.workflows.reviewing.overlaps import agreement
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot, read_snapshot
from labelkit.workflows.rounds.networks import (
    examples_of,
    load_network,
    predict_instances,
    train_network,
)
from labelkit.workflows.rounds.settings import settings_of

#: How a file with a project's table begins.
MARK = r'\A\{\s*"rows": \[\s*\{\s*"name": "skeleton in box"'


@dataclass(frozen=True, slots=True)
class EvaluateReport(Report):
    """The table, and what it was computed on.

    Attributes:
        table: one row for each way of getting poses.
        instances, keypoints: scored; of keypoints those that are present.
        source: names the evaluation set.
        file: the JSON document that was written.
        note: what limits the scores, or "".
    """

    table: ResultTable
    instances: int
    keypoints: int
    source: str
    file: Path
    note: str = ""
    exit_code: int = 0

    def text(self) -> str:
        """For people."""
        return (
            f"{counted(self.instances, 'instance')}, {counted(self.keypoints, 'present keypoint')} "
            f"of {self.source}:\n\n"
            f"{self.table.to_markdown()}\n{self.note}Written to {self.file}"
        )

    def data(self) -> dict[str, Any]:
        """For machines."""
        return self.table.as_dict()


def evaluate(
    project: Project,
    store: LabelStore,
    progress: Progress,
    *,
    images: Path | None,
    labels: Path | None,
    supervised: bool,
    output: Path | None,
    overwrite: bool = False,
) -> EvaluateReport:
    """Score every round beside the pose priors and a supervised-only network of the same labels.

    Args:
        project: whose rounds are scored.
        store: its label store.
        progress: shows trainings and predictions.
        images, labels: an evaluation set; None for both takes the dev set.
        supervised: also score a supervised-only network for each round, trained if missing.
        output: where the JSON goes; None takes reports/evaluation.json.
        overwrite: also replace a file that holds no such table.

    Raises:
        WaitingForLabels: if the dev set has no human keypoints yet.
        InputError: if the evaluation set holds images of the project.
        CheckpointError: if no round's network can be read.
    """
    if output is not None:
        check_output(output, MARK, project, overwrite=overwrite)
    snapshot = read_snapshot(project, store)
    chosen, foreign = _one_per_percentage(project), _one_per_model(project)
    if not (chosen or foreign):
        raise ProjectError(
            "No round is complete: there is nothing to evaluate.",
            "See what comes first: labelkit status",
        )
    labelled = chosen[-1].plan.labelled if chosen else ()
    learned = read_snapshot(project, store, chosen[-1].plan.journal_head) if labelled else snapshot
    with evaluation_set(project, snapshot, progress, images, labels) as data:
        rows = list(_prior_rows(data, project, learned, labelled))
        scored, unread = [], {}
        if images is None:
            rows += [_foreign_row(found, data) for found in foreign]
            scored += foreign
        for found in chosen:
            try:
                network, _ = load_network(found.path / "model.safetensors", project.skeleton)
            except CheckpointError as error:  # for example, of an older labelkit
                unread[found.plan.number] = error
                continue
            scored.append(found)
            rows += _rows_of_round(found, network, data, project, store, progress, supervised)
        if unread and not scored:
            raise unread[chosen[-1].plan.number]
    table = ResultTable(tuple(rows))
    file = output or project.root / "reports" / "evaluation.json"
    write_text(file, table.to_json())
    note = "".join(
        f"Note: round {number:03d} is left out. {error.problem}\n"
        for number, error in unread.items()
    )
    if images is None:
        note += anchored(scored, data.project, data.truth)
        if between := agreement(project, store).summary:
            note += f"Note: {between}\n"
    elif foreign:
        names = named([in_words(found) for found in foreign])
        note += f"Note: {names}: left out, because it predicts images of the project only.\n"
    return EvaluateReport(table, len(data.truth), data.keypoints, data.source, file, note)


def anchored(scored: Sequence[Round], project: Project, truth: Mapping[str, Pose]) -> str:
    """A note on rounds that the truth favours: people keep what is nearly right; "" without any."""
    kept = {}
    for found in scored:
        predictions = find_predictions(
            found.path / "predictions.parquet", project.skeleton, truth.keys()
        )
        apart = [
            np.linalg.norm(prediction.pose.xy - truth[id_].xy, axis=1)[truth[id_].present]
            for id_, prediction in predictions.items()
        ]
        if count := int(sum((each <= SAME_PX).sum() for each in apart)):
            kept[found.plan.number] = count
    if not kept:
        return ""
    keypoints = sum(int(pose.present.sum()) for pose in truth.values())
    rounds_kept = ", ".join(f"{count} where round {n:03d} put them" for n, count in kept.items())
    return (
        f"Note: of the {keypoints} keypoints scored on, people left {rounds_kept}, "
        "which favours that round.\n"
    )


def _one_per_percentage(project: Project) -> list[Round]:
    """The newest network of each number of labelled instances, fewest first."""
    complete = [item for item in rounds(project) if item.status == COMPLETE]
    newest = {len(item.plan.labelled): item for item in complete if item.plan.reads_boxes}
    return [newest[count] for count in sorted(newest)]


def _one_per_model(project: Project) -> list[Round]:
    """The newest round of each other model's predictions, and of those that find objects."""
    complete = [item for item in rounds(project) if item.status == COMPLETE]
    foreign = [item for item in complete if not item.plan.reads_boxes]
    return list({_name(item): item for item in foreign}.values())


def _name(found: Round) -> str:
    settings = found.plan.settings
    return str(settings["model"] if found.plan.finds_objects else settings["name"])


def _foreign_row(found: Round, data: EvaluationSet) -> ResultRow:
    """The score of predictions that came from a file, on objects of the project."""
    plan, skeleton = found.plan, data.project.skeleton
    file = found.path / "predictions.parquet"
    predictions = {id_: nothing_found(id_, len(skeleton)) for id_ in data.truth}
    predictions |= find_predictions(file, skeleton, data.truth.keys())
    percent = format_percent(round(100 * plan.labelled_share, 1)) if plan.labelled else None
    return evaluate_row(_name(found), percent, predictions, data.truth, data.instances, skeleton)


def _prior_rows(
    data: EvaluationSet, project: Project, snapshot: LabelSnapshot, labelled: Sequence[str]
) -> Iterator[ResultRow]:
    """Pose priors, made without the images: from the skeleton, and from labels (all by default)."""
    skeleton = project.skeleton
    ids = list(data.instances)
    boxes = [instance.box for instance in data.instances.values()]
    nothing = np.full(len(skeleton), np.nan)

    def row(name: str, labeled: str | None, xy: np.ndarray, presence: np.ndarray) -> ResultRow:
        priors = prior_predictions(ids, xy, presence)
        return evaluate_row(name, labeled, priors, data.truth, data.instances, skeleton)

    yield row("skeleton in box", None, skeleton_in_box(boxes, skeleton), nothing)
    labelled = [item for item in labelled if item in snapshot.poses] or snapshot.trainable
    if labelled:
        mean = MeanPose.fit(
            [snapshot.poses[item] for item in labelled],
            [snapshot.instances[item].box for item in labelled],
            skeleton,
        )
        percent = format_percent(round(100 * len(labelled) / len(snapshot.instances), 1))
        yield row("mean pose", percent, mean.apply(boxes), mean.share)


def _rows_of_round(
    found: Round,
    network: Any,
    data: EvaluationSet,
    project: Project,
    store: LabelStore,
    progress: Progress,
    supervised: bool,
) -> Iterator[ResultRow]:
    plan, settings = found.plan, settings_of(found)
    teacher = settings.get("teacher")
    alone = {key: value for key, value in settings.items() if key != "teacher"}
    percent = format_percent(round(100 * plan.labelled_share, 1))

    def row(name: str, network: Any, settings: Mapping[str, Any]) -> ResultRow:
        outputs = predict_instances(data.project, network, settings, data.instances, progress)
        predictions: dict[str, Prediction] = {
            item.prediction.instance_id: item.prediction for item in outputs
        }
        return evaluate_row(
            name, percent, predictions, data.truth, data.instances, project.skeleton
        )

    if plan.labelled and supervised:
        folder = f"{found.path.name}-{plan.fingerprint}"  # a removed round's number is reused
        model = project.root / "reports" / "supervised" / folder / "model.safetensors"
        if not model.is_file():
            examples = examples_of(read_snapshot(project, store, plan.journal_head), plan.labelled)
            train_network(
                "simple",
                project,
                [example for example in examples if example.pose is not None],
                alone,
                plan.seed,
                model,
                progress,
                f"Supervised-only at {percent}",
                1,
                crops=len(examples),
            )
        yield row("supervised-only", load_network(model, project.skeleton)[0], alone)
    name = "LOFR semi-weak" if plan.labelled else "LOFR location-free"
    yield row(f"{name} with {teacher['name']}" if teacher else name, network, settings)
