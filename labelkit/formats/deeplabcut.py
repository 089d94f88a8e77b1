"""DeepLabCut labels (CollectedData CSV, also Lightning Pose's) and skeleton (config.yaml)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import yaml

from labelkit.domain.annotation import Annotation
from labelkit.domain.pose import ABSENT, VISIBLE, human_pose
from labelkit.domain.skeleton import Skeleton, make_skeleton
from labelkit.errors import FormatError
from labelkit.formats.tracking_csv import Point, parse_tracking_csv

#: DeepLabCut's name for keypoints that belong to the scene and not to an animal.
UNIQUE = "single"


def read_deeplabcut_csv(text: str, origin: str) -> tuple[tuple[str, ...], list[Annotation]]:
    """Read labels of one or several animals; the path may take one column or three.

    The annotations have no box. An animal without any point is left out of a frame in a file
    of several animals; unique body parts, which belong to no animal, are left out too.

    Returns:
        The keypoint names in the order of the poses, and the annotations.

    Raises:
        FormatError: see `parse_tracking_csv`; also where two animals have different keypoints.
    """
    table = parse_tracking_csv(text, origin)
    animals = {
        who: names
        for who, names in table.keypoints.items()
        if not (table.multi_animal and who == UNIQUE and len(table.keypoints) > 1)
    }
    first, keypoints = next(iter(animals.items()))
    for who, names in animals.items():
        if names != keypoints:
            raise FormatError(
                f"{origin}: {who!r} and {first!r} have different keypoints.",
                "Give every individual the same bodyparts in the same order.",
            )
    annotations = []
    for _, path, points in table.rows:
        for who in animals:
            if table.multi_animal and not any(points[who]):
                continue
            reference = f"{path}#{who}" if table.multi_animal else path
            annotations.append(annotation_from_points(path, reference, points[who]))
    return keypoints, annotations


def annotation_from_points(path: str, reference: str, points: Sequence[Point]) -> Annotation:
    """An annotation without a box; every given point is visible, the others are absent."""
    xy = np.array([point or (0.0, 0.0) for point in points])
    visibility = np.array([ABSENT if point is None else VISIBLE for point in points])
    return Annotation(path, reference, None, None, human_pose(xy, visibility), False)


def skeleton_from_config(text: str, origin: str) -> Skeleton:
    """The skeleton of a DeepLabCut project, named after its task.

    Raises:
        FormatError: if the text is not the config.yaml of a DeepLabCut project.
        SkeletonError: if its body parts contradict each other.
    """
    try:
        config = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FormatError(f"{origin} is not a YAML file ({reason}).") from error
    if not isinstance(config, dict):
        raise FormatError(f"{origin} is not the config.yaml of a DeepLabCut project.")
    key = "multianimalbodyparts" if config.get("multianimalproject") else "bodyparts"
    parts = config.get(key)
    if not isinstance(parts, list) or not parts:
        raise FormatError(
            f"{origin} is not the config.yaml of a DeepLabCut project: it has no list {key!r}."
        )
    keypoints = [_name(part, f"{origin}: {key}") for part in parts]
    links = []
    for chain in config.get("skeleton") or []:
        if not isinstance(chain, list) or len(chain) < 2:
            raise FormatError(f"{origin}: skeleton wants lists of body parts, got {chain!r}.")
        names = [_name(part, f"{origin}: skeleton") for part in chain]
        for name in names:
            if name not in keypoints:
                raise FormatError(
                    f"{origin}: skeleton names the unknown body part {name!r}.",
                    f"Known: {', '.join(keypoints)}.",
                )
        links += [(keypoints.index(a), keypoints.index(b)) for a, b in pairwise(names)]
    return make_skeleton(str(config.get("Task") or "animal"), keypoints, links)


def _name(part: Any, where: str) -> str:
    if isinstance(part, bool) or not isinstance(part, str | int):
        raise FormatError(
            f"{where} holds {part!r}, which is no name.", 'Put names like "yes" in quotes.'
        )
    return str(part)
