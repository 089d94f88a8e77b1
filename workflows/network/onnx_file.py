"""A network, from pixels to keypoints, as an ONNX file for programs without labelkit."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from labelkit.errors import DISTRIBUTION, INSTALL, MissingDependencyError
from labelkit.models.reading import PoseReader
from labelkit.workflows.network.decode import confidence, height_at, refine
from labelkit.workflows.network.inference import maps_of

#: Key of labelkit's entry in the file's metadata.
METADATA = "labelkit"

INPUT, OUTPUTS = "crops", ("xy", "score", "presence", "maps")


class CropReader(nn.Module):
    """The peaks of one pass over a crop: `predict` without mirror images, rotations or the tree.

    Args:
        network: from `load_network`.
        size_hw: rows and columns of a crop.
    """

    def __init__(self, network: nn.Module, size_hw: tuple[int, int]) -> None:
        super().__init__()
        self.network = network
        self.size_hw = size_hw

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Read upright crops.

        Args:
            crops: (B, 3, H, W) uint8, red first.

        Returns:
            xy: (B, K, 2) in pixels of the crop; (0, 0) is the outer corner of its first pixel.
            score: (B, K) 0 none ... 1 certain, see `confidence`.
            presence: (B, K) probability, 0 absent ... 1 present.
            maps: (B, K, h, w) the maps that are read, 0 ... 1.
        """
        reader: PoseReader = self.network.reader  # type: ignore[assignment]
        pixels = self.network.pixels(crops)  # type: ignore[operator]
        response, heatmaps, _, presence = maps_of(self.network, pixels, None)
        maps = heatmaps if reader.read_from == "heatmaps" else response
        xy, _ = refine(maps)
        score = confidence(maps, xy, height_at(maps, xy)).clamp(0, 1)
        return xy * (self.size_hw[1] / maps.shape[-1]), score, presence, maps


def write_onnx(
    network: nn.Module, size_hw: tuple[int, int], facts: Mapping[str, Any], path: Path
) -> None:
    """Write a `CropReader` of any number of crops.

    Args:
        network: see `CropReader`; on the CPU.
        size_hw: rows and columns of a crop.
        facts: JSON values for the file's metadata.
        path: of the file.

    Raises:
        MissingDependencyError: if onnx or onnxscript is not installed.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  the exporter needs it
    except ImportError as error:
        raise MissingDependencyError(
            f"Writing ONNX needs {error.name}.", f"{INSTALL} '{DISTRIBUTION}[onnx]'"
        ) from error
    module = CropReader(network.cpu(), size_hw).eval()
    example = torch.zeros(2, 3, *size_hw, dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of the exporter, about its own parts
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes={INPUT: {0: torch.export.Dim.DYNAMIC}},
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, {METADATA: json.dumps(facts)})
    onnx.save_model(model, path)
