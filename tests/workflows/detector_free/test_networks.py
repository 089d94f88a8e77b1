"""The size of canvases: the preset's own, or the one that was given."""

from __future__ import annotations

import pytest

from labelkit.domain.skeleton import make_skeleton
from labelkit.models.detector_free.presets import DETECTOR_FREE
from labelkit.workflows.detector_free.networks import canvas_preset, with_canvas
from labelkit.workflows.rounds.settings import TrainingOptions, resolve

SKELETON = make_skeleton("s", ["head", "tail"])


def size_of(options: TrainingOptions, earlier: dict) -> tuple[list[int], dict]:
    settings = with_canvas(resolve(options, earlier, SKELETON), options, earlier)
    return canvas_preset(settings, images=8)["input_size"], settings


@pytest.mark.parametrize("size", ["96", "128", "320x192"])  # 96 and 128 are crops' own
def test_a_size_is_taken_as_it_was_given_and_kept(size: str):
    given = TrainingOptions("tiny", "test_resnet", pretrained=False, input_size=size)
    found, settings = size_of(given, {})
    width, _, height = size.partition("x")
    assert found == [int(height or width), int(width)]
    assert size_of(TrainingOptions(), settings)[0] == found
    other, _ = size_of(TrainingOptions("paper", "test_resnet"), settings)
    assert other == list(DETECTOR_FREE["paper"]["input_size"])


def test_without_one_it_is_the_canvas_of_the_preset_and_not_its_crop():
    found, settings = size_of(TrainingOptions("tiny", "test_resnet", pretrained=False), {})
    assert found == list(DETECTOR_FREE["tiny"]["input_size"])
    assert size_of(TrainingOptions(), settings)[0] == found
