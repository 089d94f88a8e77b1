"""`labelkit benchmark detector-free`: every row once, whatever the label file's layout."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from labelkit.errors import UsageError
from labelkit.progress import Silent
from labelkit.workflows.detector_free import training
from labelkit.workflows.detector_free.table import DETECTOR_FREE, trials
from labelkit.workflows.measure.benchmark import benchmark
from labelkit.workflows.rounds.settings import TrainingOptions
from labelkit.workflows.synthetic.scenes import robot_scene, write_scenes

OPTIONS = TrainingOptions(
    "tiny", "test_resnet", epochs=1, pretrained=False, mirror=False, input_size="64"
)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder / "train", 8, 0, _two)
    write_scenes(folder / "test", 2, 1, _two)
    return folder


def _two(rng: np.random.Generator):
    return robot_scene(rng, 2, 64)


def run(root: Path, scenes: Path, **changes):
    chosen = {
        "images": scenes / "train" / "images",
        "labels": scenes / "train" / "keypoints.json",
        "test_images": scenes / "test" / "images",
        "test_labels": scenes / "test" / "keypoints.json",
        "percent": [25.0],
        "only": "bottom-up",
        "seeds": 1,
        "options": OPTIONS,
    }
    return benchmark(DETECTOR_FREE, Silent(), root=root, **(chosen | changes))


def test_each_network_has_four_rows_at_every_share_and_one_with_all_labels():
    rows = [(trial.percent, trial.kind, trial.strategy) for trial in trials()]
    assert len(rows) == len(set(rows)) == 4 * 2 * 4 + 2
    assert [row for row in rows if row[0] == 100] == [
        (100.0, "single-stage", "supervised-only"),
        (100.0, "bottom-up", "supervised-only"),
    ]


@pytest.mark.slow
def test_every_row_is_trained_once_with_its_share_of_the_images(tmp_path, scenes, monkeypatch):
    first = run(tmp_path / "bench", scenes)
    rows = first.data()["rows"]
    assert [row["name"] for row in rows] == [
        "bottom-up, supervised-only",
        "bottom-up, heatmap consistency",
        "bottom-up, instance pseudo-labels",
        "bottom-up, both",
    ]
    assert {(row["labeled"], row["images"], row["seeds"]) for row in rows} == {("25%", 2, 1)}
    assert all(file.is_file() for file in first.files)
    records = [json.loads(p.read_text()) for p in tmp_path.glob("bench/runs/*/trial.json")]
    assert {record["preset"]["steps"] for record in records} == {1}
    assert not list(tmp_path.glob("bench/runs/*/training.safetensors"))

    def never(*_, **__):
        raise AssertionError("trained twice")

    monkeypatch.setattr(training, "train", never)
    assert run(tmp_path / "bench", scenes).data() == first.data()
    # Scored anew after a kill between the two, and never trained anew.
    for path in tmp_path.glob("bench/runs/*/scores-*.json"):
        path.unlink()
    assert run(tmp_path / "bench", scenes).data() == first.data()


def test_a_canvas_that_networks_cannot_read_is_refused(tmp_path, scenes):
    options = TrainingOptions("tiny", "test_resnet", 1, pretrained=False, input_size="80")
    with pytest.raises(UsageError) as caught:
        run(tmp_path / "bench", scenes, options=options)
    assert "--input-size 192" in str(caught.value.next_step)


def test_a_row_that_does_not_exist_is_refused(tmp_path, scenes):
    with pytest.raises(UsageError):
        run(tmp_path / "bench", scenes, only="LOFR")
