"""Images a second by the number of objects: networks without boxes, beside LOFR on given boxes.

Random weights: after the forward pass the maps are replaced by ones that show so many objects. The
time of a detector is not counted for LOFR. One thread, processor time, the best of some turns.

    python benchmarks/detector_free_speed.py [--objects 1 20] [--turns 9]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from machine import machine
from torch import Tensor

from labelkit.metrics.table import markdown
from labelkit.models.detector_free.interface import STRIDE
from labelkit.models.detector_free.maps import draw_together
from labelkit.models.detector_free.presets import DETECTOR_FREE, KINDS, build_detector_free
from labelkit.models.presets import PRESETS, build_model
from labelkit.workflows.network.decode import refine
from labelkit.workflows.network.inference import maps_of

KEYPOINTS = 14


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 20])
    parser.add_argument("--turns", type=int, default=9, help="of which the best counts")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    preset, crops = DETECTOR_FREE["tiny"], PRESETS["tiny"]
    print(f"{machine()}; one thread, {crops['backbone']}\n")
    side, crop = preset["input_size"][0], crops["input_size"][0]
    canvas = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8)
    ways: dict[str, Callable[[int], object]] = {}
    for kind in KINDS:
        network = build_detector_free(
            kind, crops["backbone"], KEYPOINTS, (0.08,) * KEYPOINTS, preset["dim"], False
        ).eval()

        def find(count: int, network: Any = network) -> object:
            output = network(network.pixels(canvas))
            return network.decode(showing(output, *planted(count, side)))

        ways[f"{kind}, {side} x {side}"] = find
    lofr = build_model("lofr", KEYPOINTS, (), crops, False).eval()
    boxes = torch.randint(0, 256, (max(options.objects), 3, crop, crop), dtype=torch.uint8)

    def top_down(count: int) -> object:
        return refine(lofr.reader(maps_of(lofr, lofr.pixels(boxes[:count]), None)[1]))

    ways[f"LOFR on boxes, {crop} x {crop} each"] = top_down
    rows = []
    for name, way in ways.items():
        best = [1 / min(seconds(way, n) for _ in range(options.turns)) for n in options.objects]
        rates = [f"{rate:.2f}" for rate in best]
        rows.append((name, *rates, f"{best[0] / best[-1]:.2f}"))
    head = ("images/s", *(f"{count} objects" for count in options.objects), "first / last")
    print(markdown((head, *rows)))


def planted(count: int, side: int) -> tuple[Tensor, Tensor]:
    """Random objects of an eighth of the canvas on a grid: (count, K, 2) keypoints in cells, and
    (count, 2) centres."""
    cells = side // STRIDE
    across = max(1, round(count**0.5 + 0.5))
    index = torch.arange(count)
    centres = (torch.stack((index % across, index // across), dim=1) + 0.5) * (cells / across)
    return centres[:, None] + (torch.rand(count, KEYPOINTS, 2) - 0.5) * cells / 8, centres


def showing(output: Any, points: Tensor, centres: Tensor) -> Any:
    """The output of a network, with maps that show some objects."""
    size_hw = (output.logits.shape[2], output.logits.shape[3])
    if output.logits.shape[1] > KEYPOINTS:  # with a map of centres
        points = torch.cat([points, centres[:, None]], dim=1)
    there = torch.ones(points.shape[:2], dtype=torch.bool)
    maps = draw_together([points], [there], size_hw).clamp(1e-4, 1 - 1e-4)
    output = output._replace(logits=maps.logit())
    if hasattr(output, "tags"):
        rows, columns = size_hw
        place = torch.stack(
            torch.meshgrid(torch.arange(columns) + 0.5, torch.arange(rows) + 0.5, indexing="xy")
        )
        nearest = (place[:, None] - centres.T[..., None, None]).square().sum(dim=0).argmin(dim=0)
        tags = 3.0 * nearest  # cells of an object have its number
        output = output._replace(tags=torch.stack((tags, tags))[None, None].expand_as(output.tags))
    return output


@torch.inference_mode()
def seconds(way: Callable[[int], object], count: int) -> float:
    """Processor time for an image with so many objects."""
    started = time.process_time()
    way(count)
    return time.process_time() - started


if __name__ == "__main__":
    main()
