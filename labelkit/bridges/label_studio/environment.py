"""The Label Studio program: an installed one, or that of an environment of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from packaging.version import Version

from labelkit.bridges.environment import OwnEnvironment
from labelkit.errors import MissingDependencyError, UsageError

#: The version that is installed, and the oldest server that push and pull are tested with.
VERSION = "1.23.2"

OWN = OwnEnvironment(
    title="Label Studio",
    package="label-studio",
    version=VERSION,
    megabytes=800,
    otherwise="Or use an installed one: labelkit studio --python PATH/bin/python",
)


def find_executable(python: Path | None) -> Path | None:
    """The label-studio program to run; None if labelkit's own has to be made first.

    Args:
        python: interpreter of an environment that has Label Studio. Without it, the environment
            variable LABEL_STUDIO_BIN may name the program itself.

    Raises:
        UsageError: if the named program does not exist.
        MissingDependencyError: if it is too old.
    """
    if python is not None:
        return _usable(python.with_name("label-studio"), f"--python {python}")
    if named := os.environ.get("LABEL_STUDIO_BIN"):
        return _usable(Path(named), f"LABEL_STUDIO_BIN={named}")
    return OWN.program("label-studio") if OWN.is_complete else None


def find_or_install(python: Path | None, on_line: Callable[[str], None]) -> Path:
    """The label-studio program to run, installed first where there is none.

    Args:
        python: see `find_executable`.
        on_line: receives lines of progress.

    Raises:
        LabelkitError: see `find_executable` and `OwnEnvironment.make`.
    """
    found = find_executable(python)
    if found is None:
        OWN.make(on_line)
    return found or OWN.program("label-studio")


def _usable(program: Path, named: str) -> Path:
    if not program.is_file():
        raise UsageError(
            f"{named}: {program} does not exist.", "Install it there: pip install label-studio"
        )
    python = program.with_name("python")
    if python.is_file():
        ask = "from importlib.metadata import version; print(version('label-studio'))"
        done = subprocess.run([python, "-c", ask], capture_output=True, text=True, timeout=60)
        found = done.stdout.strip()
        if found and Version(found) < Version(VERSION):
            raise MissingDependencyError(
                f"{program} is Label Studio {found}; labelkit needs {VERSION} or newer.",
                f"Type: {python} -m pip install --upgrade label-studio",
            )
    return program
