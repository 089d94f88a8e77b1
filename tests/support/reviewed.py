"""Something to review: one image of 100 x 80 pixels, with as many instances as a test needs."""

from __future__ import annotations

import numpy as np
from builders import make_image, make_instance, make_pose, stick_skeleton

from labelkit.domain.pose import Pose
from labelkit.domain.prediction import Prediction
from labelkit.metrics.findings import Finding, ReviewItem

SKELETON = stick_skeleton()
IMAGE = make_image(width=100, height=80)
HUMAN = make_pose([(10, 20), (50, 40), (25, 60), (0, 0)], [2, 2, 1, 0])


def make_item(ordinal: int = 0, **finding: object) -> ReviewItem:
    """An instance with keypoints, an answer and the prediction of one round."""
    pose = Pose(np.full((4, 2), 40.0), np.full(4, 2), np.array([0.5, 0.25, 0.75, 1.0]))
    prediction = Prediction(f"{IMAGE.id}-{ordinal}", pose, np.array([0.9, 0.8, 0.7, 0.1]), 0.5)
    shown = Pose(pose.xy, [2, 2, 2, 0], pose.score)
    return ReviewItem(
        instance=make_instance(IMAGE, ordinal, box=(10, 20, 40, 30)),
        human=HUMAN,
        answer=np.array([True, True, True, False]),
        predictions={"round_000": prediction},
        shown={"round_000": shown},
        finding=Finding(**{"doubt": np.array([0.1, 0.2, 0.3, 0.4]), **finding}),
        tags=("labelled",),
    )
