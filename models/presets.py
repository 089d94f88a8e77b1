"""The three presets, and the networks built from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from torch import nn

from labelkit.models.baselines.detr import DetrBaseline
from labelkit.models.baselines.simple import SimpleBaseline
from labelkit.models.baselines.twin import TwinBaseline
from labelkit.models.lofr import LOFR, lofr_strides
from labelkit.models.parts.backbone import Backbone
from labelkit.models.parts.pixels import Pixels
from labelkit.models.reading import PoseReader

KINDS = ("lofr", "detr", "simple", "twin")

_PAPER: dict[str, Any] = {
    "input_size": (256, 192),  # rows, columns
    "backbone": "resnet50",
    # Arguments of each kind of network, beyond backbone and skeleton.
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
    # Also of each half of a "twin"; the stages of the backbone that the others have, and no more.
    "simple": {"channels": 256, "stride": 16},
    # Arguments of "lofr" that differ where nothing has a location.
    "unlocated": {},
    # And further ones where its backbone is frozen there, see "frozen_unlocated".
    "frozen": {},
    "loss": {
        "weights": (0.2, 0.2, 0.5, 0.1),  # CNN, encoder, final classifier, part diversity
        "lambda_mse": 1.0,
        "lambda_response": 0.0,  # weight of the response maps' cross entropy with the targets
        "lambda_consistency": 0.0,  # weight of easy-to-hard consistency without locations
        "sigma": 2.0,  # of the heatmap targets, in cells of stride 4
    },
    "training": {
        "optimizer": "adam",
        "lr": 4e-3,
        "transformer_lr": 4e-4,
        "backbone_lr": 1.0,  # of a backbone with pretrained weights, as a factor of lr
        "layer_decay": 0.75,  # of that, from one layer of a plain transformer to the one before
        "lr_unlocated": 1.0,  # factor of all where nothing has a location
        "frozen_unlocated": False,  # there, a pretrained backbone is frozen instead
        "weight_decay": 1e-4,
        "batch_size": 64,
        "epochs": 160,
        "least_steps": 0,  # of the optimiser, unless the user gives a number of epochs
        "located_share": 0.0,  # least share of a batch, where only some crops have locations
        "located_odds": 1.0,  # least odds of drawing one of them rather than another crop
        "pseudo_labels_at": (),  # fractions of the training after which they are made
        "keep_fraction": 0.5,  # of the pseudo-labels, the most confident first
        "rotation": 0.0,  # largest random rotation of a training crop, degrees either way
        "mirror": True,  # mirror training crops, left and right renamed
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
        "rotation_tta": 20.0,  # degrees of test-time augmentation, either way
        "kinematics": True,  # poses, at first the prior, decide which peaks go together
        "pose_prior": 0.16,  # spread around the prior without locations, as a share of a map
    },
    loss={"lambda_mse": 200.0, "lambda_response": 0.1},
    training={
        "optimizer": "adamw",
        "lr": 5e-4,
        "transformer_lr": 1e-4,
        "weight_decay": 0.1,
        "least_steps": 1500,
        "located_share": 0.6,
        "located_odds": 17.0,  # .65 of a batch where a tenth have locations, .85 of a quarter
        "pseudo_labels_at": (0.33, 0.67),
        "rotation": 30.0,
    },
)

_TINY = _changed(
    _PLUS,
    input_size=(128, 128),
    backbone="tf_efficientnet_lite0",
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
    # Decoders attend beside keypoints, and a CAM at stride 8 sees too little around them.
    unlocated={"cam_stride": 16, "cam_pool": "lse", "response": "cam"},
    frozen={"map_norm": True},
    detr={
        "dim": 64,
        "heads": 4,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "ffn": 128,
        "dropout": 0.0,
        "stride": 16,
    },
    simple={"channels": 64},
    loss={"sigma": 1.5, "weights": (0.5, 0.1, 0.5, 0.05)},
    training={
        "lr": 3e-3,
        "transformer_lr": 3e-3,
        "lr_unlocated": 1 / 3,
        "frozen_unlocated": True,
        "batch_size": 16,
        "epochs": 34,
    },
)

#: "paper" follows the paper, "plus" measured better, "tiny" is "plus" for CPUs.
PRESETS: dict[str, dict[str, Any]] = {"paper": _PAPER, "plus": _PLUS, "tiny": _TINY}

#: Names of entries in networks trained until 2026-11-28.
_FORMER_NAMES = {
    "guess_at": "pseudo_labels_at",
    "sure": "keep_fraction",
    "textbook": "pose_prior",
    "turned": "rotation_tta",
}


#: Entries of networks trained until 2026-11-29, with the only value that is still built.
_REMOVED = {
    "adj": "kinematic",
    "div_relu": False,
    "ema_decay": 0.0,
    "fc": "dense",
    "fkey": "gauss",
    "proto_attn": "cam_norm",
    "psi": "conv_ln_relu",
    "read_layer": "last",
    "spe_plus_sine": False,
}


def with_current_names(preset: Mapping[str, Any]) -> dict[str, Any]:
    """A preset as an earlier version saved it, with the entries and names of today.

    Raises:
        ValueError: if an entry that no longer exists has a value that is no longer built.
    """

    def current(table: Mapping[str, Any]) -> dict[str, Any]:
        for key in _REMOVED.keys() & table.keys():
            if table[key] != _REMOVED[key]:
                raise ValueError(f"{key} {table[key]!r} no longer exists")
        return {_FORMER_NAMES.get(k, k): v for k, v in table.items() if k not in _REMOVED}

    return {
        name: current(value) if isinstance(value, Mapping) else value
        for name, value in preset.items()
    }


def build_model(
    kind: str,
    num_keypoints: int,
    links: Sequence[tuple[int, int]],
    preset: Mapping[str, Any],
    pretrained: bool | Path,
) -> LOFR | DetrBaseline | SimpleBaseline | TwinBaseline:
    """A network with random weights, or a backbone that starts from others.

    Args:
        kind: "lofr"; or a baseline: "detr" the paper's, "simple" supervised-only, "twin"
            semi-supervised.
        num_keypoints: K.
        links: pairs of keypoints joined by a limb.
        preset: one of `PRESETS`, or a changed copy; its "pixels" are arguments of `Pixels`.
        pretrained: see `Backbone`.

    Raises:
        ValueError: on an unknown kind, backbone or setting, or weights that do not fit.
        PretrainedUnavailable: if pretrained weights cannot be fetched.
    """
    if kind not in KINDS:
        raise ValueError(f"Model kind {kind!r} is not one of {', '.join(KINDS)}.")
    settings = dict(preset["simple" if kind == "twin" else kind])
    reading = {
        key: settings.pop(key)
        for key in ("rotation_tta", "kinematics", "pose_prior")
        if key in settings
    }

    def build() -> Any:
        return _build(kind, num_keypoints, links, settings, preset["backbone"], pretrained)

    network = TwinBaseline(build(), build()) if kind == "twin" else build()
    network.reader = build_reader(num_keypoints, preset, reading)
    network.pixels = Pixels(**preset.get("pixels", {}))
    return network


def build_reader(
    num_keypoints: int, preset: Mapping[str, Any], reading: Mapping[str, Any]
) -> PoseReader:
    """A reader of the heatmaps of a preset's networks.

    Args:
        num_keypoints: K.
        preset: see `build_model`.
        reading: "rotation_tta", "kinematics" and "pose_prior" of `PoseReader`; missing ones are
            off.
    """
    height, width = preset["input_size"]
    return PoseReader(num_keypoints, (height // 4, width // 4), **reading)


def _build(
    kind: str,
    num_keypoints: int,
    links: Sequence[tuple[int, int]],
    settings: Mapping[str, Any],
    backbone_name: str,
    pretrained: bool | Path,
) -> LOFR | DetrBaseline | SimpleBaseline:
    if kind == "lofr":
        strides = lofr_strides(settings.get("cam_stride", 16), settings.get("memory", "all"))
        backbone = Backbone(backbone_name, strides, pretrained)
        return LOFR(backbone, num_keypoints, links, **settings)
    others = {key: value for key, value in settings.items() if key != "stride"}
    backbone = Backbone(backbone_name, (settings["stride"],), pretrained)
    make = DetrBaseline if kind == "detr" else SimpleBaseline
    return make(backbone, num_keypoints, **others)


def freeze_backbones(model: nn.Module) -> None:
    """Keep the weights of every backbone as they are."""
    for part in model.modules():
        if isinstance(part, Backbone):
            part.net.requires_grad_(False)


def parameter_groups(model: nn.Module, training: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Optimiser groups: the transformer at `transformer_lr`, the rest at `lr`.

    Backbones that started from weights have groups of their own, marked "pretrained", at
    `backbone_lr`.

    Args:
        model: from `build_model`.
        training: the preset's table of that name, with `backbone_lr` a rate.
    """
    decay = training["weight_decay"]
    of_backbones = [
        {**group, "pretrained": True}
        for part in model.modules()
        if isinstance(part, Backbone) and part.pretrained
        for group in part.groups(training["backbone_lr"], decay, training["layer_decay"])
        if group["params"]
    ]
    theirs = {id(parameter) for group in of_backbones for parameter in group["params"]}
    inside = {id(parameter) for parameter in model.transformer_parameters()}  # type: ignore[operator]
    trained = [p for p in model.parameters() if p.requires_grad and id(p) not in theirs]
    groups = [
        ([p for p in trained if id(p) not in inside], training["lr"]),
        ([p for p in trained if id(p) in inside], training["transformer_lr"]),
    ]
    return of_backbones + [
        {"params": params, "lr": lr, "weight_decay": decay, "pretrained": False}
        for params, lr in groups
        if params
    ]
