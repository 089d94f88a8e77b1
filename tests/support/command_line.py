"""Run a labelkit command in this process, as a shell would."""

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

from labelkit.cli.app import main

#: Training options that are quick and need no network.
TINY = ("--preset", "tiny", "--backbone", "test_resnet", "--no-pretrained", "--epochs", "1")


class Outcome(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


def labelkit(*arguments: str | Path) -> Outcome:
    """Run a command. An exception that is not an exit is a traceback to the user: it gets out."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Outcome(code, out.getvalue(), err.getvalue())
