"""Predictions of a file, matched with the project's images and objects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from labelkit.domain.annotation import Annotation
from labelkit.domain.instance import Box, Instance
from labelkit.domain.pose import Pose
from labelkit.domain.prediction import Prediction
from labelkit.domain.skeleton import Skeleton, make_skeleton
from labelkit.domain.text import counted
from labelkit.errors import FormatError, SkeletonError
from labelkit.files.documents import load_head, load_json, load_text, parse_json
from labelkit.formats.coco import read_coco, skeleton_of_coco
from labelkit.formats.predicted import (
    PRESENCE,
    Predicted,
    is_results,
    read_results,
    read_slp,
    read_table,
    read_texts,
)
from labelkit.formats.recognise import HEAD, refuse_binary, refuse_other_json
from labelkit.project.project import Project
from labelkit.store.label_store import LabelStore
from labelkit.workflows.intake.image_finder import ImageFinder
from labelkit.workflows.intake.into_place import NO_SIZES, Sizes
from labelkit.workflows.intake.label_files import read_skeleton
from labelkit.workflows.intake.label_matching import Handling, match_labels

#: A pose may be that of an object if both cover this share of the smaller of their boxes.
COVERED = 0.5


@dataclass(frozen=True, slots=True)
class PredictedObjects:
    """What a file predicts of a project.

    Attributes:
        skeleton: of the file.
        predictions: by instance id, with the keypoints of the file, in image pixels.
        unmatched: poses in images of the project that match no object.
        elsewhere: poses in images that the project does not have.
        notes: what was read differently, a sentence each.
    """

    skeleton: Skeleton
    predictions: Mapping[str, Prediction]
    unmatched: int
    elsewhere: int
    notes: tuple[str, ...]


def read_predicted(
    project: Project,
    store: LabelStore,
    path: Path,
    ids: Path | None = None,
    skeleton: str | None = None,
) -> PredictedObjects:
    """Read a file of predictions and find out which objects they are of.

    Args:
        project: see `open_project`.
        store: its label store.
        path: COCO results, a COCO file with scores, a table of DeepLabCut or Lightning Pose, a
            folder of YOLO text files, or a SLEAP file.
        ids: COCO file whose image ids COCO results use; it may also name their keypoints.
        skeleton: names the keypoints of a file that does not, see `read_skeleton`.

    Raises:
        FormatError: if the file is none of these, has wrong content, or is of other images.
        SkeletonError: if `skeleton` has another number of keypoints.
    """
    found, sizes = _read(path, ids, store)
    if not found.annotations:
        raise FormatError(f"{path} holds no predictions.", "Give another file.")
    theirs, notes = _skeleton(found, project.skeleton, path, skeleton)
    matched = match_labels(
        found.annotations,
        (),
        sizes._replace(are_shares=True) if found.are_shares else sizes,
        path,
        ImageFinder(store.images(), {}, project.images_root),
        project.images_root,
        Handling(skip_missing=True, can_choose=False),
    )
    objects: dict[str, list[Instance]] = defaultdict(list)
    for instance in store.instances().values():
        objects[instance.image.id].append(instance)
    poses: dict[str, list[Annotation]] = defaultdict(list)
    for image, item in matched.found:
        poses[image.id].append(item)
    predictions = {
        id_: _prediction(id_, item.pose, found.shown_from)
        for image, items in poses.items()
        for id_, item in _pairs(items, objects[image], found.shown_from).items()
    }
    return PredictedObjects(
        theirs,
        predictions,
        len(matched.found) - len(predictions),
        len(matched.missing),
        (*notes, *matched.notes),
    )


def _read(path: Path, ids: Path | None, store: LabelStore) -> tuple[Predicted, Sizes]:
    if path.is_dir():
        return read_texts(_texts(path, store), str(path)), NO_SIZES
    if path.suffix.lower() == ".slp":
        return read_slp(path), NO_SIZES
    refuse_binary(load_head(path, HEAD), str(path))
    text = load_text(path)
    if not text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
        return read_table(text.lstrip("\ufeff"), str(path)), NO_SIZES
    document = parse_json(text, path)
    if is_results(document):
        paths, keypoints = _ids(ids) if ids else ({}, ())
        return read_results(document, str(path), paths, keypoints), NO_SIZES
    refuse_other_json(document, str(path))
    coco = read_coco(document, str(path))
    found = Predicted(coco.skeleton.keypoints, coco.annotations, PRESENCE)
    return found, Sizes(coco.image_sizes)


def _ids(file: Path) -> tuple[dict[Any, str], tuple[str, ...]]:
    """Image paths by id, and names of keypoints if there are any, of a COCO file."""
    document = load_json(file)
    try:
        paths = {row["id"]: str(row["file_name"]) for row in document["images"]}
    except (KeyError, TypeError) as error:
        raise FormatError(
            f"{file} does not list images with id and file_name.",
            "Give the COCO file of the images that were predicted: --ids FILE",
        ) from error
    try:
        return paths, skeleton_of_coco(document, str(file))[0].keypoints
    except (FormatError, SkeletonError):
        return paths, ()


def _texts(folder: Path, store: LabelStore) -> dict[str, str]:
    """Content of each text file of a folder by the path of the image with the same name."""
    by_stem: dict[str, list[str]] = defaultdict(list)
    for image in store.images():
        by_stem[PurePosixPath(image.path).stem].append(image.path)
    texts = {}
    for file in sorted(folder.rglob("*.txt")):
        fitting = by_stem.get(file.stem, [f"{file.stem}.jpg"])
        if len(fitting) > 1:
            raise FormatError(
                f"{file} could be of {fitting[0]} or {fitting[1]}.",
                "Give images different names, or predictions as COCO results.",
            )
        texts[fitting[0]] = load_text(file, may_be_empty=True)
    return texts


def _skeleton(
    found: Predicted, ours: Skeleton, path: Path, given: str | None
) -> tuple[Skeleton, list[str]]:
    """The skeleton of a file, and what was concluded about it."""
    count = len(found.annotations[0].pose)
    names: Sequence[str] = read_skeleton(given).keypoints if given else found.keypoints
    notes = []
    if not names and count == len(ours):
        names = ours.keypoints
        notes.append(
            f"{path} does not name its keypoints: they are taken in the order of the skeleton "
            f"{ours.name!r}. If they are others, name them with --skeleton."
        )
    names = names or [f"keypoint {number}" for number in range(1, count + 1)]
    if len(names) != count:
        raise SkeletonError(
            f"{path} has {counted(count, 'keypoint')}, and {given or 'its names'} has "
            f"{len(names)}.",
            "Name its keypoints in their order: --skeleton NAME or FILE",
        )
    return make_skeleton(path.stem, names), notes


def _prediction(instance_id: str, pose: Pose, shown_from: float) -> Prediction:
    """A pose of a file as a prediction: its tool would show keypoints of a presence above .5."""
    presence = np.interp(pose.score, [0.0, shown_from, 1.0], [0.0, 0.5, 1.0])
    shown = pose.present & (presence > 0.5) if (presence > 0.5).any() else pose.present
    return Prediction(
        instance_id, pose, presence, float(pose.score[shown].mean()) if shown.any() else 0.0
    )


def _pairs(
    items: Sequence[Annotation], objects: Sequence[Instance], shown_from: float
) -> dict[str, Annotation]:
    """Which pose is of which object of an image: the best overlaps first, each used once.

    In a whole-image box overlap says nothing: there the pose with the highest scores counts.
    """
    ranked = []
    for number, item in enumerate(items):
        if (box := _box(item, shown_from)) is None:
            continue
        for instance in objects:
            overlap = box.overlap(instance.box)
            areas = box.w * box.h, instance.box.w * instance.box.h
            covered = overlap * sum(areas) / (1 + overlap) / max(min(areas), 1e-9)
            if covered >= COVERED:
                whole = instance.box_source == "whole-image"
                rank = 0.0 if whole else overlap, float(item.pose.score.mean())
                ranked.append((rank, -number, instance.id))
    found: dict[str, Annotation] = {}
    used: set[int] = set()
    for _, number, id_ in sorted(ranked, reverse=True):
        if id_ not in found and number not in used:
            found[id_] = items[-number]
            used.add(number)
    return found


def _box(item: Annotation, shown_from: float) -> Box | None:
    """The box of a pose; without one, the extent of the keypoints that its tool would show."""
    if item.box is not None:
        return item.box
    shown = np.flatnonzero(item.pose.present & (item.pose.score >= shown_from))
    pose = item.pose.take(shown) if len(shown) > 1 else item.pose
    return pose.extent
