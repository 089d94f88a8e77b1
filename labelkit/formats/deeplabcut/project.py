"""A DeepLabCut project made of labels, in which DeepLabCut's training can begin or continue."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import yaml

from labelkit.domain.instance import Instance
from labelkit.domain.pose import Pose
from labelkit.domain.prediction import Prediction
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import FormatError
from labelkit.formats.folder_export import FolderExport

#: What DeepLabCut writes into the config.yaml of a new project, as far as no label decides it.
_NEW: Mapping[str, Any] = {
    "date": "",
    "identity": False,
    "project_path": ".",  # DeepLabCut corrects it when it opens the project
    "engine": "pytorch",
    "start": 0,
    "stop": 1,
    "numframes2pick": 20,
    "skeleton_color": "black",
    "pcutoff": 0.6,
    "dotsize": 8,
    "alphavalue": 0.7,
    "colormap": "rainbow",
    "TrainingFraction": [0.95],
    "iteration": 0,
    "default_net_type": "resnet_50",
    "default_augmenter": "albumentations",
    "snapshotindex": -1,
    "detector_snapshotindex": -1,
    "batch_size": 8,
    "detector_batch_size": 1,
    "cropping": False,
    "corner2move2": [50, 50],
    "move2corner": True,
}

#: In every project that was exported, because DeepLabCut writes its own config.yaml.
MARK = "labelkit.txt"
HEADING = "Written by labelkit export."

_ELSEWHERE = "Export into another folder: --output DIR"

#: Header rows of a table.
LEVELS = ("scorer", "individuals", "bodyparts", "coords")

Items = Sequence[tuple[Instance, Pose]]


def write_deeplabcut(
    items: Items, skeleton: Skeleton, scorer: str, images_folder: str, config: str = ""
) -> FolderExport:
    """A DeepLabCut project: config.yaml, and a table and the images of each folder of images.

    A folder of images is a video, labeled-data/VIDEO/CollectedData_SCORER.csv. If an image holds
    several objects, or one has the name of an individual, the tables are those of several animals;
    objects without such a name are individual1, individual2, ... in each image. Absent keypoints
    are empty cells. Occluded ones are located: DeepLabCut knows no difference.

    Args:
        items: instances with their poses, in image pixels.
        skeleton: of all poses.
        scorer: who labelled; an existing configuration names its own.
        images_folder: name of the images folder, for images that lie right in it.
        config: content of the config.yaml that is there; its settings stay. "" without one.

    Raises:
        FormatError: if two folders of images would be one video, or the existing configuration is
            for other keypoints or fewer animals.
    """
    settings = _settings(config)
    individuals = _individuals(items, bool(settings.get("multianimalproject")))
    if settings:
        _check(settings, skeleton, several=bool(individuals))
        scorer = str(settings.get("scorer") or scorer)
    rows: dict[str, list[int]] = defaultdict(list)
    folders: dict[str, PurePosixPath] = {}
    for index, (instance, _) in enumerate(items):
        folder = PurePosixPath(instance.image.path).parent
        video = video_of(folder, images_folder)
        if folders.setdefault(video, folder) != folder:
            raise FormatError(
                f"{folders[video]} and {folder} would both be the video {video}.",
                "Rename one of these folders.",
            )
        rows[video].append(index)
    texts: dict[str, str] = {}
    pictures: dict[str, str] = {}
    crops: dict[str, str] = {}
    known = settings.get("individuals") or []
    animals = list(dict.fromkeys([*known, *individuals])) if individuals else []
    for video, indices in sorted(rows.items()):
        table: dict[str, dict[str, Pose]] = defaultdict(dict)  # image -> individual -> pose
        for index in indices:
            instance, pose = items[index]
            name = PurePosixPath(instance.image.path).name
            table[name][individuals[index] if individuals else ""] = pose
            pictures[f"labeled-data/{video}/{name}"] = instance.image.path
            crops.setdefault(video, f"0, {instance.image.width}, 0, {instance.image.height}")
        path = f"labeled-data/{video}/CollectedData_{scorer}.csv"
        texts[path] = _csv(table, skeleton, scorer, video, animals)
    now = _with_labels(settings, skeleton, scorer, crops, animals)
    if now != settings:
        texts["config.yaml"] = yaml.safe_dump(now, sort_keys=False, allow_unicode=True)
    mark = f"{HEADING} The next export replaces the tables and images in labeled-data.\n"
    return FolderExport({MARK: mark, **texts}, pictures)


def _individuals(items: Items, several: bool) -> list[str]:
    """The individual of each object; empty where one animal an image is enough."""
    of_image: dict[str, list[int]] = defaultdict(list)
    for index, (instance, _) in enumerate(items):
        of_image[instance.image.id].append(index)
        several |= bool(instance.individual) or len(of_image[instance.image.id]) > 1
    if not several:
        return []
    names = [instance.individual for instance, _ in items]
    for indices in of_image.values():
        number = 0
        for index in indices:
            taken = {names[other] for other in indices if other != index}
            while not names[index] or names[index] in taken:
                number += 1
                names[index] = f"individual{number}"
    return names


def video_of(folder: PurePosixPath, images_folder: str) -> str:
    """The video that a folder of images is in a project.

    Args:
        folder: of the images, below the images folder.
        images_folder: its name, for images that lie right in it.
    """
    parts = folder.parts
    if "labeled-data" in parts:
        parts = parts[parts.index("labeled-data") + 1 :]
    return "_".join(parts) or images_folder


def _csv(
    table: Mapping[str, Mapping[str, Pose]],
    skeleton: Skeleton,
    scorer: str,
    video: str,
    animals: Sequence[str],
) -> str:
    columns = [
        (scorer, animal, keypoint, axis)
        for animal in animals or [""]
        for keypoint in skeleton.keypoints
        for axis in "xy"
    ]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    for level, cells in zip(LEVELS, zip(*columns, strict=True), strict=True):
        if animals or level != "individuals":
            writer.writerow([level, "", "", *cells])
    for image, poses in sorted(table.items()):
        row = ["labeled-data", video, image]
        for animal in animals or [""]:
            pose = poses.get(animal)
            for k in range(len(skeleton)):
                if pose is not None and pose.present[k]:
                    row += [repr(value) for value in pose.xy[k].tolist()]
                else:
                    row += ["", ""]
        writer.writerow(row)
    return text.getvalue()


def write_predictions(
    items: Sequence[tuple[Instance, Prediction]], skeleton: Skeleton, scorer: str
) -> str:
    """Predictions as the CSV that DeepLabCut writes of analysed images: x, y, likelihood.

    The first column is the path of the image. Images of several objects make it a table of several
    animals, as in `write_deeplabcut`. Likelihood is the smaller of a keypoint's score and its
    presence, 0 ... 1. Cells of keypoints that the network has not learned are empty.

    Args:
        items: instances with their predictions, in image pixels.
        skeleton: of all predictions.
        scorer: name of the network.
    """
    poses = [(instance, prediction.pose) for instance, prediction in items]
    names = _individuals(poses, False) or [""] * len(items)
    animals = sorted(set(names), key=names.index)
    rows: dict[str, dict[str, Prediction]] = defaultdict(dict)  # image -> individual -> prediction
    for name, (instance, prediction) in zip(names, items, strict=True):
        rows[instance.image.path][name] = prediction
    columns = [
        (scorer, animal, keypoint, value)
        for animal in animals
        for keypoint in skeleton.keypoints
        for value in ("x", "y", "likelihood")
    ]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    for level, cells in zip(LEVELS, zip(*columns, strict=True), strict=True):
        if animals != [""] or level != "individuals":
            writer.writerow([level, *cells])
    for path, found in sorted(rows.items()):
        row = [path]
        for animal in animals:
            if one := found.get(animal):
                likelihood = np.minimum(one.pose.score, one.presence)
                values = np.column_stack([one.xy, likelihood]).ravel().tolist()
                row += ["" if value != value else repr(value) for value in values]
            else:
                row += ["", "", ""] * len(skeleton)
        writer.writerow(row)
    return text.getvalue()


def _settings(config: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(config)
    except yaml.YAMLError as error:
        raise FormatError(
            f"The config.yaml that is there is not a YAML file ({error}).", _ELSEWHERE
        ) from error
    if config.strip() and not isinstance(found, dict):
        raise FormatError(
            "The config.yaml that is there is not that of a DeepLabCut project.", _ELSEWHERE
        )
    return found or {}


def _check(settings: Mapping[str, Any], skeleton: Skeleton, *, several: bool) -> None:
    """That the labels fit the DeepLabCut project they are written to."""
    of_several = bool(settings.get("multianimalproject"))
    parts = list(
        map(str, settings.get("multianimalbodyparts" if of_several else "bodyparts") or [])
    )
    if several and not of_several:
        raise FormatError(
            "The DeepLabCut project that is there is for one animal in an image, and there are "
            "several.",
            _ELSEWHERE,
        )
    if set(parts) != set(skeleton.keypoints):
        raise FormatError(
            f"The DeepLabCut project that is there has the body parts {', '.join(parts)}, not "
            f"{', '.join(skeleton.keypoints)}.",
            _ELSEWHERE,
        )
    if of_several and settings.get("uniquebodyparts"):
        raise FormatError(
            "The DeepLabCut project that is there has unique body parts, whose labels would be "
            f"lost: {', '.join(map(str, settings['uniquebodyparts']))}.",
            _ELSEWHERE,
        )


def _with_labels(
    settings: Mapping[str, Any],
    skeleton: Skeleton,
    scorer: str,
    crops: Mapping[str, str],
    animals: Sequence[str],
) -> dict[str, Any]:
    """Settings of a project that holds these labels too."""
    videos = settings.get("video_sets") or {}
    known = {PurePosixPath(str(path).replace("\\", "/")).stem for path in videos}
    new = {
        f"videos/{video}.mp4": {"crop": crop} for video, crop in crops.items() if video not in known
    }
    keypoints = list(skeleton.keypoints)
    if animals:
        labels: dict[str, Any] = {
            "multianimalproject": True,
            "individuals": list(animals),
            "uniquebodyparts": [],
            "multianimalbodyparts": settings.get("multianimalbodyparts") or keypoints,
            "bodyparts": "MULTI!",
        }
    else:
        labels = {
            "multianimalproject": False,
            "bodyparts": settings.get("bodyparts") or keypoints,
        }
    links = [[keypoints[a], keypoints[b]] for a, b in skeleton.links]
    first = {"Task": skeleton.name, "scorer": scorer}
    return {
        **first,
        **_NEW,
        "skeleton": links,
        **settings,
        **labels,
        "video_sets": {**videos, **new},
    }
