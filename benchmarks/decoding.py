"""Cutting crops out of large photographs: decoded whole, and decoded as small as a crop allows.

The photograph is made up: random colours, as strong as they are wide, 4:2:0, quality 90.

    python benchmarks/decoding.py [--megapixels 1 4.1 12 24] [--side 128] [--turns 5]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from machine import machine
from numpy.typing import NDArray
from PIL import Image

from labelkit.domain.geometry import Affine
from labelkit.domain.instance import Box
from labelkit.metrics.table import markdown
from labelkit.project.images import open_upright
from labelkit.workflows.network.crops import crop_affine, cut, read_crop


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 4.1, 12, 24])
    parser.add_argument("--side", type=int, default=128, help="of a crop")
    parser.add_argument("--turns", type=int, default=5, help="of which the best counts")
    options = parser.parse_args()
    print(f"{machine()}; processor time\n")
    header = ("megapixels", "whole, ms", "as needed, ms", "times", "difference, of 255")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for megapixels in options.megapixels:
            path = Path(folder) / "photograph.jpg"
            width, height = photograph(path, megapixels)
            box = Box(width / 4, height / 8, width / 3, height * 3 / 4)
            size_hw = (options.side, options.side)
            affine = crop_affine(box, size_hw)
            crop = (affine, size_hw)
            whole, before = timed(partial(cut_whole, path, *crop), options.turns)
            small, after = timed(partial(read_crop, path, *crop), options.turns)
            apart = np.abs(before.astype(int) - after)
            rows.append(
                (
                    f"{megapixels:g}",
                    f"{1000 * whole:.0f}",
                    f"{1000 * small:.0f}",
                    f"{whole / small:.2f}",
                    f"mean {apart.mean():.2f}, at most {apart.max()}",
                )
            )
    print(markdown((header, *rows)))


def cut_whole(path: Path, affine: Affine, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """The crop of the image as it is."""
    return cut(open_upright(path), affine, size_hw)


def photograph(path: Path, megapixels: float) -> tuple[int, int]:
    """Write one of 4 x 3; its width and height."""
    rng = np.random.default_rng(0)
    unit = round((megapixels * 1e6 / 12) ** 0.5)
    width, height = 4 * unit, 3 * unit
    pixels = np.zeros((height, width, 3), np.float32)
    for wide in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512):
        coarse = rng.integers(0, 256, (height // wide + 1, width // wide + 1, 3), dtype=np.uint8)
        grown = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        pixels += np.asarray(grown) * np.float32(wide / 1023)
    Image.fromarray(pixels.astype(np.uint8)).save(path, quality=90)
    return width, height


def timed(work: Callable[[], NDArray[np.uint8]], turns: int) -> tuple[float, NDArray[np.uint8]]:
    """Processor seconds of the best turn, and the result."""
    seconds = []
    for _ in range(turns):
        started = time.process_time()
        result = work()
        seconds.append(time.process_time() - started)
    return min(seconds), result


if __name__ == "__main__":
    main()
