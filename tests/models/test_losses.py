"""The objective's terms against values worked by hand."""

import math

import pytest
import torch
from torch import distributed

from labelkit.models.losses import (
    classification_loss,
    diversity_loss,
    heatmap_mse,
    render_heatmaps,
    response_loss,
    weak_loss,
)
from labelkit.models.parts.output import PoseOutput


def make_output(logits, features, aux=()):
    batch, keypoints = logits.shape
    maps = torch.full((batch, keypoints, 2, 2), 0.25)
    return PoseOutput(logits, aux, maps, maps, maps, features, torch.ones(batch, keypoints, 1))


def test_an_undecided_classifier_costs_ln_2():
    loss = classification_loss(torch.zeros(2, 3), torch.tensor([[1, 0, 1], [0, 0, 1]]))
    assert loss.item() == pytest.approx(math.log(2))


def test_keypoints_without_an_answer_do_not_count():
    logits = torch.tensor([[0.0, 50.0]])
    presence = torch.tensor([[True, False]])
    answered = torch.tensor([[True, False]])
    assert classification_loss(logits, presence, answered).item() == pytest.approx(math.log(2))
    assert classification_loss(logits, presence, torch.zeros(1, 2)).item() == 0


def test_diversity_is_the_mean_cosine_of_different_keypoints():
    # unit vectors at 0, 90 and 180 degrees: cosines 0, -1, 0
    features = torch.tensor([[[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]]])
    assert diversity_loss(features).item() == pytest.approx(-2 / 6)


def test_equal_part_features_cost_one():
    assert diversity_loss(torch.ones(2, 4, 8)).item() == pytest.approx(1)


def test_a_single_keypoint_has_no_diversity_loss():
    assert diversity_loss(torch.ones(2, 1, 8)).item() == 0


def test_diversity_does_not_depend_on_the_order_of_keypoints():
    features = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    shuffled = features[:, [3, 1, 4, 0, 2]]
    assert diversity_loss(features).item() == pytest.approx(
        diversity_loss(shuffled).item(), abs=1e-6
    )


def test_heatmap_error_is_the_mean_over_pixels_of_weighted_keypoints():
    heatmaps = torch.zeros(1, 2, 2, 2)
    target = torch.zeros(1, 2, 2, 2)
    target[0, 0, 0, 0] = 2.0  # squared error 4 in one of four pixels
    target[0, 1] = 100.0  # not weighted
    assert heatmap_mse(heatmaps, target, torch.tensor([[1.0, 0.0]])).item() == pytest.approx(1)


def test_without_locations_the_heatmap_term_is_zero_and_can_be_stepped():
    heatmaps = torch.ones(2, 3, 4, 4, requires_grad=True)
    loss = heatmap_mse(heatmaps, torch.zeros(2, 3, 4, 4), torch.zeros(2, 3))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(heatmaps.grad, torch.zeros(2, 3, 4, 4))


def test_the_weak_loss_weighs_its_four_terms_as_the_paper_does():
    logits = torch.zeros(1, 2)
    certain = torch.full((1, 2), 100.0)
    output = make_output(logits, torch.ones(1, 2, 4), aux=(logits, certain))
    loss = weak_loss(output, torch.ones(1, 2))
    assert loss.cnn.item() == pytest.approx(math.log(2))
    assert loss.encoder.item() == pytest.approx(0)
    assert loss.final.item() == pytest.approx(math.log(2))
    assert loss.diversity.item() == pytest.approx(1)
    assert loss.total.item() == pytest.approx((0.2 + 0.5) * math.log(2) + 0.1)


def test_the_weak_loss_of_a_network_without_branches_is_its_final_term():
    output = make_output(torch.zeros(1, 2), torch.zeros(1, 2, 0))
    loss = weak_loss(output, torch.ones(1, 2))
    assert loss.total.item() == pytest.approx(0.5 * math.log(2))
    assert loss.cnn.item() == loss.encoder.item() == loss.diversity.item() == 0


def test_a_target_is_one_at_a_cell_centre_and_falls_off_as_a_gaussian():
    xy = torch.tensor([[[1.5, 0.5]]])  # centre of column 1, row 0
    target = render_heatmaps(xy, torch.tensor([[True]]), (2, 4), sigma=1.0)[0, 0]
    assert target[0, 1].item() == 1
    assert target[0, 0].item() == pytest.approx(math.exp(-0.5))
    assert target[1, 3].item() == pytest.approx(math.exp(-0.5 * (1 + 4)))


