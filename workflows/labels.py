"""Label files of any kind, matched with the images of a project."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from labelkit.annotation import Annotation, VisibilityAnswer
from labelkit.errors import FormatError, SkeletonError
from labelkit.formats.coco import read_coco
from labelkit.formats.deeplabcut import read_deeplabcut_csv, skeleton_from_config
from labelkit.formats.documents import load_json, load_text
from labelkit.formats.visibility_csv import read_visibility_csv
from labelkit.instance import Image
from labelkit.pose import Pose
from labelkit.skeleton import Skeleton, load_skeleton, make_skeleton


@dataclass(frozen=True, slots=True)
class LabelFile:
    """What `--labels FILE` holds.

    Attributes:
        path: the file.
        skeleton: of the project if it was given, else the file's own.
        annotations: objects with boxes or keypoints, in the order of the skeleton.
        answers: visibility answers.
    """

    path: Path
    skeleton: Skeleton
    annotations: tuple[Annotation, ...]
    answers: tuple[VisibilityAnswer, ...]


def read_labels(path: Path, skeleton: Skeleton | None) -> LabelFile:
    """Read COCO keypoints (.json), DeepLabCut or Lightning Pose, or visibility answers (.csv).

    Args:
        path: the file.
        skeleton: of the project; None takes the file's own.

    Raises:
        FormatError: if the file is none of these, or its content is wrong.
        SkeletonError: if its keypoints are not those of the project.
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
            f"{path} describes a skeleton; it holds no labels.",
            f"Give it as --skeleton {shlex.quote(str(path))}, and labels as --labels FILE.csv",
        )
    text = load_text(path)
    if text.lstrip("\ufeff").lower().startswith("scorer"):
        keypoints, annotations = read_deeplabcut_csv(text, str(path))
        chosen = skeleton or _deeplabcut_skeleton(path, keypoints)
        return LabelFile(path, chosen, tuple(_in_order(annotations, keypoints, chosen, path)), ())
    if skeleton is None:
        raise FormatError(
            f"{path}: visibility answers do not say which skeleton they are for.",
            "Name it: --skeleton coco17, or --skeleton FILE.toml",
        )
    return LabelFile(path, skeleton, (), tuple(read_visibility_csv(text, skeleton, str(path))))


def read_skeleton(name_or_path: str) -> Skeleton:
    """A skeleton by name, from a TOML file, a DeepLabCut config.yaml, or a COCO file.

    Raises:
        SkeletonError: if there is none.
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


class ImageFinder:
    """Finds the image that a label file means, however much of the path it writes.

    Args:
        images: of the project.
        copies: path of a dropped copy -> path of the image that was kept.
    """

    def __init__(self, images: Iterable[Image], copies: Mapping[str, str]) -> None:
        by_path = {image.path: image for image in images}
        self._by_ending: dict[str, dict[str, Image]] = defaultdict(dict)
        named = {**{path: path for path in by_path}, **copies}
        for path, kept in named.items():
            for ending in _endings(path):
                self._by_ending[ending][kept] = by_path[kept]
        self._exact = {path: by_path[kept] for path, kept in named.items()}

    def find(self, path: str) -> Image | None:
        """The image with this path, or the only one that shares the longest ending with it.

        Raises:
            FormatError: if several images fit equally well.
        """
        if path in self._exact:
            return self._exact[path]
        for ending in _endings(path):
            found = self._by_ending.get(ending)
            if found and len(found) > 1:
                first, second, *_ = found
                raise FormatError(
                    f"{path} could mean {first} or {second}.",
                    "Write the path below the images folder into the label file.",
                )
            if found:
                return next(iter(found.values()))
        return None


def _endings(path: str) -> list[str]:
    """a/b/c.png -> a/b/c.png, b/c.png, c.png."""
    parts = PurePosixPath(path).parts
    return ["/".join(parts[start:]) for start in range(len(parts))]


def has_locations(pose: Pose) -> bool:
    """False where the file only has a box: COCO writes all zeros for "not annotated"."""
    return bool(np.any(pose.present))
