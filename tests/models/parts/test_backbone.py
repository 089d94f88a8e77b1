"""Maps at the requested strides from any network, and what its weights start from."""

import pytest
import torch
from safetensors.torch import save_file

from labelkit.models.parts import pretrained
from labelkit.models.parts.backbone import Backbone
from labelkit.models.parts.pretrained import PretrainedUnavailable, UnusableBackbone, cached

STRIDES = (4, 8, 16)
#: A tiny plain transformer, with patches of 16 pixels.
PLAIN = "test_vit"


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("mobilenetv3_small_100", (16, 24, 48)),
        ("resnet18", (64, 128, 256)),
        ("hrnet_w18_small", (128, 256, 512)),
        ("test_convnext", (24, 32, 48)),
        (PLAIN, (16, 32, 64)),
        ("deit_tiny_patch16_224", (48, 96, 192)),
    ],
)
def test_maps_have_the_requested_strides_and_nothing_idle_is_trained(name, channels):
    backbone = Backbone(name, STRIDES)
    maps = backbone(torch.randn(2, 3, 64, 32))
    assert backbone.channels == channels
    assert [tuple(level.shape) for level in maps] == [
        (2, c, 64 // s, 32 // s) for c, s in zip(channels, STRIDES, strict=True)
    ]
    sum(level.square().sum() for level in maps).backward()
    trained = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    assert trained
    assert all(parameter.grad is not None for parameter in trained)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "eva02_tiny_patch14_224"])
def test_tokens_cover_16_pixels_whatever_the_size_of_a_patch(name):
    backbone = Backbone(name, STRIDES).eval()
    with torch.inference_mode():
        maps = backbone(torch.randn(1, 3, 96, 48))
    assert [tuple(level.shape[2:]) for level in maps] == [(24, 12), (12, 6), (6, 3)]


def test_a_position_embedding_is_resampled_and_kept_in_its_own_size():
    backbone = Backbone(PLAIN, (16,))
    before = backbone.net.pos_embed.shape
    for size in ((64, 64), (160, 96)):
        backbone(torch.zeros(1, 3, *size))
    assert backbone.net.pos_embed.shape == before


def test_stages_behind_the_last_map_are_cut_off():
    shallow = Backbone("mobilenetv3_small_100", (8,))
    deep = Backbone("mobilenetv3_small_100", (8, 32))
    assert sum(p.numel() for p in shallow.parameters()) < sum(p.numel() for p in deep.parameters())
    assert all(parameter.requires_grad for parameter in shallow.parameters())


@pytest.mark.parametrize("name", ["mobilenetv3_small_100", PLAIN])
def test_a_backbone_can_be_built_in_inference_mode(name):
    with torch.inference_mode():
        backbone = Backbone(name, STRIDES)
    assert not any(parameter.is_inference() for parameter in backbone.parameters())


@pytest.mark.parametrize(
    ("name", "strides", "named"),
    [
        ("resnet19", STRIDES, "resnet19"),
        ("resnet18.of_mine", STRIDES, "of_mine"),
        ("resnet18", (4, 64), "64"),
        ("test_coatnet", STRIDES, "any size"),
        ("mixer_s32_224", (16,), "any size"),
    ],
)
def test_a_network_that_cannot_be_used_is_named_with_the_reason(name, strides, named):
    with pytest.raises(UnusableBackbone, match=named):
        Backbone(name, strides)


# Weights


def weights_of(name, path, **changes):
    """A file as timm publishes them, with a classifier that no pose network has."""
    import timm

    state = timm.create_model(name).state_dict() | changes
    save_file({key: value for key, value in state.items() if value is not None}, path)
    return path


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", PLAIN])
def test_a_backbone_starts_from_a_file(name, tmp_path):
    path = weights_of(name, tmp_path / "w.safetensors")
    one, other = (Backbone(name, (16,), path).eval() for _ in range(2))
    assert one.pretrained
    crops = torch.randn(1, 3, 64, 64)
    theirs = dict(one.net.named_parameters())
    assert all(torch.equal(value, theirs[key]) for key, value in other.net.named_parameters())
    if name != PLAIN:  # its pyramid is not part of the file
        with torch.inference_mode():
            assert torch.equal(one(crops)[0], other(crops)[0])


