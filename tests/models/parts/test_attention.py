"""Cross-attention folds its matrices; the result must stay ordinary attention."""

import torch

from labelkit.models.parts.attention import CrossAttention, SelfAttention


def unfolded(attention, query, memory):
    def split(tokens):
        return tokens.unflatten(2, (attention.heads, -1)).transpose(1, 2)

    q, k, v = split(attention.query(query)), split(attention.key(memory)), attention.value(memory)
    weights = (q @ k.transpose(2, 3) * q.shape[3] ** -0.5).softmax(dim=3)
    return weights, attention.out((weights @ split(v)).transpose(1, 2).flatten(2))


def test_folded_cross_attention_equals_the_unfolded_one():
    torch.manual_seed(0)
    attention = CrossAttention(dim=8, heads=2)
    query, memory = torch.randn(3, 5, 8), torch.randn(3, 7, 8)
    with torch.no_grad():
        attention.value.bias.normal_()
        weights, output = unfolded(attention, query, memory)
        torch.testing.assert_close(attention.weights(query, memory), weights)
        torch.testing.assert_close(attention(query, memory), output)
        torch.testing.assert_close(attention.pool(weights, memory), output)


def test_a_guide_is_added_to_the_scores_of_every_head():
    torch.manual_seed(0)
    attention = CrossAttention(dim=8, heads=2)
    query, memory, guide = torch.randn(1, 2, 8), torch.randn(1, 4, 8), torch.randn(1, 2, 4)
    plain, guided = attention.weights(query, memory), attention.weights(query, memory, guide=guide)
    expected = plain * guide.exp()[:, None]
    torch.testing.assert_close(guided, expected / expected.sum(dim=3, keepdim=True))


def test_a_position_changes_the_attention_and_not_the_values():
    torch.manual_seed(0)
    attention = CrossAttention(dim=8, heads=2)
    query, memory, position = torch.randn(1, 2, 8), torch.randn(1, 4, 8), torch.randn(4, 8)
    weights = attention.weights(query, memory, position)
    torch.testing.assert_close(attention(query, memory, position), attention.pool(weights, memory))


def test_on_a_cpu_attention_itself_stays_in_full_precision():
    attention = SelfAttention(8, 2)
    dtypes = []
    attention.out.register_forward_pre_hook(lambda _, given: dtypes.append(given[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = attention(torch.randn(2, 5, 8))
    assert dtypes == [torch.float32]
    assert mixed.dtype == torch.bfloat16
