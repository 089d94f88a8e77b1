"""Seconds and peak memory of commands on projects of 1,000 to 100,000 objects, and how they grow.

Each command is a process of its own. Images are JPEGs of 96 x 96 pixels, one object each; a tenth
of the objects have keypoints, and a round holds generated predictions and features of all. The
exponent is that of seconds of CPU between the smallest and the largest project: 1 is proportional.

    python benchmarks/scale.py [--objects 1000 10000 100000] [--commands register status]

With --unread the files are empty and nothing is registered by a command: for those that read no
picture (status, queue, pull, export) on projects too large to make otherwise.

With LABELKIT_DB set to a database of a PostgreSQL server, the labels are there: one size at a time.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from machine import machine
from PIL import Image as Picture

from labelkit.domain.instance import Box, Image
from labelkit.domain.pose import Pose, human_pose
from labelkit.domain.prediction import Prediction
from labelkit.domain.skeleton import load_skeleton
from labelkit.metrics.table import markdown
from labelkit.project.features import FEATURES_FILE, LENGTH, FeatureWriter
from labelkit.project.images import FileStamp
from labelkit.project.predictions import write_predictions
from labelkit.project.project import create_project, open_project
from labelkit.project.rounds import RoundPlan, begin_round, finish_round
from labelkit.store.journal import KEYPOINTS, Entry, keypoints_content
from labelkit.store.objects import NewInstance
from labelkit.store.ownership import open_store

SKELETON = load_skeleton("lsp14")
SIDE = 96

#: Name of a row -> what is typed; {images} and {project} are folders, {empty} is a file.
COMMANDS = {
    "register": "bootstrap --images {images} --project {project} --skeleton lsp14 "
    "--boxes whole-image --start keypoints",
    "register again": "bootstrap --images {images} --project {project}",
    "status": "status --project {project}",
    "queue": "queue --strategy mixed --project {project}",
    "push --files": "push --files --project {project}",
    "pull, nothing new": "pull --file {empty} --project {project}",
    "export": "export --format coco --project {project}",
    "export --with-predictions": "export --format coco --with-predictions --project {project}",
    "check": "check --project {project}",
    "report": "report --project {project}",
    "review --html": "review --html {project}/review.html --limit 20 --no-maps --project {project}",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=[*COMMANDS])
    parser.add_argument("--unread", action="store_true", help="empty files, not registered")
    parser.add_argument("--fill", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fill:
        fill(options.fill)
        return
    print(f"{machine()}\n", flush=True)
    found: dict[tuple[str, int], tuple[float, float, float]] = {}
    for count in options.objects:
        with tempfile.TemporaryDirectory() as folder:
            begin = unread if options.unread else make_images
            begin(Path(folder), count)
            for command, measured in measure(Path(folder), options.commands):
                found[command, count] = measured
                shown = " ".join(f"{value:.1f}" for value in measured)
                print(f"{count:,} {command}: {shown}", file=sys.stderr, flush=True)
    first, last = min(options.objects), max(options.objects)
    rows = []
    for command in options.commands:
        seconds, cpu, peak = zip(*(found[command, count] for count in options.objects), strict=True)
        growth = "-"
        if last > first:
            ratio = found[command, last][1] / found[command, first][1]
            growth = f"{math.log(ratio) / math.log(last / first):.2f}"
        row = [f"{a:.1f} ({b:.1f}), {c:.0f}" for a, b, c in zip(seconds, cpu, peak, strict=True)]
        rows.append((command, *row, growth))
    header = ("s (CPU s), MB", *(f"{count:,}" for count in options.objects), "exponent")
    print(markdown((header, *rows)))


def measure(folder: Path, commands: list[str]) -> Iterator[tuple[str, tuple[float, float, float]]]:
    """Each command with its seconds, seconds of CPU and peak memory in MB."""
    is_registered = (folder / "project").exists()
    places = {name: folder / name for name in ("images", "project", "empty")}
    places["empty"].write_text("[]")
    for command, text in COMMANDS.items():
        if command == "status":
            subprocess.run([sys.executable, __file__, "--fill", places["project"]], check=True)
        if command in commands or (command == "register" and not is_registered):
            measured = run([part.format(**places) for part in text.split()], folder / "output")
            if command in commands:
                yield command, measured


def run(arguments: list[str], output: Path) -> tuple[float, float, float]:
    """Seconds, seconds of CPU and peak memory in MB of a command."""
    begun = time.perf_counter()
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("labelkit"), *arguments], stdout=stream, stderr=stream
        )
        ended, peak = 0, 0.0
        while not ended:
            time.sleep(0.02)
            peak = max(peak, peak_of(process.pid))
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
    seconds = time.perf_counter() - begun
    if os.waitstatus_to_exitcode(status) not in (0, 3):
        raise SystemExit(f"labelkit {' '.join(arguments)}:\n{output.read_text()}")
    return seconds, usage.ru_utime + usage.ru_stime, peak


def peak_of(process: int) -> float:
    """Peak memory of a running process in MB; the kernel's own count includes its parent's."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return max(
        (int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), default=0
    )


