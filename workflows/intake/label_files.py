"""Label files of any kind, read for one skeleton."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from labelkit.domain.annotation import Annotation, VisibilityAnswer
from labelkit.domain.pose import UNKNOWN
from labelkit.domain.skeleton import Skeleton, load_skeleton, make_skeleton
from labelkit.domain.text import named
from labelkit.errors import FormatError, SkeletonError
from labelkit.files.documents import load_head, load_json, load_text, parse_json
from labelkit.formats.coco import CocoBoxes, read_boxes, read_coco, skeleton_of_coco
from labelkit.formats.cvat import START, read_cvat
from labelkit.formats.deeplabcut.hdf5 import csv_of_hdf5
from labelkit.formats.deeplabcut.tables import read_deeplabcut_csv, skeleton_from_config
from labelkit.formats.hdf5 import SIGN, kind_of_hdf5
from labelkit.formats.label_studio.foreign import Group, read_foreign
from labelkit.formats.recognise import (
    HEAD,
    is_studio_export,
    refuse_binary,
    refuse_json_lines,
    refuse_other_json,
    refuse_other_text,
)
from labelkit.formats.sleap import read_sleap
from labelkit.formats.visibility_csv import read_visibility_csv
from labelkit.formats.yolo import read_yolo, skeleton_from_settings, yolo_settings
from labelkit.project.images import IMAGE_SUFFIXES
from labelkit.workflows.intake.into_place import NO_SIZES, Sizes

#: Suffixes of YAML files.
YAML = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class LabelFile:
    """What `--labels FILE` holds.

    Attributes:
        path: the file.
        skeleton: of the project if it was given, and behind its keypoints those that only the file
            has; else the file's own.
        annotations: objects with boxes or keypoints, the keypoints in the skeleton's order.
        answers: visibility answers.
        image_paths: every image that the file describes, with objects or without.
        sizes: what it tells about their sizes.
        notes: what was read differently or left out, a sentence each.
        name: of the file, where others of the same import have the same; "" takes the path's.
    """

    path: Path
    skeleton: Skeleton
    annotations: tuple[Annotation, ...]
    answers: tuple[VisibilityAnswer, ...] = ()
    image_paths: tuple[str, ...] = ()
    sizes: Sizes = NO_SIZES
    notes: tuple[str, ...] = ()
    name: str = ""

    @property
    def source(self) -> str:
        """Where its labels come from, as the journal says it."""
        return f"file:{self.name or self.path.name}"


def read_label_file(path: Path, skeleton: Skeleton | None, group: Group | None = None) -> LabelFile:
    """Read COCO, YOLO, CVAT, SLEAP, a Label Studio export, DeepLabCut or visibility answers.

    Args:
        path: the file.
        skeleton: of the project; None takes the file's own.
        group: of the keypoints of a Label Studio export, see `read_foreign`.

    Raises:
        FormatError: if the file is none of these, or has wrong content.
        SkeletonError: if its keypoints may be those of the project under other names.
        MissingDependencyError: if what reads the file is not installed.
    """
    if load_head(path, len(SIGN)) == SIGN:
        if kind_of_hdf5(path) == "sleap":
            return _read_sleap(path, skeleton)
        return _read_table(path, csv_of_hdf5(path), skeleton)
    text = _text(path)
    looks_like_json = text.lstrip("\ufeff \t\r\n").startswith(("{", "["))
    if looks_like_json or path.suffix.lower() == ".json":
        return _read_json(path, text, skeleton, group)
    if path.suffix.lower() in YAML and (settings := yolo_settings(text, str(path))):
        return _read_yolo(path, settings, skeleton)
    if path.suffix.lower() in (*YAML, ".toml"):
        raise FormatError(
            f"{path} describes a skeleton and holds no labels.",
            f"Give it as --skeleton {shlex.quote(str(path))}, and labels as --labels FILE.csv",
        )
    if START.match(text.lstrip("\ufeff")):
        return _read_cvat(path, text, skeleton)
    refuse_other_text(text, str(path))
    if text.lstrip("\ufeff").lower().startswith("scorer"):
        return _read_table(path, text, skeleton)
    if skeleton is None:
        raise FormatError(
            f"{path}: visibility answers do not name their skeleton.",
            "Name it, for example: --skeleton coco17, or --skeleton FILE.toml",
        )
    answers = read_visibility_csv(text, skeleton, str(path))
    unknown = np.all([answer.presence == UNKNOWN for answer in answers], axis=0)
    lacking = _lacking(path, [skeleton.keypoints[k] for k in np.flatnonzero(unknown)])
    return LabelFile(path, skeleton, (), tuple(answers), notes=lacking)


def _read_table(path: Path, text: str, skeleton: Skeleton | None) -> LabelFile:
    """Read a table of DeepLabCut or Lightning Pose, as CSV."""
    left_out: list[str] = []
    table = read_deeplabcut_csv(text, str(path), left_out.append)
    chosen, notes = (skeleton, []) if skeleton else _deeplabcut_skeleton(path, table.keypoints)
    labelled = LabelFile(
        path,
        chosen,
        tuple(table.annotations),
        image_paths=table.image_paths,
        notes=(*left_out, *notes),
    )
    return _fitted(labelled, table.keypoints)


def _read_sleap(path: Path, skeleton: Skeleton | None) -> LabelFile:
    found = read_sleap(path)
    labelled = LabelFile(
        path,
        skeleton or found.skeleton,
        tuple(found.annotations),
        image_paths=found.image_paths,
        notes=found.notes,
    )
    return _fitted(labelled, found.skeleton.keypoints)


def _read_json(path: Path, text: str, skeleton: Skeleton | None, group: Group | None) -> LabelFile:
    refuse_json_lines(text, str(path))
    document = parse_json(text, path)
    if is_studio_export(document):
        found = read_foreign(document, str(path), skeleton, group)
        return LabelFile(
            path,
            found.skeleton,
            tuple(found.annotations),
            image_paths=found.image_paths,
            sizes=Sizes(found.image_sizes, pixels_of="file"),
            notes=found.notes,
        )
    refuse_other_json(document, str(path))
    coco = read_coco(document, str(path), skeleton)
    chosen = skeleton or coco.skeleton
    labelled = LabelFile(
        path,
        chosen,
        tuple(coco.annotations),
        image_paths=coco.image_paths,
        sizes=Sizes(coco.image_sizes),
        notes=coco.notes,
    )
    return _fitted(labelled, coco.skeleton.keypoints)


def _read_cvat(path: Path, text: str, skeleton: Skeleton | None) -> LabelFile:
    found = read_cvat(text, str(path))
    labelled = LabelFile(
        path,
        skeleton or found.skeleton,
        tuple(found.annotations),
        image_paths=found.image_paths,
        sizes=Sizes(found.image_sizes),
        notes=found.notes,
    )
    return _fitted(labelled, found.skeleton.keypoints)


def _read_yolo(path: Path, settings: Mapping[str, Any], skeleton: Skeleton | None) -> LabelFile:
    """Read the label files below the folder of a data.yaml or, without any, the one it names."""
    labels = _yolo_labels(path.parent) or _yolo_labels(path.parent / str(settings.get("path")))
    if not labels:
        raise FormatError(
            f"{path} is of a YOLO data set, but there is no labels folder with .txt files.",
            "Put data.yaml beside the folders images and labels.",
        )
    found = read_yolo(settings, labels, str(path), skeleton)
    chosen = skeleton or found.skeleton
    labelled = LabelFile(
        path,
        chosen,
        tuple(found.annotations),
        image_paths=tuple(labels),
        sizes=Sizes(are_shares=True),
        notes=found.notes,
    )
    return _fitted(labelled, found.skeleton.keypoints)


def _yolo_labels(root: Path) -> dict[str, str]:
    """Content of each label file below the folder of a YOLO data set, by its image's path."""
    texts: list[PurePosixPath] = []
    images: dict[PurePosixPath, PurePosixPath] = {}  # without suffix -> with
    for folder, _, names in os.walk(root):
        for name in names:
            inside = PurePosixPath(Path(folder, name).relative_to(root).as_posix())
            if inside.suffix.lower() in IMAGE_SUFFIXES:
                images[inside.with_suffix("")] = inside
            elif inside.suffix == ".txt" and "labels" in inside.parts:
                texts.append(inside)
    labels = {}
    for inside in sorted(texts):
        image = _image_of(inside)
        labels[str(images.get(image, image))] = load_text(root / inside, may_be_empty=True)
    return labels


