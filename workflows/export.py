"""`labelkit export`: the labels, in the format that training code reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from labelkit.annotation import VisibilityAnswer
from labelkit.atomic import write_text
from labelkit.errors import UsageError, WaitingForLabels
from labelkit.formats.coco import write_coco
from labelkit.formats.visibility_csv import write_visibility_csv
from labelkit.formats.yolo import write_yolo
from labelkit.instance import Instance
from labelkit.pose import Pose
from labelkit.preannotation import pre_annotation
from labelkit.project import Project
from labelkit.store import LabelStore
from labelkit.workflows.run_round import latest_predictions, read_all

FORMATS = ("coco", "yolo", "visibility")


@dataclass(frozen=True, slots=True)
class ExportReport:
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
        more = f" and {self.predicted} predicted ones" if self.predicted else ""
        return f"{verb} {self.labelled} human-labelled instances{more} to {self.file}"


def export(
    project: Project,
    store: LabelStore,
    *,
    form: str,
    predictions: bool,
    output: Path | None,
    dry_run: bool,
) -> ExportReport:
    """Write human labels; with `predictions`, the model's where no human has corrected.

    Args:
        project: see `open_project`.
        store: its label store.
        form: "coco", "yolo" or "visibility" (a CSV of answers).
        predictions: also write instances that only the newest round has posed, with scores.
        output: file (folder for YOLO); None takes the project's exports/.
        dry_run: only say what would be written.

    Raises:
        UsageError: on an unknown format.
        WaitingForLabels: if there is nothing to write.
    """
    if form not in FORMATS:
        raise UsageError(f"There is no format {form!r}.", f"Formats: {', '.join(FORMATS)}.")
    names = {"coco": "keypoints.json", "yolo": "yolo", "visibility": "visibility.csv"}
    target = output or project.root / "exports" / names[form]
    labels = read_all(project, store)
    if form == "visibility":
        answers = [
            VisibilityAnswer(labels.instances[item].image.path, item, presence)
            for item, presence in labels.presences.items()
        ]
        if answers and not dry_run:
            write_text(target, write_visibility_csv(answers, project.skeleton))
        return _report(form, len(answers), 0, target, dry_run)
    items: list[tuple[Instance, Pose]] = [
        (labels.instances[item], pose) for item, pose in labels.poses.items()
    ]
    labelled = len(items)
    if predictions:
        items += [
            (
                labels.instances[item],
                pre_annotation(
                    prediction, labels.presences.get(item), labels.instances[item].image
                ),
            )
            for item, prediction in latest_predictions(project)[1].items()
            if item not in labels.poses and item in labels.instances
        ]
    if items and not dry_run:
        if form == "coco":
            document = write_coco(items, project.skeleton, scores=predictions)
            write_text(target, json.dumps(document, ensure_ascii=False))
        else:
            files = write_yolo(items, project.skeleton)
            for name, text in {**files.labels, "data.yaml": files.data_yaml}.items():
                write_text(target / name, text)
    return _report(form, labelled, len(items) - labelled, target, dry_run)


def _report(form: str, labelled: int, predicted: int, target: Path, dry_run: bool) -> ExportReport:
    if not labelled + predicted:
        raise WaitingForLabels(
            "There is nothing to export: no human has labelled anything.",
            "Type: labelkit push, then labelkit pull.\n"
            "Pre-annotations alone, once there are any: labelkit export --predictions",
        )
    return ExportReport(form, labelled, predicted, target, dry_run)
