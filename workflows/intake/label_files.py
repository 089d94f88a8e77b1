"""Label files of any kind, read for one skeleton."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from labelkit.domain.annotation import Annotation, VisibilityAnswer
from labelkit.domain.pose import Pose
from labelkit.domain.skeleton import Skeleton, load_skeleton, make_skeleton
from labelkit.errors import FormatError, SkeletonError
from labelkit.files.documents import load_json, load_text
from labelkit.formats.coco import read_coco
from labelkit.formats.deeplabcut import read_deeplabcut_csv, skeleton_from_config
from labelkit.formats.visibility_csv import read_visibility_csv


@dataclass(frozen=True, slots=True)
class LabelFile:
    """What `--labels FILE` holds.

    Attributes:
        path: the file.
        skeleton: of the project if it was given, else the file's own.
        annotations: objects with boxes or keypoints, the keypoints in the skeleton's order.
        answers: visibility answers.
    """

    path: Path
    skeleton: Skeleton
    annotations: tuple[Annotation, ...]
    answers: tuple[VisibilityAnswer, ...]


def read_label_file(path: Path, skeleton: Skeleton | None) -> LabelFile:
    """Read COCO keypoints (.json), or a .csv of DeepLabCut, Lightning Pose or visibility answers.

    Args:
        path: the file.
        skeleton: of the project; None takes the file's own.

    Raises:
        FormatError: if the file is none of these, or has wrong content.
        SkeletonError: if it has other keypoints than the project.
    """
    if path.suffix.lower() == ".json":
        coco = read_coco(load_json(path), str(path))
        chosen = skeleton or coco.skeleton
        return LabelFile(
            path,
            chosen,
            tuple(_in_order(coco.annotations, coco.skeleton.keypoints, chosen, path)),
            (),
        )
    if path.suffix.lower() in (".yaml", ".yml", ".toml"):
        raise FormatError(
            f"{path} describes a skeleton and holds no labels.",
            f"Give it as --skeleton {shlex.quote(str(path))}, and labels as --labels FILE.csv",
        )
    text = load_text(path)
    if text.lstrip("\ufeff").lower().startswith("scorer"):
        keypoints, annotations = read_deeplabcut_csv(text, str(path))
        chosen = skeleton or _deeplabcut_skeleton(path, keypoints)
        return LabelFile(path, chosen, tuple(_in_order(annotations, keypoints, chosen, path)), ())
    if skeleton is None:
        raise FormatError(
            f"{path}: visibility answers do not name their skeleton.",
            "Name it, for example: --skeleton coco17, or --skeleton FILE.toml",
        )
    return LabelFile(path, skeleton, (), tuple(read_visibility_csv(text, skeleton, str(path))))


def read_skeleton(name_or_path: str) -> Skeleton:
    """A skeleton by name, from a TOML file, a DeepLabCut config.yaml, or a COCO file.

    Raises:
        SkeletonError: if there is none of that name, or the file describes none.
    """
    path = Path(name_or_path)
    if path.suffix.lower() in (".yaml", ".yml"):
        return skeleton_from_config(load_text(path), str(path))
    if path.suffix.lower() == ".json":
        return read_coco(load_json(path), str(path)).skeleton
    return load_skeleton(name_or_path)


def _deeplabcut_skeleton(path: Path, keypoints: Sequence[str]) -> Skeleton:
    """The skeleton of the project a CSV lies in (labeled-data/VIDEO/ beside config.yaml)."""
    for folder in path.resolve().parents[:3]:
        config = folder / "config.yaml"
        if config.is_file():
            skeleton = skeleton_from_config(load_text(config), str(config))
            if set(skeleton.keypoints) == set(keypoints):
                return skeleton
    return make_skeleton(path.stem, keypoints)


def _in_order(
    annotations: Iterable[Annotation], keypoints: Sequence[str], skeleton: Skeleton, path: Path
) -> Iterable[Annotation]:
    """Annotations with their keypoints in the skeleton's order."""
    for missing in set(keypoints) ^ set(skeleton.keypoints):
        where = path if missing in keypoints else f"skeleton {skeleton.name!r}"
        raise SkeletonError(
            f"{path} and the skeleton {skeleton.name!r} name different keypoints: "
            f"{missing!r} is only in {where}.",
            "Give the file's own skeleton with --skeleton, or rename the keypoints.",
        )
    order = [list(keypoints).index(name) for name in skeleton.keypoints]
    for item in annotations:
        pose = Pose(item.pose.xy[order], item.pose.visibility[order], item.pose.score[order])
        yield Annotation(item.image_path, item.reference, item.box, item.area, pose, item.iscrowd)
