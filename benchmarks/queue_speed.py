"""How long it takes to fill the queue of a large project, and its peak memory.

The project has generated predictions of two rounds, features, and 1,000 labels; its images exist in
no folder. Ten percent of it is queued by each strategy, each in a process of its own. *read* is the
snapshot of the labels, *fill* the rest.

    python benchmarks/queue_speed.py [--objects 100000]
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from machine import machine

from labelkit.domain.instance import Box, Image
from labelkit.domain.pose import Pose, human_pose
from labelkit.domain.prediction import Prediction
from labelkit.domain.skeleton import load_skeleton
from labelkit.metrics.table import markdown
from labelkit.project.features import FEATURES_FILE, LENGTH, FeatureWriter
from labelkit.project.predictions import write_predictions
from labelkit.project.project import create_project, open_project, remember
from labelkit.project.rounds import RoundPlan, begin_round, finish_round
from labelkit.store.journal import KEYPOINTS, Entry, keypoints_content
from labelkit.store.objects import NewInstance
from labelkit.store.ownership import open_store
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.queue_file import fill_queue

SKELETON = load_skeleton("lsp14")
STRATEGIES = ("mixed", "uncertain", "diverse", "random")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES)
    parser.add_argument("--fill", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fill:
        print(*fill(options.folder, options.fill))
        return
    print(f"{machine()}; {options.objects:,} objects\n")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        make(Path(name), options.objects)
        for strategy in options.strategies:
            command = [sys.executable, __file__, "--fill", strategy, "--folder", name]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            rows.append((strategy, *done.stdout.split()))
    header = ("strategy", "queued", "read, s", "fill, s", "fill, CPU s", "peak RSS, MB")
    print(markdown((header, *rows)))


def make(folder: Path, count: int) -> None:
    """A project of two rounds; two objects an image."""
    project = create_project(folder / "project", folder, SKELETON, 0)
    with open_store(project) as store:
        images = [
            Image(f"{n:07d}.png", hashlib.sha256(str(n).encode()).hexdigest(), 200, 100)
            for n in range(count // 2)
        ]
        store.add_images(images)
        made = store.add_instances(
            NewInstance(image, Box(x, 0, 100, 100), "given", 1e4)
            for image in images
            for x in (0, 100)
        )
        pose = human_pose(np.full((14, 2), 50.0), [2] * 14)
        content = keypoints_content(SKELETON, pose)
        store.record(Entry(it.id, KEYPOINTS, content, "label", it.id, "1") for it in made[:1000])
        head = store.head()
    rng = np.random.default_rng(0)

    def predictions() -> Iterator[Prediction]:
        for item in made:
            score = rng.random(14)
            pose = Pose(item.box.x + 100 * rng.random((14, 2)), np.full(14, 2), score)
            yield Prediction(item.id, pose, rng.random(14), float(score.mean()))

    for number in (0, 1):
        path = begin_round(project, RoundPlan(number, "location-free", (), 0.0, head, {}, 0))
        write_predictions(path / "predictions.parquet", predictions(), SKELETON)
        with FeatureWriter(path / FEATURES_FILE) as writer:
            for item in made:
                writer.add(item.id, rng.standard_normal(LENGTH).astype(np.float16))
        finish_round(path, {})


def fill(folder: Path, strategy: str) -> tuple[str, ...]:
    """Queued objects, seconds, and megabytes."""
    project = remember(open_project(folder / "project"), queue=strategy)
    with open_store(project) as store:
        begun = time.perf_counter()
        snapshot = read_snapshot(project, store)
        read, cpu = time.perf_counter(), time.process_time()
        items = fill_queue(project, snapshot, 10.0)
        done, cpu = time.perf_counter(), time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = (f"{value:.1f}" for value in (read - begun, done - read, cpu))
    return f"{len(items):,}", *seconds, f"{peak:.0f}"


if __name__ == "__main__":
    main()
