"""Presets build, and say at which rate each part learns."""

import json

import pytest
import timm
import torch
from safetensors.torch import save_file

from labelkit.models.presets import (
    KINDS,
    PRESETS,
    build_model,
    freeze_backbones,
    parameter_groups,
    with_current_names,
)

LINKS = [(0, 1), (1, 2)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_tiny_preset_builds_every_kind_of_network(kind):
    preset = PRESETS["tiny"]
    model = build_model(kind, 3, LINKS, preset, pretrained=False)
    height, width = preset["input_size"]
    output = model.eval()(torch.zeros(1, 3, height, width))
    assert output.response.shape == (1, 3, height // 4, width // 4)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_the_settings_of_every_preset_are_accepted(name):
    preset = {**PRESETS[name], "backbone": "mobilenetv3_small_100"}
    for kind in KINDS:
        build_model(kind, 3, LINKS, preset, pretrained=False)


def test_the_paper_preset_follows_the_paper():
    preset = PRESETS["paper"]
    assert preset["input_size"] == (256, 192)
    assert preset["loss"]["weights"] == (0.2, 0.2, 0.5, 0.1)
    assert preset["training"]["lr"] == 4e-3
    assert preset["training"]["transformer_lr"] == pytest.approx(preset["training"]["lr"] / 10)
    assert (preset["lofr"]["encoder_layers"], preset["lofr"]["decoder_layers"]) == (4, 6)


def test_changing_one_preset_left_the_others_alone():
    assert "cam_pool" not in PRESETS["paper"]["lofr"]
    assert PRESETS["plus"]["lofr"]["dim"] == 256
    assert PRESETS["tiny"]["lofr"]["cam_pool"] == "topk"


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_fits_into_a_json_header(name):
    assert json.loads(json.dumps(PRESETS[name])).keys() == PRESETS[name].keys()


def test_an_unknown_kind_is_named():
    with pytest.raises(ValueError, match="hourglass"):
        build_model("hourglass", 3, LINKS, PRESETS["tiny"], pretrained=False)


@pytest.mark.parametrize("kind", KINDS)
def test_every_trained_parameter_is_in_exactly_one_group(kind):
    model = build_model(kind, 3, LINKS, PRESETS["tiny"], pretrained=False)
    groups = parameter_groups(model, {"lr": 1.0, "transformer_lr": 0.1, "weight_decay": 0.5})
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    assert [group["lr"] for group in groups] == (
        [1.0] if kind in ("simple", "twin") else [1.0, 0.1]
    )
    assert all(group["weight_decay"] == 0.5 for group in groups)


def test_a_backbone_with_weights_learns_at_its_own_rate(tmp_path):
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "w.safetensors")
    preset = {**PRESETS["tiny"], "backbone": "test_vit"}
    model = build_model("lofr", 3, LINKS, preset, tmp_path / "w.safetensors")
    rates = {"lr": 1.0, "transformer_lr": 0.1, "backbone_lr": 0.01, "layer_decay": 0.5}
    groups = parameter_groups(model, {**rates, "weight_decay": 0.5})
    of_backbone = [group for group in groups if group["pretrained"]]
    assert max(group["lr"] for group in of_backbone) == 0.01
    assert min(group["lr"] for group in of_backbone) < 0.01
    assert [group["lr"] for group in groups if not group["pretrained"]] == [1.0, 0.1]
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    pyramid = {id(parameter) for parameter in model.backbone.pyramid.parameters()}
    assert pyramid <= {id(p) for group in groups if group["lr"] == 1.0 for p in group["params"]}


def test_a_frozen_backbone_has_no_group_and_the_pyramid_on_it_learns(tmp_path):
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "w.safetensors")
    preset = {**PRESETS["tiny"], "backbone": "test_vit"}
    model = build_model("lofr", 3, LINKS, preset, tmp_path / "w.safetensors")
    freeze_backbones(model)
    rates = {"lr": 1.0, "transformer_lr": 0.1, "backbone_lr": 0.01, "layer_decay": 0.5}
    groups = parameter_groups(model, {**rates, "weight_decay": 0.5})
    assert [group["pretrained"] for group in groups] == [False, False]
    grouped = {id(parameter) for group in groups for parameter in group["params"]}
    assert {id(parameter) for parameter in model.backbone.pyramid.parameters()} <= grouped
    assert grouped.isdisjoint(id(parameter) for parameter in model.backbone.net.parameters())


def test_a_preset_of_an_earlier_version_gets_the_names_of_today():
    saved = {
        "backbone": "resnet18",
        "lofr": {"dim": 64, "turned": 20.0, "textbook": 0.16, "fc": "dense", "psi": "conv_ln_relu"},
        "loss": {"sigma": 2.0, "div_relu": False},
        "training": {"guess_at": [0.33], "sure": 0.5, "ema_decay": 0.0},
    }
    assert with_current_names(saved) == {
        "backbone": "resnet18",
        "lofr": {"dim": 64, "rotation_tta": 20.0, "pose_prior": 0.16},
        "loss": {"sigma": 2.0},
        "training": {"pseudo_labels_at": [0.33], "keep_fraction": 0.5},
    }


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_todays_presets_already_have_the_names_of_today(name):
    assert with_current_names(PRESETS[name]) == PRESETS[name]


def test_a_removed_entry_with_a_value_that_is_no_longer_built_is_named():
    with pytest.raises(ValueError, match="read_layer 'mean'"):
        with_current_names({"lofr": {"read_layer": "mean"}})
