"""Three ready-made settings, and the networks built from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from torch import nn

from labelkit.models.baselines.detr import DetrBaseline
from labelkit.models.baselines.simple import SimpleBaseline
from labelkit.models.baselines.twin import TwinBaseline
from labelkit.models.lofr import LOFR, lofr_strides
from labelkit.models.parts.backbone import Backbone
from labelkit.models.reading import PoseReader

KINDS = ("lofr", "detr", "simple", "twin")

_PAPER: dict[str, Any] = {
    "input_size": (256, 192),  # rows, columns
    "backbone": "resnet50",
    # arguments of the network of each kind, beyond backbone and skeleton
    "lofr": {
        "dim": 256,
        "heads": 8,
        "encoder_layers": 4,
        "decoder_layers": 6,
        "ffn": 1024,
        "dropout": 0.1,
    },
    "detr": {
        "dim": 256,
        "heads": 8,
        "encoder_layers": 4,
        "decoder_layers": 6,
        "ffn": 1024,
        "dropout": 0.1,
        "stride": 16,
    },
    "simple": {"channels": 256, "stride": 32},  # and of each of a "twin"
    "loss": {
        "weights": (0.2, 0.2, 0.5, 0.1),  # CNN, encoder, final classifier, part diversity
        "div_relu": False,
        "lambda_mse": 1.0,
        "lambda_response": 0.0,  # of the response maps' cross entropy with the same targets
        "lambda_consistency": 0.0,  # of easy-to-hard consistency on crops without locations
        "sigma": 2.0,  # of the heatmap targets, in cells of stride 4
    },
    "training": {
        "optimizer": "adam",
        "lr": 4e-3,
        "transformer_lr": 4e-4,
        "lr_unlocated": 1.0,  # times both of them as long as nobody has given a location
        "weight_decay": 1e-4,
        "batch_size": 64,
        "epochs": 160,
        "located_share": 0.25,  # least part of a batch, where only some crops have locations
        "located_odds": 1.0,  # and at least so many times as often as another is one drawn
        "pseudo_labels_at": (),  # fractions of the training after which they are made
        "keep_fraction": 0.5,  # of the pseudo-labels, the surest first
        "ema_decay": 0.0,  # of the averaged weights that are kept; 0 keeps the last ones
        "rotation": 30.0,  # degrees by which training crops turn, either way
        "mirror": True,  # mirror images, left and right renamed
    },
}


def _changed(base: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A preset with some entries replaced; tables are merged entry by entry."""
    preset = deepcopy(dict(base))
    for key, value in changes.items():
        preset[key] = {**preset[key], **value} if isinstance(value, Mapping) else value
    return preset


_PLUS = _changed(
    _PAPER,
    lofr={
        "cam_stride": 8,
        "cam_pool": "topk",
        "cam_input": "merged",
        "top_down": True,
        "guide": "both",
        "sup_map": "pyramid",
        "heat_presence": True,
        "rotation_tta": 20.0,  # degrees of the test-time views besides the upright one
        "kinematics": True,  # poses, at first the prior, tell which peaks go together
        "pose_prior": 0.16,  # share of a map: the spread around the prior, without locations
    },
    loss={"lambda_mse": 200.0, "lambda_response": 0.1},
    training={
        "optimizer": "adamw",
        "lr": 5e-4,
        "transformer_lr": 1e-4,
        "weight_decay": 0.1,
        "located_share": 0.6,
        "located_odds": 17.0,  # that is .65 of a batch with a tenth, .85 with a quarter of them
        "pseudo_labels_at": (0.33, 0.67),
    },
)

_TINY = _changed(
    _PLUS,
    input_size=(96, 96),
    backbone="resnet10t",
    lofr={
        "dim": 64,
        "heads": 4,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "ffn": 128,
        "dropout": 0.0,
        "enc_tokens": "cap",
        "cam_input": "backbone",
    },
    detr={
        "dim": 64,
        "heads": 4,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "ffn": 128,
        "dropout": 0.0,
        "stride": 16,
    },
    simple={"channels": 64, "stride": 16},
    loss={"sigma": 1.5, "weights": (0.5, 0.1, 0.5, 0.05)},
    training={
        "lr": 3e-3,
        "transformer_lr": 3e-3,
        "lr_unlocated": 1 / 3,
        "batch_size": 16,
        "epochs": 34,
    },
)

