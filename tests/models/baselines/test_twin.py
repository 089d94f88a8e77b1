import torch

from labelkit.models.presets import PRESETS, build_model


def test_twins_start_differently_and_predict_their_mean():
    torch.manual_seed(0)
    model = build_model("twin", 3, [(0, 1)], PRESETS["tiny"], pretrained=False).eval()
    images = torch.randn(2, 3, 96, 96)
    with torch.inference_mode():
        first, second = (twin(images) for twin in model.twins)
        both = model(images)
    assert not torch.equal(first.heatmaps, second.heatmaps)
    assert torch.allclose(both.heatmaps, (first.heatmaps + second.heatmaps) / 2)
    assert torch.allclose(both.response.sum(dim=(2, 3)), torch.ones(2, 3))
