"""`labelkit evaluate`: every round beside what costs nothing, on images nothing was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from labelkit.atomic import write_text
from labelkit.conflicts import SAME_PX
from labelkit.errors import (
    CheckpointError,
    InputError,
    ProjectError,
    UsageError,
    WaitingForLabels,
)
from labelkit.instance import Instance
from labelkit.outputs import check_output
from labelkit.pose import Pose
from labelkit.predictions import Prediction, blind_predictions, find_predictions
from labelkit.priors import MeanPose, skeleton_in_box
from labelkit.project import Project
from labelkit.rounds import COMPLETE, Round, rounds
from labelkit.selection import format_percent
from labelkit.store import LabelStore
from labelkit.table import ResultRow, ResultTable, evaluate_row
from labelkit.wording import counted
from labelkit.workflows.labels import read_labels
from labelkit.workflows.progress import Progress
from labelkit.workflows.register import register
from labelkit.workflows.run_round import (
    Labels,
    examples_of,
    look_at,
    read_all,
    train_network,
)
from labelkit.workflows.settings import load_network

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


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """Instances with human keypoints that no training has seen.

    Attributes:
        project: where their images are.
        instances, truth: by instance id.
        source: for the report.
    """

    project: Project
    instances: Mapping[str, Instance]
    truth: Mapping[str, Pose]
    source: str


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
    known = read_all(project, store)
    chosen = _one_per_percentage(project)
    plan = chosen[-1].plan
    learned = read_all(project, store, plan.journal_head) if plan.labelled else known
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


@contextmanager
def evaluation_set(
    project: Project,
    known: Labels,
    progress: Progress,
    images: Path | None,
    labels: Path | None,
) -> Iterator[EvaluationSet]:
    """Labelled images that the project does not hold or, without any, its dev set.

    Raises:
        UsageError: if only one of `images` and `labels` is given.
        WaitingForLabels: if the dev set has no human keypoints yet.
        InputError: if there are no keypoints, or an image is also in the project.
    """
    if (images is None) != (labels is None):
        raise UsageError("An evaluation set wants both --images DIR and --labels FILE.")
    if images is None or labels is None:
        yield _dev_set(project, known)
        return
    with TemporaryDirectory() as folder:
        aside = replace(project, root=Path(folder), images_root=images.resolve())
        with LabelStore.open(f"sqlite:///{folder}/labels.db") as store:
            register(
                aside,
                store,
                progress,
                labels=read_labels(labels, project.skeleton),
                boxes="whole-image",  # of images without labels, which are not scored
                skip_unreadable=False,
                skip_duplicates=True,
                skip_missing=False,
                can_skip=False,
            )
            instances, truth = store.instances(), store.poses(project.skeleton)
        if not truth:
            raise InputError(
                f"{labels} holds no keypoints to score against.",
                "Give a file with keypoint locations, not one with visibility answers.",
            )
        trained_on = {
            instance.image.id: instance.image.path for instance in known.instances.values()
        }
        for instance in instances.values():
            if instance.image.id in trained_on:
                raise InputError(
                    f"{instance.image.path} is also in the project, as "
                    f"{trained_on[instance.image.id]}: a score on it would mean nothing.",
                    "Evaluate on images that the project does not hold.",
                )
        chosen = {item: instances[item] for item in truth}
        yield EvaluationSet(aside, chosen, truth, str(labels))


def _dev_set(project: Project, known: Labels) -> EvaluationSet:
    truth = {item: pose for item, pose in known.poses.items() if item in known.dev}
    if not truth:
        raise WaitingForLabels(
            f"None of the {len(known.dev)} instances of the dev set has human keypoints.",
            "They are first in the queue: labelkit push, correct, labelkit pull.\n"
            "Or evaluate on labelled images: labelkit evaluate --images DIR --labels FILE",
        )
    instances = {item: known.instances[item] for item in truth}
    return EvaluationSet(project, instances, truth, "the dev set")


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
    data: EvaluationSet, project: Project, labels: Labels, labelled: Sequence[str]
) -> Iterator[ResultRow]:
    """Poses that nobody looked up in the picture: of some labels, or of all there are."""
    skeleton = project.skeleton
    ids = list(data.instances)
    boxes = [instance.box for instance in data.instances.values()]
    nothing = np.full(len(skeleton), np.nan)

    def row(name: str, labeled: str | None, xy: np.ndarray, presence: np.ndarray) -> ResultRow:
        guesses = blind_predictions(ids, xy, presence)
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
        seen = look_at(data.project, network, plan.settings, data.instances, progress)
        predictions: dict[str, Prediction] = {
            item.prediction.instance_id: item.prediction for item in seen
        }
        return evaluate_row(name, share, predictions, data.truth, data.instances, project.skeleton)

    if plan.labelled and supervised:
        folder = f"{found.path.name}-{plan.fingerprint}"  # numbers of removed rounds come again
        model = project.root / "reports" / "supervised" / folder / "model.safetensors"
        if not model.is_file():
            labels = read_all(project, store, plan.journal_head)
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
