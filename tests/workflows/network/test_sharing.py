"""Predictions that several processes share, as `torchrun` starts them."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from labelkit.workflows.network import sharing
from labelkit.workflows.synthetic.figures import generate

pytestmark = pytest.mark.slow

SCRIPT = str(Path(__file__).with_name("shared_predictions.py"))
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node")
#: LABELKIT_LONG=1 tries four too.
NUMBERS = (2, 4) if os.environ.get("LABELKIT_LONG") else (2,)


def test_all_processes_have_the_predictions_of_one_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(sharing, "BATCH", 2)
    monkeypatch.setattr(sys, "argv", [SCRIPT, str(tmp_path)])
    generate(tmp_path, 7, seed=0, size=64)
    runpy.run_path(SCRIPT, run_name="__main__")
    alone = capsys.readouterr().out.splitlines()
    assert len(alone) == len(set(alone)) == 14
    for processes in NUMBERS:
        command = [sys.executable, *TORCHRUN, str(processes), SCRIPT, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert Counter(done.stdout.splitlines()) == Counter(dict.fromkeys(alone, processes))


def test_one_process_works_alone():
    assert sharing.together(lambda: "done") == "done"


def test_a_process_that_is_not_connected_to_the_first_ends(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit) as stop:
        sharing.together(lambda: pytest.fail("it works"))
    assert stop.value.code == 0
