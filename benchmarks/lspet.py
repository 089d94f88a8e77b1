"""The loop on photographs of people doing sports (Leeds Sports Pose, extended).

Bootstrap without any location, retrain at 10 %, evaluate on images that nothing was trained on.
The data is a folder `lspet` with train/ and val/, each of images/ and keypoints.json (COCO), below
the folder named by LABELKIT_DATA (../shared/data unless set). It is not fetched; without it this
script says so and ends. Run again, it goes on where it was.

    python benchmarks/lspet.py [--folder scratch/lspet] [--preset tiny] [--epochs N]
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from machine import machine

from labelkit.cli.app import main as labelkit

DATA = Path(os.environ.get("LABELKIT_DATA", "../shared/data")) / "lspet"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("scratch/lspet"))
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--pretrained", action="store_true", help="start from ImageNet weights")
    said = parser.parse_args()
    train, val = said.data / "train", said.data / "val"
    if not (train / "keypoints.json").is_file():
        print(f"Not run: there is no {train / 'keypoints.json'}. Set LABELKIT_DATA.")
        return
    training = ["--preset", said.preset, "--pretrained" if said.pretrained else "--no-pretrained"]
    training += ["--epochs", str(said.epochs)] if said.epochs else []
    project = ["--project", str(said.folder)]
    started = time.monotonic()
    run(
        *(
            "bootstrap",
            "--images",
            str(train / "images"),
            "--labels",
            str(train / "keypoints.json"),
        ),
        *("--labeled", "0%", *training, *project),
    )
    run("retrain", "--labeled", "10%", *training, *project)
    print(f"{machine()}; {' '.join(training)}\n", flush=True)
    run(
        *("evaluate", "--images", str(val / "images"), "--labels", str(val / "keypoints.json")),
        *project,
    )
    print(f"\nTook {(time.monotonic() - started) / 60:.1f} min this time.")


def run(*arguments: str) -> None:
    """A command of labelkit in this process; ends the process if it fails."""
    try:
        labelkit(arguments)
    except SystemExit as stop:
        if stop.code:
            raise


if __name__ == "__main__":
    main()
