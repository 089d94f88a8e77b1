"""`labelkit predict`: poses by a round's network for other pictures, or by one of MediaPipe."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from labelkit.bridges.mediapipe.networks import NETWORKS
from labelkit.domain.instance import Box, Instance
from labelkit.domain.pose import VISIBLE, Pose
from labelkit.domain.prediction import Prediction
from labelkit.domain.skeleton import BUILTIN, Skeleton, make_skeleton
from labelkit.domain.text import counted, named
from labelkit.errors import UsageError
from labelkit.files.atomic import atomic_path, write_text
from labelkit.formats.coco import coco_text, write_coco
from labelkit.formats.deeplabcut.project import write_predictions as write_table
from labelkit.progress import Progress
from labelkit.project.outputs import check_output
from labelkit.project.preannotation import predicted_pose
from labelkit.project.predictions import read_predictions, write_predictions
from labelkit.project.project import Project, create_project, lock_project
from labelkit.project.rounds import in_words, trained_round
from labelkit.report import Report
from labelkit.store.ids import Ids
from labelkit.store.label_store import LabelStore
from labelkit.store.objects import FOUND
from labelkit.workflows.intake.label_matching import Handling
from labelkit.workflows.intake.register import BOX_CHOICES, NO_BOXES, Registered, register
from labelkit.workflows.loop.export import Chosen, Pairs
from labelkit.workflows.loop.predictions import PredictionsReport, add_predictions
from labelkit.workflows.network.mediapipe import find_poses
from labelkit.workflows.network.shards import Parts, Shard
from labelkit.workflows.rounds.networks import load_network, predict_instances
from labelkit.workflows.rounds.served import as_served, note_on_serving, served
from labelkit.workflows.rounds.settings import settings_of

Items = Pairs[Prediction]

#: Columns of the CSV, one row for each keypoint.
COLUMNS = ("image", "instance", "keypoint", "x", "y", "score", "presence")

#: Format -> what such a file of this command holds, and hardly another.
MARKS = {
    "coco": '"labelkit_id": ',
    "csv": rf"\A{','.join(COLUMNS)}\n",
    "dlc": r"\Ascorer,labelkit-round-",
}

#: The format that the ending of a file stands for.
ENDINGS = {".json": "coco", ".csv": "csv"}


@dataclass(frozen=True, slots=True)
class PredictReport(Report):
    """What was predicted, and where it is.

    Attributes:
        round: whose network it was.
        images, instances: pictures that were read, and objects that were predicted in them.
        file: the file, and `format` its format; None and "" if none was asked for. A shard writes
            none while others have not finished.
        notes: what was left out, and what to know of the round, a sentence each.
        predictions: each object with its prediction; () unless they are kept.
        missing: objects that other shards have yet to predict.
    """

    round: int
    images: int
    instances: int
    file: Path | None
    format: str
    notes: tuple[str, ...]
    predictions: Sequence[tuple[Instance, Prediction]] = field(repr=False)
    missing: int = 0
    exit_code: int = 0

    def text(self) -> str:
        """For people."""
        if self.missing:
            what = counted(self.missing, "object")
            rest = f"{what} left to other shards; the last to finish writes the file."
            return "\n".join([f"Round {self.round:03d} predicted {self.instances} more.", rest])
        where = f" to {self.file}" if self.file else ""
        return "\n".join(
            [
                f"Round {self.round:03d} predicted {counted(self.instances, 'object')} in "
                f"{counted(self.images, 'picture')}{where}.",
                *self.notes,
            ]
        )

    def data(self) -> Mapping[str, Any]:
        """For machines; the predictions themselves are in the file."""
        names = ("round", "images", "instances", "file", "format", "notes", "missing")
        return {name: getattr(self, name) for name in names}


def predict(
    project: Project,
    store: LabelStore,
    progress: Progress,
    *,
    images: Path,
    boxes: str | None = None,
    number: int | None = None,
    output: Path | None = None,
    form: str | None = None,
    overwrite: bool = False,
    shard: Shard | None = None,
    keep: bool = True,
) -> PredictReport:
    """Predict the pictures of a folder; the project does not change.

    Args:
        project: see `open_project`.
        store: its label store.
        progress: shows a bar.
        images: the folder.
        boxes: a file, "whole-image" or "detect"; None does as the project did.
        number: of the round whose network predicts; None for the newest complete one.
        output: file to write; None writes none.
        form: "coco", "csv" (a row for each keypoint) or "dlc" (DeepLabCut's columns); None goes by
            the ending of `output`.
        overwrite: also replace a file that this command did not write.
        shard: which part of the objects this machine predicts, for `output`; what it has is kept
            in files beside it, see `Parts`. None predicts all of them.
        keep: also report the predictions themselves, all of them in memory.

    Raises:
        ProjectError: if no round is complete.
        UsageError: if there is no such round or format, if it is unknown where the objects are, or
            if another file would be replaced.
        ImageError: if the folder holds no picture that can be read.
        FormatError: if the file of boxes cannot be used.
        CheckpointError: if the round's network cannot be used.
    """
    form = _format(form, output)
    found = trained_round(project, number)
    finds = found.plan.finds_objects
    if finds and (boxes not in (None, NO_BOXES) or shard):
        raise UsageError(
            f"{in_words(found)} finds the objects itself, in one go.",
            "Leave out --boxes and --shard.",
        )
    if boxes == NO_BOXES and not finds:
        raise UsageError(
            f"{in_words(found)} predicts objects in boxes.",
            "Give the boxes: --boxes FILE (COCO), whole-image or detect.",
        )
    choice = NO_BOXES if finds else boxes or _usual_boxes(project, store)
    with TemporaryDirectory() as folder:
        aside = replace(project, root=Path(folder), images_root=images.resolve())
        if output:
            for only_read in (project, aside):
                check_output(output, MARKS[form], only_read, overwrite=overwrite)
        model = found.path / "model.safetensors"
        network = None if finds else load_network(model, project.skeleton)[0]
        with LabelStore.open(f"sqlite:///{folder}/labels.db") as objects:
            registered = _register_aside(aside, objects, progress, choice)
            known: Mapping[str, Prediction] = {}
            if finds:
                from labelkit.workflows.detector_free.rounds import found_in

                known = found_in(aside, objects, found, objects.images(), progress)
            instances = objects.instances()
        serves, settings = served(found), settings_of(found)

        def predicted(some: Mapping[str, Instance]) -> Iterator[Prediction]:
            for row in predict_instances(aside, network, settings, some, progress):
                instance = instances[row.prediction.instance_id]
                yield as_served(row.prediction, instance, project.skeleton, serves)

        there = (row for id_, row in known.items() if instances[id_].box_source == FOUND)
        rows: Iterable[Prediction] = there if finds else predicted(instances)
        if output and shard:
            rows = parts = Parts(output, model, instances, project.skeleton)
            done = parts.predict(shard, predicted)
            if missing := parts.missing:
                counts = (registered.images, done, None, form)
                return PredictReport(found.plan.number, *counts, registered.notes, (), missing)
        file = Path(folder) / "predictions.parquet"
        count = write_predictions(file, rows, project.skeleton)
        predictions = read_predictions(file, project.skeleton)
        chosen = Chosen(instances, Ids.of(predictions))
        items = Pairs(chosen, lambda instance: predictions[instance.id])
        if output:
            with atomic_path(output) as beside, beside.open("w", encoding="utf-8") as stream:
                stream.writelines(WRITERS[form](items, project.skeleton, found.plan.number))
        kept = [*items] if keep else ()
    notes = list(registered.notes)
    if serving := note_on_serving(found):
        notes.append(f"note: {serving}")
    return PredictReport(
        found.plan.number, registered.images, count, output, form, tuple(notes), kept
    )


@dataclass(frozen=True, slots=True)
class FoundReport(Report):
    """What a network of MediaPipe found.

    Attributes:
        network: its name.
        objects: that were predicted.
        found: how many of them it found; only those are in the file.
        not_found: paths of the images of the others.
        file: COCO, with the network's own keypoints.
        notes: what was left out, a sentence each.
        added: the round that a project has of them now.
    """

    network: str
    objects: int
    found: int
    not_found: tuple[str, ...]
    file: Path
    notes: tuple[str, ...]
    added: PredictionsReport | None
    exit_code: int = 0

    def text(self) -> str:
        """For people."""
        lines = [
            f"{self.network} found {self.found} of {counted(self.objects, 'object')}; "
            f"written to {self.file}.",
            *self.notes,
        ]
        if self.not_found:
            lines.append(f"Not found, and left empty: {named(self.not_found)}.")
        if self.added:
            lines.append(self.added.text())
        return "\n".join(lines)


def predict_with(
    network: str,
    project: Project | None,
    store: LabelStore | None,
    progress: Progress,
    *,
    images: Path | None = None,
    boxes: str | None = None,
    output: Path | None = None,
    overwrite: bool = False,
) -> FoundReport:
    """Predict with a network of MediaPipe: the objects of a project, or the pictures of a folder.

    It runs in an environment of its own, which is made at the first call. What it found is kept
    beside the output: an interrupted call is continued by the next, and one in a project predicts
    only what is new. A project gets a round of the predictions, see `add_predictions`.

    Args:
        network: its name, such as "mediapipe-pose".
        project, store: whose objects are predicted; None for the pictures of a folder.
        progress: shows a bar.
        images: that folder; None for the objects of the project.
        boxes: of the pictures: a file, "whole-image" (the default) or "detect".
        output: file to write; None for one in the project's folder.
        overwrite: also replace a file that this command did not write.

    Raises:
        UsageError: if there is no such network, `boxes` or `output` does not go with `images`, or
            another file would be replaced.
        MissingDependencyError: if MediaPipe cannot be installed.
        ServiceError: if it stops.
        ImageError: if an image cannot be read.
        ProjectError: if a round of the project is unfinished.
        FormatError: if the file of boxes cannot be used.
    """
    if network not in NETWORKS:
        raise UsageError(f"There is no network {network!r}.", f"Networks: {', '.join(NETWORKS)}.")
    if images is None and boxes is not None:
        raise UsageError("The objects of a project have their boxes.", "Leave out --boxes.")
    if images is not None and output is None:
        raise UsageError("Predicted pictures of a folder need a file.", "Add: --output FILE")
    chosen = NETWORKS[network]
    skeleton = make_skeleton(chosen.name, chosen.keypoints)
    notes: tuple[str, ...] = ()
    with ExitStack() as stack:
        if images is not None:
            folder = Path(stack.enter_context(TemporaryDirectory()))
            project = create_project(folder / "project", images, skeleton)
            store = stack.enter_context(LabelStore.open(f"sqlite:///{folder}/labels.db"))
            notes = _register_aside(project, store, progress, boxes or "whole-image").notes
        assert project is not None
        assert store is not None
        if output is None:
            output = project.root / "predictions" / f"{network}.json"
        check_output(output, MARKS["coco"], project, overwrite=overwrite)
        output.parent.mkdir(parents=True, exist_ok=True)
        kept = output.with_name(f"{output.name}.poses")
        instances = store.instances().values()
        rows = find_poses(chosen, project.images_root, instances, kept, progress)
        poses = [
            (instance, Pose(row[:, :2], np.full(len(row), VISIBLE), np.clip(row[:, 2], 0, 1)))
            for instance, row in rows
            if row is not None
        ]
        document = write_coco(poses, skeleton, scores=True)
        write_text(output, json.dumps(document, ensure_ascii=False))
        added = None
        if images is None and poses:
            with lock_project(project):
                added = add_predictions(project, store, output, name=network)
        else:
            kept.unlink()
    not_found = tuple(instance.image.path for instance, row in rows if row is None)
    return FoundReport(network, len(rows), len(poses), not_found, output, notes, added)


def _format(form: str | None, output: Path | None) -> str:
    """The format that is asked for by name or ending; "" where no file is.

    Raises:
        UsageError: if there is none of that name, or the ending stands for none.
    """
    if output is None:
        return ""
    if form is None and (form := ENDINGS.get(output.suffix.lower())) is None:
        raise UsageError(
            f"The ending of {output} names no format; known endings: {', '.join(ENDINGS)}.",
            f"Name the format: --format {', '.join(WRITERS)}",
        )
    if form not in WRITERS:
        raise UsageError(f"There is no format {form!r}.", f"Formats: {', '.join(WRITERS)}.")
    return form


def _register_aside(
    project: Project, store: LabelStore, progress: Progress, boxes: str
) -> Registered:
    """Register pictures without those that cannot be read; its notes name them."""
    found = register(
        project,
        store,
        progress,
        labels=(),
        boxes=boxes,
        skip_unreadable=True,
        handling=Handling(can_choose=False),
    )
    if not found.skipped:
        return found
    what = f"Left out {counted(len(found.skipped), 'unreadable picture')}: {named(found.skipped)}."
    return replace(found, notes=(what, *found.notes))


def _usual_boxes(project: Project, store: LabelStore) -> str:
    """Where the project's own boxes came from, if other pictures can get theirs there.

    Raises:
        UsageError: if the network knows objects in boxes that only people or files gave.
    """
    choice = project.options.get("boxes")
    if choice in BOX_CHOICES:
        return str(choice)
    if project.skeleton.name in BUILTIN:
        return "detect"
    around = (
        item
        for item in store.instances().values()
        if item.box != Box(0.0, 0.0, float(item.image.width), float(item.image.height))
    )
    if next(around, None) is None:
        return "whole-image"
    raise UsageError(
        "This project's network knows objects in their boxes; it cannot find them in a picture.",
        "Give the boxes: --boxes FILE (COCO), or --boxes whole-image where an object fills it.",
    )


def _coco(items: Items, skeleton: Skeleton, _: int) -> Iterator[str]:
    poses = (predicted_pose(found, None, instance.image) for instance, found in items)
    return coco_text(items.instances, poses, skeleton, scores=True)


def _long_csv(items: Items, skeleton: Skeleton, _: int) -> Iterator[str]:
    yield f"{','.join(COLUMNS)}\n"
    for instance, found in items:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        values = np.column_stack([found.xy, found.pose.score, found.presence])
        for name, row in zip(skeleton.keypoints, values.tolist(), strict=True):
            cells = ["" if value != value else repr(value) for value in row]  # NaN: not learned
            writer.writerow([instance.image.path, instance.id, name, *cells])
        yield text.getvalue()


def _deeplabcut(items: Items, skeleton: Skeleton, number: int) -> Iterator[str]:
    yield write_table(items, skeleton, f"labelkit-round-{number:03d}")


#: Format -> the function that writes it, part by part.
WRITERS: Mapping[str, Callable[[Items, Skeleton, int], Iterable[str]]] = {
    "coco": _coco,
    "csv": _long_csv,
    "dlc": _deeplabcut,
}
