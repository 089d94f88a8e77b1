"""`labelkit bootstrap`: from a folder of images to the first pre-annotations."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from labelkit.domain.sides import find_sides
from labelkit.domain.skeleton import Skeleton, load_skeleton, pairs_in_words, with_pairs
from labelkit.domain.text import counted, named
from labelkit.errors import ImageError, ProjectError, StoreError, UsageError
from labelkit.files.noted import note, noted
from labelkit.formats.label_studio.foreign import Group
from labelkit.progress import Progress
from labelkit.project.first_skeleton import first_skeleton
from labelkit.project.images import check_folder, folder_digest
from labelkit.project.project import (
    BENCHMARK_FILE,
    PROJECT_FILE,
    Project,
    change_project,
    create_project,
    default_project_root,
    find_project,
    is_main_process,
    lock_project,
    open_project,
    remember,
    take_back_project,
)
from labelkit.project.rounds import latest_complete, latest_trained, unfinished
from labelkit.report import Report
from labelkit.store.label_store import LabelStore
from labelkit.store.ownership import give_back, open_store
from labelkit.workflows.intake.into_place import PixelsOf
from labelkit.workflows.intake.label_files import LabelFile, read_skeleton
from labelkit.workflows.intake.label_matching import Handling
from labelkit.workflows.intake.label_sets import read_label_files
from labelkit.workflows.intake.last_registration import LastRegistration
from labelkit.workflows.intake.register import BOX_CHOICES, NO_BOXES, Registered, register
from labelkit.workflows.loop.retrain import (
    RoundReport,
    first_alone,
    report_round,
    round_at,
)
from labelkit.workflows.rounds.dev_set import begin_dev_set, settle_dev_set
from labelkit.workflows.rounds.image_files import images_not_to_show
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot, read_snapshot
from labelkit.workflows.rounds.next_step import head_start
from labelkit.workflows.rounds.queue_file import QUEUE_FILE
from labelkit.workflows.rounds.settings import (
    FINDERS,
    TrainingOptions,
    check_options,
    with_remembered,
)
from labelkit.workflows.rounds.start import (
    KEYPOINTS,
    TICKS,
    Start,
    start_of,
    waits_for_labels,
)
from labelkit.workflows.sync.push_files import FOLDER, paths, write_files
from labelkit.workflows.sync.questions import next_questions

#: What people need to know who label for a network that finds objects in whole images.
NO_DETECTOR = (
    "The network learns from images in which every object is labelled: what is not marked there is "
    "background. Place the keypoints of one object, and draw the others."
)

#: In the project's folder: of what state the files are that ask people.
ASKED_FILE = "asked.json"

#: Skeleton of people, the default.
DEFAULT_SKELETON = "coco17"


@dataclass(frozen=True, slots=True)
class BootstrapReport(Report):
    """What was registered and trained.

    Attributes:
        project: its folder.
        registered: images, instances and labels.
        round: the newest round; None while people have to label first.
        files: interface and tasks that ask them; else None.
        start: what they are asked for; else None.
        head_start: how they could begin without a click; else "".
    """

    project: Path
    registered: Registered
    round: RoundReport | None
    files: tuple[Path, Path] | None
    start: Start | None = None
    head_start: str = ""

    @property
    def exit_code(self) -> int:
        """3 if people have to answer first."""
        return 0 if self.round else 3

    def text(self) -> str:
        """For people."""
        lines = self.registered.lines(self.project)
        if self.round:
            lines.append(self.round.text())
        if not (self.files and self.start):
            return "\n".join(lines)
        if self.start.note:
            lines.append(self.start.note)
        if self.start.done:
            lines.append(f"{self.start.missing} Or train on the labels there are: add --now")
        objects = counted(len(self.start.ids), "object")
        wanted = {
            TICKS: f"which keypoints of {objects} they can see",
            KEYPOINTS: f"to place the keypoints of {objects}",
        }
        return "\n".join(
            [
                *lines,
                *filter(None, [self.head_start]),
                f"Ask people {wanted[self.start.asks]}.",
                "On labelkit's own page:",
                "  labelkit label     then run this command again",
                "Or in Label Studio:",
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
            "start": asdict(self.start) if self.start else None,
        }


def bootstrap(
    images: Path,
    progress: Progress,
    *,
    project_root: Path | None,
    skeleton: str | None,
    labels: Sequence[Path],
    boxes: str | None,
    percent: float | None,
    skip: Mapping[str, bool],
    options: TrainingOptions,
    pairs: str | None = None,
    label_pixels: PixelsOf | None = None,
    group: Group | None = None,
    start: str | None = None,
    dev_percent: float | None = None,
    now: bool = False,
) -> BootstrapReport:
    """Register images and labels; train the first round as soon as there are answers.

    Args:
        images: the folder.
        progress: gets a line for each step.
        project_root: folder of the project; None finds it, or makes it beside the images.
        skeleton: name or file; None takes the project's, the label file's, or coco17.
        labels: label files of any kind, and folders of them; they are one import.
        boxes: see `register`.
        percent: 0 ... 100, of the instances: how many may give locations; None for all.
        skip: "unreadable" and "missing" -> leave such items out.
        options: how to train.
        pairs: left/right pairs, see `with_pairs`; None takes the skeleton's.
        label_pixels: whose pixels labels count, "file" or "picture", where a label file gives
            another size than the picture has; None concludes it.
        group: "parent", "box" or "image", what decides to which object a keypoint of a Label
            Studio export belongs; None concludes it.
        start: "ticks" or "keypoints", what people give first; None begins with ticks, and asks
            for keypoints if those cannot teach.
        dev_percent: 0 ... 100, of the instances: size of the dev set; None for the usual one.
        now: train on the labels there are, even if they are fewer than a first training needs.

    What decides the project is remembered, and need not be given again: `boxes`, `percent`,
    `skip`, `start`, and how to train.

    Raises:
        LabelkitError: if anything given cannot be used.
    """
    check_options(options)
    if start not in (None, TICKS, KEYPOINTS):
        raise UsageError(f"--start {start}: expected {TICKS} or {KEYPOINTS}.")
    if options.finds_objects and start == TICKS:
        raise UsageError(
            f"Ticks teach a {options.model} network nothing: it needs keypoints.",
            "Leave out --start.",
        )
    locked = ExitStack()

    def prepare() -> tuple[Project, TrainingOptions, BootstrapReport]:
        existing = _existing(images, project_root)
        if existing is not None and not images.exists():
            raise _gone(images, existing)
        is_new, known = existing is None, existing.options if existing else {}
        finds = (options.model or known.get("model")) in FINDERS
        if boxes == NO_BOXES and not finds:
            raise UsageError(
                f"--boxes {NO_BOXES} is for networks that find the objects themselves.",
                f"Add: --model {FINDERS[0]}, or give boxes: --boxes whole-image, detect or FILE",
            )
        taken = NO_BOXES if finds and boxes is None and "boxes" not in known else boxes
        project, label_files = _project(
            images, project_root, skeleton, pairs, labels, options.seed, progress, group
        )
        left_out = {
            *project.options.get("skip", ()),
            *(name for name, chosen in skip.items() if chosen),
        }
        locked.enter_context(lock_project(project))
        with ExitStack() as opened:
            try:
                store = opened.enter_context(open_store(project))
                begin_dev_set(store)
                choice = taken or project.options.get("boxes")
                with progress.bar("Checking files"):
                    last = LastRegistration(project, store, choice, sorted(left_out))
                is_plain = not label_files and dev_percent is None
                is_plain = is_plain and taken in (None, *BOX_CHOICES)
                same = last.result if is_plain else None
                registered = same or register(
                    project,
                    store,
                    progress,
                    labels=label_files,
                    boxes=taken,
                    skip_unreadable="unreadable" in left_out,
                    handling=Handling("missing" in left_out, label_pixels),
                )
                size = "" if same else settle_dev_set(project, store, dev_percent)
            except Exception:
                if is_new:  # an empty project would be found later
                    _take_back(project, opened, progress)
                raise
            if size:
                registered = replace(registered, notes=(*registered.notes, size))
            project = remember(
                project,
                start=KEYPOINTS if finds else start,
                boxes=_kept_path(project, taken),
                labeled=percent,
                skip=sorted(left_out) or None,
                per_instance=False if finds and "per_instance" not in project.options else None,
            )
            project, chosen = with_remembered(project, options)
            if is_plain and not same and (taken is None or registered.new_images):
                last.keep(registered)
            if latest_trained(project) is None and unfinished(project) is None:
                snapshot = read_snapshot(project, store)
                begin = start_of(project, snapshot)
                waits = not now and waits_for_labels(store, snapshot, begin)
                if waits or not snapshot.presences:
                    lost = images_not_to_show(project, store) if registered.open_images else ()
                    files = _asked(project, store, snapshot, last, lost)
                    if lost:
                        note = (
                            f"{counted(len(lost), 'image')} cannot be found: labelkit images list"
                        )
                        registered = replace(registered, notes=(*registered.notes, note))
                    if finds:
                        registered = replace(registered, notes=(*registered.notes, NO_DETECTOR))
                    first = "" if finds else head_start(project)
                    report = BootstrapReport(project.root, registered, None, files, begin, first)
                    return project, chosen, report
            return project, chosen, BootstrapReport(project.root, registered, None, None)

    with locked:
        project, options, report = first_alone(prepare)
        if report.files:
            if not is_main_process():
                raise SystemExit(0)  # the first one reports
            return report
        store = locked.enter_context(open_store(project))
        snapshot = read_snapshot(project, store)
        newest = latest_trained(project)
        if newest is not None and newest.plan.number > 0 and percent is None:
            # Only retrain trains later rounds: running bootstrap again must not undo them.
            found, is_new = newest, False
        else:
            if percent is None:
                percent = project.options.get("labeled", snapshot.trainable_percent)
            found, is_new = round_at(project, store, snapshot, progress, percent, options)
        return replace(
            report, round=report_round(project, store, snapshot, found, is_new, progress)
        )


def _asked(
    project: Project,
    store: LabelStore,
    snapshot: LabelSnapshot,
    last: LastRegistration,
    lost: Collection[str],
) -> tuple[Path, Path]:
    """The files with what people are asked next; written unless they would be the same."""

    def state() -> list[Any]:
        settings = (project.root / PROJECT_FILE).read_text("utf-8")
        return [*last.state, store.head(), settings, folder_digest(project.root / FOLDER)]

    file, has_queue = project.root / ASKED_FILE, (project.root / QUEUE_FILE).exists()
    depends_on_more = bool(lost) or has_queue or latest_complete(project) is not None
    if not depends_on_more and (kind := noted(file, state())):
        return paths(project, kind)
    questions = next_questions(project, snapshot)
    files = write_files(questions.without(lost) if lost else questions)
    if not depends_on_more:
        note(file, state(), questions.kind)
    return files


def _take_back(project: Project, opened: ExitStack, progress: Progress) -> None:
    """Remove a project that could not be filled, and what it left in a store elsewhere."""
    with suppress(StoreError), open_store(project) as store:  # else it is another project's
        if store.head():
            return
        give_back(store)
    opened.close()
    take_back_project(project)
    progress.line(f"Removed the project {project.root} again.")


def _kept_path(project: Project, boxes: str | None) -> str | None:
    """`--boxes` as the project keeps it: a file relative to its folder."""
    if boxes is None or boxes in BOX_CHOICES:
        return boxes
    return Path(os.path.relpath(Path(boxes).resolve(), project.root)).as_posix()


def _project(
    images: Path,
    root: Path | None,
    skeleton: str | None,
    pairs: str | None,
    labels: Sequence[Path],
    seed: int | None,
    progress: Progress,
    group: Group | None,
) -> tuple[Project, tuple[LabelFile, ...]]:
    """The project for these images, made if there is none, and the label files."""
    wanted = read_skeleton(skeleton, progress.line) if skeleton else None
    found = _existing(images, root)
    if found is not None:
        if found.images_root != images.resolve():
            _refuse_if_renamed(found, images)
            raise UsageError(
                f"The project {found.root} is for {found.images_root}, not for {images}.",
                f"Type --images {found.images_root}, or name another project: --project DIR",
            )
        if wanted is not None and wanted != found.skeleton:
            found = _with_skeleton(found, wanted, progress)
        if pairs is not None:
            found = _with_pairs(found, pairs, progress)
        return found, read_label_files(labels, found.skeleton, group)
    check_folder(images)
    label_files = read_label_files(labels, wanted, group)
    chosen: Skeleton | None = wanted or (label_files[0].skeleton if label_files else None)
    if chosen is None:
        chosen = load_skeleton(DEFAULT_SKELETON)
        progress.line(f"Taking the skeleton {DEFAULT_SKELETON}; choose another with --skeleton.")
    if pairs is not None:
        chosen = with_pairs(chosen, pairs)
    made = create_project(root or default_project_root(images), images, chosen, seed or 0)
    progress.line(f"Made the project {made.root}. {pairs_in_words(chosen)}")
    return made, label_files


def _with_skeleton(project: Project, wanted: Skeleton, progress: Progress) -> Project:
    """The project with another skeleton, which can change until the first label.

    After that, only one with the same keypoints is accepted, and the project keeps its own. So it
    does if this is the one that it had before it was edited: the command was typed again.

    Raises:
        UsageError: if labels name other keypoints.
    """
    first = first_skeleton(project)
    if first != project.skeleton and wanted.keypoints == first.keypoints:
        return project
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
            "Change it with: labelkit skeleton edit FILE. Or make another project: --project DIR",
        )
    if wanted != project.skeleton:
        progress.line("The project keeps its skeleton. Change it with: labelkit skeleton edit FILE")
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
    """The project at `root`, around the working directory, or beside the images.

    Raises:
        UsageError: if several projects beside the images have them, or one has lost its folder.
    """
    if root is not None:
        return open_project(root) if (root / PROJECT_FILE).is_file() else None
    made = default_project_root(images)
    if (made / PROJECT_FILE).is_file():
        return open_project(made)
    with suppress(ProjectError):
        around = find_project(Path.cwd())
        if around.images_root == images.resolve():
            return around
    files = images.resolve().parent.glob(f"*/{PROJECT_FILE}")
    beside = [open_project(file.parent) for file in sorted(files)]
    for project in beside:
        _refuse_if_renamed(project, images)
    found = [  # but no benchmark on the same images
        project
        for project in beside
        if project.images_root == images.resolve() and not (project.root / BENCHMARK_FILE).exists()
    ]
    if len(found) > 1:
        raise UsageError(
            f"{images} belongs to {named([str(project.root) for project in found])}.",
            f"Name one of them: --project {shlex.quote(str(found[0].root))}",
        )
    return found[0] if found else None


def _gone(images: Path, project: Project) -> ImageError:
    """The error where the images folder of a project, or a former one of it, is not there."""
    root = project.images_root
    advice = "If it was renamed or moved: labelkit images relocate FOLDER"
    if root.is_dir():
        advice = f"The images are in another: labelkit bootstrap --images {shlex.quote(str(root))}"
    return ImageError(
        f"The folder {images} does not exist.",
        f"{advice} --project {shlex.quote(str(project.root))}",
    )


def _refuse_if_renamed(project: Project, images: Path) -> None:
    """Make no second project for the images of one that lost its folder.

    Raises:
        UsageError: if the folder of a project is gone, and another holds one of its images.
    """
    if project.images_root.is_dir():
        return
    with open_store(project) as store:
        stamped = [(path, size) for path, _, size, _ in store.stamped_files()]
    for path, size in stamped:
        file = images / path
        if file.is_file() and file.stat().st_size == size:
            raise UsageError(
                f"{images} holds images of the project {project.root}, whose folder "
                f"{project.images_root} is gone.",
                f"If it was renamed: labelkit images relocate {shlex.quote(str(images))} --project "
                f"{shlex.quote(str(project.root))}\nIf it is another: add --project DIR",
            )
