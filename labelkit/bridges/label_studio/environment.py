"""The Label Studio program: one that is installed, or a virtual environment made for it once.

It is kept apart from labelkit's own environment: the two want other versions of the same packages.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from labelkit.errors import MissingDependencyError, UsageError
from labelkit.files.atomic import write_text

#: What is installed, and the oldest server that pushes and pulls have been tried on.
VERSION = "1.23.2"

#: Said by pip and uv about once a minute; the rest of what they say goes to the log.
_WORTH_SAYING = ("Resolved", "Prepared", "Installed", "Installing collected", "Successfully")

_OTHERWISE = "Or use one that is installed: labelkit studio --python PATH/bin/python"


def user_folder(variable: str, default: str) -> Path:
    """labelkit's folder below one of the XDG base directories.

    Args:
        variable: such as "XDG_CACHE_HOME".
        default: such as "~/.cache", used where the variable is not set or not absolute.
    """
    named = Path(os.environ.get(variable, ""))
    return (named if named.is_absolute() else Path(default).expanduser()) / "labelkit"


def own_environment() -> Path:
    """Where the environment is that labelkit makes for Label Studio."""
    return user_folder("XDG_CACHE_HOME", "~/.cache") / f"label-studio-{VERSION}"


def is_complete(environment: Path) -> bool:
    """Whether making an environment was not interrupted."""
    return _stamp(environment).is_file()


def find_executable(python: Path | None) -> Path | None:
    """The label-studio program to run; None where labelkit's own has to be made first.

    Args:
        python: interpreter of an environment that has Label Studio. Without one the environment
            variable LABEL_STUDIO_BIN may name the program itself.

    Raises:
        UsageError: if there is no program where one was named.
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
        environment: the folder; what an interrupted attempt left there is removed.
        on_line: told how far it is.

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
                "Wait until it has finished, then run this one again.",
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
    """Hold a lock for as long as this process, or a child that inherits it, lives.

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
    """The commands that make the environment: with uv where there is one, else with pip."""
    python = str(environment / "bin" / "python")
    wanted = f"label-studio=={VERSION}"
    if uv:
        return [
            [uv, "venv", "--python", sys.executable, str(environment)],
            [uv, "pip", "install", "--compile-bytecode", "--python", python, wanted],
        ]
    return [
        [sys.executable, "-m", "venv", str(environment)],
        [python, "-m", "pip", "install", "--disable-pip-version-check", wanted],
    ]


def _run(command: Sequence[str], log: Path, on_line: Callable[[str], None]) -> None:
    said = [""]
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
            said.append(line.strip() or said[-1])
            if line.startswith(_WORTH_SAYING):
                on_line(f"  {line.strip()[:100]}")
    if process.returncode:
        raise MissingDependencyError(
            f"Label Studio could not be installed: {said[-1][:300]}",
            f"All of it: {log}\nMend that and run the same command again. {_OTHERWISE}",
        )


def _usable(program: Path, named: str) -> Path:
    if not program.is_file():
        raise UsageError(
            f"{named}: there is no {program}.", "Install it there: pip install label-studio"
        )
    python = program.with_name("python")
    if python.is_file():
        ask = "from importlib.metadata import version; print(version('label-studio'))"
        done = subprocess.run([python, "-c", ask], capture_output=True, text=True, timeout=60)
        found = done.stdout.strip()
        if found and _numbers(found) < _numbers(VERSION):
            raise MissingDependencyError(
                f"{program} is Label Studio {found}; labelkit wants {VERSION} or newer.",
                f"Type: {python} -m pip install --upgrade label-studio",
            )
    return program


def _numbers(version: str) -> tuple[int, ...]:
    """1.23.2.post1 -> (1, 23, 2)."""
    return tuple(int(part) for part in version.split(".")[:3] if part.isdecimal())


def _uv() -> str | None:
    beside = Path(sys.executable).with_name("uv")
    return shutil.which("uv") or (str(beside) if beside.is_file() else None)


def _program(environment: Path) -> Path:
    return environment / "bin" / "label-studio"


def _stamp(environment: Path) -> Path:
    return environment / "labelkit-complete"
