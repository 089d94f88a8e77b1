"""MPII human pose: PCKh@0.5 by joint.

Source: Andriluka et al., CVPR 2014. The columns are those of the evaluation of HRNet
(https://github.com/leoxiaobin/deep-high-resolution-net.pytorch). Its "Mean@0.1" is left out: it
is taken at .11 there.
"""

from __future__ import annotations

import numpy as np

from labelkit.domain.skeleton import load_skeleton
from labelkit.metrics.official.joint_pck import joint_pck
from labelkit.metrics.official.people import Bools, Floats

#: Head size relative to the diagonal of the head box.
HEAD_OF_DIAGONAL = 0.6

#: Joints that are not scored: annotators do not click them where they are.
LEFT_OUT = ("pelvis", "thorax")


def head_sizes(head_box: Floats) -> Floats:
    """(N,) head sizes in pixels.

    Args:
        head_box: (N, 2, 2) two opposite corners, x and y in pixels.
    """
    return np.linalg.norm(head_box[:, 1] - head_box[:, 0], axis=1) * HEAD_OF_DIAGONAL


def mpii_scores(
    pred: Floats, true: Floats, labelled: Bools, head_size_px: Floats, threshold: float = 0.5
) -> dict[str, float]:
    """Percent, higher is better: keypoints at most `threshold` head sizes away; NaN without any.

    Args:
        pred, true: (N, 16, 2) in pixels, in MPII's order; the first pixel has the same number
            in both.
        labelled: (N, 16), which keypoints have a location.
        head_size_px: (N,), see `head_sizes`.
        threshold: in head sizes.

    Returns:
        Head (head top; the neck counts only in Mean), Shoulder, Elbow, Wrist, Hip, Knee, Ankle,
        each the mean of left and right; Mean is over all keypoints but pelvis and thorax.
    """
    skeleton = load_skeleton("mpii16")
    found = joint_pck(pred, true, labelled, head_size_px, threshold)
    return found.columns(skeleton, head=("head_top",), left_out=LEFT_OUT)
