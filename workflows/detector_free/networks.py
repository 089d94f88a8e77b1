"""Networks that read whole images: built, trained once, kept with what they are, and loaded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from labelkit.domain.instance import Image
from labelkit.domain.skeleton import Skeleton, skeleton_from_table
from labelkit.errors import CheckpointError, UsageError
from labelkit.models.checkpoint import load_checkpoint, save_checkpoint
from labelkit.models.detector_free.interface import CANVAS_CELL, DetectorFree
from labelkit.models.detector_free.presets import DETECTOR_FREE, build_detector_free
from labelkit.models.parts.pretrained import UnusableBackbone
from labelkit.progress import Progress
from labelkit.project.project import Project
from labelkit.workflows.detector_free.canvases import LabelledImage
from labelkit.workflows.detector_free.strategy import Strategy
from labelkit.workflows.detector_free.training import Recipe, train
from labelkit.workflows.rounds.networks import starting_weights, training_state
from labelkit.workflows.rounds.settings import TrainingOptions, parse_size, preset_of

#: Unlabelled images in a step for each labelled one.
RATIO = 1


def canvas_preset(settings: Mapping[str, Any], images: int) -> dict[str, Any]:
    """The preset of canvases, with what the settings change, and the steps of a training.

    Args:
        settings: see `with_canvas`.
        images: of the project; an epoch passes over as many.

    Raises:
        UsageError: on a canvas of a wrong size.
    """
    preset = {**DETECTOR_FREE[settings["preset"]], "ratio": RATIO}
    preset["input_size"] = list(settings.get("canvas", preset["input_size"]))
    height, width = preset["input_size"]
    if height % CANVAS_CELL or width % CANVAS_CELL:
        raise UsageError(
            f"Canvases of {width}x{height} pixels cannot be read.",
            f"Give multiples of {CANVAS_CELL}, such as --input-size 192 or 256x192.",
        )
    steps = settings["epochs"] * math.ceil(images / preset["batch_size"])
    return {**preset, "steps": max(steps, settings["least_steps"])}


def with_canvas(
    settings: Mapping[str, Any], options: TrainingOptions, earlier: Mapping[str, Any]
) -> dict[str, Any]:
    """Settings with the size of the canvas, if it was ever given: `input_size` is that of crops.

    Args:
        settings: from `resolve`.
        options, earlier: that they were resolved from.

    Raises:
        UsageError: see `parse_size`.
    """
    size = earlier.get("canvas") if earlier.get("preset") == settings["preset"] else None
    if options.input_size is not None:
        size = parse_size(options.input_size)
    return {**settings, "canvas": list(size)} if size else dict(settings)


def trained_network(
    kind: str,
    strategy: Strategy,
    project: Project,
    settings: Mapping[str, Any],
    preset: Mapping[str, Any],
    with_labels: Sequence[LabelledImage],
    without: Sequence[Image],
    seed: int,
    model: Path,
    progress: Progress,
    what: str,
    tile: float = 0.0,
) -> tuple[DetectorFree, dict[str, Any]]:
    """The network that is kept in a file, trained first if there is none; a training resumes.

    Args:
        kind: see `build_detector_free`.
        strategy: what unlabelled images are used for.
        project: images and skeleton.
        settings: see `resolve`.
        preset: see `canvas_preset`.
        with_labels, without, seed, progress, what, tile: see `train`.
        model: where the weights go; the training state lies beside it until then.

    Returns:
        It, in evaluation mode, and the record of its training.

    Raises:
        UsageError: on a backbone without all strides.
    """
    skeleton, size_hw = project.skeleton, tuple(preset["input_size"])
    if model.is_file():
        network, header = load_detector_free(model, skeleton)
        return network, header["training"]
    start = starting_weights(project, settings, progress)
    torch.manual_seed(seed)
    shape = {
        "kind": kind,
        "backbone": settings["backbone"],
        "num_keypoints": len(skeleton),
        "sigmas": list(skeleton.sigmas),
        "dim": preset["dim"],
    }
    try:
        network = build_detector_free(**shape, pretrained=start)
    except UnusableBackbone as error:
        raise UsageError(str(error), "Give another --backbone.") from error
    state = training_state(model)
    trained, record = train(
        network,
        strategy,
        Recipe(
            steps=preset["steps"],
            batch_size=preset["batch_size"],
            ratio=preset["ratio"],
            lr=preset["lr"],
            weight_decay=preset_of(settings)["training"]["weight_decay"],
            rotation=settings["rotation"],
            mirror=settings["mirror"],
            precision=settings["precision"],
            seed=seed,
        ),
        project.images_root,
        with_labels,
        without,
        skeleton,
        size_hw,
        state,
        progress,
        what,
        tile,
    )
    record["pretrained"] = start.name if isinstance(start, Path) else start
    header = {
        "network": {**shape, "input_size": list(size_hw), "tile": tile},
        "skeleton": skeleton.to_table(),
        "training": record,
    }
    save_checkpoint(model, trained, header)
    state.unlink(missing_ok=True)
    return trained.eval(), record


def load_detector_free(path: Path, skeleton: Skeleton) -> tuple[DetectorFree, dict[str, Any]]:
    """The network that a round kept, in evaluation mode, and the header of its file.

    Raises:
        CheckpointError: if the file holds no such network, or one for other keypoints.
    """
    advice = f"Put its own file back, or move {path.parent} away and run the same command again."
    state, header = load_checkpoint(path)
    try:
        shape = header["network"]
        names = ("kind", "backbone", "num_keypoints", "sigmas", "dim")
        network = build_detector_free(**{name: shape[name] for name in names}, pretrained=False)
        network.load_state_dict(state)
        trained_for = skeleton_from_table(header["skeleton"], "the network")
    except (KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} holds no network that finds objects ({error!r:.200}).", advice
        ) from error
    if max(skeleton.columns_in(trained_for.keypoints)) < 0:
        raise CheckpointError(
            f"{path} was trained for the skeleton {trained_for.name!r}; "
            f"the project has {skeleton.name!r}.",
            advice,
        )
    return network.eval(), header
