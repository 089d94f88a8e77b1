"""Sizes of detector-free networks, and the networks built from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labelkit.models.detector_free.bottom_up import BottomUp
from labelkit.models.detector_free.interface import DetectorFree
from labelkit.models.detector_free.maps import STRIDES
from labelkit.models.detector_free.single_stage import SingleStage
from labelkit.models.parts.backbone import Backbone
from labelkit.models.parts.pixels import Pixels, pixels_of

#: "tiny" is for CPUs, "plus" and "paper" for GPUs: the backbones of CID and HigherHRNet.
DETECTOR_FREE: dict[str, dict[str, Any]] = {
    "tiny": {"backbone": "tf_efficientnet_lite0", "input_size": (192, 192), "dim": 64},
    "plus": {"backbone": "resnet50", "input_size": (512, 512), "dim": 128},
    "paper": {"backbone": "hrnet_w32", "input_size": (512, 512), "dim": 128},
}
KINDS: dict[str, type[SingleStage] | type[BottomUp]] = {
    "single-stage": SingleStage,
    "bottom-up": BottomUp,
}


def build_detector_free(
    kind: str,
    num_keypoints: int,
    sigmas: Sequence[float],
    preset: Mapping[str, Any],
    pretrained: bool | Path,
) -> DetectorFree:
    """A network with random weights, or a backbone that starts from others.

    Args:
        kind: "single-stage" or "bottom-up".
        num_keypoints, sigmas: see `DetectorFree`.
        preset: one of `DETECTOR_FREE`, or a changed copy.
        pretrained: see `Backbone`.

    Raises:
        KeyError: on another kind.
        UnusableBackbone, PretrainedUnavailable: see `Backbone`.
    """
    backbone = Backbone(preset["backbone"], STRIDES, pretrained)
    network = KINDS[kind](backbone, num_keypoints, sigmas, dim=preset["dim"])
    if pretrained:
        network.pixels = Pixels(**pixels_of(preset["backbone"]))
    return network
