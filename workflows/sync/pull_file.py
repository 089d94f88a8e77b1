"""`labelkit pull --file EXPORT.json`: answers and corrections from an export, into the journal."""

from __future__ import annotations

from pathlib import Path

from labelkit.files.documents import load_json
from labelkit.formats.label_studio.export import read_export
from labelkit.project.first_skeleton import first_skeleton
from labelkit.project.project import Project
from labelkit.store.label_store import LabelStore
from labelkit.workflows.sync.pull_report import PullReport
from labelkit.workflows.sync.recorder import Recorder


def pull_file(project: Project, store: LabelStore, path: Path) -> PullReport:
    """Read a Label Studio JSON export. Each version of each annotation is recorded once.

    Raises:
        FormatError: if the file is not an export, or is for other images; nothing is stored then.
    """
    first = first_skeleton(project).keypoints
    annotations = read_export(load_json(path), project.skeleton, str(path), first)
    return Recorder(project, store).record(annotations, str(path))
