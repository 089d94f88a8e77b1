"""`labelkit export`: the labels in a format that training code reads."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from labelkit.domain.annotation import VisibilityAnswer
from labelkit.domain.instance import Instance
from labelkit.domain.pose import OCCLUDED, Pose
from labelkit.domain.skeleton import Skeleton
from labelkit.domain.text import counted, named
from labelkit.errors import ImageError, UsageError, WaitingForLabels
from labelkit.files.atomic import atomic_path
from labelkit.files.documents import load_text
from labelkit.formats import cvat, sleap, yolo
from labelkit.formats.coco import coco_text
from labelkit.formats.deeplabcut import project as deeplabcut_project
from labelkit.formats.deeplabcut.lightning_pose import write_lightning_pose
from labelkit.formats.visibility_csv import write_visibility_csv
from labelkit.progress import Progress
from labelkit.project.outputs import check_output
from labelkit.project.preannotation import as_shown, predicted_pose
from labelkit.project.project import Project
from labelkit.project.rounds import in_words, trained_round
from labelkit.report import Report
from labelkit.store.columns import Objects, Poses
from labelkit.store.ids import Ids, among, without
from labelkit.store.label_store import LabelStore
from labelkit.workflows.network.crops import FILL, PADDING
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot, read_snapshot
from labelkit.workflows.rounds.networks import load_network
from labelkit.workflows.rounds.queue_file import unshown
from labelkit.workflows.rounds.run_round import latest_predictions
from labelkit.workflows.rounds.served import note_on_serving
from labelkit.workflows.rounds.settings import LOFR, preset_of, settings_of

#: Format -> its file or folder in exports/.
FORMATS = {
    "coco": "keypoints.json",
    "yolo": "yolo",
    "dlc": "dlc",
    "lightning-pose": "lightning-pose",
    "cvat": "cvat",
    "sleap": "labels.slp",
    "visibility": "visibility.csv",
    "onnx": "network.onnx",
}

#: Those in which people correct predictions: they show what the labelling page shows.
CORRECTED = ("cvat", "sleap")

#: Marks of an earlier export, which may be replaced, unlike other files of the user's.
MARKS = {
    "coco": '"labelkit_id": ',
    "yolo": rf"\A{re.escape(yolo.HEADING)}",
    "dlc": rf"\A{re.escape(deeplabcut_project.HEADING)}",
    "lightning-pose": rf"\A{re.escape(deeplabcut_project.HEADING)}",
    "cvat": rf"<annotations>\s*<!-- {re.escape(cvat.HEADING)} -->",
    "sleap": re.escape(sleap.HEADING),
    "visibility": r"\A.*instance.*\n.*,[0-9a-f]{16}-\d+,",
    "onnx": '"made_by": "labelkit export"',
}

#: Formats that are folders -> the file with the mark.
FOLDERS = {
    "yolo": yolo.SETTINGS,
    "dlc": deeplabcut_project.MARK,
    "lightning-pose": deeplabcut_project.MARK,
    "cvat": cvat.FILE,
}


Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class ExportReport(Report):
    """What was (or would be) written.

    Attributes:
        format: one of `FORMATS`.
        labelled, predicted: instances with human labels, and with predictions only.
        file: the file or folder.
        dry_run: nothing was written.
        round: whose network was written; None for labels.
        notes: what the format does not hold, and how to go on, a sentence each.
    """

    format: str
    labelled: int
    predicted: int
    file: Path
    dry_run: bool
    notes: tuple[str, ...] = ()
    exit_code: int = 0
    round: int | None = None

    def text(self) -> str:
        """For people."""
        verb = "Would write" if self.dry_run else "Wrote"
        if self.round is not None:
            network = f"{verb} the network of round {self.round:03d} to {self.file}"
            return "\n".join([network, *self.notes])
        labelled = counted(self.labelled, "human-labelled instance")
        more = f" and {counted(self.predicted, 'predicted one')}" if self.predicted else ""
        return "\n".join([f"{verb} {labelled}{more} to {self.file}", *self.notes])


def export(
    project: Project,
    store: LabelStore,
    progress: Progress,
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
        progress: shows a bar while images are copied.
        form: one of `FORMATS`: labels for other programs, "visibility" (a CSV of answers), or
            "onnx", the network of the newest round instead.
        predictions: also write what is predicted where there is no human label, with scores; but no
            instance that was skipped or whose box was deleted. Formats in `CORRECTED` leave out
            what people label without pre-annotation.
        output: file (folder for formats in `FOLDERS`); None takes the project's exports/.
        dry_run: only report what would be written.
        overwrite: also replace a file that is not an export.

    Raises:
        UsageError: on an unknown format, or if another file would be replaced.
        WaitingForLabels: if there is nothing to write.
        FormatError: if the format cannot hold the labels.
        ImageError: if an image that belongs to the export is gone.
        ProjectError: if there is no round whose network could be written.
        MissingDependencyError: if onnx or sleap-io is needed and not installed.
    """
    if form not in FORMATS:
        raise UsageError(f"There is no format {form!r}.", f"Formats: {', '.join(FORMATS)}.")
    target = output or project.root / "exports" / FORMATS[form]
    if form == "onnx":
        if output is not None:
            check_output(output, MARKS[form], project, overwrite=overwrite)
        return _export_network(project, target, dry_run)
    snapshot = read_snapshot(project, store)
    if form == "visibility":
        answers = [
            VisibilityAnswer(snapshot.instances[item].image.path, item, presence)
            for item, presence in snapshot.presences.items()
        ]
        if not answers:
            raise _nothing_to_export(snapshot)
        texts: dict[Path, Iterable[str]]
        texts = {target: [write_visibility_csv(answers, project.skeleton)]}
        notes = _categories([snapshot.instances[item] for item in snapshot.presences], "the CSV")
        report = ExportReport(form, len(answers), 0, target, dry_run, tuple(notes))
        return _write(report, project, texts, {}, output, overwrite, progress)
    labelled = len(snapshot.poses)
    poses: Poses | _WithPredictions = snapshot.poses
    left_out = 0
    if predictions:
        poses = _WithPredictions(project, snapshot, is_corrected=form in CORRECTED)
        left_out = poses.left_out
    chosen = Chosen(snapshot.instances, poses.ids)
    items = Pairs(chosen, lambda instance: poses[instance.id])
    if not items:
        raise _nothing_to_export(snapshot)
    notes = _left_unlabelled(snapshot, poses.ids) + _unknown(items, project.skeleton)
    if left_out:
        notes.append(
            f"Predictions of {counted(left_out, 'object')} left out: the dev set and the control "
            "arm are labelled without pre-annotation. Label them with: labelkit label"
        )
    if form == "sleap":  # people may have corrected it in SLEAP, also in the project's folder
        check_output(target, MARKS[form], project, overwrite=overwrite)
        predicted = without(poses.ids, snapshot.poses.ids)
        notes += _boxes(items, "SLEAP")
        if not dry_run:
            with atomic_path(target) as temporary:
                sleap.write_sleap(
                    items, project.skeleton, project.images_root, predicted, temporary
                )
        return ExportReport(form, labelled, len(predicted), target, dry_run, tuple(notes))
    pictures: dict[Path, Path] = {}
    if form == "coco":
        found_poses = (poses[id_] for id_ in poses.ids)
        texts = {target: coco_text(chosen, found_poses, project.skeleton, scores=predictions)}
    else:
        if form == "yolo":
            val = {snapshot.instances[item].image.id for item in snapshot.dev}
            found = yolo.write_yolo(items, project.skeleton, val)
            notes += _of_yolo(items, val) + _individuals(items, "YOLO")
        elif form == "cvat":
            found = cvat.write_cvat(items, project.skeleton)
            notes.append(
                f"In CVAT, make a task of the images with the labels in {cvat.LABELS} (paste them "
                f"under Raw), then upload {cvat.FILE} as CVAT 1.1."
            )
        elif form == "lightning-pose":
            found = write_lightning_pose(
                items, project.skeleton, _scorer(store), project.images_root.name
            )
            notes += _categories([instance for instance, _ in items], "Lightning Pose")
            notes += _boxes(items, "Lightning Pose") + _individuals(items, "Lightning Pose")
        else:
            config = target / "config.yaml"
            before = load_text(config) if config.is_file() else ""
            found = deeplabcut_project.write_deeplabcut(
                items, project.skeleton, _scorer(store), project.images_root.name, before
            )
            notes += _of_deeplabcut(items, config)
        texts = {target / name: [text] for name, text in found.texts.items()}
        pictures = {target / a: project.images_root / b for a, b in found.pictures.items()}
    report = ExportReport(form, labelled, len(items) - labelled, target, dry_run, tuple(notes))
    return _write(report, project, texts, pictures, output, overwrite, progress)