def _image_of(label: PurePosixPath) -> PurePosixPath:
    """The image of a YOLO label file, without suffix: the last folder `labels` becomes `images`."""
    before, _, after = f"/{label.with_suffix('')}".rpartition("/labels/")
    return PurePosixPath(f"{before}/images/{after}".lstrip("/"))


def read_box_file(path: Path) -> CocoBoxes:
    """Read the boxes of a COCO file.

    Raises:
        FormatError: if it is not one, or has wrong content.
    """
    text = _text(path)
    if START.match(text.lstrip("\ufeff")):
        raise FormatError(
            f"{path} is an XML file of CVAT, which is read as labels and not as boxes.",
            f"Give it as --labels {shlex.quote(str(path))}, or export the task as COCO 1.0.",
        )
    if not text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
        refuse_other_text(text, str(path))
    document = parse_json(text, path)
    refuse_other_json(document, str(path))
    return read_boxes(document, str(path))


def _text(path: Path) -> str:
    refuse_binary(load_head(path, HEAD), str(path))
    return load_text(path)


def read_skeleton(
    name_or_path: str, on_note: Callable[[str], None] = lambda note: None
) -> Skeleton:
    """A skeleton by name, or from a file: TOML, a DeepLabCut config.yaml, COCO, YOLO or CVAT.

    Args:
        name_or_path: the name or the file.
        on_note: called with each sentence on what was read differently or left out.

    Raises:
        SkeletonError: if there is none of that name, or the file describes none.
    """
    path = Path(name_or_path)
    if path.suffix.lower() in YAML:
        text = load_text(path)
        if settings := yolo_settings(text, str(path)):
            return skeleton_from_settings(settings, str(path))
        return skeleton_from_config(text, str(path), on_note)
    if path.suffix.lower() == ".xml":
        return read_cvat(load_text(path), str(path)).skeleton
    if path.suffix.lower() == ".json":
        document = load_json(path)
        refuse_other_json(document, str(path))
        skeleton, notes = skeleton_of_coco(document, str(path))
        for note in notes:
            on_note(note)
        return skeleton
    return load_skeleton(name_or_path)


