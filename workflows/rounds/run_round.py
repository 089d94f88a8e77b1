"""One round: train on what is locked, predict everything, queue what to correct next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labelkit.domain.instance import Instance
from labelkit.domain.pose import Pose
from labelkit.domain.prediction import Prediction
from labelkit.domain.selection import dev_set
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import MissingDependencyError, ProjectError, WaitingForLabels
from labelkit.files.atomic import write_json
from labelkit.formats.label_studio.export import LISTED
from labelkit.metrics.accuracy import presence_map
from labelkit.metrics.quality import notes_on, spearman, uninformative_keypoints
from labelkit.metrics.table import evaluate_row
from labelkit.progress import Progress
from labelkit.project.predictions import iter_predictions, read_predictions, write_predictions
from labelkit.project.project import Project, is_main_process
from labelkit.project.rounds import (
    Round,
    RoundPlan,
    begin_round,
    finish_round,
    latest_complete,
    take_back_round,
)
from labelkit.store.label_store import LabelStore
from labelkit.workflows.rounds.settings import (
    build_network,
    load_network,
    preset_of,
)

if TYPE_CHECKING:
    from labelkit.project.response_maps import MapWriter
    from labelkit.workflows.network.data import Example
    from labelkit.workflows.network.inference import PredictionWithMaps

#: Images whose instances are never trained on; every choice is made on them.
DEV_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class LabelSnapshot:
    """What humans have said about a project up to some moment.

    Attributes:
        instances: by id.
        presences: (K,) visibility answers by instance id.
        poses: human keypoints by instance id.
        dev: ids of the dev set.
        skipped: ids of instances that a human declined to answer.
    """

    instances: Mapping[str, Instance]
    presences: Mapping[str, np.ndarray]
    poses: Mapping[str, Pose]
    dev: frozenset[str]
    skipped: frozenset[str]

    @property
    def trainable(self) -> list[str]:
        """Instances that may give their locations to a training."""
        return [item for item in self.poses if item not in self.dev]


def read_snapshot(project: Project, store: LabelStore, as_of: int | None = None) -> LabelSnapshot:
    """Everything a round can know; `as_of` leaves out later answers."""
    instances = store.instances()
    return LabelSnapshot(
        instances,
        store.presences(project.skeleton, as_of),
        store.poses(project.skeleton, as_of),
        frozenset(dev_set(instances.values(), project.seed, DEV_SHARE)),
        frozenset(store.skipped(as_of)),
    )


def examples_of(labels: LabelSnapshot, labelled: Sequence[str]) -> list[Example]:
    """What a round learns from: `labelled` give locations, everybody else their answers."""
    from labelkit.workflows.network.data import Example

    located = set(labelled)
    return [
        Example(labels.instances[item], presence, labels.poses[item] if item in located else None)
        for item, presence in labels.presences.items()
        if item not in labels.dev
    ]


def run_round(
    project: Project,
    store: LabelStore,
    plan: RoundPlan,
    progress: Progress,
    devices: int | None,
) -> Round:
    """Carry out a plan, or what is left of it after a kill.

    The processes that help with a training on several devices end with it.

    Raises:
        WaitingForLabels: if there is no answer to learn from.
        MissingDependencyError: if pretrained weights cannot be had.
    """
    labels = read_snapshot(project, store, plan.journal_head)
    examples = examples_of(labels, plan.labelled)
    if not examples:
        raise WaitingForLabels(
            "Nobody has said yet which keypoints can be seen.",
            "Type: labelkit push, have the boxes ticked, then labelkit pull",
        )
    path = begin_round(project, plan)
    what = f"Round {plan.number:03d}"
    model = path / "model.safetensors"
    training: dict[str, Any] = {}
    if not model.is_file():
        answers = np.stack([e.presence for e in examples if e.presence is not None])
        warnings = notes_on(uninformative_keypoints(answers, project.skeleton))
        for warning in warnings[:LISTED]:
            progress.line(f"note: {warning}")
        if len(warnings) > LISTED:
            progress.line(f"note: ... and {len(warnings) - LISTED} more of that kind.")
        try:
            training = train_network(
                "lofr", project, examples, plan.settings, plan.seed, model, progress, what, devices
            )
        except MissingDependencyError:
            if is_main_process() and not _state_of(model).is_file():
                take_back_round(path)
            raise
    if not is_main_process():
        raise SystemExit(0)  # it only helped to train
    _state_of(model).unlink(missing_ok=True)  # where a kill came right before that
    network, header = load_network(model, project.skeleton)
    predictions, maps = path / "predictions.parquet", path / "maps" / "maps.parquet"
    if not (predictions.is_file() and maps.is_file()):
        _predict(project, network, plan, labels.instances, predictions, maps, progress)
    on_dev = {
        item.instance_id: item
        for item in iter_predictions(predictions, project.skeleton)
        if item.instance_id in labels.dev
    }
    metrics = _score(labels, on_dev, project.skeleton)
    write_json(path / "metrics.json", metrics)
    facts = {"training": training or header.get("training", {}), "dev": metrics}
    return finish_round(path, facts)


def train_network(
    kind: str,
    project: Project,
    examples: Sequence[Example],
    settings: Mapping[str, Any],
    seed: int,
    model: Path,
    progress: Progress,
    what: str,
    devices: int | None,
    crops: int | None = None,
) -> dict[str, Any]:
    """Train one network and keep its weights in `model`; a killed run goes on.

    Args:
        kind: "lofr", "detr", "simple" or "twin"; the last two know of no presence
            loss and make no pseudo-labels.
        project: images and skeleton.
        examples: to learn from.
        settings: see `resolve`.
        seed: of the training.
        model: where the weights go; training state lies beside it until then.
        progress: told one line an epoch.
        what: name of the run in these lines.
        devices: see `TrainingOptions`.
        crops: an epoch's worth; None for as many as there are examples.

    Returns:
        What was done, see `train`; also kept in the header of the weights.
    """
    import torch

    from labelkit.models.checkpoint import network_header, save_checkpoint
    from labelkit.workflows.network.training import make_recipe, train

    skeleton = project.skeleton
    preset = preset_of(settings)
    if kind in ("simple", "twin"):
        preset["loss"]["weights"] = (0.0, 0.0, 0.0, 0.0)
        preset["training"]["pseudo_labels_at"] = ()
    torch.manual_seed(seed)
    network = build_network(kind, skeleton, settings)
    fit_reader(network, examples, skeleton, preset["training"]["mirror"])
    state = _state_of(model)
    state.parent.mkdir(parents=True, exist_ok=True)
    located = any(example.pose is not None for example in examples)
    record = train(
        network,
        examples,
        skeleton,
        project.images_root,
        preset["input_size"],
        make_recipe(preset, crops or len(examples), settings["epochs"], seed, located),
        state,
        progress,
        what,
        devices,
    )
    if is_main_process():
        header = {
            "network": network_header(kind, len(skeleton), skeleton.links, preset, skeleton.pairs),
            "skeleton": {"name": skeleton.name, "keypoints": list(skeleton.keypoints)},
            "training": record,
        }
        save_checkpoint(model, network, header)
        state.unlink(missing_ok=True)
    return record


def fit_reader(network: Any, examples: Sequence[Example], skeleton: Skeleton, mirror: bool) -> None:
    """Tell a network's reader how keypoints lie to each other, where it wants to know.

    Args:
        network: see `build_network`.
        examples: of which those with locations are learned from; without any, a textbook pose in
            each of their boxes, where the reader knows of one.
        skeleton: of the examples.
        mirror: whether mirror images of poses are poses.
    """
    import torch

    from labelkit.workflows.network.data import poses_in_cells, prior_in_cells

    reader = network.reader
    if reader.tree is None:
        return
    size_hw = reader.tree.size_hw
    if reader.pose_prior and not any(example.pose is not None for example in examples):
        xy = prior_in_cells([example.instance for example in examples], skeleton, size_hw)
        if xy is not None:
            reader.tree.fit(xy, torch.ones(xy.shape[:2], dtype=torch.bool))
    else:
        reader.tree.fit(*poses_in_cells(examples, skeleton, size_hw, mirror))


def _state_of(model: Path) -> Path:
    """Where the state of a training lies until its weights do."""
    return model.with_name(f"{model.stem}-unfinished.safetensors")


def _predict(
    project: Project,
    network: Any,
    plan: RoundPlan,
    instances: Mapping[str, Instance],
    predictions: Path,
    maps: Path,
    progress: Progress,
) -> None:
    from labelkit.project.response_maps import MapWriter

    seen = predict_instances(project, network, plan.settings, instances, progress)
    with MapWriter(maps, project.skeleton.keypoints) as writer:
        write_predictions(predictions, _keep_maps(seen, writer), project.skeleton)


def predict_instances(
    project: Project,
    network: Any,
    settings: Mapping[str, Any],
    instances: Mapping[str, Instance],
    progress: Progress,
) -> Iterator[PredictionWithMaps]:
    """Run a network over instances."""
    from labelkit.workflows.network.inference import predict

    seen = predict(
        network,
        list(instances.values()),
        project.images_root,
        project.skeleton,
        preset_of(settings)["input_size"],
        flip_test=settings["mirror"],
    )
    return progress.track(seen, "Pre-annotating", len(instances))


def _keep_maps(seen: Iterator[PredictionWithMaps], writer: MapWriter) -> Iterator[Prediction]:
    for item in seen:
        writer.add(
            item.prediction.instance_id, item.to_cells.ravel().tolist(), item.response, item.cams
        )
        yield item.prediction


def _score(
    labels: LabelSnapshot, predictions: Mapping[str, Prediction], skeleton: Skeleton
) -> dict[str, Any]:
    """How good the round is on the dev set; None where it is too small to say."""
    answered = [item for item in labels.dev if item in labels.presences]
    located = {item: labels.poses[item] for item in labels.dev if item in labels.poses}
    result: dict[str, Any] = {"answered": len(answered), "located": len(located)}
    if answered:
        said = np.stack([predictions[item].presence for item in answered])
        truth = np.stack([labels.presences[item] for item in answered])
        for name, scores in (("presence_map", said), ("presence_map_chance", np.zeros_like(said))):
            value = presence_map(scores, truth)
            result[name] = None if np.isnan(value) else value
    if located:
        row = evaluate_row("dev", None, predictions, located, labels.instances, skeleton)
        result |= {key: value for key, value in row.as_dict().items() if "@" in key}
        seen = [item for item, pose in located.items() if pose.present.any()]
        error = [mean_error(predictions[i], located[i], labels.instances[i]) for i in seen]
        rank = spearman([predictions[i].score for i in seen], error)
        result["score_error_spearman"] = None if np.isnan(rank) else rank
    return result


def mean_error(prediction: Prediction, truth: Pose, instance: Instance) -> float:
    """0 exact ...: mean distance over present keypoints, as a share of the box's long side."""
    distance = np.linalg.norm(prediction.pose.xy - truth.xy, axis=1)[truth.present]
    return float(distance.mean()) / instance.box.long_side


def latest_predictions(project: Project) -> tuple[Round, dict[str, Prediction]]:
    """The newest complete round and what it predicted.

    Raises:
        ProjectError: if no round is complete.
    """
    newest = latest_complete(project)
    if newest is None:
        raise ProjectError(
            "No round is complete: there are no pre-annotations yet.",
            "What comes first is said by: labelkit status",
        )
    return newest, read_predictions(newest.path / "predictions.parquet", project.skeleton)
