"""`labelkit predictions`: what another model predicts, as a round of the project."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelkit.domain.text import counted, named
from labelkit.errors import UsageError
from labelkit.metrics.table import describe
from labelkit.project.project import Project
from labelkit.project.rounds import Round, latest_complete
from labelkit.report import Report
from labelkit.store.label_store import LabelStore
from labelkit.workflows.intake.predicted_objects import read_predicted
from labelkit.workflows.loop.retrain import percent_after
from labelkit.workflows.rounds.foreign import foreign_round, learn_again
from labelkit.workflows.rounds.image_files import ImageFiles
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.next_step import next_step
from labelkit.workflows.rounds.queue_file import fill_queue
from labelkit.workflows.rounds.served import name_of, served

#: So many keypoints are listed with their errors.
WORST = 10


@dataclass(frozen=True, slots=True)
class PredictionsReport(Report):
    """What was taken from a file of predictions.

    Attributes:
        round: its number.
        name: of the model.
        is_new: False if the round held these predictions already.
        is_current: whether its predictions are corrected: it is the newest round, or that serves
            them.
        instances, found: of the project, and those that the file has a pose of.
        unmatched: poses that match no object.
        elsewhere: poses in images that the project does not have.
        learned_from: labelled objects from which the adapter was learned; 0 without one.
        keypoints: see `Adapted`.
        dev: measures on the dev set.
        queued: instances in the queue now.
        notes: what was read differently, a sentence each.
        next_step: what to type.
    """

    round: int
    name: str
    is_new: bool
    is_current: bool
    instances: int
    found: int
    unmatched: int
    elsewhere: int
    learned_from: int
    keypoints: Mapping[str, Mapping[str, Any]]
    dev: Mapping[str, Any]
    queued: int
    notes: tuple[str, ...]
    next_step: str
    exit_code: int = 0

    def text(self) -> str:
        """For people."""
        holds = "holds" if self.is_new else "already holds"
        lines = [
            f"Round {self.round:03d} {holds} predictions of {self.name} for {self.found} of "
            f"{counted(self.instances, 'object')}."
        ]
        if left := self.instances - self.found:
            lines.append(f"Without a prediction, and left empty: {counted(left, 'object')}.")
        if self.unmatched:
            lines.append(f"Left out: {counted(self.unmatched, 'pose')} that match no object.")
        if self.elsewhere:
            where = "in images that the project does not have"
            lines.append(f"Left out: {counted(self.elsewhere, 'pose')} {where}.")
        lines += [*self.notes, *self._adapter()]
        if measures := describe(self.dev):
            lines.append(f"On the dev set ({self.dev['located']} with keypoints): {measures}.")
        if not self.is_current:
            lines.append("A newer round is what you correct. Compare them: labelkit referee")
        lines += [f"Queued for correction: {counted(self.queued, 'instance')}.", self.next_step]
        return "\n".join(lines)

    def _adapter(self) -> list[str]:
        lines = []
        if self.learned_from:
            errors = {
                name: row["error"]
                for name, row in self.keypoints.items()
                if row["error"] is not None
            }
            worst = sorted(errors, key=errors.__getitem__, reverse=True)
            listed = ", ".join(f"{name} {errors[name]:.1%}" for name in worst[:WORST])
            if len(worst) > WORST:
                listed += f", and {len(worst) - WORST} more with less (--json: all)"
            of = "of the box's long side, median of objects left out of learning"
            lines.append(
                f"Adapted with {counted(self.learned_from, 'labelled object')}."
                + (f" Error by keypoint ({of}): {listed}." if listed else "")
            )
        lost = [name for name, row in self.keypoints.items() if not row["reached"]]
        if lost and self.learned_from:
            lines.append(f"Out of reach of {self.name}: {named(lost)}.")
        elif lost:
            lines.append(
                f"Left empty, because {self.name} has no keypoints of these names: {named(lost)}. "
                "Label a few objects, and repeat this command: it learns where they are."
            )
        return lines


def add_predictions(
    project: Project,
    store: LabelStore,
    file: Path,
    *,
    name: str,
    ids: Path | None = None,
    skeleton: str | None = None,
) -> PredictionsReport:
    """Take the predictions of another model as a round, and queue by their scores.

    Args:
        project: see `open_project`.
        store: its label store.
        file, ids, skeleton: see `read_predicted`.
        name: of the model.

    Raises:
        UsageError: if the name is empty.
        ProjectError: if a round is unfinished.
        FormatError: if the file cannot be used.
        SkeletonError: if `skeleton` has another number of keypoints.
    """
    if not name.strip():
        raise UsageError("--name is empty.", "Name the model, for example: --name rtmpose")
    read = read_predicted(project, store, file, ids, skeleton)
    found, is_new = foreign_round(
        project, store, name.strip(), file.name, read.skeleton, read.predictions
    )
    return _report(project, store, found, is_new, read.unmatched, read.elsewhere, read.notes)


def learn_adapter_again(project: Project, store: LabelStore) -> str:
    """Learn the adapter of the poses that are corrected again, and queue by the result.

    Returns:
        what to know about it; "" if nothing changed.
    """
    found = learn_again(project, store)
    if found is None:
        return ""
    report = _report(project, store, found, True, 0, 0, ())
    return "\n".join(report.text().splitlines()[:-2])


def _report(
    project: Project,
    store: LabelStore,
    found: Round,
    is_new: bool,
    unmatched: int,
    elsewhere: int,
    notes: tuple[str, ...],
) -> PredictionsReport:
    snapshot, newest = read_snapshot(project, store), latest_complete(project)
    assert newest is not None
    percent = max(percent_after(found), percent_after(newest))
    items = fill_queue(project, snapshot, percent)
    return PredictionsReport(
        round=found.plan.number,
        name=str(found.plan.settings["name"]),
        is_new=is_new,
        is_current=found.plan.number == newest.plan.number or served(newest) == name_of(found),
        instances=len(snapshot.instances),
        found=int(found.facts["found"]),
        unmatched=unmatched,
        elsewhere=elsewhere,
        learned_from=len(found.plan.labelled),
        keypoints=found.facts["keypoints"],
        dev=found.facts["dev"],
        queued=len(items),
        notes=notes,
        next_step=next_step(project, store, snapshot, ImageFiles(project, store)),
    )
