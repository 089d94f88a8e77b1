"""Pre-annotating as a round does it, compared with the bare network on the same batches.

Pre-annotating reads and cuts the pictures, runs the network, reads poses off its maps and writes
Parquet files of predictions and maps. The bare network runs on batches in memory, already cut and
normalised. Both run in this process, in turns, and the best turn of each counts: other load on the
machine only slows them down. Pre-annotating has three threads: one cuts the next crops, one runs
the network, one writes. With --threads 1 this needs a second free core: the last column is the
number of cores that other programs used during the turn that counts. With --processor-time they
matter less: it counts what all threads need, as if there was one core.

    python benchmarks/preannotation.py [--preset tiny] [--pictures 512] [--turns 10]
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from machine import machine

from labelkit.domain.instance import Box, Instance
from labelkit.metrics.table import markdown
from labelkit.models.reading import rotate
from labelkit.project.images import scan_images
from labelkit.project.predictions import write_predictions
from labelkit.project.response_maps import MapWriter
from labelkit.workflows.network.data import PlainCrops, loader
from labelkit.workflows.network.inference import predict
from labelkit.workflows.rounds.networks import build_network
from labelkit.workflows.rounds.run_round import keep_maps
from labelkit.workflows.rounds.settings import TrainingOptions, preset_of, resolve
from labelkit.workflows.synthetic.figures import SKELETON, generate

#: Which maps are read, and off which views of a crop.
VIEWS = (
    "response maps, one view",
    "response maps, mirror image too",
    "heatmaps, all six views",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", action="append", help="default: tiny; the others need a GPU")
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--turns", type=int, default=10, help="of which the best counts")
    parser.add_argument("--threads", type=int, default=1, help="of the network")
    parser.add_argument("--processor-time", action="store_true", help="instead of the clock's")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.processor_time else time.perf_counter
    print(f"{machine()}; {options.threads} threads of the network\n")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder, options.pictures, seed=0)
        for preset in options.preset or ("tiny",):
            for views in VIEWS:
                rows.append(measure(folder, preset, views, options.pictures, options.turns, clock))
    header = ("preset", "bare, 1/s", "pre-annotating, 1/s", "ratio", "cores of others")
    print(markdown((header, *rows)))


def measure(
    folder: Path, preset: str, views: str, count: int, turns: int, clock: Callable[[], float]
) -> tuple[str, ...]:
    """One row: the best turn of each."""
    flip_test, every = views != VIEWS[0], views == VIEWS[2]
    settings = resolve(TrainingOptions(preset=preset, pretrained=False), {}, SKELETON)
    network = build_network("lofr", SKELETON, settings).eval()
    network.reader.read_from = "heatmaps" if every else "response"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    size = preset_of(settings)["input_size"]
    images = scan_images(folder / "images").images[:count]
    boxes = [Box(0.0, 0.0, float(image.width), float(image.height)) for image in images]
    instances = [
        Instance(image, 0, box, "whole-image", box.w * box.h)
        for image, box in zip(images, boxes, strict=True)
    ]
    crops = PlainCrops(folder / "images", instances, size, network.pixels.interpolation)
    in_memory = []
    for batch in loader(crops, 64, 0):
        image = network.pixels(batch["image"].to(device))
        turned = [rotate(image, angle) for angle in network.reader.rotations if every]
        in_memory += [image, *turned]

    @torch.inference_mode()
    def bare() -> None:
        half = settings["precision"] == "bf16"
        for batch in in_memory:
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                network(batch)
                if flip_test:
                    network(batch.flip(-1))
        if device.type == "cuda":
            torch.cuda.synchronize()

    def pre_annotate() -> None:
        seen = predict(
            network,
            instances,
            folder / "images",
            SKELETON,
            size,
            flip_test=flip_test,
            precision=settings["precision"],
        )
        with MapWriter(folder / "maps.parquet", SKELETON.keypoints) as writer:
            write_predictions(folder / "predictions.parquet", keep_maps(seen, writer), SKELETON)

    took = [(timed(bare, clock), timed(pre_annotate, clock)) for _ in range(turns)]
    alone, whole = (min(each) for each in zip(*took, strict=True))
    return (
        f"{preset}, {views}",
        f"{count / alone.seconds:.0f}",
        f"{count / whole.seconds:.0f}",
        f"{alone.seconds / whole.seconds:.2f}",
        f"{whole.others:.1f}",
    )


class Turn(NamedTuple):
    """Duration, and the cores that other programs used meanwhile (NaN: unknown)."""

    seconds: float
    others: float


def timed(work: Callable[[], None], clock: Callable[[], float]) -> Turn:
    """Run it once."""
    began, started, ours, all_of_us = clock(), time.perf_counter(), time.process_time(), _busy()
    work()
    taken, seconds = clock() - began, time.perf_counter() - started
    return Turn(taken, (_busy() - all_of_us - (time.process_time() - ours)) / seconds)


def _busy() -> float:
    """Processor seconds of all programs since the machine started."""
    stat = Path("/proc/stat")
    if not stat.is_file():
        return math.nan
    numbers = [int(part) for part in stat.read_text().split("\n", 1)[0].split()[1:9]]
    idle, waiting = numbers[3], numbers[4]
    return (sum(numbers) - idle - waiting) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
