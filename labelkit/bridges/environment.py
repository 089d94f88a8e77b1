"""Programs in a virtual environment of their own, which is made once.

They are kept apart from labelkit's environment because both need the same packages in different
versions.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from labelkit.bridges.home import home_path
from labelkit.errors import MissingDependencyError
from labelkit.files.atomic import write_text

#: Beginnings of the lines of pip and uv that show progress; the other lines go only to the log.
_PROGRESS = ("Resolved", "Prepared", "Installed", "Installing collected", "Successfully")


@dataclass(frozen=True, slots=True)
class OwnEnvironment:
    """An environment that labelkit makes for one package.

    Attributes:
        title: what people call the package.
        package: its name on the package index.
        version: that is installed.
        megabytes: that the environment takes, about.
        otherwise: what to do where it cannot be installed.
        python: interpreter that makes it: a path, or a name such as "python3.12".
    """

    title: str
    package: str
    version: str
    megabytes: int
    otherwise: str = ""
    python: str = sys.executable

    @property
    def folder(self) -> Path:
        """Where it is."""
        return home_path("cache", f"{self.package}-{self.version}")

    @property
    def is_complete(self) -> bool:
        """Whether it was made completely."""
        return self._stamp.is_file()

    def program(self, name: str) -> Path:
        """A program of it, such as "python"."""
        return self.folder / "bin" / name

    def make(self, on_line: Callable[[str], None]) -> None:
        """Install the package; remains of an interrupted attempt are removed.

        Args:
            on_line: receives lines of progress.

        Raises:
            MissingDependencyError: if it cannot be installed.
        """
        if os.name == "nt":
            raise MissingDependencyError(
                f"labelkit installs {self.title} on Linux and macOS only.", self.otherwise
            )
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with held(self.folder.with_name(f"{self.folder.name}.lock")) as ours:
            if ours is None:
                raise MissingDependencyError(
                    f"Another labelkit command is making {self.folder}.",
                    "Wait until it has finished, then run this command again.",
                )
            shutil.rmtree(self.folder, ignore_errors=True)
            on_line(
                f"Installing {self.title} {self.version} into {self.folder} "
                f"(once; about {self.megabytes} MB) ..."
            )
            log = self.folder.with_name(f"{self.folder.name}.log")
            log.write_bytes(b"")
            for step in self.install_commands(_uv()):
                self._run(step, log, on_line)
            write_text(self._stamp, self.version + "\n")

    def install_commands(self, uv: str | None) -> list[list[str]]:
        """The commands that make it: with uv if it is installed, else with pip."""
        python = str(self.program("python"))
        package = f"{self.package}=={self.version}"
        if uv:
            return [
                [uv, "venv", "--python", self.python, str(self.folder)],
                [uv, "pip", "install", "--compile-bytecode", "--python", python, package],
            ]
        return [
            [self.python, "-m", "venv", str(self.folder)],
            [python, "-m", "pip", "install", "--disable-pip-version-check", package],
        ]

    @property
    def _stamp(self) -> Path:
        return self.folder / "labelkit-complete"

    def _run(self, command: Sequence[str], log: Path, on_line: Callable[[str], None]) -> None:
        last = ""
        try:
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
            failed = process.returncode != 0
        except FileNotFoundError:
            failed, last = True, f"{command[0]} is not installed"
        if failed:
            advice = f"See the log: {log}\nFix the cause and run the same command again."
            raise MissingDependencyError(
                f"{self.title} could not be installed: {last[:300]}",
                f"{advice} {self.otherwise}".strip(),
            )


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


def _uv() -> str | None:
    beside = Path(sys.executable).with_name("uv")
    return shutil.which("uv") or (str(beside) if beside.is_file() else None)
