"""The truth of Leeds Sports Pose and of its extended training set: their `joints.mat`.

Coordinates count pixels from 1, as MATLAB does. LSP's array is 3 x 14 x N; its flag marks hidden
joints, which have a location and are scored. LSPET's is 14 x 3 x N; its flag marks visible joints,
and the others have no location.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labelkit.errors import FormatError
from labelkit.formats.matlab.mat_file import FIX_TRUTH, array_of
from labelkit.metrics.official.people import Bools, Floats

#: The last 1,000 of LSP's 2,000 images are its test set.
TEST_FROM, ALL_IMAGES = 1000, 2000


@dataclass(frozen=True, slots=True, eq=False)
class LspTruth:
    """The person in each of N images.

    Attributes:
        xy: (N, 14, 2) in pixels counted from 1, in LSP's order.
        counted: (N, 14), which keypoints have a location.
    """

    xy: Floats
    counted: Bools


def read_lsp(contents: Mapping[str, Any], origin: str) -> LspTruth:
    """Read the variable `joints` of either data set.

    Args:
        contents: the result of `load_mat`.
        origin: name of the file, for messages.

    Raises:
        FormatError: if the variable is missing or has the wrong shape.
    """
    joints = array_of(contents, ["joints"], origin, FIX_TRUTH)
    if joints.ndim == 3 and joints.shape[:2] == (3, 14):
        located = joints.transpose(2, 1, 0)
        return LspTruth(located[..., :2], located[..., 2] >= 0)
    if joints.ndim == 3 and joints.shape[:2] == (14, 3):
        located = joints.transpose(2, 0, 1)
        return LspTruth(located[..., :2], located[..., 2] > 0)
    raise FormatError(
        f"{origin}: joints has the shape {joints.shape}.",
        "It needs LSP's shape (3, 14, N) or LSPET's (14, 3, N).",
    )


def scored_part(truth: LspTruth, people: int) -> LspTruth:
    """LSP's test images if that is how many poses were predicted; otherwise the whole truth.

    Args:
        truth: of any number of images.
        people: number of predicted poses.
    """
    if (len(truth.xy), people) != (ALL_IMAGES, ALL_IMAGES - TEST_FROM):
        return truth
    return LspTruth(truth.xy[TEST_FROM:], truth.counted[TEST_FROM:])
