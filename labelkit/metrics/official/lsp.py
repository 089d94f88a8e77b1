"""Leeds Sports Pose, and its extended training set: PCK by joint.

Source: the evaluation of Pishchulin et al. for LSP (PCK of Sapp and Taskar, CVPR 2013): a
keypoint is found within a fraction of the torso, from left shoulder to right hip.
"""

from __future__ import annotations

import numpy as np

from labelkit.domain.skeleton import load_skeleton
from labelkit.metrics.official.joint_pck import joint_pck
from labelkit.metrics.official.people import Bools, Floats


def torso_lengths(true: Floats, counted: Bools) -> Floats:
    """(N,) pixels from left shoulder to right hip; NaN where one is absent, or both coincide.

    Args:
        true: (N, 14, 2) in pixels, in LSP's order.
        counted: (N, 14), which keypoints have a location.
    """
    skeleton = load_skeleton("lsp14")
    ends = [skeleton.index("left_shoulder"), skeleton.index("right_hip")]
    length = np.linalg.norm(true[:, ends[0]] - true[:, ends[1]], axis=1)
    return np.where(counted[:, ends].all(axis=1) & (length > 0), length, np.nan)


def lsp_scores(
    pred: Floats, true: Floats, counted: Bools, reference_px: Floats, threshold: float
) -> dict[str, float]:
    """Percent, higher is better: keypoints at most `threshold` lengths away; NaN without any.

    Args:
        pred, true: (N, 14, 2) in pixels, in LSP's order; the first pixel has the same number in
            both.
        counted: (N, 14), which keypoints are scored.
        reference_px: (N,) torso, or long side of the box; people with NaN are left out.
        threshold: in reference lengths, .2 or .1.

    Returns:
        Head (mean of head top and neck), Shoulder, Elbow, Wrist, Hip, Knee, Ankle, each the
        mean of left and right; Mean is over all keypoints.
    """
    skeleton = load_skeleton("lsp14")
    known = ~np.isnan(reference_px)
    found = joint_pck(pred[known], true[known], counted[known], reference_px[known], threshold)
    return found.columns(skeleton, head=("head_top", "neck"))
