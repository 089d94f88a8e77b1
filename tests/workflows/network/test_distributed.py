"""The same training on one process and on two, as `torchrun` starts them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from labelkit.workflows.synthetic.figures import generate

pytestmark = pytest.mark.slow

SCRIPT = str(Path(__file__).with_name("distributed_training.py"))
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def losses(*command: str) -> list[float]:
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return [float(number) for number in re.findall(r"step \d+/16  loss (\S+)", done.stdout)]


def test_two_processes_train_like_one_with_twice_the_batch(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    generate(tmp_path, 32, seed=0, size=96)
    alone = losses(SCRIPT, str(tmp_path), "16", "1")
    together = losses(*TORCHRUN, SCRIPT, str(tmp_path), "8", "2")
    assert len(together) == 4
    assert alone[3] < 0.9 * alone[0]
    assert together == pytest.approx(alone, rel=2e-3)
