"""CrowdPose: OKS AP and AR, and AP by how crowded an image is.

Source: Li et al., CVPR 2019, and the evaluation code published with the data
(https://github.com/Jeff-sjtu/CrowdPose): areas are .53 of the box, there are no size ranges,
and easy, medium and hard images are divided at a Crowd Index of .2 and .8 (.1 and .8 in the
paper).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from labelkit.domain.skeleton import load_skeleton
from labelkit.metrics.official.oks_curves import AT_50, AT_75, LARGEST_AREA, OksCurves, oks_curves
from labelkit.metrics.official.people import Floats, Ints, People, Results

#: Area of a person relative to its box, in place of a segment.
AREA_OF_BOX = 0.53

#: Crowd Index that divides easy, medium and hard images in the official code.
OFFICIAL_EDGES = (-math.inf, 0.2, 0.8, math.inf)


@dataclass(frozen=True, slots=True)
class CrowdBin:
    """Images with a Crowd Index from `low` up to, and not including, `high`.

    Attributes:
        low, high: infinite where the bin has no end.
        images: how many the data set has.
        ap: 0 ... 1, higher is better; NaN without people.
    """

    low: float
    high: float
    images: int
    ap: float

    @property
    def name(self) -> str:
        """The range, such as "0.2 to 0.8"."""
        if math.isinf(self.high):
            return f"{self.low:g} and more"
        return f"below {self.high:g}" if math.isinf(self.low) else f"{self.low:g} to {self.high:g}"


def crowdpose_scores(people: People, results: Results) -> dict[str, float]:
    """0 ... 1, higher is better; NaN without people.

    Args:
        people: with boxes and CrowdPose's 14 keypoints; segment areas are not used.
        results: of the same images, scored unchanged.

    Returns:
        AP and AR over OKS .50, .55 ... .95, at .50 and at .75.

    Raises:
        MissingDependencyError: if pycocotools is not installed.
    """
    curves = _curves(people, results)
    return {
        "AP": curves.ap(),
        "AP50": curves.ap(threshold=AT_50),
        "AP75": curves.ap(threshold=AT_75),
        "AR": curves.ar(),
        "AR50": curves.ar(threshold=AT_50),
        "AR75": curves.ar(threshold=AT_75),
    }


def crowd_bin_scores(
    people: People, results: Results, edges: Sequence[float] = OFFICIAL_EDGES
) -> list[CrowdBin]:
    """AP of the images in each bin of the Crowd Index.

    The official code rounds its three values to four decimals; these are not rounded.

    Args:
        people: with a Crowd Index for every image.
        results: of the same images.
        edges: ascending; a bin includes its lower edge, not its upper one. A last edge of 1,
            the highest Crowd Index by definition, is open: published files have values above 1.

    Raises:
        MissingDependencyError: if pycocotools is not installed.
    """
    bins = []
    last = edges[-1]
    for low, high in pairwise((*edges[:-1], math.inf if last == 1 else last)):
        inside = (people.crowd_index >= low) & (people.crowd_index < high)
        images = np.flatnonzero(inside)
        bins.append(CrowdBin(low, high, len(images), _curves(people, results, images).ap()))
    return bins


def crowd_index(keypoints: Floats, box_xywh: Floats) -> float:
    """How much the people of an image overlap: 0 not at all ... 1 as many keypoints are others'.

    Eq. 1 of the paper: the mean over people of the number of others' keypoints in a box over the
    number of the person's own; above 1 it counts as 1.

    Args:
        keypoints: (N, K, 3) x and y in pixels, v above 0 where labelled.
        box_xywh: (N, 4) in pixels.

    Returns:
        0 for an image without labelled people.
    """
    labelled = keypoints[..., 2] > 0
    own = labelled.sum(axis=1)
    low, high = box_xywh[:, None, None, :2], box_xywh[:, None, None, 2:]
    xy = keypoints[None, ..., :2]
    inside = ((xy >= low) & (xy <= low + high)).all(axis=3) & labelled[None]  # (box, person, K)
    others = inside.sum(axis=(1, 2)) - np.diagonal(inside.sum(axis=2))
    shares = others[own > 0] / own[own > 0]
    return min(1.0, float(shares.mean())) if len(shares) else 0.0


def _curves(people: People, results: Results, images: Ints | None = None) -> OksCurves:
    area = people.box_xywh[:, 3] * people.box_xywh[:, 2] * AREA_OF_BOX
    sigmas = load_skeleton("crowdpose14").sigmas
    return oks_curves(
        replace(people, area=area), results, sigmas, {"all": (0.0, LARGEST_AREA)}, images
    )
