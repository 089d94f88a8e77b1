"""How top-down methods rescore and filter their results on COCO and CrowdPose.

Source: the evaluation of HRNet (https://github.com/leoxiaobin/deep-high-resolution-net.pytorch),
which most top-down papers use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from labelkit.metrics.official.people import Floats, Ints, Results

#: Joints with a lower score do not count towards the person's.
JOINT_SCORE_ABOVE = 0.2

#: Results of one image with a higher OKS are the same person.
OKS_ABOVE = 0.9


def rescored(results: Results) -> Results:
    """Score people by box and joints: box score x mean score of the joints above .2.

    Without any such joint the score is 0.

    Args:
        results: `score` is the box's, the third number of a keypoint is the joint's.
    """
    joint = results.keypoints[..., 2]
    counted = joint > JOINT_SCORE_ABOVE
    # Added joint after joint, as in the reference: people who tie there tie here.
    total = np.cumsum(np.where(counted, joint, 0.0), axis=1)[:, -1]
    mean = total / np.maximum(counted.sum(axis=1), 1)
    return replace(results, score=mean * results.score)


def without_duplicates(results: Results, sigmas: Sequence[float]) -> Results:
    """OKS-NMS: drop results that are too similar to a better one of the same image.

    The best result of an image and category stays, and those with an OKS above .9 to it are
    dropped; then the best of the rest, and so on. Of equal scores the later result comes first; in
    the reference that depends on its sort, which does the same where it is stable.

    Args:
        results: the mean `crop_area` of two results sets their scale.
        sigmas: K numbers, the OKS falloff of each keypoint.

    Returns:
        the results that stay, image by image in order of first appearance, best first.
    """
    spread = (2.0 * np.asarray(sigmas, dtype=np.float64)) ** 2
    order: dict[tuple[int, int], list[int]] = {}
    of = zip(results.image.tolist(), results.category.tolist(), strict=True)
    for place, image_and_category in enumerate(of):
        order.setdefault(image_and_category, []).append(place)
    kept = [place for places in order.values() for place in _kept(results, places, spread)]
    return results.take(np.array(kept, dtype=np.int64))


def _kept(results: Results, places: list[int], spread: Floats) -> list[int]:
    best_last: Ints = np.argsort(results.score[places], kind="stable")
    rest = np.asarray(places)[best_last[::-1]]
    kept = []
    while len(rest):
        best, rest = int(rest[0]), rest[1:]
        kept.append(best)
        offset = results.keypoints[rest, :, :2] - results.keypoints[best, :, :2]
        area = (results.crop_area[rest] + results.crop_area[best]) / 2 + np.spacing(1)
        error = (offset**2).sum(axis=2) / spread / area[:, None] / 2
        rest = rest[np.exp(-error).mean(axis=1) <= OKS_ABOVE]
    return kept
