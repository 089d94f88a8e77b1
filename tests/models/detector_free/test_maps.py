"""Targets on maps and peaks off them."""

from __future__ import annotations

import pytest
import torch

from labelkit.models.detector_free.instances import labelled
from labelkit.models.detector_free.maps import (
    centres,
    draw,
    draw_together,
    heatmap_loss,
    peaks,
    refined,
)


def test_a_drawn_point_is_read_back_to_a_fraction_of_a_cell():
    point = torch.tensor([[[5.3, 7.8]]])
    maps = draw(point, torch.ones(1, 1, dtype=torch.bool), (16, 12))[0]
    which, row, column, height = peaks(maps, 0.5, 10)
    assert (which.tolist(), row.tolist(), column.tolist()) == ([0], [7], [5])
    assert height.item() > 0.9
    assert refined(maps.logit(1e-6), which, row, column)[0].tolist() == pytest.approx(
        [5.3, 7.8], abs=1e-3
    )


def test_a_peak_at_the_border_is_read_in_the_middle_of_its_cell():
    maps = torch.zeros(1, 4, 4)
    maps[0, 0, 3] = 1.0
    which, row, column, _ = peaks(maps, 0.5, 10)
    assert refined(maps.logit(1e-6), which, row, column).tolist() == [[3.5, 0.5]]


def test_one_map_holds_the_points_of_all_objects_and_of_500_too():
    points = torch.rand(500, 1, 2) * 20
    points[:2] = torch.tensor([[[2.5, 2.5]], [[15.5, 10.5]]])
    there = torch.zeros(500, 1, dtype=torch.bool)
    there[:2] = True
    empty = torch.zeros(0, 1, 2), torch.zeros(0, 1, dtype=torch.bool)
    maps = draw_together([points, empty[0]], [there, empty[1]], (20, 20))
    assert maps.shape == (2, 1, 20, 20)
    assert (maps[0, 0, 2, 2].item(), maps[0, 0, 10, 15].item()) == (1.0, 1.0)
    assert maps[1].max() == 0


def test_a_centre_is_the_mean_of_what_is_present():
    xy = torch.tensor([[[0.0, 0.0], [10.0, 20.0], [99.0, 99.0]], [[1.0, 1.0]] * 3])
    objects = labelled(xy, torch.tensor([[1, 1, 0], [0, 0, 0]]))
    assert centres(objects).tolist() == [[5.0, 10.0], [0.0, 0.0]]


def test_the_loss_is_zero_where_maps_are_right_and_ignores_what_does_not_count():
    target = draw(torch.tensor([[[5.5, 5.5]]]), torch.ones(1, 1, dtype=torch.bool), (12, 12))
    right = target.clamp(1e-6, 1 - 1e-6).logit()
    everywhere = torch.ones(1, 1, 12, 12)
    assert heatmap_loss(right, target, everywhere).item() == pytest.approx(0, abs=1e-5)
    wrong = right.clone()
    wrong[0, 0, 11, 0] = 3.0  # something that is not in the target
    assert heatmap_loss(wrong, target, everywhere) > 0.1
    uncertain = everywhere.clone()
    uncertain[..., 11, 0] = 0
    assert heatmap_loss(wrong, target, uncertain).item() == pytest.approx(0, abs=1e-5)


def test_a_point_counts_even_where_the_background_does_not():
    target = draw(torch.tensor([[[5.5, 5.5]]]), torch.ones(1, 1, dtype=torch.bool), (12, 12))
    assert heatmap_loss(torch.full_like(target, -4.6), target, torch.zeros(())) > 1.0
