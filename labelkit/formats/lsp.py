"""The truth of Leeds Sports Pose and its extended training set: their `joints.mat`.

Coordinates count pixels from 1, as MATLAB does. LSP's matrix is 3 x 14 x N and marks hidden
joints, which have a location and are scored; LSPET's is 14 x 3 x N and marks visible joints, and
the others have no location.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labelkit.errors import FormatError
from labelkit.formats.mat_file import CORRECT, array_of
from labelkit.metrics.official.people import Bools, Floats

#: Image 1001 to 2000 of LSP are its test set.
TEST_FROM, ALL_IMAGES = 1000, 2000


@dataclass(frozen=True, slots=True, eq=False)
class LspTruth:
    """The person of each of N images.

    Attributes:
        xy: (N, 14, 2) in pixels counted from 1, in LSP's order.
        counted: (N, 14), which keypoints have a location.
    """

    xy: Floats
    counted: Bools


def read_lsp(contents: Mapping[str, Any], origin: str) -> LspTruth:
    """Read the variable `joints` of either data set.

    Args:
        contents: as `load_mat` gives them.
        origin: name of the file, for messages.

    Raises:
        FormatError: if the variable is missing or has another shape.
    """
    joints = array_of(contents, ["joints"], origin, CORRECT)
    if joints.ndim == 3 and joints.shape[:2] == (3, 14):
        located = joints.transpose(2, 1, 0)
        return LspTruth(located[..., :2], located[..., 2] >= 0)
    if joints.ndim == 3 and joints.shape[:2] == (14, 3):
        located = joints.transpose(2, 0, 1)
        return LspTruth(located[..., :2], located[..., 2] > 0)
    raise FormatError(
        f"{origin}: joints has the shape {joints.shape}.",
        "It wants LSP's (3, 14, N) or LSPET's (14, 3, N).",
    )


def scored_part(truth: LspTruth, people: int) -> LspTruth:
    """LSP's test images, where there are predictions for so many; else the truth as it is."""
    if (len(truth.xy), people) != (ALL_IMAGES, ALL_IMAGES - TEST_FROM):
        return truth
    return LspTruth(truth.xy[TEST_FROM:], truth.counted[TEST_FROM:])
