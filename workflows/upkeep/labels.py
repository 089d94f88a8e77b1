"""`labelkit labels`: label files that come after the first import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from labelkit.formats.label_studio.foreign import Group
from labelkit.progress import Progress
from labelkit.project.project import Project
from labelkit.report import Report
from labelkit.store.label_store import LabelStore
from labelkit.workflows.intake.into_place import PixelsOf
from labelkit.workflows.intake.label_matching import Handling
from labelkit.workflows.intake.label_sets import read_label_files
from labelkit.workflows.intake.register import Registered, register
from labelkit.workflows.rounds.dev_set import settle_dev_set


@dataclass(frozen=True, slots=True)
class LabelsReport(Report):
    """What label files added.

    Attributes:
        project: its folder.
        registered: images, instances and labels.
    """

    project: Path
    registered: Registered
    exit_code: int = 0

    def text(self) -> str:
        """For people."""
        return "\n".join([*self.registered.lines(self.project), "What is next: labelkit status"])

    def data(self) -> dict[str, Any]:
        """For machines."""
        return {"project": str(self.project), "registered": asdict(self.registered)}


def add_labels(
    project: Project,
    store: LabelStore,
    progress: Progress,
    paths: Sequence[Path],
    *,
    skip: Mapping[str, bool],
    label_pixels: PixelsOf | None = None,
    group: Group | None = None,
) -> LabelsReport:
    """Record the labels of files as `bootstrap --labels` does, and train nothing.

    Human labels stay: where a file contradicts a later answer, the answer counts, and the
    contradiction is a conflict.

    Args:
        project: see `open_project`.
        store: its label store.
        progress: shows a bar while images are read.
        paths: label files of any kind, and folders of them; they are one import.
        skip: "unreadable" and "missing" -> leave such items out, as do those that the project
            remembers.
        label_pixels: whose pixels labels count, "file" or "picture", where a label file gives
            another size than the picture has; None concludes it.
        group: "parent", "box" or "image", what decides to which object a keypoint of a Label
            Studio export belongs; None concludes it.

    Raises:
        LabelkitError: on the first item that cannot be used.
    """
    files = read_label_files(paths, project.skeleton, group)
    left_out = set(project.options.get("skip", ())) | {name for name in skip if skip[name]}
    registered = register(
        project,
        store,
        progress,
        labels=files,
        boxes=None,
        skip_unreadable="unreadable" in left_out,
        handling=Handling("missing" in left_out, label_pixels),
    )
    if note := settle_dev_set(project, store, None):
        registered = replace(registered, notes=(*registered.notes, note))
    return LabelsReport(project.root, registered)
