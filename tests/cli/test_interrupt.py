"""Ctrl-C during a training: a sentence instead of a traceback, and nothing is lost."""

from __future__ import annotations

import signal
import subprocess
import sys

from command_line import TINY
from trained import Trained

#: The tests may run where Ctrl-C is ignored, which programs inherit.
COMMAND = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from labelkit.cli.app import main; main(sys.argv[1:])"
)


def test_ctrl_c_ends_a_training_with_130_and_it_can_be_continued(trained: Trained):
    project = trained.folder / "another-project"
    arguments = ["bootstrap", "--images", trained.images, "--project", project]
    arguments += ["--skeleton", "lsp14", "--boxes", "whole-image"]
    arguments += ["--labels", trained.folder / "visibility.csv", *TINY[:-1], "39"]
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, *map(str, arguments)], stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        printed = []
        for line in running.stderr:
            printed.append(line)
            if "step 4/78" in line:
                running.send_signal(signal.SIGINT)
        assert running.wait(60) == 130, printed
    assert printed[-1].startswith("Interrupted.")
    assert (project / "rounds" / "000" / "model-unfinished.safetensors").is_file()