def make_images(folder: Path, count: int) -> None:
    """One picture under so many names; what follows its end makes each file another image."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    content = io.BytesIO()
    Picture.fromarray(pixels).resize((SIDE, SIDE)).save(content, "JPEG")
    for n in range(count):
        path = folder / "images" / name(n)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.getvalue() + json.dumps(n).encode())


def name(number: int) -> str:
    """Of a file below the images folder: a thousand share a folder."""
    return f"{number // 1000:04d}/{number % 1000:03d}.jpg"


def unread(folder: Path, count: int) -> None:
    """A project of empty files, registered as if they had been read."""
    for n in range(count):
        path = folder / "images" / name(n)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    project = create_project(folder / "project", folder / "images", SKELETON, 0)
    images = [
        Image(name(n), hashlib.sha256(name(n).encode()).hexdigest(), SIDE, SIDE)
        for n in range(count)
    ]
    box = Box(0.0, 0.0, SIDE, SIDE)
    with open_store(project) as store:
        store.add_images(images)
        store.keep_stamps(
            {
                image.path: FileStamp(0, status.st_mtime_ns, image.sha256, SIDE, SIDE)
                for image in images
                for status in [(folder / "images" / image.path).stat()]
            }
        )
        store.add_instances(NewInstance(image, box, "whole-image", SIDE**2) for image in images)


def fill(folder: Path) -> None:
    """Label a tenth of a project, and give it a round."""
    project = open_project(folder)
    rng = np.random.default_rng(0)
    with open_store(project) as store:
        ids = list(store.instances())
        visibility = np.full(len(SKELETON), 2)

        def entries() -> Iterator[Entry]:
            for id_ in ids[::10]:
                pose = human_pose(rng.uniform(0, SIDE, (len(SKELETON), 2)), visibility)
                content = keypoints_content(SKELETON, pose)
                yield Entry(id_, KEYPOINTS, content, "label", id_, "1", annotator="a")

        store.record(entries())
        head = store.head()

    def predictions() -> Iterator[Prediction]:
        for id_ in ids:
            score = rng.random(len(SKELETON))
            pose = Pose(rng.uniform(0, SIDE, (len(SKELETON), 2)), visibility, score)
            yield Prediction(id_, pose, rng.random(len(SKELETON)), float(score.mean()))

    path = begin_round(project, RoundPlan(0, "semi-weak", (), 0.0, head, {}, 0))
    write_predictions(path / "predictions.parquet", predictions(), SKELETON)
    with FeatureWriter(path / FEATURES_FILE) as writer:
        for id_ in ids:
            writer.add(id_, rng.standard_normal(LENGTH).astype(np.float16))
    finish_round(path, {})


if __name__ == "__main__":
    main()
