"""Attention over scales becomes a density at stride 4."""

import pytest
import torch

from labelkit.models.parts.response import fuse_scales, scale_mass

SIZES = [(4, 4), (2, 2), (1, 1)]
STRIDES = (4, 8, 16)


def one_token(index):
    attention = torch.zeros(1, 1, 21)
    attention[0, 0, index] = 1.0
    return attention


def test_a_fine_token_stays_where_it_is():
    response = fuse_scales(one_token(6), SIZES, STRIDES)[0, 0]
    assert response[1, 2].item() == 1
    assert response.sum().item() == 1


def test_the_coarsest_token_spreads_its_mass_over_sixteen_cells():
    response = fuse_scales(one_token(20), SIZES, STRIDES)[0, 0]
    torch.testing.assert_close(response, torch.full((4, 4), 1 / 16))


def test_a_middle_token_is_divided_by_four_and_stretched():
    response = fuse_scales(one_token(16), SIZES, STRIDES)[0, 0]  # top left of 2 x 2
    # bilinear, cell centres at 1/4, 3/4, 5/4, 7/4 of coarse cells: weights 1, .75, .25, 0 a side
    side = torch.tensor([1.0, 0.75, 0.25, 0.0])
    torch.testing.assert_close(response, side[:, None] * side / 4)
    assert response.sum().item() == pytest.approx(1)


@pytest.mark.parametrize("read_scale", ["fuse", "4", "8", "16"])
def test_every_response_sums_to_one(read_scale):
    attention = torch.rand(2, 3, 21).softmax(dim=2)
    response = fuse_scales(attention, SIZES, STRIDES, read_scale)
    assert response.shape == (2, 3, 4, 4)
    torch.testing.assert_close(response.sum(dim=(2, 3)), torch.ones(2, 3))


def test_reading_one_scale_ignores_the_others():
    attention = 0.9 * one_token(0) + 0.1 * one_token(20)
    response = fuse_scales(attention, SIZES, STRIDES, "16")[0, 0]
    torch.testing.assert_close(response, torch.full((4, 4), 1 / 16))


def test_a_single_coarse_scale_is_brought_to_stride_four():
    response = fuse_scales(torch.full((1, 1, 4), 0.25), [(2, 2)], (32,))
    torch.testing.assert_close(response, torch.full((1, 1, 16, 16), 1 / 256))


def test_the_mass_of_each_scale_is_counted():
    attention = 0.5 * one_token(3) + 0.3 * one_token(17) + 0.2 * one_token(20)
    assert scale_mass(attention, SIZES).flatten().tolist() == pytest.approx([0.5, 0.3, 0.2])
