"""COCO documents: hand-made ones, and generated ones with everything that affects a score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from labelkit.domain.skeleton import Skeleton


def truth(
    skeleton: Skeleton, annotations: Sequence[dict[str, Any]], images: Sequence[dict] | int = 1
) -> dict[str, Any]:
    """A truth file with images 1, 2, ... and the annotations, numbered from 11."""
    if isinstance(images, int):
        images = [{"id": n + 1, "file_name": f"{n + 1}.jpg"} for n in range(images)]
    rows = [{"id": 11 + n, "category_id": 1, **row} for n, row in enumerate(annotations)]
    category = {"id": 1, "name": "person", "keypoints": list(skeleton.keypoints)}
    return {"images": list(images), "annotations": rows, "categories": [category]}


def annotation(
    count: int,
    labelled: dict[int, tuple[float, float]],
    /,
    image: int = 1,
    box: Sequence[float] = (0.0, 0.0, 40.0, 40.0),
    **extra: Any,
) -> dict[str, Any]:
    """A person of `count` keypoints, few visible, by index; the area is the box's unless given."""
    xyv = np.zeros((count, 3))
    for index, (x, y) in labelled.items():
        xyv[index] = x, y, 2
    return {
        "image_id": image,
        "keypoints": xyv.ravel().tolist(),
        "num_keypoints": len(labelled),
        "bbox": list(box),
        "area": box[2] * box[3],
        "iscrowd": 0,
        **extra,
    }


def result(
    count: int,
    placed: dict[int, tuple[float, float]],
    /,
    score: float = 1.0,
    image: int = 1,
    **extra: Any,
) -> dict[str, Any]:
    """A result with `count` keypoints, a few of them placed, the others at (0, 0)."""
    xys = np.zeros((count, 3))
    xys[:, 2] = 0.5
    for index, place in placed.items():
        xys[index, :2] = place
    return {
        "image_id": image,
        "category_id": 1,
        "keypoints": xys.ravel().tolist(),
        "score": score,
        **extra,
    }


def generated(skeleton: Skeleton, seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A truth file and results with ties, empty images, crowds, hidden and unlabelled keypoints.

    Coordinates are few whole numbers and scores have one decimal, so that ties are frequent. Some
    people have no keypoint; for some, `num_keypoints` contradicts the keypoints, as in CrowdPose.
    """
    rng = np.random.default_rng(seed)
    count = len(skeleton)
    images = [
        {"id": int(key), "file_name": f"{key}.jpg", "crowdIndex": float(rng.integers(0, 12)) / 10}
        for key in rng.permutation(20)[: rng.integers(1, 6)]
    ]
    annotations, results = [], []
    boxes = rng.random() < 0.5
    for image in images:
        for _ in range(rng.integers(0, 4)):
            xy = rng.integers(0, 12, (count, 2)) * 10.0
            v = rng.choice([0, 0, 1, 2] if rng.random() < 0.7 else [0], count)
            w, h = rng.integers(1, 15, 2) * 10.0
            annotations.append(
                {
                    "image_id": image["id"],
                    "keypoints": np.column_stack([xy, v]).ravel().tolist(),
                    "num_keypoints": int(rng.choice([*[(v > 0).sum()] * 4, 0, 3])),
                    "bbox": [*(rng.integers(0, 5, 2) * 10.0).tolist(), float(w), float(h)],
                    "area": float(w * h * rng.choice([0.4, 1.0])),
                    "iscrowd": int(rng.random() < 0.2),
                }
            )
            for _ in range(rng.integers(0, 4)):
                moved = xy + rng.choice([0.0, 0.0, 1.0, 4.0, 15.0], (count, 1))
                row = {
                    "image_id": image["id"],
                    "category_id": 1,
                    "keypoints": np.column_stack([moved, rng.random(count)]).ravel().tolist(),
                    "score": float(rng.integers(1, 6)) / 10,
                }
                if boxes:
                    row["bbox"] = [0.0, 0.0, *(rng.integers(1, 15, 2) * 10.0).tolist()]
                results.append(row)
    if not annotations:
        annotations.append(annotation(count, {0: (1.0, 1.0)}, images[0]["id"]))
    return truth(skeleton, annotations, images), results
