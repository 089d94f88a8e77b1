"""What a model predicts of one instance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labelkit.domain.pose import UNKNOWN, VISIBLE, Pose
from labelkit.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a model predicts of one instance.

    Attributes:
        instance_id: of the instance.
        pose: the best location of *every* keypoint, in upright image pixels, with a confidence
            each. A keypoint of visibility 0 or -1 (the model has not learned it) has no location
            and counts as missed; uncertainty about whether it is there belongs in `presence`.
        presence: (K,) float64, 0 absent ... 1 present; NaN where the model does not predict it.
        score: 0 lost ... 1 certain, of the whole instance: the mean confidence of the keypoints
            that are predicted as present. The queue is sorted by it; it is not a probability.

    Raises:
        InputError: if the lengths differ or the score is not finite.
    """

    instance_id: str
    pose: Pose
    presence: NDArray[np.float64]
    score: float

    def __post_init__(self) -> None:
        presence = np.array(self.presence, dtype=np.float64)
        if presence.shape != (len(self.pose),):
            raise InputError(
                f"Prediction {self.instance_id}: {len(self.pose)} keypoints but presence "
                f"{presence.shape}."
            )
        if not np.isfinite(self.score):
            raise InputError(f"Prediction {self.instance_id}: the score is {self.score}.")
        presence.flags.writeable = False
        object.__setattr__(self, "presence", presence)

    @property
    def xy(self) -> NDArray[np.float64]:
        """(K, 2) locations in image pixels, NaN where the pose has none."""
        return np.where(self.pose.present[:, None], self.pose.xy, np.nan)

    def take(self, columns: ArrayLike) -> Prediction:
        """The prediction of other keypoints; see `Pose.take`."""
        index = np.asarray(columns)
        presence = np.where(index >= 0, self.presence[index], np.nan)
        return Prediction(self.instance_id, self.pose.take(index), presence, self.score)


def nothing_found(instance_id: str, count: int) -> Prediction:
    """The prediction of an object that a model did not find: none of `count` keypoints is there."""
    pose = Pose(np.zeros((count, 2)), np.full(count, UNKNOWN), np.zeros(count))
    return Prediction(instance_id, pose, np.zeros(count), 0.0)


def prior_predictions(
    instance_ids: Sequence[str], xy: ArrayLike, presence: ArrayLike
) -> dict[str, Prediction]:
    """Pose priors, made without the image, in the form of a model's predictions.

    Every keypoint counts as visible, and every instance has the score 1: nothing ranks them.

    Args:
        instance_ids: N ids.
        xy: (N, K, 2) in image pixels.
        presence: (K,) the same presence scores for all, NaN where the prior has none.

    Returns:
        N predictions by instance id.
    """
    shared = np.asarray(presence, dtype=np.float64)
    visibility, score = np.full(len(shared), VISIBLE), np.ones(len(shared))
    return {
        instance_id: Prediction(instance_id, Pose(points, visibility, score), shared, 1.0)
        for instance_id, points in zip(instance_ids, np.asarray(xy), strict=True)
    }