def _export_network(project: Project, target: Path, dry_run: bool) -> ExportReport:
    """Write the network of the newest round, with what a program needs to feed it."""
    found = trained_round(project, None)
    if found.plan.finds_objects:
        raise UsageError(
            f"{in_words(found)} reads whole images; ONNX is written of networks that read boxes.",
            f"Train one: labelkit retrain --model {LOFR}",
        )
    network, _ = load_network(found.path / "model.safetensors", project.skeleton)
    size_hw = preset_of(settings_of(found))["input_size"]
    facts = {
        "made_by": "labelkit export",
        "round": found.plan.number,
        "keypoints": list(network.skeleton.keypoints),
        "read_from": network.reader.read_from,
        "crop": {
            "size_wh": list(size_hw[::-1]),
            "padding": PADDING,
            "fill_rgb": list(FILL),
            "interpolation": network.pixels.interpolation,
        },
    }
    notes = [
        "It reads the peaks of one pass over a crop. labelkit itself also averages over rotations, "
        "over mirror images if it trains on them, and asks which peaks belong to one pose."
    ]
    if serving := note_on_serving(found):
        notes.append(f"note: {serving}")
    if not dry_run:
        from labelkit.workflows.network.onnx_file import write_onnx

        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(target) as temporary:
            write_onnx(network, size_hw, facts, temporary)
    number = found.plan.number
    return ExportReport("onnx", 0, 0, target, dry_run, tuple(notes), round=number)


