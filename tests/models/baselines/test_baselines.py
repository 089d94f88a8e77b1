"""The two networks that LOFR is measured against."""

import math

import pytest
import torch

from labelkit.models.baselines.detr import DetrBaseline
from labelkit.models.baselines.simple import SimpleBaseline
from labelkit.models.losses import heatmap_mse, weak_loss
from labelkit.models.parts.backbone import Backbone


def make_detr(stride=16):
    torch.manual_seed(0)
    backbone = Backbone("mobilenetv3_small_100", (stride,), pretrained=False)
    return DetrBaseline(
        backbone, 3, dim=16, heads=2, encoder_layers=1, decoder_layers=2, ffn=32, dropout=0.0
    )


def make_simple(stride=32):
    torch.manual_seed(0)
    backbone = Backbone("mobilenetv3_small_100", (stride,), pretrained=False)
    return SimpleBaseline(backbone, 3, channels=16)


@pytest.mark.parametrize("make", [make_detr, make_simple])
@pytest.mark.parametrize("stride", [8, 16, 32])
def test_maps_are_at_stride_four_and_responses_sum_to_one(make, stride):
    output = make(stride)(torch.randn(2, 3, 96, 64))
    assert output.logits.shape == (2, 3)
    assert output.aux_logits == ()
    assert output.cams.shape == (2, 3, 0, 0)
    assert output.heatmaps.shape == output.response.shape == (2, 3, 24, 16)
    torch.testing.assert_close(output.response.sum(dim=(2, 3)), torch.ones(2, 3))
    assert output.scale_mass.tolist() == torch.ones(2, 3, 1).tolist()


@pytest.mark.parametrize("make", [make_detr, make_simple])
def test_every_parameter_of_a_baseline_gets_a_gradient(make):
    model = make()
    output = model(torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
    loss = heatmap_mse(output.heatmaps, torch.rand_like(output.heatmaps), torch.ones(3, 3))
    (loss + weak_loss(output, torch.ones(3, 3)).total).backward()
    # A zero gradient counts: DETR's first self-attention gets equal, empty queries.
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.grad is None
    ]
    assert without == []


@pytest.mark.parametrize("make", [make_detr, make_simple])
def test_a_baselines_output_does_not_depend_on_the_rest_of_the_batch(make):
    model = make().eval()
    images = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        together, alone = model(images), model(images[1:2])
    torch.testing.assert_close(together.heatmaps[1:2], alone.heatmaps, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together.logits[1:2], alone.logits, rtol=1e-4, atol=1e-4)


def test_detr_normalises_its_decoded_queries_once_more_before_it_classifies_them():
    model = make_detr().eval()
    with torch.no_grad():
        model.norm.weight.fill_(2.0)
        model.norm.bias.fill_(5.0)
        features = model(torch.randn(2, 3, 64, 64)).part_features
    torch.testing.assert_close(features.mean(dim=2), torch.full((2, 3), 5.0))
    spread = features.std(dim=2, correction=0)
    torch.testing.assert_close(spread, torch.full((2, 3), 2.0), rtol=1e-3, atol=1e-3)


def test_presence_of_the_simple_baseline_is_the_height_of_its_peak():
    model = make_simple().eval()
    with torch.no_grad():
        model.head[-1].weight.zero_()
        model.head[-1].bias.copy_(torch.tensor([0.25, -3.0, 0.5]))
        output = model(torch.randn(1, 3, 64, 64))
    # A negative peak is clamped to one in ten thousand.
    expected = [0.25, 1e-4, 0.5]
    assert output.logits.sigmoid()[0].tolist() == pytest.approx(expected, rel=1e-3)
    assert output.logits[0, 2].item() == pytest.approx(math.log(1), abs=1e-5)
    # A map without a positive part is flat.
    torch.testing.assert_close(output.response[0, 1], torch.full((16, 16), 1 / 256))
