"""The loop on photographs of people doing sports (Leeds Sports Pose, extended).

Bootstrap without locations, retrain at 10 %, evaluate on images that no training used. The data is
a folder `lspet` with train/ and val/, each with images/ and keypoints.json (COCO), in the folder
LABELKIT_DATA (default: ../shared/data). It is not downloaded; without it this script ends with a
note. Run again, it continues where it stopped.

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
    options = parser.parse_args()
    train, val = options.data / "train", options.data / "val"
    if not (train / "keypoints.json").is_file():
        print(f"Not run: {train / 'keypoints.json'} does not exist. Set LABELKIT_DATA.")
        return
    training = [
        "--preset",
        options.preset,
        "--pretrained" if options.pretrained else "--no-pretrained",
    ]
    training += ["--epochs", str(options.epochs)] if options.epochs else []
    project = ["--project", str(options.folder)]
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
    """Run a labelkit command in this process; a failure ends the process."""
    try:
        labelkit(arguments)
    except SystemExit as stop:
        if stop.code:
            raise


if __name__ == "__main__":
    main()
