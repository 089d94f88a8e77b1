"""What MediaPipe's networks give before anything is trained, after a few labelled objects.

    python benchmarks/public_networks.py --set lspet [--objects 300] [--turns 5]
    python benchmarks/public_networks.py --set faces

As `labelkit predict --with` does, people or faces are predicted in their boxes, and labelkit's
adapter is learned from random ones of `--objects` training images. Scored on all of val; an object
that is not found counts as missed. Nothing is chosen on val. An interrupted run continues.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from machine import machine
from sets import Part, open_set

from labelkit.domain.adapter import learn_adapter
from labelkit.files.documents import load_json
from labelkit.formats.coco import read_coco
from labelkit.metrics.table import markdown
from labelkit.progress import Console
from labelkit.workflows.loop.predict import predict_with

#: Set -> network, and the tolerances of PCK as shares of a box's long side.
SETS = {"lspet": ("mediapipe-pose", (0.2, 0.1)), "faces": ("mediapipe-face", (0.1, 0.05))}

#: Labelled objects that the adapter is learned from.
LABELLED = (5, 10, 20, 50, 100, 300)

Floats = np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", choices=SETS, default="lspet")
    parser.add_argument("--objects", type=int, default=300, help="of train, to learn from")
    parser.add_argument("--turns", type=int, default=5, help="random draws of labelled objects")
    parser.add_argument("--folder", type=Path, default=Path("scratch/public-networks"))
    options = parser.parse_args()
    network, tolerances = SETS[options.set]
    folder = options.folder / options.set
    parts = open_set(options.set, folder, options.objects)
    if parts is None:
        print(f"There is no set {options.set}: see benchmarks/sets.py.")
        return
    (ours, theirs, _, _), (truth, foreign, size, seconds) = (
        predicted(part, network, folder / f"{name}.json")
        for part, name in zip(parts, ("train", "val"), strict=True)
    )
    found = np.isfinite(foreign).all(axis=(1, 2))
    print(f"{machine()}\n")
    print(f"{network}: found {found.sum()} of {len(found)}, {seconds:.0f} s\n")
    rows = [("labelled", *(f"PCK@{tolerance:g}" for tolerance in tolerances))]
    taught = np.flatnonzero(np.isfinite(theirs).all(axis=(1, 2)))
    for count in LABELLED:
        scores = []
        for turn in range(options.turns):
            chosen = np.random.default_rng(turn).permutation(taught)[:count]
            adapted = learn_adapter(theirs[chosen], ours[chosen])(foreign)
            apart = np.linalg.norm(adapted - truth, axis=2) / size[:, None]
            apart[~found] = np.inf
            there = np.isfinite(truth[..., 0])
            scores.append([(apart[there] < tolerance).mean() for tolerance in tolerances])
        cells = zip(np.mean(scores, axis=0), np.std(scores, axis=0), strict=True)
        rows.append((str(count), *(f"{mean:.3f} ± {spread:.3f}" for mean, spread in cells)))
    print(markdown(rows))


def predicted(part: Part, network: str, file: Path) -> tuple[Floats, Floats, Floats, float]:
    """(N, K, 2) labels, (N, F, 2) poses, (N,) long sides of the boxes, and seconds."""
    started = time.perf_counter()
    predict_with(
        network,
        None,
        None,
        Console(),
        images=part.images,
        boxes=str(part.labels),
        output=file,
        overwrite=True,
    )
    seconds = time.perf_counter() - started
    labels = read_coco(load_json(part.labels), str(part.labels)).annotations
    poses = {
        (item.image_path, item.box): item.pose.xy
        for item in read_coco(load_json(file), str(file)).annotations
    }
    nothing = np.full_like(next(iter(poses.values())), np.nan)
    return (
        np.stack([np.where(i.pose.present[:, None], i.pose.xy, np.nan) for i in labels]),
        np.stack([poses.get((item.image_path, item.box), nothing) for item in labels]),
        np.array([item.box.long_side for item in labels]),
        seconds,
    )


if __name__ == "__main__":
    main()
