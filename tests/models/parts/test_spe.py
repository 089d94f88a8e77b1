"""Key maps and what they do to tokens."""

import math

import pytest
import torch

from labelkit.models.parts.spe import SpatialEncoding, key_maps, sine_position


def make_encoding(num_keypoints, dim, spe="embed"):
    """An encoding without the last layer, so that what it adds can be worked out by hand."""
    encoding = SpatialEncoding(dim, num_keypoints, spe)
    encoding.psi = torch.nn.Identity()
    return encoding


def make_cams(height=4, width=4, peak=(1, 2)):
    cams = torch.zeros(1, 1, height, width)
    cams[0, 0, peak[0], peak[1]] = 2.0
    return cams


def test_a_key_map_peaks_where_the_activation_map_does_times_presence():
    # CAM at stride 16, level at stride 16: the same cells
    keys = key_maps(make_cams(), torch.tensor([[0.5]]), (4, 4), 16).view(4, 4)
    assert keys[1, 2].item() == pytest.approx(0.5)
    # one cell is 16 pixels, sigma is 8: two standard deviations
    assert keys[1, 3].item() == pytest.approx(0.5 * math.exp(-2))
    assert keys[0, 2].item() == pytest.approx(0.5 * math.exp(-2))


def test_a_key_map_at_a_finer_level_is_centred_on_the_same_pixel():
    # the cell (1, 2) of stride 16 has its centre at pixel (40, 24): between fine cells of stride 4
    keys = key_maps(make_cams(), torch.ones(1, 1), (16, 16), 4).view(16, 16)
    # centres of the four cells around lie 2 pixels off in x and in y
    expected = math.exp(-0.5 * (2**2 + 2**2) / 8**2)
    assert keys[5, 9].item() == pytest.approx(expected)
    assert keys[6, 10].item() == pytest.approx(expected)


def test_no_gradient_flows_through_the_position_of_a_peak():
    cams = make_cams().requires_grad_()
    presence = torch.ones(1, 1, requires_grad=True)
    key_maps(cams, presence, (4, 4), 16).sum().backward()
    assert cams.grad is None
    assert presence.grad is not None


def test_embed_scales_each_token_by_one_plus_its_key_before_training():
    spe = make_encoding(num_keypoints=1, dim=2)
    tokens = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    keys = torch.tensor([[[1.0], [0.0]]])
    assert spe(tokens, keys, (1, 2)).tolist() == [[[2.0, 4.0], [3.0, 4.0]]]


def test_gather_brings_a_keypoints_feature_back_to_its_place():
    spe = make_encoding(num_keypoints=1, dim=1, spe="gather")
    tokens = torch.tensor([[[5.0], [7.0]]])
    keys = torch.tensor([[[0.0], [1.0]]])
    out = spe(tokens, keys, (1, 2))[0, :, 0]
    assert out.tolist() == [5.0, pytest.approx(14.0, rel=1e-3)]


def test_gate_uses_the_highest_key_only():
    spe = make_encoding(num_keypoints=2, dim=1, spe="gate")
    keys = torch.tensor([[[0.25, 0.5]]])
    assert spe(torch.tensor([[[4.0]]]), keys, (1, 1)).item() == 4 + 0.5 * 4


def test_without_an_encoding_tokens_stay_as_they_are():
    spe = make_encoding(num_keypoints=1, dim=2, spe="none")
    tokens = torch.randn(1, 4, 2)
    assert torch.equal(spe(tokens, None, (2, 2)), tokens)


def test_the_sine_encoding_of_every_cell_is_different():
    codes = sine_position((6, 5), 16, torch.device("cpu"))
    assert codes.shape == (30, 16)
    assert torch.cdist(codes, codes)[~torch.eye(30, dtype=torch.bool)].min() > 0.1
