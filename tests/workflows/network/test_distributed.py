"""Trainings on one process and on several, as `torchrun` starts them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import TINY

from labelkit.progress import Silent
from labelkit.project.predictions import read_predictions
from labelkit.project.project import open_project
from labelkit.project.response_maps import MapReader
from labelkit.project.rounds import COMPLETE, latest_trained
from labelkit.store.ownership import open_store
from labelkit.workflows.network import sharing
from labelkit.workflows.rounds.networks import load_network, predict_instances
from labelkit.workflows.synthetic.figures import generate

pytestmark = pytest.mark.slow

TRAINING, COMMAND = (
    str(Path(__file__).with_name(f"distributed_{name}.py")) for name in ("training", "command")
)
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node")
#: LABELKIT_LONG=1 tries four too.
NUMBERS = (2, 4) if os.environ.get("LABELKIT_LONG") else (2,)


def losses(*command: str) -> list[float]:
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return [float(number) for number in re.findall(r"step \d+/16  loss (\S+)", done.stdout)]


def test_several_processes_train_like_one_with_as_many_times_the_batch(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    generate(tmp_path, 32, seed=0, size=96)
    alone = losses(TRAINING, str(tmp_path))
    assert len(alone) == 4
    assert alone[3] < 0.9 * alone[0]
    for processes in NUMBERS:
        shared = losses(*TORCHRUN, str(processes), TRAINING, str(tmp_path))
        assert shared == pytest.approx(alone, rel=2e-3)


def test_one_process_registers_and_plans_and_a_round_whose_second_is_killed_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    generate(tmp_path, 10, seed=0, size=64)  # too few to serve the skeleton instead
    command = [sys.executable, *TORCHRUN, "2", COMMAND, "bootstrap", *TINY[:-1], "3", "--now"]
    command += ["--images", str(tmp_path / "images"), "--project", str(tmp_path / "project")]
    command += ["--labels", str(tmp_path / "keypoints.json")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        text = ""
        while "step 1/3" not in text:
            line = running.stderr.readline()
            assert line, text
            text += line
        (second,) = re.findall(r"process 1 is (\d+)", text)
        os.kill(int(second), signal.SIGKILL)
        running.communicate(timeout=120)
    assert running.returncode
    assert re.findall(r"process (\d) (registers|plans)", text) == [
        ("0", "registers"),
        ("0", "plans"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"step (\d)/3", done.stderr) == ["2", "3"]
    assert re.findall(r"process (\d) registers", done.stderr) == ["0"]

    project = open_project(tmp_path / "project")
    newest = latest_trained(project)
    assert newest is not None
    assert newest.status == COMPLETE
    predictions = read_predictions(newest.path / "predictions.parquet", project.skeleton)
    with MapReader(newest.path / "maps" / "maps.parquet") as maps:
        assert list(maps) == list(predictions)
    network, _ = load_network(newest.path / "model.safetensors", project.skeleton)
    with open_store(project) as store:
        instances = store.instances()
    monkeypatch.setattr(sharing, "BATCH", 2)
    rows = predict_instances(project, network, newest.plan.settings, instances, Silent())
    for row in rows:
        found = predictions[row.prediction.instance_id]
        np.testing.assert_allclose(found.xy, row.prediction.xy, atol=0.05)
    assert len(predictions) == len(instances)
