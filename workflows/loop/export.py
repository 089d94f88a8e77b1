"""`labelkit export`: the labels in a format that training code reads."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from labelkit.domain.annotation import VisibilityAnswer
from labelkit.domain.instance import Instance
from labelkit.domain.pose import Pose
from labelkit.domain.text import counted
from labelkit.errors import UsageError, WaitingForLabels
from labelkit.files.atomic import write_text
from labelkit.formats.coco import write_coco
from labelkit.formats.visibility_csv import write_visibility_csv
from labelkit.formats.yolo import HEADING, write_yolo
from labelkit.project.outputs import check_output
from labelkit.project.preannotation import pre_annotation
from labelkit.project.project import Project
from labelkit.report import Report
from labelkit.store.label_store import LabelStore
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot, read_snapshot
from labelkit.workflows.rounds.run_round import latest_predictions

FORMATS = ("coco", "yolo", "visibility")

#: Marks of an earlier export, which may be replaced, unlike other files of the user's.
MARKS = {
    "coco": '"labelkit_id": ',
    "yolo": rf"\A{re.escape(HEADING)}",
    "visibility": r"\A.*instance.*\n.*,[0-9a-f]{16}-\d+,",
}


@dataclass(frozen=True, slots=True)
class ExportReport(Report):
    """What was (or would be) written.

    Attributes:
        format: one of `FORMATS`.
        labelled, predicted: instances with human labels, and with predictions only.
        file: the file or folder.
        dry_run: nothing was written.
    """

    format: str
    labelled: int
    predicted: int
    file: Path
    dry_run: bool
    exit_code: int = 0

    def text(self) -> str:
        """For people."""
        verb = "Would write" if self.dry_run else "Wrote"
        labelled = counted(self.labelled, "human-labelled instance")
        more = f" and {counted(self.predicted, 'predicted one')}" if self.predicted else ""
        return f"{verb} {labelled}{more} to {self.file}"


def export(
    project: Project,
    store: LabelStore,
    *,
    form: str,
    predictions: bool,
    output: Path | None,
    dry_run: bool,
    overwrite: bool = False,
) -> ExportReport:
    """Write human labels and, with `predictions`, the newest round's for the other instances.

    Args:
        project: see `open_project`.
        store: its label store.
        form: "coco", "yolo" or "visibility" (a CSV of answers).
        predictions: also write instances that only have predictions, with scores; but none that
            was skipped or whose box was deleted.
        output: file (folder for YOLO); None takes the project's exports/.
        dry_run: only report what would be written.
        overwrite: also replace a file that is not an export.

    Raises:
        UsageError: on an unknown format, or if another file would be replaced.
        WaitingForLabels: if there is nothing to write.
    """
    if form not in FORMATS:
        raise UsageError(f"There is no format {form!r}.", f"Formats: {', '.join(FORMATS)}.")
    names = {"coco": "keypoints.json", "yolo": "yolo", "visibility": "visibility.csv"}
    target = output or project.root / "exports" / names[form]
    snapshot = read_snapshot(project, store)
    files: dict[Path, str] = {}
    if form == "visibility":
        answers = [
            VisibilityAnswer(snapshot.instances[item].image.path, item, presence)
            for item, presence in snapshot.presences.items()
        ]
        labelled, predicted = len(answers), 0
        if answers:
            files[target] = write_visibility_csv(answers, project.skeleton)
    else:
        items: list[tuple[Instance, Pose]] = [
            (snapshot.instances[item], pose) for item, pose in snapshot.poses.items()
        ]
        labelled = len(items)
        if predictions:
            items += _predicted(project, snapshot)
        predicted = len(items) - labelled
        if items and form == "coco":
            document = write_coco(items, project.skeleton, scores=predictions)
            files[target] = json.dumps(document, ensure_ascii=False)
        elif items:
            found = write_yolo(items, project.skeleton)
            texts = {"data.yaml": found.data_yaml, **found.labels}  # the mark comes first
            files = {target / name: text for name, text in texts.items()}
    if not labelled + predicted:
        raise _nothing_to_export(snapshot)
    report = ExportReport(form, labelled, predicted, target, dry_run)
    if output is not None:
        marked = target / "data.yaml" if form == "yolo" else target
        for path in [marked] if marked.exists() else files:
            check_output(path, MARKS[form], project, overwrite=overwrite)
    if not dry_run:
        for path, text in files.items():
            write_text(path, text)
    return report


def _predicted(project: Project, snapshot: LabelSnapshot) -> list[tuple[Instance, Pose]]:
    """Instances that only have predictions and were not skipped."""
    left_out = snapshot.poses.keys() | snapshot.skipped
    return [
        (
            snapshot.instances[item],
            pre_annotation(
                prediction, snapshot.presences.get(item), snapshot.instances[item].image
            ),
        )
        for item, prediction in latest_predictions(project)[1].items()
        if item in snapshot.instances and item not in left_out
    ]


def _nothing_to_export(snapshot: LabelSnapshot) -> WaitingForLabels:
    predictions = "Once there are pre-annotations: labelkit export --with-predictions"
    if snapshot.presences:
        return WaitingForLabels(
            "No instance has human keypoints yet.",
            f"{counted(len(snapshot.presences), 'visibility answer')}: "
            f"labelkit export --format visibility\n{predictions}",
        )
    return WaitingForLabels(
        "Nothing to export: there are no human labels yet.",
        f"Type: labelkit push, then labelkit pull.\n{predictions}",
    )
