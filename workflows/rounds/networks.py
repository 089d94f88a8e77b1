"""Networks for a project's skeleton: build, train, load, and predict with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelkit.domain.instance import Instance
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import CheckpointError, MissingDependencyError
from labelkit.progress import Progress
from labelkit.project.project import Project, is_main_process
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot
from labelkit.workflows.rounds.settings import preset_of

if TYPE_CHECKING:
    from labelkit.workflows.network.data import Example
    from labelkit.workflows.network.inference import PredictionWithMaps


def build_network(kind: str, skeleton: Skeleton, settings: Mapping[str, Any]) -> Any:
    """A network of `labelkit.models` for a skeleton.

    Args:
        kind: "lofr", "detr", "simple" or "twin".
        skeleton: whose keypoints it predicts.
        settings: see `resolve`.

    Raises:
        MissingDependencyError: if it needs ImageNet weights that cannot be downloaded.
    """
    from labelkit.models.parts.backbone import PretrainedUnavailable
    from labelkit.models.presets import build_model

    try:
        return build_model(
            kind,
            len(skeleton),
            skeleton.links,
            preset_of(settings),
            settings["pretrained"],
        )
    except PretrainedUnavailable as error:
        raise MissingDependencyError(
            f"The pretrained weights of {error.name} cannot be downloaded.",
            "Connect to the network, or train from scratch with: --no-pretrained",
        ) from error


def examples_of(snapshot: LabelSnapshot, labelled: Sequence[str]) -> list[Example]:
    """What a round learns from: locations of `labelled`, visibility answers of the others."""
    from labelkit.workflows.network.data import Example

    located = set(labelled)
    return [
        Example(
            snapshot.instances[item], presence, snapshot.poses[item] if item in located else None
        )
        for item, presence in snapshot.presences.items()
        if item not in snapshot.dev
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
        progress: gets one line an epoch.
        what: name of the training in these lines.
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
    state = training_state(model)
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
            "network": network_header(kind, len(skeleton), skeleton.links, preset),
            "skeleton": {"name": skeleton.name, "keypoints": list(skeleton.keypoints)},
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
        examples: the reader learns from those with locations. Without any it takes the pose prior
            in each of their boxes, if it has one.
        skeleton: of the examples.
        mirror: whether mirrored poses count too.
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


def load_network(path: Path, skeleton: Skeleton) -> tuple[Any, dict[str, Any]]:
    """The network that a round kept, and the header of its file.

    Raises:
        CheckpointError: if the file holds no network of labelkit, or one for other keypoints.
    """
    from labelkit.models.checkpoint import load_model

    advice = f"Put its own file back, or move {path.parent} away and run the same command again."
    try:
        network, header = load_model(path)
    except CheckpointError as error:
        raise CheckpointError(error.problem, advice) from error
    trained_for = header.get("skeleton") or {}
    if trained_for.get("keypoints") != list(skeleton.keypoints):
        raise CheckpointError(
            f"{path} was trained for the skeleton {trained_for.get('name')!r}; "
            f"the project has {skeleton.name!r}.",
            advice,
        )
    training = header.get("training", {})
    earlier = "heatmaps" if training.get("located") else "response"  # until 2026-11-28
    network.reader.read_from = training.get("read_from", earlier)  # type: ignore[union-attr]
    return network, header


def predict_instances(
    project: Project,
    network: Any,
    settings: Mapping[str, Any],
    instances: Mapping[str, Instance],
    progress: Progress,
) -> Iterator[PredictionWithMaps]:
    """Run a network on instances, a batch at a time.

    Args:
        project: images and skeleton.
        network: see `load_network`.
        settings: that it was trained with.
        instances: by id.
        progress: shows a bar.
    """
    from labelkit.workflows.network.inference import predict

    predictions = predict(
        network,
        list(instances.values()),
        project.images_root,
        project.skeleton,
        preset_of(settings)["input_size"],
        flip_test=settings["mirror"],
    )
    return progress.track(predictions, "Pre-annotating", len(instances))
