"""Part features come from where a query attended, and from nowhere else."""

import pytest
import torch

from labelkit.models.parts.decoder import PartClassifier, PartDecoder


def make_decoder(**changes):
    torch.manual_seed(0)
    return PartDecoder(dim=8, heads=2, depth=2, ffn=16, dropout=0.0, **changes).eval()


@pytest.mark.parametrize("with_queries", [False, True])
def test_attention_rows_sum_to_one(with_queries):
    decoder = make_decoder(with_queries=with_queries)
    _, attention, queries = decoder(torch.randn(3, 4, 8), torch.randn(3, 10, 8))
    assert attention.shape == (3, 4, 10)
    torch.testing.assert_close(attention.sum(dim=2), torch.ones(3, 4))
    assert queries.shape == (3, 4, 8)


def test_presence_cannot_leak_from_the_query_into_the_part_feature():
    decoder = make_decoder()
    memory = torch.randn(1, 10, 8)
    for seed in range(3):
        queries = torch.randn(1, 4, 8, generator=torch.Generator().manual_seed(seed)) * 10
        features, attention, _ = decoder(queries, memory)
        torch.testing.assert_close(features, attention @ memory)


def test_over_a_constant_memory_every_query_has_the_same_part_feature():
    features, _, _ = make_decoder()(torch.randn(1, 4, 8) * 10, torch.ones(1, 10, 8))
    torch.testing.assert_close(features, torch.ones(1, 4, 8))


def test_the_classifier_gives_each_keypoint_its_own_vector_and_bias():
    classify = PartClassifier(2, 2)
    with torch.no_grad():
        classify.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        classify.bias.copy_(torch.tensor([0.5, -1.0]))
    assert classify(torch.tensor([[[3.0, 9.0], [9.0, 4.0]]])).tolist() == [[3.5, 7.0]]
