"""Maps of several strides from one."""

import torch

from labelkit.models.parts.simple_pyramid import SimplePyramid


def test_maps_are_finer_coarser_or_the_same():
    pyramid = SimplePyramid(32, 16, (4, 8, 16, 32))
    features = torch.randn(2, 32, 6, 4)
    maps = pyramid(features)
    assert [tuple(level.shape) for level in maps] == [
        (2, 8, 24, 16),
        (2, 16, 12, 8),
        (2, 32, 6, 4),
        (2, 32, 3, 2),
    ]
    assert pyramid.channels == (8, 16, 32, 32)
    assert torch.equal(maps[2], features)
    assert maps[3][0, 0, 0, 0] == features[0, 0, :2, :2].max()


def test_a_map_of_stride_8_is_halved_once():
    maps = SimplePyramid(32, 8, (4, 8, 16))(torch.randn(1, 32, 8, 8))
    assert [tuple(level.shape[1:]) for level in maps] == [(16, 16, 16), (32, 8, 8), (32, 4, 4)]
