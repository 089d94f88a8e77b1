"""Sizes of detector-free networks, and the networks built from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labelkit.models.detector_free.bottom_up import BottomUp
from labelkit.models.detector_free.interface import DetectorFree
from labelkit.models.detector_free.maps import STRIDES
from labelkit.models.detector_free.single_stage import SingleStage
from labelkit.models.parts.backbone import Backbone
from labelkit.models.parts.pixels import Pixels, pixels_of

_LARGE: dict[str, Any] = {
    "input_size": (512, 512),  # rows, columns of a canvas, as in CID and HigherHRNet
    "dim": 128,
    "batch_size": 16,
    "lr": 5e-4,
}

#: What differs between presets; backbones are those of `presets.PRESETS`.
DETECTOR_FREE: dict[str, dict[str, Any]] = {
    "tiny": {"input_size": (192, 192), "dim": 64, "batch_size": 8, "lr": 2e-3},
    "plus": _LARGE,
    "paper": _LARGE,
}
KINDS: dict[str, type[SingleStage] | type[BottomUp]] = {
    "single-stage": SingleStage,
    "bottom-up": BottomUp,
}


def build_detector_free(
    kind: str,
    backbone: str,
    num_keypoints: int,
    sigmas: Sequence[float],
    dim: int,
    pretrained: bool | Path,
) -> DetectorFree:
    """A network with random weights, or a backbone that starts from others.

    Args:
        kind: "single-stage" or "bottom-up".
        backbone: name of a timm network.
        num_keypoints, sigmas: see `DetectorFree`.
        dim: channels of the merged map.
        pretrained: see `Backbone`.

    Raises:
        KeyError: on another kind.
        UnusableBackbone, PretrainedUnavailable: see `Backbone`.
    """
    trunk = Backbone(backbone, STRIDES, pretrained)
    network = KINDS[kind](trunk, num_keypoints, sigmas, dim=dim)
    network.pixels = Pixels(**pixels_of(backbone))
    return network
