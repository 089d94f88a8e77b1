"""COCO keypoints: OKS AP and AR, the ten numbers of pycocotools' summary.

Source: https://cocodataset.org/#keypoints-eval
"""

from __future__ import annotations

from collections.abc import Sequence

from labelkit.metrics.official.oks_curves import AT_50, AT_75, LARGEST_AREA, oks_curves
from labelkit.metrics.official.people import People, Results

#: Square pixels of the segment; smaller people have no keypoints.
AREAS = {"all": (0.0, LARGEST_AREA), "medium": (32.0**2, 96.0**2), "large": (96.0**2, LARGEST_AREA)}
_ALL, _MEDIUM, _LARGE = range(3)


def coco_keypoint_scores(
    people: People, results: Results, sigmas: Sequence[float]
) -> dict[str, float]:
    """0 ... 1, higher is better; NaN where there are no people of that size.

    Of several categories it is the mean, as in COCO.

    Args:
        people: with areas, and K keypoints each.
        results: of the same images, scored unchanged.
        sigmas: K numbers, the OKS falloff of each keypoint.

    Returns:
        AP and AR over OKS .50, .55 ... .95, at .50, at .75, and of medium and large people.

    Raises:
        MissingDependencyError: if pycocotools is not installed.
    """
    curves = oks_curves(people, results, sigmas, AREAS)
    return {
        "AP": curves.ap(_ALL),
        "AP50": curves.ap(_ALL, AT_50),
        "AP75": curves.ap(_ALL, AT_75),
        "APM": curves.ap(_MEDIUM),
        "APL": curves.ap(_LARGE),
        "AR": curves.ar(_ALL),
        "AR50": curves.ar(_ALL, AT_50),
        "AR75": curves.ar(_ALL, AT_75),
        "ARM": curves.ar(_MEDIUM),
        "ARL": curves.ar(_LARGE),
    }
