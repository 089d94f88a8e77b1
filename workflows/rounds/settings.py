"""How a network is trained: from the options, else from the last round, else from the preset."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from labelkit.domain.pose import Pose
from labelkit.domain.sides import are_one_sided
from labelkit.domain.skeleton import Skeleton, skeleton_from_table
from labelkit.domain.text import named
from labelkit.errors import UsageError
from labelkit.project.project import REMEMBERED, Project, remember
from labelkit.project.rounds import Round
from labelkit.workflows.network.crops import CELL, fitted_size

#: Networks by their names: one that needs boxes, and those that find objects in whole images.
LOFR, FINDERS = "lofr", ("single-stage", "bottom-up")

#: Start from pretrained weights, or from random ones where there are no others.
WHERE_POSSIBLE = "where possible"

#: How much the spread around the pose prior grows with the share of absent keypoints: .2 on LSPET,
#: where an eighth are absent, and .3 where two fifths are (benchmarks/README.md).
SPREAD_BY_ABSENCE = 0.35


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """Options of a training; None where the user gave none.

    Attributes:
        preset: "paper", "plus" or "tiny".
        backbone: name of a timm model.
        epochs: passes over as many crops as the project has instances; None for the preset's, and
            its least number of steps.
        pretrained: start from the weights that timm publishes; None does where they can be had.
        rotation: training crops turn by up to this many degrees, either way.
        mirror: also train on mirrored crops, with left and right keypoints swapped.
        precision: "full" or "bf16", the number format of trainings and predictions.
        seed: of the training.
        devices: GPUs, or processes without GPUs, on each machine.
        weights: file of the weights to start from, safetensors with timm's names.
        input_size: of a crop: "128", or "192x256", columns first.
        minutes: that a training may take; 0 for no limit.
        teacher: name of a model whose predictions are pseudo-labels, and evidence beside the maps.
        model: "lofr", which predicts objects in boxes; "single-stage" or "bottom-up", which find
            the objects of whole images.
    """

    preset: str | None = None
    backbone: str | None = None
    epochs: int | None = None
    pretrained: bool | None = None
    rotation: float | None = None
    mirror: bool | None = None
    precision: str | None = None
    seed: int | None = None
    devices: int | None = None
    weights: str | None = None
    input_size: str | None = None
    minutes: float | None = None
    teacher: str | None = None
    model: str | None = None

    @property
    def finds_objects(self) -> bool:
        """Whether the network reads whole images."""
        return self.model in FINDERS

    @property
    def changes_training(self) -> bool:
        """Whether any option changes the training itself."""
        return self != TrainingOptions(seed=self.seed, devices=self.devices)


def check_options(options: TrainingOptions) -> None:
    """Refuse options that no training can use, before anything is created.

    Raises:
        UsageError: on an unknown preset, backbone, precision or size, no epochs, weights that do
            not exist, or none that shall be used, or several processes for a network of one.
    """
    if options.epochs is not None and options.epochs < 1:
        raise UsageError(f"{options.epochs} epochs train nothing.", "Give --epochs 1 or more.")
    if options.minutes is not None and not 0 <= options.minutes < math.inf:
        raise UsageError(
            f"A training of {options.minutes} minutes is not possible.", "Give --minutes 15."
        )
    if options.preset is not None:
        _check_preset(options.preset)
    if options.backbone is not None:
        _check_backbone(options.backbone)
    if options.precision is not None:
        _check_precision(options.precision)
    if options.input_size is not None:
        parse_size(options.input_size)
    if options.model not in (None, LOFR, *FINDERS):
        names = ", ".join((LOFR, *FINDERS))
        raise UsageError(f"There is no model {options.model!r}.", f"Models: {names}.")
    if options.finds_objects and options.minutes:
        raise UsageError(
            f"The training of a {options.model} network has no limit in minutes.",
            "Give --minutes 0, and fewer --epochs if it takes too long.",
        )
    if options.finds_objects:
        _check_one_process(options)
    if options.finds_objects and options.teacher:
        raise UsageError(
            f"--teacher is for {LOFR}: a {options.model} network does not learn from another "
            "model's predictions.",
            "Leave one out.",
        )
    if options.weights is not None and options.pretrained is False:
        raise UsageError("--weights and --no-pretrained contradict each other.", "Leave one out.")


def parse_size(text: str) -> tuple[int, int]:
    """Rows and columns of "128", or of "192x256", which gives columns first.

    Raises:
        UsageError: if they are not multiples of `CELL`.
    """
    sides = text.lower().split("x")
    try:
        columns, rows = map(int, sides * 2 if len(sides) == 1 else sides)
    except ValueError:
        columns = rows = 0
    if min(columns, rows) < 2 * CELL or columns % CELL or rows % CELL:
        raise UsageError(
            f"Crops of {text!r} pixels cannot be read.",
            f"Give multiples of {CELL} from {2 * CELL}, such as --input-size 160 or 192x256.",
        )
    return rows, columns


def _check_one_process(options: TrainingOptions) -> None:
    from labelkit.workflows.network.training import processes_asked_for

    if (processes := processes_asked_for(options.devices)) > 1:
        raise UsageError(
            f"A {options.model} network is trained in one process; {processes} were asked for.",
            "Leave out --devices, torchrun and srun.",
        )


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
            f"Similar: {near or 'resnet50, hrnet_w32, mobilenetv3_small_100'}.",
        )


def _check_weights(backbone: str, path: Path) -> None:
    from labelkit.models.parts.pretrained import UnusableBackbone, check_fit

    try:
        check_fit(backbone, path)
    except UnusableBackbone as error:
        raise UsageError(str(error), "Give another --backbone, or other --weights.") from error


def _check_precision(name: str) -> None:
    from labelkit.workflows.network.precision import PRECISIONS

    if name not in PRECISIONS:
        raise UsageError(f"There is no precision {name!r}.", f"Choose {' or '.join(PRECISIONS)}.")


def with_remembered(project: Project, options: TrainingOptions) -> tuple[Project, TrainingOptions]:
    """Remember the options of a training, and take those that were given before.

    Raises:
        UsageError: see `check_options`; then nothing is remembered.
    """
    names = [item.name for item in fields(options) if item.name in REMEMBERED]
    exclusive = [name for name in ("model", "minutes") if getattr(options, name) is None]
    check_options(replace(options, **{name: project.options.get(name) for name in exclusive}))
    given = {name: getattr(options, name) for name in names}
    if options.weights is not None:  # relative to the project, which can be moved
        path = Path(options.weights).resolve()
        if not path.is_file():
            raise UsageError(f"There are no weights {path}.", "Give --weights FILE.")
        if backbone := options.backbone or project.options.get("backbone"):
            _check_weights(backbone, path)
        given["weights"] = Path(os.path.relpath(path, project.root)).as_posix()
    project = remember(project, **given)
    return project, replace(options, **{name: project.options.get(name) for name in names})


def resolve(
    options: TrainingOptions,
    earlier: Mapping[str, Any],
    skeleton: Skeleton,
    boxes: ArrayLike = (),
    poses: Sequence[Pose] = (),
) -> dict[str, Any]:
    """Complete settings, as a round keeps them: JSON values only.

    Crops are mirrored as the preset says, but not where keypoints have a side and none has a
    partner, nor where there are no sides and mirror images are unlike all labelled poses: a mirror
    image would teach keypoints on the other side. The number format is the one that
    is fastest here and now; later rounds keep it, whatever is fastest then. Crops fit elongated
    boxes if the project's first training sees them; they turn less by default, or ends would leave
    them.

    Args:
        options: of this command.
        earlier: settings of the last round, kept where there is no option; may be empty.
        skeleton: of the keypoints that the training teaches.
        boxes: (N, 4) of the project's instances; none keeps the preset's crop.
        poses: that the training learns from, as they are labelled or a teacher has them.

    Raises:
        UsageError: on an unknown preset or backbone, or no epochs.
    """
    check_options(options)

    import torch

    from labelkit.models.presets import PRESETS
    from labelkit.workflows.network.precision import fastest_precision

    name = options.preset or earlier.get("preset")
    if name is None:
        name = "plus" if torch.cuda.is_available() else "tiny"
    _check_preset(name)
    if earlier.get("preset") != name:
        earlier = {}
    preset = PRESETS[name]

    def chosen(key: str, default: Any) -> Any:
        option = getattr(options, key)
        return earlier.get(key, default) if option is None else option

    def mirrors(of: Skeleton | None, one_sided: bool) -> bool:
        unclear = of is not None and not of.pairs and (one_sided or bool(of.unpaired_sides))
        return preset["training"]["mirror"] and not unclear

    table = earlier.get("skeleton")
    before = skeleton_from_table(table, "the last round") if table else None
    one_sided = not skeleton.pairs and are_one_sided(poses)
    mirror = mirrors(skeleton, one_sided)
    if earlier.get("mirror") in {mirrors(before, False), mirrors(before, one_sided)}:
        earlier = {**earlier, "mirror": mirror}  # it was by default, not by choice
    unwritten = _unwritten_size(name)
    if options.input_size is not None:
        size = parse_size(options.input_size)
    elif earlier:
        size = tuple(earlier.get("input_size", unwritten))
    else:
        size = tuple(preset["input_size"])
        size = size if name == "paper" else fitted_size(boxes, size)
    crops = {} if size == unwritten else {"input_size": list(size)}
    backbone = chosen("backbone", preset["backbone"])
    epochs = chosen("epochs", preset["training"]["epochs"])
    # Former rounds tell what the user chose only by its difference from the preset.
    epochs_are_chosen = options.epochs is not None or epochs != preset["training"]["epochs"]
    settings = {
        "preset": name,
        "backbone": backbone,
        "epochs": epochs,
        "least_steps": 0 if epochs_are_chosen else preset["training"]["least_steps"],
        **({"minutes": minutes} if (minutes := chosen("minutes", 0.0)) else {}),
        "pretrained": chosen("pretrained", WHERE_POSSIBLE),
        "rotation": chosen("rotation", preset["training"]["rotation"] * _room_to_turn(crops)),
        "mirror": chosen("mirror", mirror),
        "precision": chosen("precision", "") or fastest_precision(backbone, options.devices or 1),
        **crops,
    }
    weights = options.weights
    if weights is None and options.pretrained is None and earlier.get("backbone") == backbone:
        weights = earlier.get("weights")
    if weights is not None:
        settings |= {"pretrained": True, "weights": weights}
    return settings


def _unwritten_size(name: str) -> tuple[int, ...]:
    """Rows and columns of crops of a preset where settings give none."""
    from labelkit.models.presets import PRESETS

    return (96, 96) if name == "tiny" else tuple(PRESETS[name]["input_size"])  # until 2026-11-30


def _room_to_turn(settings: Mapping[str, Any]) -> float:
    """Short side over long side of a fitted crop: so much less turning moves its ends as far."""
    size = settings.get("input_size")
    return min(size) / max(size) if size else 1.0


def note_on_mirroring(settings: Mapping[str, Any], skeleton: Skeleton) -> str:
    """What mirrored training crops lack, or why there are none; "" where nothing is wrong."""
    alone = [skeleton.keypoints[index] for index in skeleton.unpaired_sides]
    if not (alone or skeleton.pairs or settings["mirror"]):
        return (
            "training crops are not mirrored. If your objects have a left and a right, name the "
            "pairs with labelkit skeleton edit --pairs LEFT:RIGHT,...; if their mirror images look "
            "like your objects, add --mirror."
        )
    if not alone:
        return ""
    why = (
        "these names say left or right, but no partner of theirs is labelled: "
        f"{named(alone)}. Name pairs with labelkit skeleton edit --pairs LEFT:RIGHT,..."
    )
    if settings["mirror"]:
        return f"mirrored training crops leave keypoints out, because {why}"
    return f"training crops are not mirrored, because {why}, or add --mirror for the others."


def settings_of(found: Round) -> dict[str, Any]:
    """The settings of a round; earlier versions chose the number format only when they trained."""
    from labelkit.workflows.network.precision import LIGHTNING

    settings = dict(found.plan.settings)
    trained = found.facts.get("training", {}).get("precision")
    for name, recorded in LIGHTNING.items():
        if trained == recorded:
            settings.setdefault("precision", name)
    return settings


def preset_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The preset that `settings` name, with the changes they make to it."""
    from labelkit.models.presets import PRESETS

    preset = deepcopy(PRESETS[settings["preset"]])
    preset["backbone"] = settings["backbone"]
    preset["input_size"] = _unwritten_size(settings["preset"])
    if "input_size" in settings:
        preset["input_size"] = tuple(settings["input_size"])
        preset["lofr"]["rotation_tta"] *= _room_to_turn(settings)
    for key in ("epochs", "rotation", "mirror"):
        preset["training"][key] = settings[key]
    for table, changes in settings.get("changes", {}).items():  # of a benchmark's row
        preset[table] |= changes
    return preset


def without_locations(
    settings: Mapping[str, Any], absent: float, frozen: bool = False
) -> dict[str, Any]:
    """The settings of a training in which nothing has a location.

    They are "unlocated" and "frozen" in `PRESETS`.

    Args:
        settings: see `resolve`.
        absent: 0 ... 1, share of keypoints that people answered are absent. The more there are, the
            fewer boxes hold whole objects, and the wider keypoints lie around the pose prior.
        frozen: whether the backbone keeps its weights.
    """
    changes = settings.get("changes", {})
    preset = preset_of(settings)
    ours = {**preset["unlocated"], **(preset["frozen"] if frozen else {})}
    lofr = {**ours, **changes.get("lofr", {})}
    if spread := preset["lofr"].get("pose_prior"):
        lofr["pose_prior"] = spread + SPREAD_BY_ABSENCE * absent
    return {**settings, "changes": {**changes, "lofr": lofr}}
