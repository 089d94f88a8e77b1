"""`labelkit bootstrap`: from a folder of images to the first pre-annotations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from labelkit.domain.sides import find_sides
from labelkit.domain.skeleton import Skeleton, load_skeleton, pairs_in_words, with_pairs
from labelkit.domain.text import counted, named
from labelkit.errors import LabelkitError, ProjectError, UsageError
from labelkit.progress import Progress
from labelkit.project.project import (
    PROJECT_FILE,
    Project,
    change_project,
    create_project,
    default_project_root,
    find_project,
    lock_project,
    open_project,
    take_back_project,
)
from labelkit.project.rounds import latest_complete
from labelkit.report import Report
from labelkit.store.ownership import open_store
from labelkit.workflows.intake.label_files import LabelFile, read_label_file, read_skeleton
from labelkit.workflows.intake.register import Registered, register
from labelkit.workflows.loop.retrain import RoundReport, report_round, round_at
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.settings import TrainingOptions, check_options
from labelkit.workflows.sync.push_files import write_files
from labelkit.workflows.sync.questions import visibility_questions

#: Skeleton of people, the default.
DEFAULT_SKELETON = "coco17"


@dataclass(frozen=True, slots=True)
class BootstrapReport(Report):
    """What was registered and trained.

    Attributes:
        project: its folder.
        registered: images, instances and labels.
        round: the newest round; None while there are no visibility answers.
        files: interface and tasks that ask for visibility answers while there are none; else None.
    """

    project: Path
    registered: Registered
    round: RoundReport | None
    files: tuple[Path, Path] | None

    @property
    def exit_code(self) -> int:
        """3 if people have to answer first."""
        return 0 if self.round else 3

    def text(self) -> str:
        """For people."""
        done = self.registered
        lines = [
            f"Project {self.project}: {counted(done.images, 'image')}, "
            f"{counted(done.instances, 'instance')}, {counted(done.new_labels, 'new label')} "
            f"({done.known_labels} known before)."
        ]
        if done.skipped:
            lines.append(f"Skipped {len(done.skipped)}, as you asked: {named(done.skipped)}.")
        lines += done.notes
        if self.round:
            lines.append(self.round.text())
        if not self.files:
            return "\n".join(lines)
        return "\n".join(
            [
                *lines,
                "No visibility answers yet. Ask people which keypoints can be seen:",
                "  labelkit studio    in a second terminal; or set LABEL_STUDIO_URL",
                "  labelkit push      makes the Label Studio project and its tasks",
                "  labelkit pull      fetches their answers; then run this command again",
                f"Or import {self.files[1]} by hand: labelkit push --files explains how.",
            ]
        )

    def data(self) -> dict[str, Any]:
        """For machines."""
        return {
            "project": str(self.project),
            "registered": asdict(self.registered),
            "round": asdict(self.round) if self.round else None,
            "files": [str(path) for path in self.files or ()],
        }


def bootstrap(
    images: Path,
    progress: Progress,
    *,
    project_root: Path | None,
    skeleton: str | None,
    labels: Path | None,
    boxes: str | None,
    percent: float | None,
    skip: Mapping[str, bool],
    options: TrainingOptions,
    pairs: str | None = None,
) -> BootstrapReport:
    """Register images and labels; train the first round as soon as there are answers.

    Args:
        images: the folder.
        progress: gets a line for each step.
        project_root: folder of the project; None finds it, or makes it beside the images.
        skeleton: name or file; None takes the project's, the label file's, or coco17.
        labels: a label file of any kind, or None.
        boxes: see `register`.
        percent: 0 ... 100, of the instances: how many may give locations; None for all.
        skip: "unreadable", "duplicates" and "missing" -> leave such items out.
        options: how to train.
        pairs: left/right pairs, see `with_pairs`; None takes the skeleton's.

    Raises:
        LabelkitError: if anything given cannot be used.
    """
    check_options(options)
    is_new = _existing(images, project_root) is None
    project, label_file = _project(
        images, project_root, skeleton, pairs, labels, options.seed, progress
    )
    with lock_project(project), open_store(project) as store:
        try:
            registered = register(
                project,
                store,
                progress,
                labels=label_file,
                boxes=boxes,
                skip_unreadable=skip["unreadable"],
                skip_duplicates=skip["duplicates"],
                skip_missing=skip["missing"],
            )
        except LabelkitError:
            if is_new and store.head() == 0:  # an empty project would be found later
                take_back_project(project)
                progress.line(f"Removed the project {project.root} again.")
            raise
        snapshot = read_snapshot(project, store)
        if not snapshot.presences:
            if options.changes_training:
                progress.line("Nothing is trained yet: give the training options again later.")
            files = write_files(visibility_questions(project, snapshot))
            return BootstrapReport(project.root, registered, None, files)
        newest = latest_complete(project)
        if newest is not None and newest.plan.number > 0 and percent is None:
            # Only retrain trains later rounds: running bootstrap again must not undo them.
            if options.changes_training:
                progress.line("Nothing is trained: give training options to labelkit retrain.")
            report = report_round(project, snapshot, newest, False)
            return BootstrapReport(project.root, registered, report, None)
        if percent is None:
            percent = snapshot.trainable_percent
        found, is_new = round_at(project, store, snapshot, progress, percent, options)
        report = report_round(project, snapshot, found, is_new)
        return BootstrapReport(project.root, registered, report, None)


def _project(
    images: Path,
    root: Path | None,
    skeleton: str | None,
    pairs: str | None,
    labels: Path | None,
    seed: int | None,
    progress: Progress,
) -> tuple[Project, LabelFile | None]:
    """The project for these images, made if there is none, and the label file."""
    wanted = read_skeleton(skeleton) if skeleton else None
    found = _existing(images, root)
    if found is not None:
        if found.images_root != images.resolve():
            raise UsageError(
                f"The project {found.root} is for {found.images_root}, not for {images}.",
                f"Type --images {found.images_root}, or name another project: --project DIR",
            )
        if wanted is not None and wanted != found.skeleton:
            found = _with_skeleton(found, wanted, progress)
        if pairs is not None:
            found = _with_pairs(found, pairs, progress)
        return found, read_label_file(labels, found.skeleton) if labels else None
    label_file = read_label_file(labels, wanted) if labels else None
    chosen: Skeleton | None = label_file.skeleton if label_file else wanted
    if chosen is None:
        chosen = load_skeleton(DEFAULT_SKELETON)
        progress.line(f"Taking the skeleton {DEFAULT_SKELETON}; choose another with --skeleton.")
    if pairs is not None:
        chosen = with_pairs(chosen, pairs)
    made = create_project(root or default_project_root(images), images, chosen, seed or 0)
    progress.line(f"Made the project {made.root}. {pairs_in_words(chosen)}")
    return made, label_file


def _with_skeleton(project: Project, wanted: Skeleton, progress: Progress) -> Project:
    """The project with another skeleton, which can change until the first label.

    After that, only one with the same keypoints is accepted, and the project keeps its own.

    Raises:
        UsageError: if labels name other keypoints.
    """
    same = wanted.keypoints == project.skeleton.keypoints
    if same and wanted.pairs == find_sides(wanted.keypoints).pairs:  # the file may leave them open
        wanted = replace(wanted, pairs=project.skeleton.pairs)
        if wanted == project.skeleton:
            return project
    with lock_project(project), open_store(project) as store:
        if store.head() == 0:
            progress.line(f"The project {project.root} now has the skeleton {wanted.name!r}.")
            return change_project(project, skeleton=wanted)
    if not same:
        raise UsageError(
            f"The project {project.root} has the skeleton {project.skeleton.name!r}, "
            f"not {wanted.name!r}.",
            "Its labels need that skeleton. Make another project: --project DIR",
        )
    return project


def _with_pairs(project: Project, pairs: str, progress: Progress) -> Project:
    """The project with other left/right pairs, which no label depends on."""
    changed = with_pairs(project.skeleton, pairs)
    if changed == project.skeleton:
        return project
    with lock_project(project):
        progress.line(pairs_in_words(changed))
        return change_project(project, skeleton=changed)


def _existing(images: Path, root: Path | None) -> Project | None:
    """The project at `root`, beside the images, or around the working directory."""
    if root is not None:
        return open_project(root) if (root / PROJECT_FILE).is_file() else None
    made = default_project_root(images)
    if (made / PROJECT_FILE).is_file():
        return open_project(made)
    try:
        found = find_project(Path.cwd())
    except ProjectError:
        return None
    return found if found.images_root == images.resolve() else None
