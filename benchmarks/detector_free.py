"""The table of `labelkit benchmark detector-free` on generated scenes, on mosaics and on salmon.

Scenes hold 2 to 20 toy robots that overlap. Mosaics hold 2 to 6 people of LSPET, train and val
apart. Salmon have 1 to 5 fish an image and 11 keypoints. Pictures of people and fish are looked for
in LABELKIT_DATA (default: ../shared/data); what is not there is left out. Run again, it continues.

    python benchmarks/detector_free.py [--set scenes] [--labeled 10%] [--only both] [--epochs N]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import machine
from sets import DATA, Part, open_set

from labelkit.cli.app import main as labelkit
from labelkit.domain.skeleton import Skeleton
from labelkit.project.images import open_upright
from labelkit.workflows.intake.label_sets import read_label_files
from labelkit.workflows.synthetic.figure_drawing import SKELETON
from labelkit.workflows.synthetic.scenes import Scene, mosaic, robot_scene, write_scenes

#: Pictures to train on and to score on, and their width and height.
TRAIN, TEST, SIZE = 1000, 200, 192
SETS = ("scenes", "mosaics", "salmon")

Draw = Callable[[np.random.Generator], Scene]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("scratch/detector-free"))
    parser.add_argument("--set", action="append", choices=SETS, help="default: all")
    parser.add_argument("--labeled", action="append", help="default: 10%%, of salmon 25%% too")
    parser.add_argument("--only", default="")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int)
    options = parser.parse_args()
    print(f"{machine()}\n", flush=True)
    for name in options.set or SETS:
        parts = prepared(name, options.folder / "sets" / name)
        if parts is None:
            print(f"{name}: not run, its pictures are not in {DATA}.")
            continue
        train, test = parts
        shares = options.labeled or (["10%", "25%"] if name == "salmon" else ["10%"])
        arguments = ["benchmark", "detector-free", "--project", str(options.folder / name)]
        arguments += ["--images", str(train.images), "--labels", str(train.labels)]
        arguments += ["--test-images", str(test.images), "--test-labels", str(test.labels)]
        arguments += [word for share in shares for word in ("--labeled", share)]
        arguments += ["--seeds", str(options.seeds), "--only", options.only, "--preset", "tiny"]
        arguments += ["--epochs", str(options.epochs)] if options.epochs else []
        # Colours mark the sides of robots: a mirrored one is another robot.
        arguments += ["--no-mirror"] if name == "scenes" else []
        try:
            labelkit(arguments)
        except SystemExit as stop:
            if stop.code:
                raise


def prepared(name: str, folder: Path) -> tuple[Part, Part] | None:
    """The pictures to train on and those to score on, drawn or copied once; None without data."""
    if name == "salmon":
        return open_set("salmon", folder, TRAIN)
    if name == "scenes":
        return drawn(folder, "train", SKELETON, scene), drawn(folder, "test", SKELETON, scene)
    if not (DATA / "lspet" / "train" / "keypoints.json").is_file():
        return None
    train, test = (people_of(DATA / "lspet" / part) for part in ("train", "val"))
    return drawn(folder, "train", *train), drawn(folder, "test", *test)


def drawn(folder: Path, part: str, skeleton: Skeleton, draw: Draw) -> Part:
    """One part of a generated set."""
    count, seed = (TRAIN, 0) if part == "train" else (TEST, 1)
    labels = folder / part / "keypoints.json"
    if not labels.is_file():
        write_scenes(folder / part, count, seed, draw, skeleton)
    return Part(folder / part / "images", labels)


def scene(rng: np.random.Generator) -> Scene:
    """Between 2 and 20 robots, few more often than many."""
    return robot_scene(rng, 2 + int(18 * rng.random() ** 3 + 0.5), SIZE)


def people_of(source: Path) -> tuple[Skeleton, Draw]:
    """Their skeleton, and what draws a mosaic of 2 to 6 of them."""
    (file,) = read_label_files([source / "keypoints.json"], None)
    people = [item for item in file.annotations if item.pose.present.sum() >= 6]

    def draw(rng: np.random.Generator) -> Scene:
        chosen = rng.choice(len(people), size=int(rng.integers(2, 7)), replace=False)
        return mosaic(
            rng,
            [
                (open_upright(source / "images" / people[i].image_path), people[i].pose)
                for i in chosen
            ],
            SIZE,
        )

    return file.skeleton, draw


if __name__ == "__main__":
    main()
