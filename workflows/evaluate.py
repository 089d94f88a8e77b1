"""`labelkit evaluate`: every round beside what costs nothing, on images nothing was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labelkit.domain.pose_priors import MeanPose, skeleton_in_box
from labelkit.domain.prediction import Prediction, prior_predictions
from labelkit.domain.selection import format_percent
from labelkit.domain.text import counted
from labelkit.errors import (
    CheckpointError,
    ProjectError,
)
from labelkit.files.atomic import write_text
from labelkit.metrics.table import ResultRow, ResultTable, evaluate_row
from labelkit.progress import Progress
from labelkit.project.outputs import check_output
from labelkit.project.predictions import find_predictions
from labelkit.project.project import Project
from labelkit.project.rounds import COMPLETE, Round, rounds
from labelkit.store.conflicts import SAME_PX
from labelkit.store.label_store import LabelStore
from labelkit.workflows.intake.evaluation_set import EvaluationSet, evaluation_set
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot, read_snapshot
from labelkit.workflows.rounds.networks import (
    examples_of,
    load_network,
    predict_instances,
    train_network,
)

#: How a file with a project's table begins.
MARK = r'\A\{\s*"rows": \[\s*\{\s*"name": "skeleton in box"'


@dataclass(frozen=True, slots=True)
class EvaluateReport:
    """The table, and on what.

    Attributes:
        table: one row for each way of getting poses.
        instances, keypoints: scored.
        source: where they come from.
        file: the JSON document that was written.
        note: what to keep in mind, or "".
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
    """Score every round, and beside it what the same labels give without it.

    Args:
        project: whose rounds are scored.
        store: its label store.
        progress: told about trainings and predictions.
        images, labels: an evaluation set of its own; None for both takes the dev set.
        supervised: also train the supervised-only network of each round, where it is missing.
        output: where the JSON goes; None takes reports/evaluation.json.
        overwrite: also over a file that holds no such table.

    Raises:
        WaitingForLabels: if the dev set has no human keypoints yet.
        InputError: if the evaluation set holds images of the project.
        CheckpointError: if no round's network can be read.
    """
    if output is not None:
        check_output(output, MARK, project, overwrite=overwrite)
    known = read_snapshot(project, store)
    chosen = _one_per_percentage(project)
    plan = chosen[-1].plan
    learned = read_snapshot(project, store, plan.journal_head) if plan.labelled else known
    with evaluation_set(project, known, progress, images, labels) as data:
        rows = list(_blind_rows(data, project, learned, plan.labelled))
        scored, unread = [], {}
        for found in chosen:
            try:
                network, _ = load_network(found.path / "model.safetensors", project.skeleton)
            except CheckpointError as error:  # trained by an older labelkit, say
                unread[found.plan.number] = error
                continue
            scored.append(found)
            rows += _rows_of_round(found, network, data, project, store, progress, supervised)
        if not scored:
            raise unread[chosen[-1].plan.number]
    table = ResultTable(tuple(rows))
    file = output or project.root / "reports" / "evaluation.json"
    write_text(file, table.to_json())
    present = sum(int(pose.present.sum()) for pose in data.truth.values())
    note = "".join(
        f"Note: round {number:03d} is left out. {error.problem}\n"
        for number, error in unread.items()
    )
    if images is None:
        note += _anchored(scored, data)
    return EvaluateReport(table, len(data.truth), present, data.source, file, note)


def _anchored(scored: list[Round], data: EvaluationSet) -> str:
    """Which rounds the truth leans towards: people leave standing what is nearly right."""
    present = sum(int(pose.present.sum()) for pose in data.truth.values())
    kept = {}
    for found in scored:
        guesses = find_predictions(
            found.path / "predictions.parquet", data.project.skeleton, data.truth.keys()
        )
        apart = [
            np.linalg.norm(guess.pose.xy - data.truth[id_].xy, axis=1)[data.truth[id_].present]
            for id_, guess in guesses.items()
        ]
        if count := int(sum((each <= SAME_PX).sum() for each in apart)):
            kept[found.plan.number] = count
    if not kept:
        return ""
    rounds_kept = ", ".join(f"{count} where round {n:03d} put them" for n, count in kept.items())
    return (
        f"Note: of the {present} keypoints scored on, people left {rounds_kept}, which flatters "
        "that round.\n"
    )


def _one_per_percentage(project: Project) -> list[Round]:
    """The newest complete round of each number of labelled instances, fewest first."""
    newest = {len(item.plan.labelled): item for item in rounds(project) if item.status == COMPLETE}
    if not newest:
        raise ProjectError(
            "No round is complete: there is nothing to evaluate.",
            "What comes first is said by: labelkit status",
        )
    return [newest[count] for count in sorted(newest)]


def _blind_rows(
    data: EvaluationSet, project: Project, labels: LabelSnapshot, labelled: Sequence[str]
) -> Iterator[ResultRow]:
    """Poses that nobody looked up in the picture: of some labels, or of all there are."""
    skeleton = project.skeleton
    ids = list(data.instances)
    boxes = [instance.box for instance in data.instances.values()]
    nothing = np.full(len(skeleton), np.nan)

    def row(name: str, labeled: str | None, xy: np.ndarray, presence: np.ndarray) -> ResultRow:
        guesses = prior_predictions(ids, xy, presence)
        return evaluate_row(name, labeled, guesses, data.truth, data.instances, skeleton)

    yield row("skeleton in box", None, skeleton_in_box(boxes, skeleton), nothing)
    labelled = labelled or labels.trainable
    if labelled:
        mean = MeanPose.fit(
            [labels.poses[item] for item in labelled],
            [labels.instances[item].box for item in labelled],
            skeleton,
        )
        share = format_percent(round(100 * len(labelled) / len(labels.instances), 1))
        yield row("mean pose", share, mean.apply(boxes), mean.share)


def _rows_of_round(
    found: Round,
    network: Any,
    data: EvaluationSet,
    project: Project,
    store: LabelStore,
    progress: Progress,
    supervised: bool,
) -> Iterator[ResultRow]:
    plan = found.plan
    share = format_percent(round(100 * plan.labelled_share, 1))

    def row(name: str, network: Any) -> ResultRow:
        seen = predict_instances(data.project, network, plan.settings, data.instances, progress)
        predictions: dict[str, Prediction] = {
            item.prediction.instance_id: item.prediction for item in seen
        }
        return evaluate_row(name, share, predictions, data.truth, data.instances, project.skeleton)

    if plan.labelled and supervised:
        folder = f"{found.path.name}-{plan.fingerprint}"  # numbers of removed rounds come again
        model = project.root / "reports" / "supervised" / folder / "model.safetensors"
        if not model.is_file():
            labels = read_snapshot(project, store, plan.journal_head)
            examples = examples_of(labels, plan.labelled)
            train_network(
                "simple",
                project,
                [example for example in examples if example.pose is not None],
                plan.settings,
                plan.seed,
                model,
                progress,
                f"Supervised-only at {share}",
                1,
                crops=len(examples),
            )
        yield row("supervised-only", load_network(model, project.skeleton)[0])
    name = "LOFR semi-weak" if plan.labelled else "LOFR location-free"
    yield row(name, network)
