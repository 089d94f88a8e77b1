"""The predictions of a round, read one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from labelkit.domain.instance import Instance
from labelkit.domain.pose import Pose
from labelkit.domain.prediction import Prediction as Predicted
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import FormatError
from labelkit.project.predictions import iter_predictions
from labelkit.project.response_maps import MapReader, ResponseMaps
from labelkit.project.rounds import Round
from labelkit.workflows.reviewing.items import map_file


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What the network of one round predicts for one instance.

    Attributes:
        instance: its id, its box, and the image it is in.
        pose: all K keypoints, present or not, in upright image pixels, each with a score.
        presence: (K,) float64, 0 certainly absent ... 1 certainly present.
        score: 0 lost ... 1 certain, the mean score of the keypoints that the network takes for
            present. The queue is sorted by it; it ranks instances and is not a probability.
    """

    instance: Instance
    pose: Pose
    presence: NDArray[np.float64]
    score: float
    _read_maps: Callable[[str], ResponseMaps] = field(repr=False)

    @property
    def maps(self) -> ResponseMaps:
        """The response maps and class activation maps, read from disk now.

        Raises:
            FormatError: if the round has no maps, or their file is damaged.
        """
        return self._read_maps(self.instance.id)


def without_maps(instance: Instance, found: Predicted) -> Prediction:
    """A prediction for a picture of no project, whose maps no round keeps."""

    def read_maps(_: str) -> ResponseMaps:
        raise FormatError(
            f"The response maps of {instance.image.path} were not kept.",
            "Maps are kept of the pictures of a project: project.predictions()",
        )

    return Prediction(instance, found.pose, found.presence, found.score, read_maps)


def predictions_of(
    found: Round, skeleton: Skeleton, instances: Mapping[str, Instance]
) -> Iterator[Prediction]:
    """Predictions of a round in the order in which they were made, a row group at a time.

    Args:
        found: a complete round.
        skeleton: of its project.
        instances: by id; predictions for others, whose image is gone, are left out.

    Raises:
        FormatError: if the file of predictions is missing or damaged.
        SkeletonError: if they were made for other keypoints.
    """
    open_maps = cache(partial(MapReader, map_file(found), skeleton))
    for item in iter_predictions(found.path / "predictions.parquet", skeleton):
        if instance := instances.get(item.instance_id):
            yield Prediction(
                instance, item.pose, item.presence, item.score, lambda id_: open_maps().get(id_)
            )
