"""Which tokens attend to which."""

import pytest
import torch

from labelkit.models.parts.encoder import ContextEncoder

SIZES = [(4, 4), (2, 2), (1, 1)]


def make_encoder(enc_tokens):
    torch.manual_seed(0)
    return ContextEncoder(8, 2, 1, 16, 0.0, num_keypoints=3, enc_tokens=enc_tokens).eval()


def make_scales():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, h * w, 8, generator=generator) for h, w in SIZES]


def influence(enc_tokens):
    """Matrix: entry (i, j) is whether a token of scale j changes another one of scale i."""
    encoder, scales = make_encoder(enc_tokens), make_scales()
    before = encoder(scales, SIZES)[0]
    rows = []
    for changed in range(3):
        moved = [scale.clone() for scale in scales]
        moved[changed][:, 0] += 1.0
        after = encoder(moved, SIZES)[0]
        rows.append(
            [not torch.allclose(a[:, -1], b[:, -1]) for a, b in zip(before, after, strict=True)]
        )
    return torch.tensor(rows).T.int().tolist()


def test_tokens_attend_within_their_scale():
    assert influence("per_scale") == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_joint_tokens_attend_to_all_scales():
    assert influence("joint") == [[1, 1, 1]] * 3


def test_capped_the_finest_scale_skips_the_encoder():
    assert influence("cap") == [[0, 0, 0], [0, 1, 0], [0, 0, 1]]
    scales = make_scales()
    assert make_encoder("cap")(scales, SIZES)[0][0] is scales[0]


@pytest.mark.parametrize("enc_tokens", ["per_scale", "joint", "cap"])
def test_the_class_output_has_one_logit_per_keypoint(enc_tokens):
    scales, logits = make_encoder(enc_tokens)(make_scales(), SIZES)
    assert logits.shape == (2, 3)
    assert [scale.shape for scale in scales] == [(2, 16, 8), (2, 4, 8), (2, 1, 8)]
