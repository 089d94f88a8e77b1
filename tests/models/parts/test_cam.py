"""Pooling and activation maps of the CNN branch."""

import math

import pytest
import torch

from labelkit.models.parts.cam import CamBranch, pool_classes


def test_pooling_of_a_small_map_by_hand():
    scores = torch.tensor([[[[1.0, 0.0], [0.0, 3.0]]]])
    assert pool_classes(scores, "gap").item() == 1
    assert pool_classes(scores, "topk").item() == 3  # 3 % of four cells: one
    expected = math.log((math.exp(5) + 2 + math.exp(15)) / 4) / 5
    assert pool_classes(scores, "lse").item() == pytest.approx(expected)
    assert pool_classes(scores, "lmp").item() == 3  # every cell but the 3 has a higher neighbour


def test_local_maxima_far_from_each_other_all_count():
    scores = torch.zeros(1, 1, 1, 7)
    scores[..., 1], scores[..., 5] = 4.0, 2.0
    # 0 at column 3 is a maximum of its 3x3 neighbourhood as well
    assert pool_classes(scores, "lmp").item() == pytest.approx((4 + 2 + 0) / 3)


def test_top_k_averages_three_percent_of_the_cells():
    scores = torch.arange(144.0).view(1, 1, 12, 12)
    assert pool_classes(scores, "topk").item() == (143 + 142 + 141 + 140) / 4


@pytest.mark.parametrize("how", ["gap", "topk", "lse", "lmp"])
def test_every_pooling_of_a_constant_map_is_the_constant(how):
    assert (
        pool_classes(torch.full((2, 3, 4, 5), 0.5), how).tolist() == [pytest.approx([0.5] * 3)] * 2
    )


def test_an_unknown_pooling_is_named():
    with pytest.raises(ValueError, match="median"):
        pool_classes(torch.zeros(1, 1, 2, 2), "median")


def test_activation_maps_are_the_weighted_squeezed_maps_without_bias_or_negatives():
    branch = CamBranch(channels=2, num_keypoints=2, dim=0)
    with torch.no_grad():
        branch.squeeze.weight.copy_(torch.eye(2)[:, :, None, None])
        branch.squeeze.bias.zero_()
        branch.fc.weight.copy_(torch.tensor([[1.0, -1.0], [0.0, 2.0]]))
        branch.fc.bias.copy_(torch.tensor([10.0, 20.0]))
    features = torch.tensor([[[[3.0, 1.0]], [[1.0, 2.0]]]])  # (1, 2, 1, 2)
    logits, cams, vectors, scores = branch(features)
    assert cams.tolist() == [[[[2.0, 0.0]], [[2.0, 4.0]]]]
    assert logits.tolist() == [[(2 - 1) / 2 + 10, (2 + 4) / 2 + 20]]
    assert vectors is None
    assert scores.tolist() == [[[[2.0, -1.0]], [[2.0, 4.0]]]]


def test_keypoint_vectors_are_the_mean_feature_under_the_activation_map():
    branch = CamBranch(channels=1, num_keypoints=1, dim=1)  # its class layer starts as identity
    with torch.no_grad():
        branch.squeeze.weight.fill_(1.0)
        branch.squeeze.bias.zero_()
        branch.vector.weight.fill_(10.0)
        branch.vector.bias.zero_()
    _, _, vectors, _ = branch(torch.tensor([[[[1.0, 3.0, -5.0]]]]))
    # weights 1/4, 3/4, 0; contents 10, 30, -50
    assert vectors.item() == pytest.approx(0.25 * 10 + 0.75 * 30, rel=1e-4)
