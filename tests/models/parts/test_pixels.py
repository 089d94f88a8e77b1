"""Each backbone reads colours as it was trained with them."""

import torch

from labelkit.models.parts.pixels import Pixels, pixels_of
from labelkit.models.presets import PRESETS, build_model


def test_a_colour_becomes_its_distance_from_the_mean_in_deviations():
    pixels = Pixels(mean=(0.0, 0.5, 1.0), std=(0.5, 0.25, 1.0))
    crops = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    assert pixels(crops)[0, :, 0, 0].tolist() == [2.0, 2.0, 0.0]


def test_every_backbone_has_its_own():
    lite = pixels_of("tf_efficientnet_lite0")
    assert lite == {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic"}
    assert pixels_of("hrnet_w32")["interpolation"] == "bilinear"
    assert pixels_of("resnet50")["mean"] == [0.485, 0.456, 0.406]
    assert pixels_of("vit_base_patch16_clip_224.openai")["mean"][0] == 0.48145466


def test_networks_of_earlier_versions_read_imagenets_colours_with_any_backbone():
    model = build_model("simple", 2, [(0, 1)], PRESETS["tiny"], pretrained=False)
    assert "pixels" not in PRESETS["tiny"]
    assert model.pixels.mean.flatten().tolist() == torch.tensor([123.675, 116.28, 103.53]).tolist()
    assert model.pixels.interpolation == "bilinear"
    assert not [name for name in model.state_dict() if name.startswith("pixels")]