def test_weights_of_another_network_are_refused_by_name(tmp_path):
    path = weights_of("test_resnet", tmp_path / "w.safetensors")
    with pytest.raises(UnusableBackbone, match=r"w\.safetensors does not fit test_vit: cls_token"):
        Backbone(PLAIN, STRIDES, path)


def test_a_wrong_shape_and_a_missing_name_are_named(tmp_path):
    shape = weights_of(PLAIN, tmp_path / "a.safetensors", **{"norm.bias": torch.zeros(3)})
    with pytest.raises(UnusableBackbone, match=r"norm\.bias has shape \(3,\), not \(64,\)"):
        Backbone(PLAIN, STRIDES, shape)
    missing = weights_of(PLAIN, tmp_path / "b.safetensors", **{"norm.bias": None})
    with pytest.raises(UnusableBackbone, match=r"norm\.bias is missing"):
        Backbone(PLAIN, STRIDES, missing)


def test_a_file_needs_no_classifier_and_may_have_another_grid_of_positions(tmp_path):
    import timm

    other = timm.create_model(PLAIN, img_size=96, num_classes=0)  # 6 x 6 patches, not 10 x 10
    save_file(other.state_dict(), tmp_path / "w.safetensors")
    backbone = Backbone(PLAIN, STRIDES, tmp_path / "w.safetensors")
    assert backbone.net.pos_embed.shape[1] == 100 + other.num_prefix_tokens


def test_no_pickle_is_read(tmp_path):
    torch.save({}, tmp_path / "w.safetensors")
    with pytest.raises(UnusableBackbone, match="safetensors"):
        Backbone(PLAIN, STRIDES, tmp_path / "w.safetensors")


def test_weights_that_are_nowhere_are_an_error_of_their_own(monkeypatch):
    monkeypatch.setattr(pretrained, "cached", lambda *_: None)
    with pytest.raises(PretrainedUnavailable, match="HF_HUB_OFFLINE") as caught:
        Backbone("resnet18", STRIDES, pretrained=True)
    assert caught.value.name == "resnet18"


def test_a_broken_download_is_the_same_error(monkeypatch, tmp_path):
    broken = tmp_path / "model.safetensors"
    broken.write_bytes(b"half a page of an error message")
    monkeypatch.setattr(pretrained, "cached", lambda *_: broken)
    with pytest.raises(PretrainedUnavailable, match="resnet18"):
        Backbone("resnet18", STRIDES, pretrained=True)


@pytest.mark.skipif(cached("tf_efficientnet_lite0") is None, reason="weights not on this machine")
def test_published_weights_that_were_fetched_are_used():
    one, other = (Backbone("tf_efficientnet_lite0", (16,), True) for _ in range(2))
    weight = one.net.conv_stem.weight
    assert torch.equal(weight, other.net.conv_stem.weight)
    assert 0.1 < weight.std() < 1.0


# Learning rates


def test_layers_of_a_plain_transformer_learn_the_slower_the_earlier_they_come():
    backbone = Backbone(PLAIN, STRIDES)
    rate = {
        name: group["lr"]
        for group in backbone.groups(1.0, weight_decay=0.1, layer_decay=0.5)
        for name, parameter in backbone.net.named_parameters()
        if any(parameter is each for each in group["params"])
    }
    depth = len(backbone.net.blocks)
    last, first = rate[f"blocks.{depth - 1}.attn.qkv.weight"], rate["blocks.0.attn.qkv.weight"]
    assert rate["norm.weight"] == last == 1.0
    assert first == pytest.approx(0.5 ** (depth - 1))
    assert rate["pos_embed"] == pytest.approx(0.5**depth)


@pytest.mark.parametrize("name", ["test_resnet", PLAIN])
def test_norms_and_biases_do_not_decay_and_every_parameter_has_a_group(name):
    backbone = Backbone(name, (16,))
    groups = backbone.groups(1.0, weight_decay=0.1, layer_decay=0.75)
    for group in groups:
        if group["weight_decay"]:
            assert all(parameter.ndim > 1 for parameter in group["params"])
    grouped = sorted(id(parameter) for group in groups for parameter in group["params"])
    assert grouped == sorted(id(p) for p in backbone.net.parameters() if p.requires_grad)
