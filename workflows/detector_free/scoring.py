"""Find the objects of test images, and score them as COCO and CrowdPose do."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from labelkit.domain.instance import Instance
from labelkit.domain.pose import Pose
from labelkit.domain.skeleton import Skeleton
from labelkit.metrics.official.coco import coco_keypoint_scores
from labelkit.metrics.official.crowdpose import AREA_OF_BOX, OFFICIAL_EDGES, crowd_index
from labelkit.metrics.official.oks_curves import LARGEST_AREA, oks_curves
from labelkit.metrics.official.people import People, Results
from labelkit.models.detector_free.interface import DetectorFree
from labelkit.progress import Progress
from labelkit.workflows.detector_free.finding import find


def people_of(objects: Sequence[tuple[Instance, Pose]], skeleton: Skeleton) -> People:
    """The truth, image by image, as arrays.

    Args:
        objects: labelled objects, those of an image together.
        skeleton: of the poses; CrowdPose's has areas of .53 of the box, as its code does.
    """
    paths = list(dict.fromkeys(instance.image.path for instance, _ in objects))
    place = {path: index for index, path in enumerate(paths)}
    image = np.array([place[instance.image.path] for instance, _ in objects], np.int64)
    keypoints = np.array(
        [np.column_stack([pose.xy, np.maximum(pose.visibility, 0)]) for _, pose in objects]
    )
    boxes = np.array([instance.box for instance, _ in objects], np.float64)
    area = np.array([instance.area for instance, _ in objects], np.float64)
    if skeleton.name == "crowdpose14":
        area = AREA_OF_BOX * boxes[:, 2] * boxes[:, 3]
    return People(
        tuple(paths),
        np.array([crowd_index(keypoints[image == i], boxes[image == i]) for i in place.values()]),
        (1,),
        np.zeros(len(image), np.int64),
        image,
        keypoints,
        (keypoints[..., 2] > 0).sum(axis=1),
        boxes,
        area,
        np.zeros(len(image), bool),
    )


def find_objects(
    network: DetectorFree,
    objects: Sequence[tuple[Instance, Pose]],
    root: Path,
    skeleton: Skeleton,
    size_hw: tuple[int, int],
    progress: Progress,
) -> Results:
    """The objects that a network finds in the images of a test set.

    Args:
        network: in evaluation mode.
        objects: of the test set; only their images are used.
        root: folder below which these lie.
        skeleton: of the keypoints.
        size_hw: rows and columns of a canvas.
        progress: shows a bar.

    Returns:
        In pixels of the images, which are in the order of `people_of`.
    """
    images = list({item.image.path: item.image for item, _ in objects}.values())
    image, keypoints, score, area = [], [], [], []
    found = find(network, images, root, size_hw)
    for index, (_, one) in enumerate(progress.track(found, "Finding objects", len(images))):
        image += [index] * len(one.score)
        keypoints += list(torch.cat([one.xy, one.confidence[..., None]], dim=2).numpy())
        score += one.score.tolist()
        area += (one.boxes[:, 2:] - one.boxes[:, :2]).prod(dim=1).tolist()
    return Results(
        np.array(image, np.int64),
        np.zeros(len(image), np.int64),
        np.array(keypoints).reshape(-1, len(skeleton), 3),
        np.array(score),
        np.array(area),
        np.array(area),
    )


def scene_scores(people: People, results: Results, skeleton: Skeleton) -> dict[str, float]:
    """0 ... 1, higher is better; NaN without people.

    Returns:
        COCO's ten numbers, and AP of "easy", "medium" and "hard" images by their Crowd Index.

    Raises:
        MissingDependencyError: if pycocotools is not installed.
    """
    scores = coco_keypoint_scores(people, results, skeleton.sigmas)
    names = ("easy", "medium", "hard")
    for name, (low, high) in zip(names, pairwise(OFFICIAL_EDGES), strict=True):
        inside = np.flatnonzero((people.crowd_index >= low) & (people.crowd_index < high))
        ranges = {"all": (0.0, LARGEST_AREA)}
        scores[name] = oks_curves(people, results, skeleton.sigmas, ranges, inside).ap()
    return scores
