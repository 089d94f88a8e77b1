"""One training of a benchmark: its folder, whether it has been run, and running it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labelkit.domain.pose import UNKNOWN
from labelkit.domain.selection import format_percent, labelled_set
from labelkit.files.atomic import write_json
from labelkit.progress import Progress
from labelkit.project.project import Project
from labelkit.workflows.benchmarking.scores import scores_of
from labelkit.workflows.benchmarking.tables import LEFT_OUT, SIMPLE, UNANSWERED, Trial
from labelkit.workflows.intake.evaluation_set import EvaluationSet
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot
from labelkit.workflows.rounds.networks import (
    examples_of,
    fit_reader,
    load_network,
    restricted,
    train_network,
)
from labelkit.workflows.rounds.settings import preset_of

if TYPE_CHECKING:
    from labelkit.workflows.network.data import Example


@dataclass(frozen=True, slots=True)
class Bench:
    """What all trials of a benchmark share.

    Attributes:
        project: with the labelled images; runs and reports lie in its folder.
        labels: all labels, of which a trial may use a part.
        settings: see `resolve`.
        head: of the journal when the labels were read.
        test: the test set.
        name: of the test set, for the files.
    """

    project: Project
    labels: LabelSnapshot
    settings: Mapping[str, Any]
    head: int
    test: EvaluationSet
    name: str

    @property
    def truth(self) -> str:
        """A name of the test set and its labels: corrected labels have another name."""
        digest = hashlib.sha256()
        for id_, pose in sorted(self.test.truth.items()):
            instance = self.test.instances[id_]
            digest.update(id_.encode() + pose.xy.tobytes() + pose.visibility.tobytes())
            digest.update(np.array([*instance.box, instance.area]).tobytes())
        return f"{self.name}-{digest.hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class Run:
    """One trial with one seed.

    Attributes:
        trial: the row.
        seed: of the labelled instances and of the initial weights.
        settings: the benchmark's, with the changes of the row.
        labelled: the instances whose locations are used.
        record: everything that determines the result, for people who open the folder.
        folder: of the network; rows with the same training share it.
        scores: file of the scores on this test set with this way of reading.
    """

    trial: Trial
    seed: int
    settings: Mapping[str, Any]
    labelled: Sequence[str]
    record: Mapping[str, Any]
    folder: Path
    scores: Path

    def known(self, pictures: bool) -> dict[str, Any] | None:
        """The scores if they exist (and with `pictures`, only if the pictures exist too)."""
        if not self.scores.is_file() or (pictures and not (self.folder / "maps.png").is_file()):
            return None
        return dict(json.loads(self.scores.read_text(encoding="utf-8")))


def planned(bench: Bench, trial: Trial, seed: int) -> Run:
    """The run of a trial with a seed, before anything is trained."""
    settings = {**bench.settings, "changes": trial.changes}
    trainable = bench.labels.trainable
    labelled = labelled_set(trainable, len(trainable), trial.percent, (), seed)
    what = {
        "kind": trial.kind,
        "preset": preset_of(settings),  # a preset may change under the same name
        "labelled": labelled,
        "others": trial.others,
        "settings": settings,
        "seed": seed,
        "journal_head": bench.head,
    }
    key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]
    folder = bench.project.root / "runs" / key
    read = "".join(f"{name}-{value}-" for name, value in sorted(trial.reading.items()))
    record = what | {"name": trial.name, "labelled": len(labelled)}
    scores = folder / f"scores-{read}{bench.truth}.json"
    return Run(trial, seed, settings, labelled, record, folder, scores)


def scored(
    bench: Bench, run: Run, progress: Progress, place: str, pictures: bool
) -> Mapping[str, Any]:
    """The scores of a run, which is trained and scored only once.

    Args:
        bench: what it shares with the others.
        run: see `planned`.
        progress: of training and prediction.
        place: of its training among those requested, such as "1 of 3".
        pictures: also draw response maps and the similarity of part features.
    """
    from labelkit.models.presets import build_reader

    known = run.known(pictures)
    if known is not None:
        return known
    trial, settings = run.trial, run.settings
    examples = examples_of(bench.labels, run.labelled)
    crops = len(examples)  # the same for every row, and so is the number of steps
    examples = _taken(examples, trial)
    model = run.folder / "model.safetensors"
    if not model.is_file():
        write_json(run.folder / "trial.json", run.record)
        train_network(
            trial.kind,
            bench.project,
            examples,
            settings,
            run.seed,
            model,
            progress,
            f"{trial.name} at {format_percent(trial.percent)}, seed {run.seed} ({place})",
            1,
            crops=crops,
        )
    skeleton = bench.project.skeleton
    network, header = load_network(model, skeleton)
    if trial.reading:
        examples = restricted(examples, skeleton, network.skeleton)
        network.reader = build_reader(len(network.skeleton), preset_of(settings), trial.reading)
        fit_reader(network, examples, network.skeleton, settings["mirror"])
    result = scores_of(
        bench.project,
        network,
        settings,
        bench.labels,
        bench.test,
        progress,
        pictures=run.folder if pictures else None,
    )
    result["seconds"] = header["training"]["seconds"]
    result["device"] = header["training"]["device"]
    write_json(run.scores, result)
    return result


def _taken(examples: list[Example], trial: Trial) -> list[Example]:
    """The examples of a trial, with the other instances as it uses them."""
    if trial.others == LEFT_OUT or trial.kind == SIMPLE:
        return [example for example in examples if example.pose is not None]
    if trial.others == UNANSWERED:
        return [
            e if e.pose is not None else replace(e, presence=np.full_like(e.presence, UNKNOWN))
            for e in examples
        ]
    return examples
