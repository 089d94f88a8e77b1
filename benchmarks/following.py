"""How long it takes to read all keypoints again after one was placed.

In numpy, as a labelling page does it, with one thread. Beside the time stands how many Fourier
transforms of one map, there and back, take as long: other load on the machine changes the time more
than this ratio. The best of all turns counts.

    OMP_NUM_THREADS=1 python benchmarks/following.py [--turns 200]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from machine import machine

from labelkit.domain.following import PoseFollower
from labelkit.domain.pose import UNKNOWN, VISIBLE, human_pose
from labelkit.metrics.table import markdown

#: Keypoints, and rows and columns of their maps.
SIZES = ((14, (24, 24)), (17, (24, 24)), (17, (48, 48)), (17, (64, 48)), (68, (24, 24)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=200, help="of which the best counts")
    options = parser.parse_args()
    print(f"{machine()}\n")
    header = ("keypoints", "maps", "none placed, ms", "one placed, ms", "transforms of one map")
    print(markdown((header, *(measure(*size, options.turns) for size in SIZES))))


def measure(keypoints: int, size_hw: tuple[int, int], turns: int) -> tuple[str, ...]:
    """One row."""
    rng = np.random.default_rng(0)
    rows, columns = size_hw
    edges = [(int(rng.integers(child)), child) for child in range(1, keypoints)]
    density = rng.random((keypoints - 1, 2 * rows - 1, 2 * columns - 1)) + 0.01
    follow = PoseFollower(edges, density, 0.5, 1.5)
    maps = rng.random((keypoints, rows, columns)).astype(np.float32)
    as_it_is = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    none = human_pose(np.zeros((keypoints, 2)), [UNKNOWN] * keypoints)
    one = human_pose(np.full((keypoints, 2), 9.0), [VISIBLE] + [UNKNOWN] * (keypoints - 1))
    double = (2 * rows, 2 * columns)
    tasks: tuple[Callable[[], object], ...] = (
        lambda: follow(maps, as_it_is, none),
        lambda: follow(maps, as_it_is, one),
        lambda: np.fft.irfft2(np.fft.rfft2(maps[0], s=double), s=double),
    )
    free, placed, transform = (
        min(each) for each in zip(*([seconds(t) for t in tasks] for _ in range(turns)), strict=True)
    )
    times = (f"{1000 * free:.1f}", f"{1000 * placed:.1f}", f"{placed / transform:.0f}")
    return (str(keypoints), f"{rows} x {columns}", *times)


def seconds(task: Callable[[], object]) -> float:
    """How long it takes once."""
    started = time.perf_counter()
    task()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
