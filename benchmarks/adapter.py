"""How well another model's keypoints become ours, by the number of labelled objects.

The model's predictions of train/ and val/ are COCO files with scores, as `labelkit predict --with
mediapipe-face --images train/images --output train.json` writes them; one object an image. An
adapter is learned from some objects of train/, without names, and scored on val/, where an object
that the model did not find counts as missed. Three draws of objects each; the means are printed.
Drags are counted on the objects that were found, as they are shown and if others follow.

    python benchmarks/adapter.py --set faces --train train.json --val val.json
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from machine import machine
from numpy.typing import NDArray
from sets import DATA

from labelkit.domain.adapter import learn_adapter
from labelkit.domain.following import ErrorFollower, drags_until_right
from labelkit.files.documents import load_json
from labelkit.formats.coco import read_coco
from labelkit.metrics.table import markdown

COUNTS = (1, 2, 3, 5, 10, 20, 50, 100, 300)
SHARES = (0.05, 0.1, 0.2)
SEEDS = 3

Poses = dict[str, NDArray[np.float64]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", default="faces", help="Folder of LABELKIT_DATA: faces, lspet.")
    parser.add_argument("--train", type=Path, required=True, help="Predictions of train/.")
    parser.add_argument("--val", type=Path, required=True, help="Predictions of val/.")
    options = parser.parse_args()
    labels, scored = (DATA / options.set / part / "keypoints.json" for part in ("train", "val"))
    foreign, ours, truth = _poses(options.train), _poses(labels), _poses(scored)
    predicted, length = _poses(options.val), _long_sides(scored)
    nothing = np.full_like(next(iter(foreign.values())), np.nan)
    new = np.stack([predicted.get(name, nothing) for name in truth])
    known = np.stack(list(truth.values()))
    side = np.array([length[name] for name in truth])
    taught = _long_sides(labels)
    rows = [["labelled", *(f"pck@{share}" for share in SHARES), "median", "reached", "seconds"]]
    rows[0] += ["drags", "drags, following"]
    both = [name for name in ours if name in foreign]
    for count in COUNTS:
        if count <= len(both):
            found = [
                _scores(foreign, ours, taught, new, known, side, both, count, seed)
                for seed in range(SEEDS)
            ]
            values = np.mean(found, axis=0)
            cells = [f"{value:.3f}" for value in values[:4]]
            rows.append([str(count), *cells, f"{values[4]:.0f}", *(f"{v:.2f}" for v in values[5:])])
            print(" ".join(rows[-1]), flush=True)
    print(f"\n{len(predicted)} of {len(truth)} found. {machine()}\n\n{markdown(rows)}")


def _scores(
    foreign: Poses,
    ours: Poses,
    taught: dict[str, float],
    new: NDArray[np.float64],
    known: NDArray[np.float64],
    side: NDArray[np.float64],
    both: list[str],
    count: int,
    seed: int,
) -> list[float]:
    chosen = [both[place] for place in np.random.default_rng(seed).permutation(len(both))[:count]]
    begun = time.process_time()
    adapter = learn_adapter(
        np.stack([foreign[it] for it in chosen]), np.stack([ours[it] for it in chosen])
    )
    seconds = time.process_time() - begun
    length = np.array([taught[it] for it in chosen])[:, None, None]
    labels = np.stack([ours[it] for it in chosen])
    follower = ErrorFollower.learn((labels - adapter.left_out) / length)
    apart = (known - adapter(new)) / side[:, None, None]
    posed = apart[np.isfinite(apart).all(axis=2).any(axis=1)]
    drags = [float(drags_until_right(posed, each).mean()) for each in (None, follower)]
    error = np.linalg.norm(apart, axis=2)
    error = np.where(np.isnan(error), np.inf, error)[np.isfinite(known).all(axis=2)]
    hits = [float((error < share).mean()) for share in SHARES]
    return [*hits, float(np.median(error)), float(adapter.reached.sum()), seconds, *drags]


def _poses(file: Path) -> Poses:
    read = read_coco(load_json(file), str(file))
    return {
        Path(item.image_path).name: np.where(item.pose.present[:, None], item.pose.xy, np.nan)
        for item in read.annotations
    }


def _long_sides(file: Path) -> dict[str, float]:
    document = json.loads(file.read_text("utf-8"))
    names = {image["id"]: image["file_name"] for image in document["images"]}
    return {names[row["image_id"]]: max(row["bbox"][2:]) for row in document["annotations"]}


if __name__ == "__main__":
    main()
