"""The whole network: shapes, gradients, independence, and that it can learn."""

import pytest
import torch
import torch.nn.functional as F

from labelkit.models.lofr import ABLATIONS, LOFR, lofr_strides
from labelkit.models.losses import heatmap_mse, render_heatmaps, weak_loss
from labelkit.models.parts.backbone import Backbone

LINKS = [(0, 1), (1, 2), (2, 3)]


def make_lofr(num_keypoints=4, **changes):
    torch.manual_seed(0)
    known = {
        name: changes[name]
        for name in ("cam_stride", "memory")
        if changes.get(name) in ABLATIONS[name]
    }
    strides = lofr_strides(**{"cam_stride": 16, **known})
    backbone = Backbone("mobilenetv3_small_100", strides, pretrained=False)
    settings = {
        "dim": 16,
        "heads": 2,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "ffn": 32,
        "dropout": 0.0,
    }
    links = [link for link in LINKS if max(link) < num_keypoints]
    return LOFR(backbone, num_keypoints, links, **{**settings, **changes})


def semi_weak_loss(output):
    presence = torch.tensor([[1, 0, 1, 1], [0, 1, 1, 0], [1, 1, 0, 1]])
    rows, columns = output.heatmaps.shape[2:]
    xy = torch.rand(3, 4, 2, generator=torch.Generator().manual_seed(2))
    xy = xy * torch.tensor([columns, rows])
    target = render_heatmaps(xy, presence.bool(), (rows, columns))
    return weak_loss(output, presence).total + heatmap_mse(output.heatmaps, target, presence)


EVERY_CHOICE = [(name, value) for name, values in ABLATIONS.items() for value in values]


@pytest.mark.parametrize(("name", "value"), EVERY_CHOICE, ids=lambda item: str(item))
def test_every_parameter_gets_a_gradient_whatever_is_chosen(name, value):
    model = make_lofr(**{name: value})
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    output = model(images)
    torch.testing.assert_close(output.response.sum(dim=(2, 3)), torch.ones(3, 4))
    torch.testing.assert_close(output.scale_mass.sum(dim=2), torch.ones(3, 4))
    semi_weak_loss(output).backward()
    without = [
        key
        for key, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    ]
    assert without == []


