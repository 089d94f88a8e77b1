"""The Label Studio program: an installed one, or a virtual environment that is made for it once.

It is kept apart from labelkit's own environment because both need the same packages in different
versions.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from packaging.version import Version

from labelkit.bridges.home import home_path
from labelkit.errors import MissingDependencyError, UsageError
from labelkit.files.atomic import write_text

#: The version that is installed, and the oldest server that push and pull are tested with.
VERSION = "1.23.2"

#: Beginnings of the lines of pip and uv that show progress; the other lines go only to the log.
_PROGRESS = ("Resolved", "Prepared", "Installed", "Installing collected", "Successfully")

_OTHERWISE = "Or use an installed one: labelkit studio --python PATH/bin/python"


def own_environment() -> Path:
    """The folder of the environment that labelkit makes for Label Studio."""
    return home_path("cache", f"label-studio-{VERSION}")


def is_complete(environment: Path) -> bool:
    """Whether an environment was made completely."""
    return _stamp(environment).is_file()


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
    return _program(own_environment()) if is_complete(own_environment()) else None


def make_environment(environment: Path, on_line: Callable[[str], None]) -> Path:
    """Install Label Studio into a virtual environment of its own.

    Args:
        environment: the folder; remains of an interrupted attempt are removed.
        on_line: receives lines of progress.

    Returns:
        the label-studio program.

    Raises:
        MissingDependencyError: if it cannot be installed.
    """
    environment.parent.mkdir(parents=True, exist_ok=True)
    with held(environment.with_name(f"{environment.name}.lock")) as ours:
        if ours is None:
            raise MissingDependencyError(
                f"Another labelkit command is making {environment}.",
                "Wait until it has finished, then run this command again.",
            )
        shutil.rmtree(environment, ignore_errors=True)
        on_line(f"Installing Label Studio {VERSION} into {environment} (once; about 800 MB) ...")
        log = environment.with_name(f"{environment.name}.log")
        log.write_bytes(b"")
        for step in install_commands(environment, _uv()):
            _run(step, log, on_line)
        write_text(_stamp(environment), VERSION + "\n")
    return _program(environment)


@contextmanager
def held(path: Path) -> Iterator[int | None]:
    """Hold a lock for as long as this process, or a child that inherits the descriptor, lives.

    Yields:
        its file descriptor, or None if another process holds it.
    """
    import fcntl  # there is none on Windows

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        except OSError:  # a file system without locks
            pass
        yield descriptor
    finally:
        os.close(descriptor)


def install_commands(environment: Path, uv: str | None) -> list[list[str]]:
    """The commands that make the environment: with uv if it is installed, else with pip."""
    python = str(environment / "bin" / "python")
    package = f"label-studio=={VERSION}"
    if uv:
        return [
            [uv, "venv", "--python", sys.executable, str(environment)],
            [uv, "pip", "install", "--compile-bytecode", "--python", python, package],
        ]
    return [
        [sys.executable, "-m", "venv", str(environment)],
        [python, "-m", "pip", "install", "--disable-pip-version-check", package],
    ]


def _run(command: Sequence[str], log: Path, on_line: Callable[[str], None]) -> None:
    last = ""
    with (
        log.open("a", encoding="utf-8") as copy,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            copy.write(line)
            last = line.strip() or last
            if line.startswith(_PROGRESS):
                on_line(f"  {line.strip()[:100]}")
    if process.returncode:
        raise MissingDependencyError(
            f"Label Studio could not be installed: {last[:300]}",
            f"See the log: {log}\nFix the cause and run the same command again. {_OTHERWISE}",
        )


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


def _uv() -> str | None:
    beside = Path(sys.executable).with_name("uv")
    return shutil.which("uv") or (str(beside) if beside.is_file() else None)


def _program(environment: Path) -> Path:
    return environment / "bin" / "label-studio"


def _stamp(environment: Path) -> Path:
    return environment / "labelkit-complete"
