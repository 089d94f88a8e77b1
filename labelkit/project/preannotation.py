"""What an annotator is shown: the predicted locations of the keypoints that can be seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labelkit.domain.instance import Image
from labelkit.domain.pose import ABSENT, VISIBLE, Pose
from labelkit.domain.prediction import Prediction

#: Presence above this counts as present where there is no visibility answer.
PRESENT = 0.5


def pre_annotation(prediction: Prediction, answer: NDArray[np.bool_] | None, image: Image) -> Pose:
    """The pose to correct.

    A keypoint answered as absent is left out, and one answered as present is shown, whatever
    the model predicts; without an answer the model decides. Locations outside the image move to
    its border, where a click can reach them.

    Args:
        prediction: of the newest round.
        answer: (K,) bool, the visibility answer, or None.
        image: that the instance is in.
    """
    present = prediction.presence > PRESENT if answer is None else answer
    xy = np.clip(prediction.pose.xy, 0, (image.width, image.height))
    return Pose(xy, np.where(present, VISIBLE, ABSENT), prediction.pose.score)
