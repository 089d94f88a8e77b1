"""What a round saw, as crops with keypoints and response maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures

from labelkit.domain.pose import Pose
from labelkit.project.images import image_file, open_upright
from labelkit.project.preannotation import pre_annotation
from labelkit.project.predictions import read_predictions
from labelkit.project.project import Project
from labelkit.project.response_maps import MapReader
from labelkit.project.rounds import Round
from labelkit.store.label_store import LabelStore
from labelkit.workflows.network.crops import apply_affine, warp
from labelkit.workflows.reviewing.contact_sheet import SheetItem

#: Crop pixels for each cell of a response map.
PIXELS_PER_CELL = 10


def sheet_items(
    project: Project, found: Round, count: int, truth: Mapping[str, Pose]
) -> Iterator[SheetItem]:
    """The first instances of a round that gave it no location, cropped.

    Args:
        project: whose round it is.
        found: the round.
        count: how many.
        truth: true poses by instance id, of those where they are known.
    """
    predictions = read_predictions(found.path / "predictions.parquet", project.skeleton)
    with LabelStore.open(project.store_url) as store:
        instances = store.instances()
        answers = store.presences(project.skeleton, found.plan.journal_head)
    chosen = [item for item in predictions if item not in found.plan.labelled][:count]
    with MapReader(found.path / "maps" / "maps.parquet") as maps:
        for id_ in chosen:
            image = instances[id_].image
            seen = maps.get(id_)
            affine = np.reshape(seen.crop, (2, 3)) * PIXELS_PER_CELL
            size = tuple(side * PIXELS_PER_CELL for side in seen.response.shape[1:])
            crop = warp(
                open_upright(image_file(project.images_root, image.path)),
                affine,
                (size[0], size[1]),
            )
            pose = pre_annotation(predictions[id_], answers.get(id_), image)
            true = _moved(truth[id_], affine) if id_ in truth else None
            yield SheetItem(Pictures.fromarray(crop), true, _moved(pose, affine), seen.response)


def _moved(pose: Pose, affine: NDArray[np.float64]) -> Pose:
    return Pose(apply_affine(affine, pose.xy), pose.visibility, pose.score)
