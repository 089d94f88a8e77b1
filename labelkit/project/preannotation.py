"""What an annotator is shown: the predicted locations of the keypoints that can be seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from labelkit.domain.instance import Image
from labelkit.domain.pose import ABSENT, UNKNOWN, VISIBLE, Pose
from labelkit.domain.prediction import Prediction
from labelkit.project.project import Project

#: Presence above this counts as present where there is no visibility answer.
PRESENT = 0.5

#: Pre-annotated keypoints lie at least so far inside the image, as a share of its long side and in
#: pixels, because what lies on the border can hardly be grabbed.
INSIDE, INSIDE_PX = 0.005, 2.0


def as_shown(project: Project, prediction: Prediction) -> Prediction:
    """The prediction without the keypoints that the project serves without pre-annotation."""
    names = project.skeleton.keypoints
    gone = [name in unshown_keypoints(project) for name in names]
    pose = prediction.pose
    visibility = np.where(gone, UNKNOWN, pose.visibility)
    return (
        replace(prediction, pose=replace(pose, visibility=visibility)) if any(gone) else prediction
    )


def unshown_keypoints(project: Project) -> list[str]:
    """Present names of the keypoints that people place without pre-annotation."""
    return [project.skeleton.present_name(name) for name in project.options.get("unshown", ())]


def pre_annotation(prediction: Prediction, answer: NDArray[np.int8] | None, image: Image) -> Pose:
    """The pose to correct: see `predicted_pose`; locations at the image's border move a little in.

    Args:
        prediction, answer, image: see `predicted_pose`.
    """
    pose = predicted_pose(prediction, answer, image)
    size = np.array([image.width, image.height])
    inside = np.minimum(max(INSIDE_PX, INSIDE * size.max()), size / 2)
    return Pose(np.clip(pose.xy, inside, size - inside), pose.visibility, pose.score)


def predicted_pose(prediction: Prediction, answer: NDArray[np.int8] | None, image: Image) -> Pose:
    """What is predicted of an instance, given what is known of it.

    A keypoint answered as absent is left out, and one answered as present is shown, whatever
    the model predicts; without an answer the model decides. One that the model has not learned is
    unknown, unless it was answered as absent. Locations outside the image move to its border.

    Args:
        prediction: of the newest round.
        answer: (K,) the visibility answer (-1 unknown, 0 absent, 1 present), or None.
        image: that the instance is in.
    """
    predicted = prediction.presence > PRESENT
    answer = np.full(len(predicted), UNKNOWN) if answer is None else answer
    present = np.where(answer > UNKNOWN, answer > ABSENT, predicted)
    visibility = np.where(present, VISIBLE, ABSENT)
    visibility[~prediction.pose.present & (answer != ABSENT)] = UNKNOWN
    xy = np.clip(prediction.pose.xy, 0.0, [image.width, image.height])
    return Pose(xy, visibility, prediction.pose.score)
