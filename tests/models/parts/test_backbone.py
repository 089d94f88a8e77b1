"""Maps at the requested strides, and a clear error without weights."""

import pytest
import torch

from labelkit.models.parts import backbone as backbone_module
from labelkit.models.parts.backbone import Backbone, PretrainedUnavailable

STRIDES = (4, 8, 16)


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("mobilenetv3_small_100", (16, 24, 48)),
        ("resnet18", (64, 128, 256)),
        ("hrnet_w18_small", (128, 256, 512)),
    ],
)
def test_maps_have_the_requested_strides_and_nothing_idle_is_trained(name, channels):
    backbone = Backbone(name, STRIDES, pretrained=False)
    maps = backbone(torch.randn(2, 3, 64, 32))
    assert backbone.channels == channels
    assert [tuple(level.shape) for level in maps] == [
        (2, c, 64 // s, 32 // s) for c, s in zip(channels, STRIDES, strict=True)
    ]
    sum(level.square().sum() for level in maps).backward()
    trained = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    assert trained
    assert all(parameter.grad is not None for parameter in trained)


def test_stages_behind_the_last_map_are_cut_off():
    shallow = Backbone("mobilenetv3_small_100", (8,), pretrained=False)
    deep = Backbone("mobilenetv3_small_100", (8, 32), pretrained=False)
    assert sum(p.numel() for p in shallow.parameters()) < sum(p.numel() for p in deep.parameters())
    assert all(parameter.requires_grad for parameter in shallow.parameters())


def test_a_backbone_can_be_built_in_inference_mode():
    with torch.inference_mode():
        Backbone("mobilenetv3_small_100", STRIDES, pretrained=False)


def test_an_unknown_network_is_named():
    with pytest.raises(ValueError, match="resnet19"):
        Backbone("resnet19", STRIDES, pretrained=False)


def test_a_stride_that_the_network_lacks_is_named():
    with pytest.raises(ValueError, match="64"):
        Backbone("resnet18", (4, 64), pretrained=False)


def test_offline_without_a_cached_copy_the_option_to_use_is_named(monkeypatch):
    monkeypatch.setattr(backbone_module, "_cached_weights", lambda hub_id: None)
    monkeypatch.setattr(backbone_module, "_reachable", lambda host: False)
    with pytest.raises(PretrainedUnavailable, match="--no-pretrained") as caught:
        Backbone("resnet18", STRIDES, pretrained=True)
    assert caught.value.name == "resnet18"


def test_a_broken_download_is_the_same_error(monkeypatch, tmp_path):
    broken = tmp_path / "model.safetensors"
    broken.write_bytes(b"half a page of an error message")
    monkeypatch.setattr(backbone_module, "_cached_weights", lambda hub_id: str(broken))
    with pytest.raises(PretrainedUnavailable, match="resnet18"):
        Backbone("resnet18", STRIDES, pretrained=True)