#: "paper" follows the paper, "plus" is what was measured to be better, "tiny" is "plus" for CPUs.
PRESETS: dict[str, dict[str, Any]] = {"paper": _PAPER, "plus": _PLUS, "tiny": _TINY}


#: What a preset's entries were called in networks trained until 2026-11-28.
_FORMER_NAMES = {
    "guess_at": "pseudo_labels_at",
    "sure": "keep_fraction",
    "textbook": "pose_prior",
    "turned": "rotation_tta",
}


def with_current_names(preset: Mapping[str, Any]) -> dict[str, Any]:
    """A preset out of a file, with the entries that had other names under their present ones."""
    return {
        name: {_FORMER_NAMES.get(key, key): entry for key, entry in value.items()}
        if isinstance(value, Mapping)
        else value
        for name, value in preset.items()
    }


def build_model(
    kind: str,
    num_keypoints: int,
    links: Sequence[tuple[int, int]],
    preset: Mapping[str, Any],
    pretrained: bool,
    pairs: Sequence[tuple[int, int]] = (),
) -> LOFR | DetrBaseline | SimpleBaseline | TwinBaseline:
    """A network with random or ImageNet weights.

    Args:
        kind: "lofr", "detr" the paper's baseline, "simple" the supervised-only one, or "twin"
            the semi-supervised one.
        num_keypoints: K.
        links: pairs of keypoints joined by a limb.
        preset: one of `PRESETS`, or a changed copy.
        pretrained: start the backbone from ImageNet weights.
        pairs: (left, right) keypoints.

    Raises:
        ValueError: on an unknown kind, backbone or setting.
        PretrainedUnavailable: if weights are wanted but cannot be fetched.
    """
    if kind not in KINDS:
        raise ValueError(f"Model kind {kind!r} is none of {', '.join(KINDS)}.")
    settings = dict(preset["simple" if kind == "twin" else kind])
    reading = {
        key: settings.pop(key)
        for key in ("rotation_tta", "kinematics", "pose_prior")
        if key in settings
    }

    def build() -> Any:
        return _build(kind, num_keypoints, links, pairs, settings, preset["backbone"], pretrained)

    network = TwinBaseline(build(), build()) if kind == "twin" else build()
    network.reader = build_reader(num_keypoints, preset, reading)
    return network


def build_reader(
    num_keypoints: int, preset: Mapping[str, Any], reading: Mapping[str, Any]
) -> PoseReader:
    """A reader of the heatmaps of a preset's networks.

    Args:
        num_keypoints: K.
        preset: see `build_model`.
        reading: "rotation_tta", "kinematics" and "pose_prior" of `PoseReader`; off where missing.
    """
    height, width = preset["input_size"]
    return PoseReader(num_keypoints, (height // 4, width // 4), **reading)


def _build(
    kind: str,
    num_keypoints: int,
    links: Sequence[tuple[int, int]],
    pairs: Sequence[tuple[int, int]],
    settings: Mapping[str, Any],
    backbone_name: str,
    pretrained: bool,
) -> LOFR | DetrBaseline | SimpleBaseline:
    if kind == "lofr":
        strides = lofr_strides(settings.get("cam_stride", 16))
        backbone = Backbone(backbone_name, strides, pretrained)
        return LOFR(backbone, num_keypoints, links, pairs, **settings)
    others = {key: value for key, value in settings.items() if key != "stride"}
    backbone = Backbone(backbone_name, (settings["stride"],), pretrained)
    make = DetrBaseline if kind == "detr" else SimpleBaseline
    return make(backbone, num_keypoints, **others)


def parameter_groups(model: nn.Module, training: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Optimiser groups: the transformer at its own learning rate, the rest at `lr`.

    Args:
        model: from `build_model`.
        training: the preset's table of that name.
    """
    inside = {id(parameter) for parameter in model.transformer_parameters()}  # type: ignore[operator]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        ([p for p in trained if id(p) not in inside], training["lr"]),
        ([p for p in trained if id(p) in inside], training["transformer_lr"]),
    ]
    decay = training["weight_decay"]
    return [{"params": params, "lr": lr, "weight_decay": decay} for params, lr in groups if params]
