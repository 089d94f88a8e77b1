"""Label files of any kind, matched with the images of a project."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from labelkit.domain.annotation import Annotation, VisibilityAnswer
from labelkit.domain.instance import Image
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


class _Meant(NamedTuple):
    """The path of an image or copy, and the folders that a file writes before it."""

    path: str
    before: tuple[str, ...]


class ImageFinder:
    """Finds the images that a label file means, however much of their paths it writes.

    Args:
        images: of the project.
        copies: path of a dropped copy -> path of the image that was kept.
    """

    def __init__(self, images: Iterable[Image], copies: Mapping[str, str]) -> None:
        by_path = {image.path: image for image in images}
        named = {**{path: path for path in by_path}, **copies}
        self._images = {path: by_path[kept] for path, kept in named.items()}
        self._by_ending: dict[str, dict[str, str]] = defaultdict(dict)  # -> kept path -> a path
        for path, kept in named.items():
            for ending in _endings(path):
                self._by_ending[ending].setdefault(kept, path)

    def find(self, paths: Iterable[str], origin: str) -> dict[str, Image]:
        """The images that the paths of one file mean; those of no image are left out.

        A path may lack the first folders of an image's path, or have more before it: then the
        same ones in the whole file. Other folders are other images, whatever the file's name.

        Args:
            paths: as the file writes them.
            origin: the file, for messages.

        Raises:
            FormatError: if a path fits several images, or several paths fit one image.
        """
        meant = {path: found for path in dict.fromkeys(paths) if (found := self._meant(path))}
        before = {found.before: path for path, found in meant.items()}
        root = min(before, key=len, default=())
        for other, path in before.items():
            if other[: len(root)] != root:
                raise FormatError(
                    f"{origin} labels {before[root]} and {path}, but the images folder "
                    f"does not tell {PurePosixPath(*root)} and {PurePosixPath(*other)} apart.",
                    "Give the folder that its paths start from with --images.",
                )
        result: dict[str, Image] = {}
        written: dict[str, str] = {}
        for path, found in meant.items():
            if found.before != root:
                continue
            same = written.setdefault(found.path, path)
            if PurePosixPath(same) != PurePosixPath(path):
                raise FormatError(
                    f"{origin} labels {same} and {path}, which would both be {found.path}.",
                    "Write the path below the images folder into the label file.",
                )
            result[path] = self._images[found.path]
        return result

    def _meant(self, path: str) -> _Meant | None:
        """What a path alone may mean: an image's path, or its end, or more than it."""
        parts = PurePosixPath(path).parts
        whole = "/".join(parts)
        if whole in self._images:
            return _Meant(whole, ())
        fitting = self._by_ending.get(whole, {})
        if len(fitting) > 1:
            first, second, *_ = fitting
            raise FormatError(
                f"{path} could mean {first} or {second}.",
                "Write the path below the images folder into the label file.",
            )
        for found in fitting.values():
            return _Meant(found, ())
        for start, ending in enumerate(_endings(path)):
            if ending in self._images:
                return _Meant(ending, parts[:start])
        return None


def _endings(path: str) -> list[str]:
    """a/b/c.png -> a/b/c.png, b/c.png, c.png."""
    parts = PurePosixPath(path).parts
    return ["/".join(parts[start:]) for start in range(len(parts))]


def has_locations(pose: Pose) -> bool:
    """False where the file only has a box: COCO writes all zeros for "not annotated"."""
    return bool(np.any(pose.present))
