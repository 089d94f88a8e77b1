"""Ctrl-C in a training: said in words, and nothing is lost."""

from __future__ import annotations

import signal
import subprocess
import sys

from command_line import TINY
from trained import Trained

#: Whoever starts the tests may have them ignore Ctrl-C, which programs inherit.
COMMAND = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from labelkit.cli.app import main; main(sys.argv[1:])"
)


def test_ctrl_c_in_a_training_ends_it_with_130_and_says_that_it_can_go_on(trained: Trained):
    project = trained.folder / "another-project"
    arguments = ["bootstrap", "--images", trained.images, "--project", project]
    arguments += ["--skeleton", "lsp14", "--boxes", "whole-image"]
    arguments += ["--labels", trained.folder / "visibility.csv", *TINY[:-1], "500"]
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, *map(str, arguments)], stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        said = []
        for line in running.stderr:
            said.append(line)
            if "epoch 2/500" in line:
                running.send_signal(signal.SIGINT)
        assert running.wait(60) == 130, said
    assert said[-1] == "Interrupted. The same command goes on where it was.\n"
    assert (project / "rounds" / "000" / "model-unfinished.safetensors").is_file()
