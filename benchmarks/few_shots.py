"""What 10, 20, 50 and 100 labelled objects buy, beside the poses that need no network.

Each set is registered once. Of its objects a fifth (of LSPET a twentieth), whole images at random,
are scored on and never trained on; the labelled ones are drawn from the rest, each larger number
holding the smaller ones. Objects without a box are whole images. The data is not downloaded: sets
are looked for in LABELKIT_DATA (default: ../shared/data), and those that are not there are left
out. Run again, it continues where it stopped; rows that are complete are not trained again.

    python benchmarks/few_shots.py [--set fish --set lips] [--objects 10 --objects 50] [--seeds 3]
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import machine

from labelkit.domain.pose_priors import MeanPose, skeleton_in_box
from labelkit.domain.prediction import Prediction, prior_predictions
from labelkit.domain.selection import stable_order
from labelkit.domain.skeleton import make_skeleton
from labelkit.files.atomic import write_json
from labelkit.metrics.table import evaluate_row, json_measures, markdown
from labelkit.progress import Console, Progress, Silent
from labelkit.project.project import Project, lock_project, project_with_own_store
from labelkit.store.ownership import open_store
from labelkit.workflows.intake.label_sets import read_label_files
from labelkit.workflows.intake.register import register_labelled
from labelkit.workflows.rounds.dev_set import begin_dev_set, settle_dev_set
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot, read_snapshot
from labelkit.workflows.rounds.networks import (
    examples_of,
    load_network,
    predict_instances,
    train_network,
)
from labelkit.workflows.rounds.settings import TrainingOptions, preset_of, resolve

DATA = Path(os.environ.get("LABELKIT_DATA", "../shared/data"))
#: Steps between two states on disk, where the number of steps is given.
EPOCH = 25
MEASURES = ("median_px", "pck@0.05", "pck@0.1")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a set lies below the data folder.

    Attributes:
        images, labels: a folder, and a label file or a folder of them.
        dev_percent: of its objects, to score on.
        keypoints: their number, where the labels do not name them.
    """

    images: str
    labels: str
    dev_percent: float = 20.0
    keypoints: int = 0


SETS = {
    "fish": Source("fish", "fish/data.yaml", keypoints=17),
    "lips": Source("lips", "lips/labeled-data"),
    "mouse": Source("openfield-mouse", "openfield-mouse/labeled-data"),
    "faces": Source("faces/train/images", "faces/train/keypoints.json"),
    "lspet": Source("lspet/train/images", "lspet/train/keypoints.json", 5.0),
}


