"""The table of `labelkit benchmark detector-free`: which networks, signals and shares of labels."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelkit.domain.instance import Image
from labelkit.domain.selection import format_percent, labelled_set
from labelkit.errors import InputError
from labelkit.files.atomic import write_json, write_text
from labelkit.metrics.table import json_measures, markdown
from labelkit.progress import Progress
from labelkit.workflows.benchmarking.report import BenchmarkReport
from labelkit.workflows.benchmarking.runs import Bench

#: The name of the table, as people type it.
DETECTOR_FREE = "detector-free"
TITLE = "Without a detector, from few labelled images"
#: Shares of the images whose labels are used.
PERCENT = (1.0, 5.0, 10.0, 25.0, 100.0)
#: Columns of the report, by the names of their measures.
COLUMNS = {
    "AP": "AP",
    "AP50": "AP50",
    "AP75": "AP75",
    "AR": "AR",
    "easy": "AP easy",
    "medium": "AP medium",
    "hard": "AP hard",
    "pseudo_labels": "pseudo-labels",
    "minutes": "minutes",
}
NOTE = (
    "The teacher, a moving average of the weights, is scored in every row, supervised-only too. "
    "Labelled are whole images. Easy, medium and hard images have a Crowd Index below .2, below .8 "
    "and above, computed from the labels. Pseudo-labels: accepted ones for each object that an "
    "unlabelled image is expected to have. Crowd regions of COCO count as background, and images "
    "without labelled objects are not scored."
)


@dataclass(frozen=True, slots=True)
class Trial:
    """One row: a network and what unlabelled images are used for.

    Attributes:
        kind: "single-stage" or "bottom-up".
        strategy: one of `STRATEGIES`.
        percent: of the images whose labels are used, 0 ... 100.
    """

    kind: str
    strategy: str
    percent: float

    @property
    def name(self) -> str:
        """As in the report."""
        return f"{self.kind}, {self.strategy}"


def trials() -> tuple[Trial, ...]:
    """Every row; with all labels there is nothing unlabelled to learn from."""
    from labelkit.models.detector_free.presets import KINDS
    from labelkit.workflows.detector_free.strategy import STRATEGIES

    return tuple(
        Trial(kind, name, percent)
        for percent in PERCENT
        for kind in KINDS
        for name, strategy in STRATEGIES.items()
        if percent < 100 or not strategy.uses_unlabelled
    )


def run_table(
    bench: Bench, asked: Sequence[Trial], seeds: int, progress: Progress
) -> BenchmarkReport:
    """Run and score the rows, except those that have been run before, and report every row.

    Args:
        bench: project, labels, settings and test set.
        asked: rows to run.
        seeds: number of seeds, from 0.
        progress: gets a line for each step.

    Raises:
        InputError: if no image has labels to train on.
        UsageError: on a canvas of a wrong size, or a backbone without all strides.
    """
    images = _images(bench)
    lines = []
    count, total = 0, len(asked) * seeds
    for trial in trials():
        runs = []
        for seed in range(seeds):
            count += trial in asked
            place = f"{count} of {total}"
            scores = _scored(bench, trial, seed, images, trial in asked, place, progress)
            if scores is not None:
                runs.append(scores)
        if len(runs) == seeds:
            lines.append((trial, runs))
    return _report(bench, lines)


def _images(bench: Bench) -> dict[str, tuple[Image, list[str]]]:
    """Image id -> the image and the ids of its objects; those of the dev set are left out."""
    dev = {bench.labels.instances[item].image.id for item in bench.labels.dev}
    found: dict[str, tuple[Image, list[str]]] = {}
    for id_, instance in bench.labels.instances.items():
        if instance.image.id not in dev:
            found.setdefault(instance.image.id, (instance.image, []))[1].append(id_)
    return found


def _scored(
    bench: Bench,
    trial: Trial,
    seed: int,
    images: Mapping[str, tuple[Image, list[str]]],
    may_train: bool,
    place: str,
    progress: Progress,
) -> Mapping[str, Any] | None:
    """The scores of one training, which is done only once; None if it has not been."""
    from labelkit.workflows.detector_free.networks import canvas_preset

    labels, settings = bench.labels, bench.settings
    labellable = [k for k, (_, ids) in images.items() if any(i in labels.poses for i in ids)]
    if not labellable:
        raise InputError(
            "No image has labels to train on.", "Give more labelled images: --labels FILE"
        )
    chosen = labelled_set(labellable, len(labellable), trial.percent, (), seed)
    preset = canvas_preset(settings, len(labellable))
    record = {
        "kind": trial.kind,
        "strategy": trial.strategy,
        "preset": preset,
        "settings": dict(settings),
        "labelled": chosen,
        "seed": seed,
        "journal_head": bench.head,
    }
    key = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:16]
    folder = bench.project.root / "runs" / key
    scores = folder / f"scores-{bench.truth}.json"
    if scores.is_file():
        return dict(json.loads(scores.read_text("utf-8")))
    if not may_train:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "trial.json", {**record, "labelled": len(chosen), "name": trial.name})
    percent = format_percent(trial.percent)
    what = f"{trial.name} at {percent}, seed {seed} ({place})"
    result = _train_and_score(bench, trial, seed, preset, chosen, images, folder, what, progress)
    write_json(scores, result)
    return result


def _train_and_score(
    bench: Bench,
    trial: Trial,
    seed: int,
    preset: Mapping[str, Any],
    chosen: Sequence[str],
    images: Mapping[str, tuple[Image, list[str]]],
    folder: Path,
    what: str,
    progress: Progress,
) -> dict[str, Any]:
    from labelkit.workflows.detector_free.canvases import LabelledImage
    from labelkit.workflows.detector_free.networks import trained_network
    from labelkit.workflows.detector_free.scoring import find_objects, people_of, scene_scores
    from labelkit.workflows.detector_free.strategy import STRATEGIES

    project, labels, skeleton = bench.project, bench.labels, bench.project.skeleton
    trained, facts = trained_network(
        trial.kind,
        STRATEGIES[trial.strategy],
        project,
        bench.settings,
        preset,
        [
            LabelledImage(
                image,
                tuple(labels.poses[i] for i in ids if i in labels.poses),
                tuple(labels.instances[i].box for i in ids if i not in labels.poses),
            )
            for image, ids in (images[id_] for id_ in chosen)
        ],
        [image for id_, (image, _) in images.items() if id_ not in set(chosen)],
        seed,
        folder / "model.safetensors",
        progress,
        what,
    )
    size_hw = tuple(preset["input_size"])
    objects = sorted(
        ((bench.test.instances[item], pose) for item, pose in bench.test.truth.items()),
        key=lambda pair: pair[0].image.path,
    )
    root = bench.test.project.images_root
    results = find_objects(trained, objects, root, skeleton, size_hw, progress)
    return {
        **json_measures(scene_scores(people_of(objects, skeleton), results, skeleton)),
        "pseudo_labels": facts["pseudo_labels"],
        "threshold": facts["threshold"],
        "minutes": facts["seconds"] / 60,
        "device": facts["device"],
        "labelled_images": facts["labelled_images"],
        "unlabelled_images": facts["unlabelled_images"],
    }


def _report(
    bench: Bench, lines: Sequence[tuple[Trial, Sequence[Mapping[str, Any]]]]
) -> BenchmarkReport:
    rows = [
        {
            "name": trial.name,
            "labeled": format_percent(trial.percent),
            "images": runs[0]["labelled_images"],
            "seeds": len(runs),
            **{column: _spread([run[column] for run in runs]) for column in COLUMNS},
        }
        for trial, runs in lines
    ]
    devices = sorted({run["device"] for _, runs in lines for run in runs})
    document = {
        "table": DETECTOR_FREE,
        "title": TITLE,
        "scored_on": bench.name,
        "settings": dict(bench.settings),
        "devices": devices,
        "note": NOTE,
        "rows": rows,
    }
    heading = ("row", "labeled", "images", "seeds", *COLUMNS.values())
    cells = [
        (
            row["name"],
            row["labeled"],
            str(row["images"]),
            str(row["seeds"]),
            *(_cell(row[column], row["seeds"]) for column in COLUMNS),
        )
        for row in rows
    ]
    start = "pretrained weights" if bench.settings["pretrained"] else "random weights"
    text = "\n".join(
        [
            f"# {TITLE}\n",
            f"Scored on {bench.name}; preset {bench.settings['preset']}, "
            f"{bench.settings['backbone']} from {start}; "
            f"{', '.join(devices) or 'nothing was trained'}.\n",
            markdown([heading, *cells]),
            f"{NOTE}\n",
        ]
    )
    folder = bench.project.root / "reports"
    files = tuple(folder / f"{DETECTOR_FREE}-{bench.name}{ending}" for ending in (".md", ".json"))
    write_text(files[0], text)
    write_json(files[1], document)
    return BenchmarkReport(text, document, files)


def _spread(values: Sequence[float | None]) -> tuple[float, float] | None:
    """Mean and standard deviation of the seeds; None where no image is of the kind."""
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values):
        return None
    return statistics.mean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else 0.0


def _cell(spread: tuple[float, float] | None, seeds: int) -> str:
    if spread is None:
        return "-"
    mean, deviation = spread
    return f"{mean:.3f}" if seeds == 1 else f"{mean:.3f} ± {deviation:.3f}"
