"""Which network is trained and how: what the user said, or the last round, or the machine."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelkit.domain.skeleton import Skeleton
from labelkit.errors import CheckpointError, MissingDependencyError, UsageError


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """What the user said about training; None where nothing was said.

    Attributes:
        preset: "paper", "plus" or "tiny".
        backbone: name of a timm model.
        epochs: passes over as many crops as the project has instances.
        pretrained: start from ImageNet weights.
        rotation: degrees by which training crops turn, either way.
        mirror: mirror training crops, sides renamed.
        seed: of the training.
        devices: GPUs or processes on each machine.
    """

    preset: str | None = None
    backbone: str | None = None
    epochs: int | None = None
    pretrained: bool | None = None
    rotation: float | None = None
    mirror: bool | None = None
    seed: int | None = None
    devices: int | None = None

    def training(self) -> bool:
        """Whether anything was said about the training itself."""
        return self != TrainingOptions(seed=self.seed, devices=self.devices)


def check_options(options: TrainingOptions) -> None:
    """Refuse what no training can use, before anything is made.

    Raises:
        UsageError: on an unknown preset or backbone, or no epochs.
    """
    if options.epochs is not None and options.epochs < 1:
        raise UsageError(f"{options.epochs} epochs train nothing.", "Give --epochs 1 or more.")
    if options.preset is not None:
        _check_preset(options.preset)
    if options.backbone is not None:
        _check_backbone(options.backbone)


def _check_preset(name: str) -> None:
    from labelkit.models.presets import PRESETS

    if name not in PRESETS:
        raise UsageError(f"There is no preset {name!r}.", f"Presets: {', '.join(PRESETS)}.")


def _check_backbone(name: str) -> None:
    import timm

    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:5])
        raise UsageError(
            f"timm has no model {name!r}.",
            f"Near that: {near or 'resnet50, hrnet_w32, mobilenetv3_small_100'}.",
        )


def resolve(options: TrainingOptions, earlier: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in full, as a round keeps them: JSON values only.

    Args:
        options: what the user said.
        earlier: settings of the last round, kept where the user said nothing; may be empty.

    Raises:
        UsageError: on an unknown preset or backbone, or no epochs.
    """
    check_options(options)

    import torch

    from labelkit.models.presets import PRESETS

    name = options.preset or earlier.get("preset")
    if name is None:
        name = "plus" if torch.cuda.is_available() else "tiny"
    _check_preset(name)
    if earlier.get("preset") != name:
        earlier = {}
    preset = PRESETS[name]

    def chosen(key: str, default: Any) -> Any:
        said = getattr(options, key)
        return earlier.get(key, default) if said is None else said

    settings = {
        "preset": name,
        "backbone": chosen("backbone", preset["backbone"]),
        "epochs": chosen("epochs", preset["training"]["epochs"]),
        "pretrained": chosen("pretrained", True),
        "rotation": chosen("rotation", preset["training"]["rotation"]),
        "mirror": chosen("mirror", preset["training"]["mirror"]),
    }
    _check_backbone(settings["backbone"])
    return settings


def preset_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The preset that `settings` name, with what they change in it."""
    from labelkit.models.presets import PRESETS

    preset = deepcopy(PRESETS[settings["preset"]])
    preset["backbone"] = settings["backbone"]
    for key in ("epochs", "rotation", "mirror"):
        preset["training"][key] = settings[key]
    for table, changes in settings.get("changes", {}).items():  # of a benchmark's row
        preset[table] |= changes
    return preset


def build_network(kind: str, skeleton: Skeleton, settings: Mapping[str, Any]) -> Any:
    """A network of `labelkit.models` for a skeleton.

    Raises:
        MissingDependencyError: if ImageNet weights are wanted and cannot be had.
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
            pairs=skeleton.pairs,
        )
    except PretrainedUnavailable as error:
        raise MissingDependencyError(
            f"The pretrained weights of {error.name} cannot be fetched.",
            "Connect to the network, or train from scratch with: --no-pretrained",
        ) from error


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
            f"{path} was trained for the skeleton {trained_for.get('name')!r}, "
            f"not for {skeleton.name!r} as the project has it.",
            advice,
        )
    training = header.get("training", {})
    earlier = "heatmaps" if training.get("located") else "response"  # until 2026-11-28
    network.reader.read_from = training.get("read_from", earlier)  # type: ignore[union-attr]
    return network, header
