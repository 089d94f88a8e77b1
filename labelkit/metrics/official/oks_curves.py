"""Precision and recall over OKS thresholds, by pycocotools."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any, NamedTuple

import numpy as np

from labelkit.errors import MissingDependencyError
from labelkit.metrics.official.people import Floats, Ints, People, Results

#: The upper end of COCO's "all" range, in square pixels.
LARGEST_AREA = 1e10

#: The best 20 results of an image are scored.
MAX_RESULTS = 20

#: Indices of two OKS thresholds among .50, .55, ... .95.
AT_50, AT_75 = 0, 5


class OksCurves(NamedTuple):
    """What pycocotools accumulates; -1 where there are no people.

    Attributes:
        precision: (T, R, C, A) at OKS thresholds .50 ... .95, recall levels 0, .01 ... 1, for each
            category and range of areas.
        recall: (T, C, A) the largest recall reached.
    """

    precision: Floats
    recall: Floats

    def ap(self, area: int = 0, threshold: int | None = None) -> float:
        """0 ... 1, higher is better: average precision, over all categories; NaN without people."""
        return _mean(self.precision[..., area], threshold)

    def ar(self, area: int = 0, threshold: int | None = None) -> float:
        """0 ... 1, higher is better: average recall, over all categories; NaN without people."""
        return _mean(self.recall[..., area], threshold)


def _mean(values: Floats, threshold: int | None) -> float:
    chosen = values if threshold is None else values[threshold]
    defined = chosen[chosen > -1]
    return float(defined.mean()) if defined.size else float("nan")


def oks_curves(
    people: People,
    results: Results,
    sigmas: Sequence[float],
    ranges: Mapping[str, tuple[float, float]],
    images: Ints | None = None,
    max_results: int = MAX_RESULTS,
) -> OksCurves:
    """Match results with people, and compute precision and recall as the score decreases.

    Args:
        people, results: of the same images.
        sigmas: K numbers, the OKS falloff of each keypoint.
        ranges: smallest and largest area in square pixels, by name; in the order of A.
        images: indices in `people.image_ids` to score; None for all.
        max_results: results scored in an image, best first.

    Raises:
        MissingDependencyError: if pycocotools is not installed.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise MissingDependencyError(
            "OKS-AP needs pycocotools, which is not installed.", "Type: pip install pycocotools"
        ) from error
    chosen = np.arange(len(people.image_ids)) if images is None else images
    if len(chosen) == 0 or not people.counted.any():
        shape = len(people.category_ids), len(ranges)
        return OksCurves(np.full((10, 101, *shape), -1.0), np.full((10, *shape), -1.0))

    def collection(annotations: list[dict[str, Any]]) -> Any:
        coco = COCO()
        coco.dataset = {
            "images": [{"id": number + 1} for number in range(len(people.image_ids))],
            "categories": [{"id": number + 1} for number in range(len(people.category_ids))],
            "annotations": annotations,
        }
        coco.createIndex()
        return coco

    with redirect_stdout(io.StringIO()):
        evaluation = COCOeval(collection(_truth(people)), collection(_found(results)), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.asarray(sigmas, dtype=np.float64)
        evaluation.params.areaRng = [list(limits) for limits in ranges.values()]
        evaluation.params.areaRngLbl = list(ranges)
        evaluation.params.maxDets = [max_results]
        evaluation.params.imgIds = (chosen + 1).tolist()
        evaluation.evaluate()
        evaluation.accumulate()
    return OksCurves(evaluation.eval["precision"][..., 0], evaluation.eval["recall"][..., 0])


# Ids start at 1: pycocotools uses 0 for "unmatched". Images keep their order, which settles ties
# between scores.


def _truth(people: People) -> list[dict[str, Any]]:
    return [
        {
            "id": index + 1,
            "image_id": int(people.image[index]) + 1,
            "category_id": int(people.category[index]) + 1,
            "keypoints": people.keypoints[index].ravel().tolist(),
            "num_keypoints": int(people.labelled[index]),
            "area": float(people.area[index]),
            "bbox": people.box_xywh[index].tolist(),
            "iscrowd": int(people.crowd[index]),
        }
        for index in range(len(people.image))
    ]


def _found(results: Results) -> list[dict[str, Any]]:
    return [
        {
            "id": index + 1,
            "image_id": int(results.image[index]) + 1,
            "category_id": int(results.category[index]) + 1,
            "keypoints": results.keypoints[index].ravel().tolist(),
            "score": float(results.score[index]),
            "area": float(results.area[index]),
        }
        for index in range(len(results))
    ]
