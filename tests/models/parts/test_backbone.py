"""Maps at the strides asked for, and clear words where weights cannot be had."""

import pytest
import torch

from labelkit.models.parts import backbone as backbone_module
from labelkit.models.parts.backbone import PretrainedUnavailable, create_backbone


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("mobilenetv3_small_100", (16, 24, 48)),
        ("resnet18", (64, 128, 256)),
        ("hrnet_w18_small", (128, 256, 512)),
    ],
)
def test_maps_have_the_strides_asked_for_and_nothing_idle_is_trained(name, channels):
    backbone = create_backbone(name, pretrained=False)
    maps = backbone(torch.randn(2, 3, 64, 32))
    assert backbone.channels == channels
    assert [tuple(level.shape) for level in maps] == [
        (2, c, 64 // s, 32 // s) for c, s in zip(channels, (4, 8, 16), strict=True)
    ]
    sum(level.square().sum() for level in maps).backward()
    trained = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    assert trained
    assert all(parameter.grad is not None for parameter in trained)


def test_stages_behind_the_last_map_are_cut_off():
    shallow = create_backbone("mobilenetv3_small_100", pretrained=False, strides=(8,))
    deep = create_backbone("mobilenetv3_small_100", pretrained=False, strides=(8, 32))
    assert sum(p.numel() for p in shallow.parameters()) < sum(p.numel() for p in deep.parameters())
    assert all(parameter.requires_grad for parameter in shallow.parameters())


def test_a_backbone_can_be_built_in_inference_mode():
    with torch.inference_mode():
        create_backbone("mobilenetv3_small_100", pretrained=False)


def test_an_unknown_network_is_named():
    with pytest.raises(ValueError, match="resnet19"):
        create_backbone("resnet19", pretrained=False)


def test_a_stride_that_the_network_has_not_is_named():
    with pytest.raises(ValueError, match="none at 64"):
        create_backbone("resnet18", pretrained=False, strides=(4, 64))


def test_offline_without_a_cached_copy_the_way_out_is_named(monkeypatch):
    monkeypatch.setattr(backbone_module, "_cached_weights", lambda hub_id: None)
    monkeypatch.setattr(backbone_module, "_reachable", lambda host: False)
    with pytest.raises(PretrainedUnavailable, match="--no-pretrained") as caught:
        create_backbone("resnet18", pretrained=True)
    assert caught.value.name == "resnet18"


def test_a_broken_download_is_the_same_error(monkeypatch, tmp_path):
    broken = tmp_path / "model.safetensors"
    broken.write_bytes(b"half a page of an error message")
    monkeypatch.setattr(backbone_module, "_cached_weights", lambda hub_id: str(broken))
    with pytest.raises(PretrainedUnavailable, match="resnet18"):
        create_backbone("resnet18", pretrained=True)
