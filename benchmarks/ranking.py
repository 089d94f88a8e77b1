"""Whether the score of an instance falls as its error grows, for every round of a project.

Rank correlation (Spearman) with the mean distance from the true keypoints, on images that no
training used: of the instance score, of the mean height of the peaks, and of keypoint scores with
keypoint errors. Without arguments it measures the projects of `demo_seeds.py` and `lspet.py`, if
they exist. Without images it uses the project's dev set.

    python benchmarks/ranking.py [PROJECT [--images DIR --labels FILE] [--most N]]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from lspet import DATA
from machine import machine

from labelkit.metrics.quality import spearman
from labelkit.metrics.table import markdown
from labelkit.progress import Console
from labelkit.project.preannotation import PRESENT
from labelkit.project.project import Project, open_project
from labelkit.project.rounds import COMPLETE, Round, rounds
from labelkit.store.label_store import LabelStore
from labelkit.workflows.intake.evaluation_set import EvaluationSet, evaluation_set
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.networks import load_network, predict_instances
from labelkit.workflows.rounds.run_round import mean_error

#: (project, folder with images/ and keypoints.json)
USUAL = (
    *(
        (Path(f"scratch/demo_seeds/{n}/project"), Path(f"scratch/demo_seeds/{n}/test"))
        for n in (0, 1, 2)
    ),
    (Path("scratch/lspet"), DATA / "val"),
)
COLUMNS = ("instances", "mean error", "score", "peak", "keypoint score")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path, nargs="?")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--most", type=int, default=1000, help="instances of each project")
    options = parser.parse_args()
    chosen = [(options.project, options.images, options.labels)]
    if options.project is None:
        chosen = [
            (project, folder / "images", folder / "keypoints.json")
            for project, folder in USUAL
            if (project / "labelkit.toml").is_file() and (folder / "keypoints.json").is_file()
        ]
    print(f"{machine()}\n", flush=True)
    lines = [row for item in chosen for row in rows_of(*item, options.most)]
    print(markdown((("round", *COLUMNS), *lines)) if lines else "Not run: no project exists yet.")


def rows_of(
    root: Path, images: Path | None, labels: Path | None, most: int
) -> Iterator[tuple[str, ...]]:
    """A row for each complete round."""
    project = open_project(root)
    with LabelStore.open(project.store_url) as store:
        known = read_snapshot(project, store)
        with evaluation_set(project, known, Console(), images, labels) as data:
            for found in rounds(project):
                if found.status == COMPLETE:
                    kind = f"{found.plan.labelled_share:.0%}" if found.plan.labelled else "0%"
                    name = f"{root} {found.path.name} at {kind}"
                    yield (name, *numbers_of(found, project, data, most))


def numbers_of(found: Round, project: Project, data: EvaluationSet, most: int) -> tuple[str, ...]:
    """The numbers of `COLUMNS`."""
    network, _ = load_network(found.path / "model.safetensors", project.skeleton)
    instances = dict(islice(data.instances.items(), most))
    predictions = predict_instances(
        data.project, network, found.plan.settings, instances, Console()
    )
    scores, peaks, errors = [], [], []
    keypoint_scores, keypoint_errors = [], []
    for item in predictions:
        prediction = item.prediction
        instance, truth = instances[prediction.instance_id], data.truth[prediction.instance_id]
        if not truth.present.any():
            continue
        shown = prediction.presence > PRESENT
        peak = item.response.max(axis=(1, 2))[shown]
        scores.append(prediction.score)
        peaks.append(peak.mean() if len(peak) else 0.0)
        errors.append(mean_error(prediction, truth, instance))
        away = np.linalg.norm(prediction.pose.xy - truth.xy, axis=1)[truth.present]
        keypoint_scores.append(prediction.pose.score[truth.present])
        keypoint_errors.append(away / instance.box.long_side)
    of_keypoints = spearman(np.concatenate(keypoint_scores), np.concatenate(keypoint_errors))
    ranks = (spearman(scores, errors), spearman(peaks, errors), of_keypoints)
    return (
        str(len(errors)),
        f"{np.mean(errors):.3f}",
        *("-" if np.isnan(rank) else f"{rank:.2f}" for rank in ranks),
    )


if __name__ == "__main__":
    main()
