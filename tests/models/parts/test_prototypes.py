"""The graph of keypoints and what flows along it."""

import pytest
import torch

from labelkit.models.parts.prototypes import PosePrototypes, SemanticGraphConv, adjacency


def test_links_go_both_ways_and_every_keypoint_has_a_self_loop():
    mask = adjacency(3, links=[(0, 1)])
    assert mask.int().tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]


def test_relations_are_a_softmax_over_the_mask_and_nothing_else():
    conv = SemanticGraphConv(4, adjacency(3, [(0, 1), (1, 2)]))
    relations = conv.relations()
    # All edges start equal: rows of 2, 3 and 2 neighbours.
    expected = torch.tensor([[1 / 2, 1 / 2, 0], [1 / 3, 1 / 3, 1 / 3], [0, 1 / 2, 1 / 2]])
    torch.testing.assert_close(relations, expected)
    with torch.no_grad():
        conv.edges[0] = 100.0  # the edge of keypoint 0 to itself
    assert conv.relations()[0].tolist() == pytest.approx([1, 0, 0])
    assert conv.relations()[1].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3])


def test_a_graph_convolution_by_hand():
    conv = SemanticGraphConv(1, adjacency(2, [(0, 1)]))
    with torch.no_grad():
        conv.own.weight.fill_(2.0)
        conv.neighbours.weight.fill_(10.0)
        conv.bias.fill_(0.5)
    out = conv(torch.tensor([[[1.0], [3.0]]]))
    # Half of twice itself, half of ten times the other.
    assert out.flatten().tolist() == pytest.approx([1 + 15 + 0.5, 3 + 5 + 0.5])


def test_a_keypoint_without_links_is_not_influenced_by_others():
    prototypes = PosePrototypes(4, adjacency(3, [(0, 1)]), proto_init="cam")
    vectors = torch.randn(1, 3, 4, requires_grad=True)
    prototypes(vectors, 1)[0, 2].sum().backward()
    assert vectors.grad[0, :2].abs().sum() == 0
    assert vectors.grad[0, 2].abs().sum() > 0


def test_learned_prototypes_do_not_depend_on_the_image():
    prototypes = PosePrototypes(4, adjacency(3, [(0, 1)]), proto_init="learned")
    out = prototypes(None, 2)
    assert out.shape == (2, 3, 4)
    assert torch.equal(out[0], out[1])


def test_prototypes_from_the_image_need_its_vectors():
    prototypes = PosePrototypes(4, adjacency(3, [(0, 1)]), proto_init="cam")
    with pytest.raises(ValueError, match="vectors"):
        prototypes(None, 2)
