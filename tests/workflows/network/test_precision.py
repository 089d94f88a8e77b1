"""The number format is measured, not taken from what the machine reports; then it is kept."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from builders import write_picture

from labelkit.domain.instance import Box, Instance
from labelkit.domain.pose import human_pose
from labelkit.domain.skeleton import make_skeleton
from labelkit.errors import UsageError
from labelkit.models.baselines.simple import SimpleBaseline
from labelkit.models.parts.backbone import Backbone
from labelkit.models.parts.pixels import Pixels
from labelkit.models.presets import PRESETS
from labelkit.models.reading import PoseReader
from labelkit.progress import Silent
from labelkit.project.images import scan_images
from labelkit.project.rounds import Round, RoundPlan
from labelkit.workflows.network import precision
from labelkit.workflows.network.data import Example
from labelkit.workflows.network.inference import predict
from labelkit.workflows.network.training import make_recipe, train
from labelkit.workflows.rounds.settings import (
    TrainingOptions,
    check_options,
    resolve,
    settings_of,
)

CPU_ONLY = [torch.cuda, "is_available", lambda: False]


@pytest.fixture(autouse=True)
def _measured_anew(monkeypatch):
    monkeypatch.setattr(*CPU_ONLY)
    precision._trains_faster_in_bf16.cache_clear()
    yield
    precision._trains_faster_in_bf16.cache_clear()


def takes(monkeypatch, half: float) -> list[bool]:
    """A CPU with bf16, on which networks take 1 second in full precision and `half` in bf16."""
    timed = []

    def seconds(network: Backbone, in_half: bool) -> float:
        timed.append(in_half)
        return half if in_half else 1.0

    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(precision, "_seconds", seconds)
    return timed


@pytest.mark.parametrize(("half", "expected"), [(1.8, "full"), (0.6, "bf16")])
def test_a_cpu_with_bf16_uses_it_where_it_is_faster(monkeypatch, half, expected):
    timed = takes(monkeypatch, half)
    assert precision.fastest_precision("test_resnet") == expected
    assert len(timed) == 2 * (1 + precision.TURNS)
    assert precision.fastest_precision("test_resnet") == expected
    assert len(timed) == 2 * (1 + precision.TURNS)  # once in a process


def test_a_cpu_without_bf16_times_nothing(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.delattr(precision, "_seconds")
    assert precision.fastest_precision("test_resnet") == "full"


@pytest.mark.parametrize("variable", ["WORLD_SIZE", "SLURM_NTASKS"])
def test_processes_that_train_together_time_nothing_and_so_agree(monkeypatch, variable):
    timed = takes(monkeypatch, half=0.1)
    monkeypatch.setenv(variable, "2")
    assert precision.fastest_precision("test_resnet") == "full"
    assert timed == []
    monkeypatch.setenv(variable, "1")
    assert precision.fastest_precision("test_resnet") == "bf16"


SKELETON = make_skeleton("s", ["head", "tail"])


def test_a_project_keeps_the_first_choice_whatever_is_fastest_later(monkeypatch):
    takes(monkeypatch, half=0.6)
    first = resolve(TrainingOptions(preset="tiny"), {}, SKELETON)
    assert first["precision"] == "bf16"
    precision._trains_faster_in_bf16.cache_clear()
    takes(monkeypatch, half=1.8)
    assert resolve(TrainingOptions(), first, SKELETON) == first
    asked = resolve(TrainingOptions(precision="full"), first, SKELETON)
    assert asked == {**first, "precision": "full"}


def test_a_precision_that_does_not_exist_is_refused():
    with pytest.raises(UsageError, match="'half'"):
        check_options(TrainingOptions(precision="half"))


@pytest.mark.parametrize(("recorded", "name"), [("32-true", "full"), ("bf16-mixed", "bf16")])
def test_a_round_of_an_earlier_version_keeps_the_format_that_it_was_trained_in(recorded, name):
    plan = RoundPlan(0, "location-free", (), 0.0, 1, {"preset": "tiny"}, 0)
    found = Round(Path("000"), plan, "complete", "", "", {"training": {"precision": recorded}})
    assert settings_of(found) == {"preset": "tiny", "precision": name}
    assert settings_of(replace(found, facts={})) == {"preset": "tiny"}


@pytest.mark.slow
@pytest.mark.parametrize("chosen", precision.PRECISIONS)
def test_training_and_prediction_have_the_format_that_was_chosen(monkeypatch, tmp_path, chosen):
    inside = []

    class Watched(SimpleBaseline):
        def forward(self, images):
            inside.append(torch.is_autocast_enabled("cpu"))
            return super().forward(images)

    takes(monkeypatch, half=3.0 if chosen == "bf16" else 0.3)  # the other one is faster
    write_picture(tmp_path / "0.png", (40, 40))
    (image,) = scan_images(tmp_path).images
    instance = Instance(image, 0, Box(4, 4, 32, 32), "given", 1024.0)
    pose = human_pose([(10, 10), (30, 30)], [2, 2])
    network = Watched(Backbone("test_resnet", (16,), pretrained=False), 2, channels=8)
    network.reader = PoseReader(2, (16, 16))
    network.pixels = Pixels()
    recipe = make_recipe(PRESETS["tiny"], 1, 1, 0, located=True, precision=chosen)
    examples, state = [Example(instance, pose.present, pose)], tmp_path / "state"
    recipe = replace(recipe, weights=(0.0, 0.0, 0.0, 0.0), batch_size=2)
    size_hw = (64, 64)
    record = train(network, examples, SKELETON, tmp_path, size_hw, recipe, state, Silent(), "r")
    list(predict(network, [instance], tmp_path, SKELETON, size_hw, precision=chosen))
    assert set(inside) == {chosen == "bf16"}
    assert record["precision"] == precision.LIGHTNING[chosen]
    assert record["recipe"]["precision"] == chosen