def _deeplabcut_skeleton(path: Path, keypoints: Sequence[str]) -> tuple[Skeleton, list[str]]:
    """The skeleton of the project a CSV lies in (labeled-data/VIDEO/ beside config.yaml)."""
    for folder in path.resolve().parents[:3]:
        config = folder / "config.yaml"
        if config.is_file():
            with contextlib.suppress(FormatError, SkeletonError):  # of another program
                notes: list[str] = []
                skeleton = skeleton_from_config(load_text(config), str(config), notes.append)
                if set(skeleton.keypoints) == set(keypoints):
                    return skeleton, notes
    return make_skeleton(path.stem, keypoints), []


def _lacking(path: Path, names: Sequence[str]) -> tuple[str, ...]:
    """A note on keypoints that a file does not tell about."""
    note = f"{path.name} does not tell about {named(names)}: unknown in its labels, not absent."
    return (note,) if names else ()


def _fitted(file: LabelFile, keypoints: Sequence[str]) -> LabelFile:
    """A label file with its keypoints in the order of its skeleton.

    Keypoints that only the skeleton has are unknown. Those that only the file has stay, behind the
    others: the journal keeps them.

    Args:
        file: with poses of `keypoints`, and the skeleton of the project or its own.
        keypoints: names in the file.

    Raises:
        SkeletonError: if each has keypoints that the other has not: they may be the same.
    """
    skeleton, path = file.skeleton, file.path
    columns = skeleton.columns_in(keypoints)
    lacking = [name for name, at in zip(skeleton.keypoints, columns, strict=True) if at < 0]
    more = [name for name in keypoints if skeleton.present_name(name) not in skeleton.keypoints]
    if lacking and more:
        raise SkeletonError(
            f"{path} and the skeleton {skeleton.name!r} name different keypoints: only the file "
            f"has {named(list(map(repr, more)))}, only the skeleton "
            f"{named(list(map(repr, lacking)))}.",
            "Give the file's own skeleton with --skeleton. In a project with labels, say which are "
            f"the same: labelkit skeleton edit --rename {shlex.quote(f'{lacking[0]}={more[0]}')}; "
            f"or new: labelkit skeleton edit --add {shlex.quote(more[0])}",
        )
    notes = [*_lacking(path, lacking)]
    if more:
        add = " ".join(f"--add {shlex.quote(name)}" for name in more)
        notes.append(
            f"{path.name} also has {named(more)}: kept, but not in the skeleton. Take them into it "
            f"with: labelkit skeleton edit {add}"
        )
        names = [*skeleton.keypoints, *more]
        skeleton = make_skeleton(skeleton.name, names, renamed=skeleton.renamed)
    order = skeleton.columns_in(keypoints)
    annotations = (replace(item, pose=item.pose.take(order)) for item in file.annotations)
    return replace(
        file, skeleton=skeleton, annotations=tuple(annotations), notes=(*file.notes, *notes)
    )
