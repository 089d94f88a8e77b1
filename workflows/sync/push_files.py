"""`labelkit push --files`: files to import into Label Studio by hand."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from labelkit.domain.text import counted
from labelkit.files.atomic import write_json_list, write_text
from labelkit.formats.label_studio.tasks import VISIBILITY_TASK
from labelkit.project.predictions import find_predictions
from labelkit.project.project import Project, remember
from labelkit.project.rounds import latest_complete
from labelkit.report import Report
from labelkit.store.label_store import LabelStore
from labelkit.workflows.rounds.image_files import images_not_to_show
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.sync.questions import EMPTY, Questions, next_questions

FOLDER = "label_studio"

#: Tasks whose predictions are in memory together.
_AT_ONCE = 50_000


@dataclass(frozen=True, slots=True)
class FilePushReport(Report):
    """What was (or would be) written.

    Attributes:
        kind: "visibility" or "correction".
        tasks, instances: in the files.
        control: instances served without pre-annotation.
        files: of the labelling interface and of the tasks.
        images: folder of the images.
        dry_run: nothing was written.
        lost: images that cannot be found, and are not asked about.
    """

    kind: str
    tasks: int
    instances: int
    control: int
    files: tuple[Path, Path]
    images: Path
    dry_run: bool
    lost: int = 0
    exit_code: int = 0

    def text(self) -> str:
        """For people."""
        lost = f"{counted(self.lost, 'image')} cannot be found: labelkit images list"
        if not self.tasks:
            return lost if self.lost else EMPTY
        verb = "Would write" if self.dry_run else "Wrote"
        return "\n".join(
            [
                f"{verb} {counted(self.tasks, f'{self.kind} task')} "
                f"with {counted(self.instances, 'instance')}"
                + (f", {self.control} of them without pre-annotation" if self.control else "")
                + ".",
                *([lost] if self.lost else []),
                *_import_steps(self.kind, self.files, self.images),
            ]
        )


def _import_steps(kind: str, files: tuple[Path, Path], images: Path) -> list[str]:
    """How people import the files into Label Studio and get the labels back."""
    work = {
        "visibility": "Tick what can be seen of each object.",
        "correction": "Correct the keypoints.",
    }[kind]
    steps = [
        "Start Label Studio with access to the images:",
        f"  LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true "
        f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={shlex.quote(str(images.parent))} "
        "label-studio start",
        "In Label Studio:",
        f"  1. Create a project; Labeling Setup, Custom template: paste {files[0]}",
        f"  2. Settings, Cloud Storage, Add Source Storage, Local Files: {images} (Save; do not "
        "sync)",
        f"  3. Import {files[1]}",
        f"  4. {work} Then Export, JSON.",
    ]
    if kind == "correction":
        steps.append(
            "  In a project that has earlier rounds, choose this one after step 3: Settings, "
            "Annotation, Prelabeling."
        )
    return [*steps, "Then type: labelkit pull --file EXPORT.json"]


def push_files(
    project: Project, store: LabelStore, *, dry_run: bool, per_instance: bool | None = None
) -> FilePushReport:
    """Write the visibility tasks before the first round, and the correction queue after it.

    Args:
        project: whose questions they are.
        store: its label store.
        dry_run: write nothing.
        per_instance: as in `push_server`.
    """
    if not dry_run:
        project = remember(project, per_instance=per_instance)
    lost = images_not_to_show(project, store)
    questions = next_questions(project, read_snapshot(project, store)).without(lost)
    if per_instance is not None:
        questions = replace(questions, per_instance=per_instance)
    questions = _as_before(questions)
    files = paths(project, questions.kind)
    groups = questions.groups(questions.ids)
    if not dry_run and (groups or questions.kind == VISIBILITY_TASK):
        write_files(questions)
    return FilePushReport(
        questions.kind,
        len(groups),
        len(questions.ids),
        len(questions.control),
        files,
        project.images_root,
        dry_run,
        len(lost),
    )


def write_files(questions: Questions) -> tuple[Path, Path]:
    """Write the labelling interface and the tasks of some questions; return the two files."""
    questions = _as_before(questions)
    files = paths(questions.project, questions.kind)
    write_text(files[0], questions.interface)
    write_json_list(files[1], _tasks(questions))
    return files


def _tasks(questions: Questions) -> Iterator[dict[str, Any]]:
    groups = questions.groups(questions.ids)
    for start in range(0, len(groups), _AT_ONCE):
        some = groups[start : start + _AT_ONCE]
        shown = _with_predictions(questions, {id_ for ids in some for id_ in ids})
        for ids in some:
            crop = shown.crop(ids[0])
            yield shown.task(ids, shown.control, shown.url(ids[0], crop=crop), crop)


def _with_predictions(questions: Questions, ids: set[str]) -> Questions:
    """The questions with predictions of some objects, which are in another order in their file."""
    newest = latest_complete(questions.project)
    if newest is None:
        return questions
    path, skeleton = newest.path / "predictions.parquet", questions.project.skeleton
    return replace(questions, predictions=find_predictions(path, skeleton, ids))


def _as_before(questions: Questions) -> Questions:
    """The questions in tasks with boxes, if an earlier version wrote such an interface."""
    interface = paths(questions.project, questions.kind)[0]
    undecided = questions.per_instance is None and interface.is_file()
    if undecided and "<RectangleLabels" in interface.read_text("utf-8"):
        return replace(questions, per_instance=False)
    return questions


def paths(project: Project, kind: str) -> tuple[Path, Path]:
    """Where the labelling interface and the tasks of a kind are written."""
    folder = project.root / FOLDER
    return folder / f"{kind}_interface.xml", folder / f"{kind}_tasks.json"
