"""With the network on a GPU, no tensor of training or of reading poses stays on the CPU.

Fake tensors have shape, type and device but no data, so no GPU is needed; two devices in one
operation are an error, as on a real one.
"""

from contextlib import contextmanager

import pytest
import torch
from builders import stick_skeleton
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from labelkit.models.presets import KINDS, PRESETS, build_model
from labelkit.workflows.network.decode import confidence, height_at, refine
from labelkit.workflows.network.training import PoseTraining, make_recipe

GPU = torch.device("cuda")
SKELETON = stick_skeleton()


@contextmanager
def half_precision():
    """`torch.autocast` of a GPU, which disables itself on machines without one."""
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", False)


def move(network):
    """Replace parameters and buffers with fake ones on the GPU, and no other tensors."""
    for module in network.modules():
        for known in (module._parameters, module._buffers):
            for name, value in known.items():
                if value is None:
                    continue
                size, stride = value.shape, value.stride()
                moved = torch.empty_strided(size, stride, dtype=value.dtype, device=GPU)
                known[name] = nn.Parameter(moved) if known is module._parameters else moved


def make(kind, preset):
    return build_model(kind, len(SKELETON), SKELETON.links, preset, False)


@pytest.mark.parametrize("name", ["paper", "tiny"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_training_step_runs_entirely_on_a_gpu(kind, name, monkeypatch):
    preset = PRESETS[name]
    loss = preset["loss"] | {"lambda_consistency": 1.0}
    if kind in ("simple", "twin"):
        loss["weights"] = (0.0, 0.0, 0.0, 0.0)
    plan = make_recipe({**preset, "loss": loss}, 8, 1, 0, located=True)
    training = PoseTraining(make(kind, preset), plan)
    monkeypatch.setattr(training, "log", lambda *_, **__: None)
    keypoints = len(SKELETON)
    with FakeTensorMode(), half_precision():
        move(training)
        answers = torch.ones(2, keypoints, device=GPU)
        batch = {
            "image": torch.zeros(2, 3, *preset["input_size"], dtype=torch.uint8, device=GPU),
            "presence": answers,
            "answered": answers,
            "located": answers,
            "xy": torch.ones(2, keypoints, 2, device=GPU),
        }
        result = training.training_step(batch, 0)
    assert (result.device.type, result.dtype) == ("cuda", torch.float32)


def test_keypoints_are_read_entirely_on_a_gpu():
    preset = PRESETS["tiny"]
    network = make("lofr", preset).eval()
    with FakeTensorMode(), torch.inference_mode(), half_precision():
        move(network)
        crops = torch.zeros(2, 3, *preset["input_size"], dtype=torch.uint8, device=GPU)
        output = network(network.pixels(crops))
        assert output.part_features.dtype == torch.bfloat16  # else half precision was not tested
        maps = output.heatmaps.float()
        xy, _ = refine(maps)
        score = confidence(maps, xy, height_at(maps, xy))
    assert xy.device.type == score.device.type == "cuda"


def test_a_tensor_left_on_the_cpu_is_an_error():
    network = make("simple", PRESETS["tiny"])
    with FakeTensorMode():
        move(network)
        crops = torch.zeros(2, 3, 64, 64)
        with pytest.raises(RuntimeError, match=r"cuda:0.*cpu|cpu.*cuda:0"):
            network(crops)
