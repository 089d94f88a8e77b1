"""Networks for a project's skeleton: build, train, load, and predict with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from labelkit.domain.instance import Instance
from labelkit.domain.pose import ABSENT, UNKNOWN
from labelkit.domain.prediction import Prediction
from labelkit.domain.skeleton import Skeleton, make_skeleton, skeleton_from_table
from labelkit.errors import (
    CheckpointError,
    MissingDependencyError,
    UsageError,
    WaitingForLabels,
)
from labelkit.progress import Progress
from labelkit.project.project import Project, is_main_process
from labelkit.project.rounds import read_from
from labelkit.project.teacher import evidence
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot
from labelkit.workflows.rounds.settings import preset_of, without_locations

if TYPE_CHECKING:
    from labelkit.models.parts.pretrained import PretrainedUnavailable
    from labelkit.workflows.network.data import Example
    from labelkit.workflows.network.inference import PredictionWithMaps

#: Objects that are in memory while they are predicted: a multiple of a batch, so that batches are
#: the same however many objects there are.
AT_ONCE = 51_200


def starting_weights(
    project: Project, settings: Mapping[str, Any], progress: Progress
) -> bool | Path:
    """What the backbone of a training starts from, fetched if need be; see `Backbone`.

    Args:
        project: whose folder a file of weights is relative to.
        settings: see `resolve`.
        progress: is told if training starts from random weights because there are no others.

    Raises:
        MissingDependencyError: if pretrained weights were asked for, and cannot be downloaded.
        UsageError: if a file of weights is gone.
    """
    from labelkit.models.parts.pretrained import PretrainedUnavailable, cached, fetch

    backbone, wanted = settings["backbone"], settings["pretrained"]
    if not wanted:
        return False
    if file := settings.get("weights"):
        path = (project.root / file).resolve()
        if not path.is_file():
            raise UsageError(
                f"There are no weights {path}.", "Give --weights FILE, or --no-pretrained."
            )
        return path
    try:
        if cached(backbone) is None:
            if is_main_process():
                progress.line(f"Fetching the weights of {backbone}.")
            fetch(backbone)
    except PretrainedUnavailable as error:
        if wanted is True:
            raise _unavailable(error) from error
        if is_main_process():
            progress.line(
                f"note: {error} Training starts from random ones. On LSPET with a tenth labelled "
                "that cost 7 points of PCK@0.2, and three times the epochs. "
                f"Get them with: labelkit weights fetch {backbone}. Without internet here, add "
                "--to DIR on a machine that has it."
            )
        return False
    return True


def _unavailable(error: PretrainedUnavailable) -> MissingDependencyError:
    return MissingDependencyError(
        str(error),
        f"Type: labelkit weights fetch {error.name} (--to DIR on a machine with internet), "
        "or train from scratch with: --no-pretrained",
    )


def build_network(
    kind: str, skeleton: Skeleton, settings: Mapping[str, Any], start: bool | Path = False
) -> Any:
    """A network of `labelkit.models` for a skeleton.

    Args:
        kind: "lofr", "detr", "simple" or "twin".
        skeleton: whose keypoints it predicts.
        settings: see `resolve`.
        start: see `starting_weights`; False for random weights.

    Raises:
        MissingDependencyError: if the downloaded weights are damaged.
        UsageError: if the backbone cannot be used, or the weights do not fit it.
    """
    from labelkit.models.parts.pixels import pixels_of
    from labelkit.models.parts.pretrained import PretrainedUnavailable, UnusableBackbone
    from labelkit.models.presets import build_model

    preset = preset_of(settings) | {"pixels": pixels_of(settings["backbone"])}
    try:
        return build_model(kind, len(skeleton), skeleton.links, preset, start)
    except PretrainedUnavailable as error:
        raise _unavailable(error) from error
    except UnusableBackbone as error:
        raise UsageError(str(error), "Give another --backbone, or other --weights.") from error


def examples_of(
    snapshot: LabelSnapshot,
    labelled: Sequence[str],
    lessons: Mapping[str, Prediction] = MappingProxyType({}),
) -> list[Example]:
    """What a round learns from: locations of `labelled`, visibility answers of the others.

    Args:
        snapshot: of the labels.
        labelled: ids of the instances that give locations.
        lessons: of a teacher, by instance id; its objects need no answer.
    """
    from labelkit.workflows.network.data import Example

    located = set(labelled)
    unanswered = (item for item in lessons if item in snapshot.instances)
    return [
        Example(
            snapshot.instances[item],
            snapshot.presences[item]
            if item in snapshot.presences
            else np.full(len(lessons[item].pose), UNKNOWN, dtype=np.int8),
            snapshot.poses[item] if item in located else None,
            lessons[item].pose if item in lessons else None,
        )
        for item in dict.fromkeys([*snapshot.presences, *unanswered])
        if item not in snapshot.dev
    ]


def dev_examples(snapshot: LabelSnapshot) -> list[Example]:
    """The objects of the dev set that have locations: a training is watched on them."""
    from labelkit.workflows.network.data import Example

    return [
        Example(snapshot.instances[item], snapshot.presences[item], snapshot.poses[item])
        for item in snapshot.dev
        if item in snapshot.poses
    ]


def learned(skeleton: Skeleton, examples: Sequence[Example]) -> Skeleton:
    """The keypoints that a training can teach: those located in any example, also by a teacher.

    Where nothing is located, they are those with any visibility answer. A network for the others
    would predict noise.

    Args:
        skeleton: of the examples.
        examples: to learn from.

    Raises:
        WaitingForLabels: if there are none.
    """
    located = [example.pose.known for example in examples if example.pose is not None]
    located += [example.lesson.present for example in examples if example.lesson is not None]
    told = np.any(located or [example.presence > UNKNOWN for example in examples], axis=0)
    if not told.any():
        raise WaitingForLabels(
            "No one has answered about any keypoint of the skeleton yet.",
            "Type: labelkit push, answer in Label Studio, then labelkit pull",
        )
    return skeleton.subset(np.flatnonzero(told).tolist())


def training_table(skeleton: Skeleton) -> dict[str, Any]:
    """What of a skeleton changes a training, as JSON values."""
    table = skeleton.to_table()
    return {key: table[key] for key in ("keypoints", "links", "pairs", "layout")}


def restricted(examples: Sequence[Example], skeleton: Skeleton, to: Skeleton) -> list[Example]:
    """Examples of a skeleton as examples of some of its keypoints."""
    columns = list(to.columns_in(skeleton.keypoints))
    return [
        replace(
            e,
            presence=e.presence[columns],
            pose=None if e.pose is None else e.pose.take(columns),
            lesson=None if e.lesson is None else e.lesson.take(columns),
        )
        for e in examples
    ]


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
    dev: Sequence[Example] = (),
) -> dict[str, Any]:
    """Train one network and keep its weights in `model`; an interrupted training continues.

    Args:
        kind: see `build_network`; "simple" and "twin" have no presence loss and make no
            pseudo-labels.
        project: images and skeleton.
        examples: to learn from.
        settings: see `resolve`.
        seed: of the training.
        model: where the weights go; the training state lies beside it until then.
        progress: gets a line now and then.
        what: name of the training in these lines.
        devices: see `TrainingOptions`.
        crops: an epoch's worth; None for as many as there are examples.
        dev: see `train`.

    Returns:
        What was done, see `train`, and "pretrained": False, True or the file of the weights that
        the backbone started from. Also kept in the header of the weights.
    """
    import torch

    from labelkit.models.checkpoint import network_header, save_checkpoint
    from labelkit.models.parts.pixels import pixels_of
    from labelkit.models.presets import freeze_backbones
    from labelkit.workflows.network.precision import fastest_precision
    from labelkit.workflows.network.training import make_recipe, processes_of, train

    skeleton = learned(project.skeleton, examples)
    examples = restricted(examples, project.skeleton, skeleton)
    dev = restricted(dev, project.skeleton, skeleton)
    located = any(example.located is not None for example in examples)
    start = starting_weights(project, settings, progress)
    frozen = False
    if not located:
        frozen = bool(start) and preset_of(settings)["training"]["frozen_unlocated"]
        answers = np.concatenate([example.presence for example in examples])
        absent = float((answers[answers > UNKNOWN] == ABSENT).mean())
        settings = without_locations(settings, absent, frozen)
    preset = preset_of(settings)
    if kind in ("simple", "twin"):
        preset["loss"]["weights"] = (0.0, 0.0, 0.0, 0.0)
        preset["training"]["pseudo_labels_at"] = ()
    preset["pixels"] = pixels_of(preset["backbone"])
    torch.manual_seed(seed)
    network = build_network(kind, skeleton, settings, start)
    if frozen:
        freeze_backbones(network)
    fit_reader(network, examples, skeleton, preset["training"]["mirror"])
    state = training_state(model)
    state.parent.mkdir(parents=True, exist_ok=True)
    record = train(
        network,
        examples,
        skeleton,
        project.images_root,
        preset["input_size"],
        make_recipe(
            preset,
            crops or len(examples),
            settings["epochs"],
            seed,
            located,
            settings.get("precision") or fastest_precision(preset["backbone"], devices or 1),
            settings.get("least_steps"),
            settings.get("minutes", 0.0),
            bool(start),
            processes_of(devices),
        ),
        state,
        progress,
        what,
        devices,
        dev,
    )
    record["pretrained"] = start.name if isinstance(start, Path) else start
    if is_main_process():
        header = {
            "network": network_header(kind, len(skeleton), skeleton.links, preset),
            "skeleton": skeleton.to_table(),
            "training": record,
        }
        save_checkpoint(model, network, header)
        state.unlink(missing_ok=True)
    return record


def training_state(model: Path) -> Path:
    """Where the state of a training lies until its weights are in `model`."""
    return model.with_name(f"{model.stem}-unfinished.safetensors")


def fit_reader(network: Any, examples: Sequence[Example], skeleton: Skeleton, mirror: bool) -> None:
    """Teach a network's reader how keypoints lie relative to each other, if it uses that.

    Args:
        network: see `build_network`.
        examples: the reader learns from those with locations, or a teacher's. Without any it takes
            the pose prior in each of their boxes, if it has one.
        skeleton: of the examples.
        mirror: whether mirrored poses count too.
    """
    import torch

    from labelkit.workflows.network.data import poses_in_cells, prior_in_cells

    reader = network.reader
    if reader.tree is None:
        return
    size_hw = reader.tree.size_hw
    if reader.pose_prior and not any(example.located is not None for example in examples):
        xy = prior_in_cells([example.instance for example in examples], skeleton, size_hw)
        if xy is not None:
            reader.tree.fit(xy, torch.ones(xy.shape[:2], dtype=torch.bool))
    else:
        reader.tree.fit(*poses_in_cells(examples, skeleton, size_hw, mirror))


def load_network(path: Path, skeleton: Skeleton) -> tuple[Any, dict[str, Any]]:
    """The network that a round kept, and the header of its file.

    Its attribute `skeleton` says what it predicts: what it has learned, which need not be all of
    the project's keypoints, under the names that they had then.

    Raises:
        CheckpointError: if the file holds no network of labelkit, or one for other keypoints.
    """
    from labelkit.models.checkpoint import load_model

    advice = f"Put its own file back, or move {path.parent} away and run the same command again."
    try:
        network, header = load_model(path)
    except CheckpointError as error:
        raise CheckpointError(error.problem, advice) from error
    trained_for = _trained_for(header.get("skeleton") or {}, skeleton)
    if max(skeleton.columns_in(trained_for.keypoints)) < 0:
        raise CheckpointError(
            f"{path} was trained for the skeleton {trained_for.name!r}; "
            f"the project has {skeleton.name!r}.",
            advice,
        )
    network.skeleton = trained_for  # type: ignore[assignment]
    network.reader.read_from = read_from(header.get("training", {}))  # type: ignore[union-attr]
    return network, header


def _trained_for(table: Mapping[str, Any], skeleton: Skeleton) -> Skeleton:
    """The skeleton of a network, from the header of its file.

    Networks trained until 2026-11-28 name only their keypoints: the rest is as in the project, or
    where keypoints were removed from it, as their names tell.
    """
    if "pairs" in table:
        return skeleton_from_table(table, "the network")
    names = [skeleton.present_name(name) for name in table.get("keypoints") or ["(no names)"]]
    if set(names) <= set(skeleton.keypoints):
        return skeleton.subset([skeleton.index(name) for name in names])
    return make_skeleton(str(table.get("name")), names)


def predict_instances(
    project: Project,
    network: Any,
    settings: Mapping[str, Any],
    instances: Mapping[str, Instance],
    progress: Progress,
) -> Iterator[PredictionWithMaps]:
    """Run a network on instances, a batch at a time.

    Predictions have the project's keypoints; those that the network has not learned are unknown.

    Args:
        project: images and skeleton.
        network: see `load_network`.
        settings: that it was trained with, see `settings_of`. Its teacher's poses are evidence
            beside the maps.
        instances: by id.
        progress: shows a bar.
    """
    from labelkit.workflows.network.sharing import predict_shared

    columns = np.array(project.skeleton.columns_in(network.skeleton.keypoints))

    def predicted(some: Sequence[Instance]) -> Iterator[PredictionWithMaps]:
        beside = evidence(project, settings, some)
        if beside is not None:
            of_network = np.full((len(beside), len(network.skeleton), 3), np.nan)
            of_network[:, columns[columns >= 0]] = beside[:, columns >= 0]
            beside = of_network
        return predict_shared(
            network,
            some,
            project.images_root,
            network.skeleton,
            preset_of(settings)["input_size"],
            flip_test=settings["mirror"],
            precision=settings.get("precision", "full"),
            evidence=beside,
        )

    rest = iter(instances.values())
    some = iter(lambda: list(islice(rest, AT_ONCE)), [])
    predictions: Iterator[PredictionWithMaps] = chain.from_iterable(map(predicted, some))
    if network.skeleton.keypoints != project.skeleton.keypoints:
        predictions = (item.take(columns) for item in predictions)
    return progress.track(predictions, "Pre-annotating", len(instances))
