"""A simulated annotator that knows the truth; it replaces people in the demo and is named there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from labelkit.domain.instance import Box, Instance
from labelkit.domain.pose import Pose
from labelkit.domain.skeleton import Skeleton
from labelkit.formats.label_studio.tasks import correction_task

NAME = "simulated annotator"

#: Up to this error, in pixels, a keypoint is left where it is.
GOOD_ENOUGH_PX = 1.0


def correct(
    tasks: Sequence[Mapping[str, Any]],
    instances: Mapping[str, Instance],
    truth: Mapping[str, Pose],
    skeleton: Skeleton,
) -> list[dict[str, Any]]:
    """Correct every task and return the project as Label Studio exports it.

    Keypoints within a pixel of the truth stay untouched, others are moved there, missing ones are
    added, and absent ones are deleted. No working time is recorded.

    Args:
        tasks: correction tasks as labelkit writes them.
        instances: by id.
        truth: true poses by instance id.
        skeleton: of the poses.
    """
    export = []
    for number, task in enumerate(tasks, 1):
        prediction = task["predictions"][0]
        version = prediction["model_version"]
        ours = task["data"]["labelkit"]
        ids = ours["instances"]
        right = correction_task(
            instances[ids[0]].image,
            [(instances[id_], truth[id_]) for id_ in ids],
            skeleton,
            image_url=task["data"]["image"],
            model_version=version,
            crop=Box(*ours["crop"]) if "crop" in ours else None,
            one_object="box" in ours,
        )["predictions"][0]["result"]
        shown = {(region["id"], region["type"]): region for region in prediction["result"]}
        annotation = {
            "id": f"{version}-{ids[0]}",
            "completed_by": {"email": NAME},
            "was_cancelled": False,
            "created_at": version,
            "updated_at": version,
            "parent_prediction": number,
            "result": [
                _corrected(region, shown.get((region["id"], region["type"]))) for region in right
            ],
        }
        export.append(
            {
                "id": number,
                "data": task["data"],
                "predictions": [{**prediction, "id": number}],
                "annotations": [annotation],
            }
        )
    return export


def _corrected(right: Mapping[str, Any], shown: Mapping[str, Any] | None) -> dict[str, Any]:
    """A region of the export: as shown if that is good enough, else the true one."""
    if shown is None:
        return {**right, "origin": "manual"}
    dx = (shown["value"]["x"] - right["value"]["x"]) * right["original_width"] / 100
    dy = (shown["value"]["y"] - right["value"]["y"]) * right["original_height"] / 100
    if math.hypot(dx, dy) <= GOOD_ENOUGH_PX:
        return {**shown, "origin": "prediction"}
    return {**right, "origin": "prediction-changed"}
