"""Peak memory of registering and pre-annotating 1,000 against 10,000 generated images.

Each step is a process of its own. Pre-annotating is what a round does after training: predict every
instance, write predictions and maps, score the dev set.

    python benchmarks/memory.py [--images 1000 10000]
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import machine

from labelkit.metrics.table import markdown

STEPS = ("import", "register", "pre-annotate")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        do(options.step, options.folder)
        return
    print(f"{machine()}\n")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for count in options.images:
            folder = Path(name) / str(count)
            from labelkit.workflows.synthetic.figures import generate

            generate(folder, count, seed=0, size=128)
            for step in STEPS:
                started = time.perf_counter()
                command = [sys.executable, __file__, "--step", step, "--folder", str(folder)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                took = time.perf_counter() - started
                rows.append((step, f"{count:,}", f"{float(done.stdout):.0f}", f"{took:.0f}"))
    header = ("step", "images", "peak RSS, MB", "s with start")
    print(markdown((header, *sorted(rows))))


def do(step: str, folder: Path) -> None:
    """One step in this process; prints its peak memory in megabytes."""
    import torch

    from labelkit.domain.instance import Box
    from labelkit.domain.skeleton import load_skeleton
    from labelkit.models.checkpoint import network_header, save_checkpoint
    from labelkit.progress import Silent
    from labelkit.project.images import scan_images
    from labelkit.project.project import create_project, open_project
    from labelkit.project.rounds import RoundPlan, begin_round
    from labelkit.store.journal import VISIBILITY, Entry, visibility_content
    from labelkit.store.label_store import LabelStore, NewInstance
    from labelkit.workflows.rounds.networks import build_network
    from labelkit.workflows.rounds.run_round import run_round
    from labelkit.workflows.rounds.settings import TrainingOptions, preset_of, resolve

    torch.set_num_threads(1)
    skeleton = load_skeleton("lsp14")
    if step == "register":
        project = create_project(folder / "project", folder / "images", skeleton)
        with LabelStore.open(project.store_url) as store:
            images = scan_images(project.images_root).images
            store.add_images(images)
            made = store.add_instances(
                NewInstance(image, Box(0.0, 0.0, 128.0, 128.0), "whole-image", 128.0**2)
                for image in images
            )
            answer = visibility_content(skeleton, [True] * len(skeleton))
            store.record(Entry(i.id, VISIBILITY, answer, "file:a.csv", i.id, "1") for i in made)
    elif step == "pre-annotate":
        project = open_project(folder / "project")
        settings = resolve(TrainingOptions(preset="tiny", pretrained=False), {}, skeleton)
        preset = preset_of(settings)
        with LabelStore.open(project.store_url) as store:
            plan = RoundPlan(0, "location-free", (), 0.0, store.head(), settings, 0)
            header = network_header("lofr", len(skeleton), skeleton.links, preset)
            save_checkpoint(
                begin_round(project, plan) / "model.safetensors",
                build_network("lofr", skeleton, settings),
                {
                    "network": header,
                    "skeleton": {"name": skeleton.name, "keypoints": list(skeleton.keypoints)},
                },
            )
            run_round(project, store, plan, Silent(), devices=1)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main()