def _write(
    report: ExportReport,
    project: Project,
    texts: Mapping[Path, Iterable[str]],
    pictures: Mapping[Path, Path],
    output: Path | None,
    overwrite: bool,
    progress: Progress,
) -> ExportReport:
    """Write an export, unless it is a dry run or would replace a file of the user's."""
    copies = {path: source for path, source in pictures.items() if not _is_there(path, source)}
    if output is not None:
        mark = output / FOLDERS[report.format] if report.format in FOLDERS else output
        for path in [mark] if mark.exists() else [*texts, *copies]:
            check_output(path, MARKS[report.format], project, overwrite=overwrite)
    if report.dry_run:
        return report
    for path, source in progress.track(copies.items(), "Copying images", len(copies)):
        if not source.is_file():
            raise ImageError(
                f"The image {source} is not there any more.",
                "Put it back, then run the same command again.",
            )
        with atomic_path(path) as temporary:
            shutil.copy2(source, temporary)
    for path, text in texts.items():
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
            stream.writelines(text)
    return report


def _is_there(path: Path, source: Path) -> bool:
    """Whether a copy of an image was made before."""
    if not path.is_file() or not source.is_file():
        return False
    a, b = path.stat(), source.stat()
    return (a.st_size, int(a.st_mtime)) == (b.st_size, int(b.st_mtime))


def _scorer(store: LabelStore) -> str:
    """Who labelled: the scorer of the DeepLabCut tables that were imported, if it is one."""
    tables = (
        re.fullmatch(r"file:(?:.*/)?CollectedData_(.+)\.(?:csv|h5)", source)
        for source in store.sources()
    )
    found = {table[1] for table in tables if table}
    return found.pop() if len(found) == 1 else "labelkit"


class Chosen(Sequence[Instance]):
    """Some instances of a project, given by their ids; each is made when it is asked for."""

    def __init__(self, instances: Objects, ids: Ids) -> None:
        self._instances, self._ids = instances, ids

    def __getitem__(self, place: Any) -> Any:
        return self._instances[self._ids[place]]

    def __len__(self) -> int:
        return len(self._ids)


class Pairs(Sequence[tuple[Instance, Value]]):
    """Instances, each with something of it, which is made when it is asked for.

    Args:
        instances: in order.
        of: gives what belongs to an instance.
    """

    def __init__(self, instances: Sequence[Instance], of: Callable[[Instance], Value]) -> None:
        self.instances, self.of = instances, of

    def __getitem__(self, place: Any) -> Any:
        instance = self.instances[place]
        return instance, self.of(instance)

    def __len__(self) -> int:
        return len(self.instances)