@dataclass(frozen=True, slots=True)
class FewShots:
    """One set, ready to be trained on.

    Attributes:
        project, labels: the set, registered.
        folder: of its networks and scores.
    """

    project: Project
    labels: LabelSnapshot
    folder: Path

    def scores(self, predictions: Sequence[Prediction]) -> dict[str, Any]:
        """The measures of predictions of the dev set."""
        truth = {item: pose for item, pose in self.labels.poses.items() if item in self.labels.dev}
        by_id = {item.instance_id: item for item in predictions}
        row = evaluate_row("", None, by_id, truth, self.labels.instances, self.project.skeleton)
        return json_measures(row.measures)

    def prior_rows(self, count: int, seed: int) -> dict[str, dict[str, Any]]:
        """Skeleton in box, and the mean pose of the labelled objects."""
        skeleton, labels = self.project.skeleton, self.labels
        ids = [item for item in labels.poses if item in labels.dev]
        boxes = [labels.instances[item].box for item in ids]
        labelled = self.labelled(count, seed)
        poses = [labels.poses[item] for item in labelled]
        mean = MeanPose.fit(poses, [labels.instances[item].box for item in labelled], skeleton)
        rows = {"mean pose": prior_predictions(ids, mean.apply(boxes), mean.share)}
        if skeleton.has_layout:
            nothing = [float("nan")] * len(skeleton)
            flat = skeleton_in_box(boxes, skeleton)
            rows = {"skeleton in box": prior_predictions(ids, flat, nothing), **rows}
        return {name: self.scores(list(found.values())) for name, found in rows.items()}

    def labelled(self, count: int, seed: int) -> list[str]:
        """The objects whose keypoints are used."""
        return sorted(stable_order(self.labels.trainable, seed)[:count])

    def network_row(
        self,
        count: int,
        seed: int,
        options: TrainingOptions,
        steps: int | None,
        progress: Progress,
    ) -> dict[str, Any]:
        """The network that a first round trains on these objects; trained and scored once.

        Args:
            count, seed: which objects.
            options: of the training.
            steps: of the optimiser, rounded up to `EPOCH`; None for as many as a round has.
            progress: told about the training.
        """
        folder = self.folder / f"{count}-{seed}"
        file, model = folder / "scores.json", folder / "model.safetensors"
        if file.is_file():
            return dict(json.loads(file.read_text("utf-8")))
        labelled, labels, project = self.labelled(count, seed), self.labels, self.project
        boxes = [labels.instances[item].box for item in labelled]
        poses = [labels.poses[item] for item in labelled]
        settings = resolve(options, {}, project.skeleton, boxes, poses)
        examples = [e for e in examples_of(labels, labelled) if e.pose is not None]
        name = f"{self.folder.name}, {count} objects, seed {seed}"
        crops = None
        if steps:
            crops = EPOCH * preset_of(settings)["training"]["batch_size"]
            settings |= {"epochs": math.ceil(steps / EPOCH), "least_steps": 0}
        if not model.is_file():
            train_network(
                "lofr", project, examples, settings, seed, model, progress, name, 1, crops
            )
        network, header = load_network(model, project.skeleton)
        dev = {item: labels.instances[item] for item in labels.poses if item in labels.dev}
        found = predict_instances(project, network, settings, dev, Silent())
        training = header["training"]
        row = self.scores([item.prediction for item in found])
        row |= {"steps": training["recipe"]["steps"], "minutes": training["seconds"] / 60}
        write_json(file, row)
        return row


def registered(name: str, source: Source, folder: Path) -> FewShots:
    """A set as a project of its own, made once."""
    labels, images = DATA / source.labels, DATA / source.images
    if source.keypoints:
        skeleton = make_skeleton(name, [f"point{n}" for n in range(1, source.keypoints + 1)])
    else:
        skeleton = read_label_files([labels], None)[0].skeleton
    project = project_with_own_store(folder, images, skeleton)
    with lock_project(project), open_store(project) as store:
        begin_dev_set(store)
        register_labelled(project, store, Silent(), labels)
        settle_dev_set(project, store, source.dev_percent)
        return FewShots(project, read_snapshot(project, store), folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("scratch/few_shots"))
    parser.add_argument("--set", action="append", choices=SETS, help="default: all")
    parser.add_argument("--objects", type=int, action="append", help="default: 10, 20, 50, 100")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--backbone")
    parser.add_argument("--steps", type=int, help="default: as many as a round has")
    given = parser.parse_args()
    options = TrainingOptions(given.preset, given.backbone, pretrained=True)
    print(f"{machine()}\n")
    rows = []
    for name in given.set or SETS:
        if not (DATA / SETS[name].images).is_dir():
            print(f"Left out: {name} is not in {DATA}. Set LABELKIT_DATA.")
            continue
        shots = registered(name, SETS[name], given.folder / name)
        for count in given.objects or (10, 20, 50, 100):
            for seed in range(given.seeds):
                found = shots.prior_rows(count, seed)
                found["LOFR"] = shots.network_row(count, seed, options, given.steps, Console())
                for row, measures in found.items():
                    rows.append((name, str(count), str(seed), row, *written(measures)))
    header = ("set", "objects", "seed", "row", "median px", "pck@0.05", "pck@0.1", "steps", "min")
    print(markdown((header, *rows)))


def written(measures: dict[str, Any]) -> tuple[str, ...]:
    """The cells of a row."""
    steps, minutes = measures.get("steps", "-"), measures.get("minutes")
    pixels, *shares = (measures[key] for key in MEASURES)
    took = "-" if minutes is None else f"{minutes:.1f}"
    return (f"{pixels:.1f}", *(f"{share:.3f}" for share in shares), str(steps), took)


if __name__ == "__main__":
    main()
