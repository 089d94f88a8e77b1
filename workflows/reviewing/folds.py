"""Predictions of networks that never saw the label of their object: cross-fitting.

Labelled objects are split into folds, whole images and seconds of video together; for each fold a
network is trained on the others and predicts it. A round has learned most labels, so it agrees with
wrong ones; these networks cannot.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from labelkit.domain.instance import Instance
from labelkit.domain.selection import stable_order
from labelkit.domain.text import counted
from labelkit.errors import UsageError
from labelkit.files.atomic import write_json
from labelkit.progress import Progress
from labelkit.project.predictions import write_predictions
from labelkit.project.project import Project
from labelkit.project.response_maps import MapWriter
from labelkit.project.rounds import latest_trained
from labelkit.project.video_frames import frames_of_videos
from labelkit.workflows.rounds.dev_set import PIECE_SECONDS
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot
from labelkit.workflows.rounds.networks import (
    examples_of,
    load_network,
    predict_instances,
    train_network,
)
from labelkit.workflows.rounds.run_round import keep_maps
from labelkit.workflows.rounds.settings import TrainingOptions, resolve, settings_of

_FOLDER, _PLAN, _PREDICTIONS = "folds", "plan.json", "predictions.parquet"


class Fold(NamedTuple):
    """A fold whose objects are predicted.

    Attributes:
        path: folder with `predictions.parquet` and `maps/maps.parquet`, as a round has them.
        taught: number of labelled objects that its network learned from.
    """

    path: Path
    taught: int


def read_folds(project: Project) -> list[Fold]:
    """The folds that are complete; whatever became of the labels, no network saw its own."""
    root = project.root / _FOLDER
    if not (root / _PLAN).is_file():
        return []
    taught = json.loads((root / _PLAN).read_text("utf-8"))["taught"]
    folds = [Fold(root / str(fold), count) for fold, count in enumerate(taught)]
    return [fold for fold in folds if (fold.path / _PREDICTIONS).is_file()]


def train_folds(
    project: Project,
    snapshot: LabelSnapshot,
    count: int,
    options: TrainingOptions,
    progress: Progress,
) -> None:
    """Train a network for each fold, or the rest of them, and keep what it predicts.

    Nothing is trained while labels and options are those of the last time.

    Args:
        project: see `open_project`.
        snapshot: of its labels. The dev set is left out: no round learns from it.
        count: of the folds, at least 2.
        options: of the trainings, as those of the newest round where they say nothing; `minutes`
            is for all folds together.
        progress: shows bars.

    Raises:
        UsageError: on fewer folds than 2, or more than there are labelled images.
        LabelkitError: if a training cannot begin, see `run_round`.
    """
    ids = [id_ for id_ in snapshot.trainable if snapshot.poses[id_].present.any()]
    fold_of = _split(project, [snapshot.instances[id_] for id_ in ids], count)
    settings = _settings(project, snapshot, ids, count, options)
    parts = [[id_ for id_ in ids if fold_of[id_] == fold] for fold in range(count)]
    plan = {
        "taught": [len(ids) - len(part) for part in parts],
        "settings": settings,
        "seed": project.seed,
        "labels": _digest(snapshot, ids),
    }
    root = project.root / _FOLDER
    file = root / _PLAN
    if not file.is_file() or json.loads(file.read_text("utf-8")) != json.loads(json.dumps(plan)):
        shutil.rmtree(root, ignore_errors=True)
        write_json(file, plan)
    for fold, part in enumerate(parts):
        path = root / str(fold)
        if (path / _PREDICTIONS).is_file():
            continue
        others = set(ids).difference(part)
        examples = [it for it in examples_of(snapshot, ids) if it.instance.id in others]
        model, what = path / "model.safetensors", f"Fold {fold + 1} of {count}"
        if not model.is_file():
            train_network(
                "lofr", project, examples, settings, project.seed, model, progress, what, 1
            )
        network, _ = load_network(model, project.skeleton)
        objects = {id_: snapshot.instances[id_] for id_ in part}
        found = predict_instances(project, network, settings, objects, progress)
        with MapWriter(path / "maps" / "maps.parquet", project.skeleton.keypoints) as writer:
            rows = list(keep_maps(found, writer))
        write_predictions(path / _PREDICTIONS, rows, project.skeleton)  # last: it is complete now
        model.unlink()


def _settings(
    project: Project,
    snapshot: LabelSnapshot,
    ids: Sequence[str],
    count: int,
    options: TrainingOptions,
) -> dict[str, Any]:
    last = latest_trained(project)
    earlier = settings_of(last) if last is not None and last.plan.reads_boxes else {}
    if options.minutes:
        options = replace(options, minutes=options.minutes / count)
    boxes = [snapshot.instances[id_].box for id_ in ids]
    poses = [snapshot.poses[id_] for id_ in ids]
    return resolve(options, earlier, project.skeleton, boxes, poses)


def _split(project: Project, instances: Sequence[Instance], count: int) -> Mapping[str, int]:
    """The fold of each object, by id: copies of an image, and seconds of a video, share one."""
    frames = frames_of_videos(project.images_root, {item.image.path for item in instances})
    together = {}
    for item in instances:
        video, seconds = frames.get(item.image.path, ("", 0.0))
        piece = f"{video}@{seconds // PIECE_SECONDS:.0f}" if video else item.image.id
        together[item.id] = piece
    order = stable_order(set(together.values()), project.seed)
    if not 2 <= count <= len(order):
        raise UsageError(
            f"--folds {count} cannot split {counted(len(order), 'labelled image')}.",
            "Give 2 or more, and not more than there are: labelkit check --folds 3",
        )
    place = {piece: number % count for number, piece in enumerate(order)}
    return {id_: place[piece] for id_, piece in together.items()}


def _digest(snapshot: LabelSnapshot, ids: Sequence[str]) -> str:
    """A SHA-256 of the labels that teach."""
    digest = hashlib.sha256()
    for id_ in sorted(ids):
        pose = snapshot.poses[id_]
        digest.update(id_.encode() + pose.xy.tobytes() + pose.visibility.tobytes())
    return digest.hexdigest()