class _WithPredictions:
    """Human keypoints, and what is predicted of the rest; each pose is made when it is asked for.

    Of an object that was skipped nothing is predicted.

    Args:
        project, snapshot: of the objects.
        is_corrected: people correct them; so what comes without pre-annotation is not predicted.

    Attributes:
        ids: of the objects with human keypoints, then of the others, in the order of their file.
        left_out: number of objects without keypoints that come without pre-annotation.
    """

    def __init__(self, project: Project, snapshot: LabelSnapshot, *, is_corrected: bool) -> None:
        self._project, self._is_corrected = project, is_corrected
        self._snapshot, self._predictions = snapshot, latest_predictions(project)[1]
        predicted = Ids.of(self._predictions)
        there = Ids(predicted.array[among(predicted, snapshot.instances.ids)])
        self._blank = unshown(project, snapshot.dev, there) if is_corrected else frozenset[str]()
        waiting = without(there, snapshot.skipped, snapshot.poses.ids)
        new = without(waiting, self._blank)
        self.left_out = len(waiting) - len(new)
        self.ids = Ids(np.concatenate([snapshot.poses.ids.array, new.array]))

    def __getitem__(self, id_: str) -> Pose:
        snapshot, human = self._snapshot, self._snapshot.poses.get(id_)
        is_whole = snapshot.is_labelled(id_) or id_ in snapshot.skipped or id_ in self._blank
        if human is not None and (is_whole or id_ not in self._predictions):
            return human
        answer, image = snapshot.presences.get(id_), snapshot.instances[id_].image
        prediction = self._predictions[id_]
        if self._is_corrected:
            prediction = as_shown(self._project, prediction)
        pose = predicted_pose(prediction, answer, image)
        return pose if human is None else human.completed(pose)


def _left_unlabelled(snapshot: LabelSnapshot, written: Ids) -> list[str]:
    objects = snapshot.instances.columns
    is_written = among(objects.ids, written)
    in_images = np.isin(objects.images, objects.images[is_written])
    left = int((in_images & ~is_written & ~among(objects.ids, snapshot.skipped)).sum())
    if not left:
        return []
    return [
        f"{counted(left, 'object')} in these images without keypoints left out: training code "
        "takes them for background."
    ]


def _unknown(items: Sequence[tuple[Instance, Pose]], skeleton: Skeleton) -> list[str]:
    """Keypoints that labels leave unknown, because the skeleton got them later."""
    count = np.zeros(len(skeleton), np.int64)
    for _, pose in items:
        count += ~pose.known
    names = [
        f"{skeleton.keypoints[k]} of {counted(int(count[k]), 'object')}"
        for k in np.flatnonzero(count)
    ]
    return [f"Not labelled yet, and left empty (v = 0): {named(names)}."] if names else []


def _of_yolo(items: Sequence[tuple[Instance, Pose]], val: Collection[str]) -> list[str]:
    """The dev set validates. Ultralytics wants images for both splits."""
    validated = {instance.image.id in val for instance, _ in items}
    if validated == {True, False}:
        return []
    what = (
        "All of them are of the dev set" if True in validated else "None of them is of the dev set"
    )
    return [f"{what}: train.txt and val.txt list the same images."]


def _categories(instances: Sequence[Instance], what: str) -> list[str]:
    """At most one note, of the categories that a format cannot hold."""
    categories = Counter(instance.category for instance in instances)
    if len(categories) < 2:
        return []
    names = named([f"{count} x {name or 'none'}" for name, count in categories.most_common()])
    return [f"Categories left out, which {what} does not know: {names}."]


def _boxes(items: Sequence[tuple[Instance, Pose]], what: str) -> list[str]:
    """At most one note, of the boxes that people gave and a format cannot hold."""
    given = sum(instance.box_source in ("given", "human") for instance, _ in items)
    note = f"Boxes of {counted(given, 'object')} left out, which {what} does not know."
    return [note] if given else []


def _individuals(items: Sequence[tuple[Instance, Pose]], what: str) -> list[str]:
    """At most one note, of the individuals that a format cannot hold."""
    names = sorted({instance.individual for instance, _ in items} - {""})
    return [f"Names left out, which {what} does not know: {named(names)}."] if names else []


def _of_deeplabcut(items: Sequence[tuple[Instance, Pose]], config: Path) -> list[str]:
    """What DeepLabCut's tables cannot hold, and how DeepLabCut takes them over."""
    notes = []
    if occluded := sum(int((pose.visibility == OCCLUDED).sum()) for _, pose in items):
        notes.append(
            f"{counted(occluded, 'occluded keypoint')} written like visible ones: DeepLabCut does "
            "not tell them apart."
        )
    notes += _categories([instance for instance, _ in items], "DeepLabCut")
    notes += _boxes(items, "DeepLabCut")
    command = f"deeplabcut.convertcsv2h5({str(config)!r}, userfeedback=False)"
    return [*notes, f"Before DeepLabCut trains on the tables, type in Python: {command}"]


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