def test_a_target_between_two_cells_is_equal_in_both():
    xy = torch.tensor([[[2.0, 0.5]]])
    row = render_heatmaps(xy, torch.tensor([[True]]), (1, 4), sigma=1.0)[0, 0, 0]
    assert row[1].item() == pytest.approx(math.exp(-0.125))
    assert row[1].item() == pytest.approx(row[2].item())


def test_an_absent_keypoint_has_an_empty_target_even_where_its_position_is_nan():
    xy = torch.tensor([[[math.nan, 1.0], [1.0, 1.0]]])
    target = render_heatmaps(xy, torch.tensor([[False, True]]), (2, 2), sigma=1.0)
    assert torch.equal(target[0, 0], torch.zeros(2, 2))
    assert target.isfinite().all()


def test_mirrored_targets_are_the_targets_of_mirrored_keypoints_with_sides_swapped():
    xy = torch.tensor([[[1.2, 3.0], [6.1, 2.0], [4.0, 5.5]]])
    valid = torch.tensor([[True, False, True]])
    flip = [1, 0, 2]
    mirrored_xy = torch.stack((8 - xy[..., 0], xy[..., 1]), dim=2)[:, flip]
    mirrored = render_heatmaps(mirrored_xy, valid[:, flip], (8, 8))
    torch.testing.assert_close(mirrored, render_heatmaps(xy, valid, (8, 8)).flip(3)[:, flip])


def test_a_uniform_response_costs_the_log_of_its_cells():
    response = torch.full((1, 1, 2, 2), 0.25)
    target = torch.tensor([[[[0.5, 0.0], [0.0, 1.5]]]])
    assert response_loss(response, target, torch.ones(1, 1)).item() == pytest.approx(
        math.log(4), abs=1e-4
    )


def test_a_response_costs_less_the_more_mass_is_at_the_keypoint():
    target = torch.tensor([[[[0.0, 3.0]]]])
    losses = [
        response_loss(torch.tensor([[[[1 - share, share]]]]), target, torch.ones(1, 1)).item()
        for share in (0.0, 0.5, 1.0)
    ]
    assert losses == pytest.approx([-math.log(1e-6), math.log(2), 0.0], abs=1e-4)


def test_only_located_and_present_keypoints_count_in_the_response_loss():
    response = torch.tensor([[[[0.5, 0.5]], [[0.1, 0.9]], [[0.2, 0.8]]]], requires_grad=True)
    target = torch.tensor([[[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 0.0]]]])
    loss = response_loss(response, target, torch.tensor([[1.0, 0.0, 1.0]]))
    assert loss.item() == pytest.approx(math.log(2), abs=1e-4)
    nothing = response_loss(response, target, torch.zeros(1, 3))
    nothing.backward()
    assert nothing.item() == 0
    assert response.grad.abs().sum() == 0


@pytest.mark.parametrize(
    ("located", "elsewhere", "expected"),
    [
        (1.0, 0.0, 2 * math.log(2)),  # the only one of two processes: their mean is ln 2
        (1.0, 1.0, math.log(2)),
        (0.0, 1.0, 0.0),
        (0.0, 0.0, 0.0),
    ],
)
def test_the_mean_of_two_processes_is_that_of_all_their_keypoints(
    monkeypatch, located, elsewhere, expected
):
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(distributed, "all_reduce", lambda total: total.add_(elsewhere))
    response = torch.tensor([[[[0.5, 0.5]]]])
    target = torch.tensor([[[[1.0, 0.0]]]])
    mine = response_loss(response, target, torch.tensor([[located]]))
    assert mine.item() == pytest.approx(expected, abs=1e-4)


def test_a_mean_of_weights_below_one_is_still_a_mean():
    heatmaps, target = torch.full((1, 1, 2, 2), 3.0), torch.zeros(1, 1, 2, 2)
    assert heatmap_mse(heatmaps, target, torch.tensor([[0.25]])).item() == pytest.approx(9)


def test_presence_read_off_heatmaps_counts_with_the_cnn():
    undecided = torch.zeros(1, 1)
    output = make_output(undecided, torch.zeros(1, 1, 0), aux=(undecided, undecided, undecided))
    loss = weak_loss(output, torch.ones(1, 1), weights=(0.5, 0.1, 0.3, 0.1))
    assert loss.cnn.item() == pytest.approx(2 * math.log(2))
    assert loss.total.item() == pytest.approx((2 * 0.5 + 0.1 + 0.3) * math.log(2))
