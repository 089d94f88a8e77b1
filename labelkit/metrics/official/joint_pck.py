"""PCK by joint, and the columns that papers print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from labelkit.domain.skeleton import Skeleton
from labelkit.metrics.official.people import Bools, Floats, Ints

_LIMBS = {
    limb.capitalize(): (f"left_{limb}", f"right_{limb}")
    for limb in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
}


class JointPck(NamedTuple):
    """The keypoints that were found, by joint.

    Attributes:
        percent: (K,) 0 ... 100, higher is better; NaN where none is scored.
        counted: (K,) number of keypoints that are scored.
    """

    percent: Floats
    counted: Ints

    def columns(
        self, skeleton: Skeleton, head: Sequence[str], left_out: Sequence[str] = ()
    ) -> dict[str, float]:
        """Percent, 0 ... 100, as papers print it, from Head to Ankle and Mean.

        A column is the mean of its joints, left and right, however many keypoints each has, and
        NaN where one of them has none. Mean is over all keypoints.

        Args:
            skeleton: names the K joints.
            head: joints of the column "Head".
            left_out: joints that are not scored.
        """
        columns = {}
        for name, joints in {"Head": head, **_LIMBS}.items():
            columns[name] = float(self.percent[[skeleton.index(joint) for joint in joints]].mean())
        scored = self.counted > 0
        scored[[skeleton.index(joint) for joint in left_out]] = False
        percent, count = self.percent[scored], self.counted[scored]
        mean = float((percent * count).sum() / count.sum()) if scored.any() else float("nan")
        return {**columns, "Mean": mean}


def joint_pck(
    pred: Floats, true: Floats, counted: Bools, reference_px: Floats, threshold: float
) -> JointPck:
    """Count, joint by joint, the keypoints at most `threshold` reference lengths away.

    The distance is divided by the length and then compared, as in the reference codes: where
    they are exactly equal, multiplication can decide the other way.

    Args:
        pred, true: (N, K, 2) in pixels.
        counted: (N, K), which keypoints are scored.
        reference_px: (N,) pixels above 0: head size, torso, or the box's long side.
        threshold: in reference lengths, such as .5.
    """
    error = np.linalg.norm(pred - true, axis=2) / reference_px[:, None]
    found = (error <= threshold) & counted
    count = counted.sum(axis=0)
    percent = np.where(count > 0, 100.0 * found.sum(axis=0) / np.maximum(count, 1), np.nan)
    return JointPck(percent, count)
