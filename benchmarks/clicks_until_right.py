"""How many keypoints a person has to place until all of an object are right.

A round is trained on some objects of train/ with a tenth of them located, and predicts those of
val/, which no training used. A simulated annotator then places the worst keypoint exactly where the
truth has it, and again, until each present keypoint is within the tolerance, a share of the box's
long side: while the others stay, and while all of them are read again after each click. Visibility
is not counted: it costs the same either way.

The sets are those of `sets.py`; without the one named this script ends with a note. Run again, it
continues where it stopped.

    python benchmarks/clicks_until_right.py [--set lspet] [--folder scratch/clicks] [--epochs 8]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from lspet import run
from machine import machine
from numpy.typing import NDArray
from sets import DATA, Part, open_set

from labelkit.domain.pose import UNKNOWN, Pose, human_pose
from labelkit.metrics.table import markdown
from labelkit.progress import Silent
from labelkit.project.following import RoundFollower
from labelkit.project.predictions import read_predictions, write_predictions
from labelkit.project.project import Project, open_project
from labelkit.project.response_maps import MapReader, MapWriter
from labelkit.project.rounds import Round, latest_complete
from labelkit.store.ownership import open_store
from labelkit.workflows.intake.evaluation_set import EvaluationSet, evaluation_set
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.networks import load_network, predict_instances
from labelkit.workflows.rounds.run_round import keep_maps

TOLERANCES = (0.1, 0.05, 0.025)
#: Where all keypoints of an object are, given those that were placed.
Reading = Callable[[Pose], NDArray[np.float64]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    options = parser.parse_args()
    parts = open_set(options.set, options.folder, options.objects)
    if parts is None:
        print(f"Not run: {DATA / options.set} does not exist. Set LABELKIT_DATA.")
        return
    train, (images, labels) = parts
    project, found = trained_round(train, options)
    with open_store(project) as store:
        snapshot = read_snapshot(project, store)
    known = {*found.plan.labelled, *snapshot.dev} & snapshot.poses.keys()
    labelled = [(snapshot.instances[id_], snapshot.poses[id_]) for id_ in sorted(known)]
    with evaluation_set(project, snapshot, Silent(), images, labels) as data:
        predict_once(found, data, options.folder / "val")
        print(f"{machine()}; {len(labelled)} labelled, {len(data.truth)} objects of {images}\n")
        weights, skeleton = found.path / "model.safetensors", project.skeleton
        followers = {
            "by the tree": RoundFollower(weights, skeleton),
            "by the tree and the labelled poses": RoundFollower(weights, skeleton, labelled),
        }
        for tolerance in TOLERANCES:
            print(f"Right within {tolerance} of the box's long side:\n")
            print(table(followers, data, options.folder / "val", tolerance), flush=True)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `trained_round` reads."""
    parser.add_argument("--set", default="lspet", help="name of the set, see sets.py")
    parser.add_argument("--folder", type=Path, default=Path("scratch/clicks"))
    parser.add_argument("--objects", type=int, default=1500, help="of those to train on")
    parser.add_argument("--labeled", default="10%")
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--epochs", type=int, default=8)


def trained_round(train: Part, options: argparse.Namespace) -> tuple[Project, Round]:
    """A project with a complete first round, trained here unless that is done."""
    run(
        *("bootstrap", "--images", str(train.images), "--labels", str(train.labels)),
        *("--project", str(options.folder / "project"), "--labeled", options.labeled),
        *("--preset", "tiny", "--backbone", options.backbone, "--pretrained"),
        *("--epochs", str(options.epochs)),
    )
    project = open_project(options.folder / "project")
    found = latest_complete(project)
    assert found is not None
    return project, found


def predict_once(found: Round, data: EvaluationSet, folder: Path) -> None:
    """Write maps and predictions of the evaluation set as a round does, unless that is done."""
    if (folder / "predictions.parquet").is_file():
        return
    folder.mkdir(exist_ok=True)
    skeleton = data.project.skeleton
    network, _ = load_network(found.path / "model.safetensors", skeleton)
    settings = found.plan.settings
    outputs = predict_instances(data.project, network, settings, data.instances, Silent())
    with MapWriter(folder / "maps.parquet", skeleton.keypoints) as maps:
        write_predictions(folder / "predictions.parquet", keep_maps(outputs, maps), skeleton)


def table(
    followers: Mapping[str, RoundFollower], data: EvaluationSet, folder: Path, tolerance: float
) -> str:
    """Clicks an object, mean and standard deviation, by what moves after a click."""
    skeleton = data.project.skeleton
    predictions = read_predictions(folder / "predictions.parquet", skeleton)
    clicks: dict[str, list[int]] = {}
    with MapReader(folder / "maps.parquet", skeleton) as reader:
        for item, prediction in predictions.items():
            instance, truth, maps = data.instances[item], data.truth[item], reader.get(item)
            within = tolerance * instance.box.long_side
            shown = prediction.pose.xy

            def count(name: str, number: int) -> None:
                clicks.setdefault(name, []).append(number)

            count("from scratch", int(truth.present.sum()))
            count("the others stay", until_right(truth, shown, None, within))
            for name, follower in followers.items():
                reading = partial(follower.follow, instance, maps)
                count(f"the others follow {name}", until_right(truth, shown, reading, within))
    stay = np.array(clicks["the others stay"])
    rows = [("", "clicks an object", "saved", "objects with fewer", "with more")]
    for name, numbers in clicks.items():
        fewer = stay - numbers
        error = fewer.std() / np.sqrt(len(fewer))
        rows.append(
            (
                name,
                f"{np.mean(numbers):.2f} ± {np.std(numbers):.2f}",
                f"{fewer.mean():.2f} ± {error:.2f} ({fewer.mean() / stay.mean():.1%})",
                f"{(fewer > 0).mean():.0%}",
                f"{(fewer < 0).mean():.0%}",
            )
        )
    return markdown(rows)


def until_right(
    truth: Pose, xy: NDArray[np.float64], reading: Reading | None, within: float
) -> int:
    """How many keypoints are placed until all that are present are right, the worst one first.

    Args:
        truth: where the keypoints are placed.
        xy: (K, 2) where they are shown at first.
        reading: moves the others after each click; None leaves them.
        within: pixels from the truth.
    """
    placed: NDArray[np.bool_] = np.zeros(len(truth), dtype=bool)
    while True:
        off = np.where(truth.present, np.linalg.norm(xy - truth.xy, axis=1), 0.0)
        worst = int(off.argmax())
        if off[worst] <= within:
            return int(placed.sum())
        placed[worst] = True
        if reading is None:
            xy = np.where(placed[:, None], truth.xy, xy)
        else:
            xy = reading(human_pose(truth.xy, np.where(placed, truth.visibility, UNKNOWN)))


if __name__ == "__main__":
    main()