@pytest.mark.parametrize("top_down", [False, True])
@pytest.mark.parametrize("cam_stride", [8, 16, 32])
def test_shapes_follow_the_crop(cam_stride, top_down):
    model = make_lofr(cam_stride=cam_stride, top_down=top_down)
    output = model.eval()(torch.randn(2, 3, 96, 64))
    assert output.logits.shape == (2, 4)
    assert [logits.shape for logits in output.aux_logits] == [(2, 4), (2, 4)]
    assert output.cams.shape == (2, 4, 96 // cam_stride, 64 // cam_stride)
    assert output.cams.min() >= 0
    assert output.response.shape == output.heatmaps.shape == (2, 4, 24, 16)
    assert output.part_features.shape == (2, 4, 16)
    assert output.scale_mass.shape == (2, 4, 3)


@pytest.mark.parametrize("cam_stride", [8, 16, 32])
def test_the_cnn_branch_may_read_merged_maps(cam_stride):
    model = make_lofr(cam_stride=cam_stride, top_down=True, cam_input="merged")
    assert model.eval()(torch.randn(1, 3, 64, 64)).cams.shape[2:] == (64 // cam_stride,) * 2


def test_a_guided_response_peaks_where_the_activation_map_does():
    model = make_lofr(1, guide="cam", cam_stride=8).eval()
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        model.guide_cam.fill_(1e4)
        output = model(images)
    peak = torch.nn.functional.interpolate(output.cams, (16, 16), mode="bilinear").argmax()
    row, column = divmod(int(output.response.argmax()), 16)
    assert abs(row - int(peak) // 16) <= 2
    assert abs(column - int(peak) % 16) <= 2


def test_with_normalised_maps_the_scale_of_the_backbone_does_not_matter():
    class Louder(torch.nn.Module):
        def __init__(self, backbone):
            super().__init__()
            self.backbone, self.strides = backbone, backbone.strides

        def forward(self, images):
            return tuple(3.0 + 50.0 * level for level in self.backbone(images))

    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    for map_norm in (True, False):
        model = make_lofr(map_norm=map_norm)
        quiet = model(images).cams
        model.backbone = Louder(model.backbone)
        same = torch.allclose(model(images).cams, quiet, atol=1e-3)
        assert same == map_norm


def test_presence_can_be_read_off_heatmaps_too():
    model = make_lofr(heat_presence=True)
    output = model.eval()(torch.randn(2, 3, 64, 64))
    assert [logits.shape for logits in output.aux_logits] == [(2, 4)] * 3


@pytest.mark.parametrize(("memory", "tokens"), [("4", 256), ("8", 64), ("16", 16)])
def test_without_the_multi_scale_strategy_encoder_and_decoder_read_one_scale(memory, tokens):
    model = make_lofr(memory=memory).eval()
    read = []
    model.encoder.layers[0].register_forward_pre_hook(lambda _, a: read.append(a[0].shape[1]))
    model.decoder.layers[0].cross.register_forward_pre_hook(lambda _, a: read.append(a[1].shape[1]))
    output = model(torch.randn(2, 3, 64, 64))
    assert read == [tokens, tokens]
    assert output.scale_mass.shape == (2, 4, 1)
    assert output.response.shape == (2, 4, 16, 16)
    assert len(model.project) == 1


@pytest.mark.parametrize(
    "choice", [{"sup_map": "pyramid"}, {"enc_tokens": "cap"}, {"read_scale": "4"}]
)
def test_what_needs_several_scales_is_refused_where_there_is_one(choice):
    with pytest.raises(ValueError, match="Memory '16'"):
        make_lofr(memory="16", **choice)


def test_without_graph_layers_queries_are_the_prototypes_themselves():
    model = make_lofr(graph_layers=0, proto_init="learned")
    assert torch.equal(model.prototypes(None, 1)[0], model.prototypes.embedding)


@pytest.mark.parametrize("num_keypoints", [1, 2])
def test_one_keypoint_is_enough(num_keypoints):
    output = make_lofr(num_keypoints)(torch.randn(2, 3, 64, 64))
    assert output.response.shape == (2, num_keypoints, 16, 16)
    weak_loss(output, torch.ones(2, num_keypoints)).total.backward()


@pytest.mark.parametrize("sup_map", ABLATIONS["sup_map"])
def test_the_output_for_one_crop_does_not_depend_on_the_rest_of_the_batch(sup_map):
    model = make_lofr(sup_map=sup_map).eval()
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        together, alone = model(images), model(images[1:2])
    for many, one in zip(together, alone, strict=True):
        if isinstance(many, tuple):
            many, one = torch.stack(many, dim=1), torch.stack(one, dim=1)
        torch.testing.assert_close(many[1:2], one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("cam_stride", "side"), [(16, 40), (32, 48)])
def test_a_crop_that_the_scales_cannot_cover_is_refused(cam_stride, side):
    with pytest.raises(ValueError, match=rf"{cam_stride}.*\(64, {side}\)"):
        make_lofr(cam_stride=cam_stride)(torch.randn(1, 3, 64, side))


def test_an_elongated_crop_needs_sides_that_the_coarsest_map_divides():
    output = make_lofr(top_down=True, sup_map="pyramid").eval()(torch.randn(1, 3, 48, 192))
    assert output.response.shape == output.heatmaps.shape == (1, 4, 12, 48)


def test_the_response_is_attention_or_class_activation_or_their_product():
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        attention, cam, both = (
            make_lofr(response=name).eval()(images) for name in ("attention", "cam", "both")
        )
    active = F.interpolate(cam.cams, (16, 16), mode="bilinear")
    for output, expected in ((cam, active), (both, active * attention.response)):
        # Compared where a class is active at all: elsewhere the attention is what is left.
        total = expected.sum(dim=(2, 3), keepdim=True)
        somewhere = total.flatten() > 1e-3
        assert somewhere.any()
        found = output.response.flatten(0, 1)[somewhere]
        torch.testing.assert_close(
            found, (expected / total).flatten(0, 1)[somewhere], atol=1e-3, rtol=1e-2
        )
    torch.testing.assert_close(both.response.sum(dim=(2, 3)), torch.ones(2, 4))


@pytest.mark.parametrize("name", sorted(ABLATIONS))
def test_an_unknown_choice_is_refused_by_name(name):
    with pytest.raises(ValueError, match=f"{name} 'nonsense'"):
        make_lofr(**{name: "nonsense"})


def test_the_network_compiles_in_one_graph():
    model = make_lofr().eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        compiled = torch.compile(model, backend="eager", fullgraph=True)(images)
        torch.testing.assert_close(compiled.response, model(images).response)


def test_mixed_precision_keeps_maps_in_full_precision():
    model = make_lofr(sup_map="dot")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(torch.randn(3, 3, 64, 64))
    assert output.response.dtype == output.heatmaps.dtype == torch.float32
    torch.testing.assert_close(output.response.sum(dim=(2, 3)), torch.ones(3, 4))
    semi_weak_loss(output).backward()


def squares(count=8, size=64):
    """Black crops with one white square each: its centre is the keypoint."""
    generator = torch.Generator().manual_seed(3)
    xy = torch.randint(12, size - 12, (count, 1, 2), generator=generator).float()
    images = torch.full((count, 3, size, size), -1.0)
    for image, ((x, y),) in zip(images, xy.long().tolist(), strict=True):
        image[:, y - 6 : y + 6, x - 6 : x + 6] = 1.0
    return images, xy


@pytest.mark.slow
@pytest.mark.parametrize("sup_map", ABLATIONS["sup_map"])
def test_eight_crops_can_be_memorised(sup_map):
    images, xy = squares()
    model = make_lofr(1, sup_map=sup_map, top_down=True, dim=32)
    target = render_heatmaps(xy / 4, torch.ones(8, 1), (16, 16), sigma=1.5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        loss = heatmap_mse(model(images).heatmaps, target, torch.ones(8, 1))
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3 * target.square().mean().item()
