"""Commands in processes of their own that can be killed, without eight seconds of imports each.

A parent imports everything once and forks a child for each command. The child has its own process
group, memory and open files, and nothing can catch its SIGKILL: killing it is as real as killing
a command that a shell started.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

KILLED = -signal.SIGKILL

#: What commands import when they need it.
IMPORTED = (
    "labelkit.project.response_maps",
    "labelkit.workflows.help.demo",
    "labelkit.workflows.loop.status",
    "labelkit.workflows.network.training",
    "pandas",
    "pycocotools.cocoeval",
)


class Ended(NamedTuple):
    """How a command ended, what it printed, and how long it took."""

    code: int
    text: str
    seconds: float


class Running:
    """One running command."""

    def __init__(self, parent: subprocess.Popen[str], pid: int, log: Path) -> None:
        self._parent = parent
        self._started = time.monotonic()
        self.pid = pid
        self.log = log

    def kill(self) -> None:
        """SIGKILL to the command and to whatever it started."""
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            os.killpg(self.pid, signal.SIGKILL)

    def wait(self) -> Ended:
        """Until it has ended; the code is -9 after a kill."""
        assert self._parent.stdout is not None
        code = int(self._parent.stdout.readline())
        return Ended(code, self.log.read_text("utf-8"), time.monotonic() - self._started)


class Warm:
    """Starts commands, one at a time.

    Args:
        folder: for what they print.
        also: further modules that they import.
    """

    def __init__(self, folder: Path, also: Sequence[str] = ()) -> None:
        self._log = folder / "printed.txt"
        self._parent = subprocess.Popen(
            [sys.executable, __file__, *also],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.run(["--version"])  # comes back when everything is imported

    def start(
        self,
        arguments: Sequence[str | Path],
        *,
        die_at: tuple[str, int] | None = None,
        largest_file: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Running:
        """Start `labelkit ARGUMENTS`.

        Args:
            arguments: of the command.
            die_at: (file name, n): kill it right before the n-th time that it renames a finished
                file to that name or deletes that file.
            largest_file: bytes after which every file is full, as on a full disk.
            environment: variables that differ from those of this process.
        """
        order = {
            "arguments": [str(item) for item in arguments],
            "log": str(self._log),
            "die_at": die_at,
            "largest_file": largest_file,
            "environment": dict(environment or {}),
        }
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(json.dumps(order) + "\n")
        self._parent.stdin.flush()
        return Running(self._parent, int(self._parent.stdout.readline()), self._log)

    def run(self, arguments: Sequence[str | Path], **how: Any) -> Ended:
        """Start `labelkit ARGUMENTS` and wait until it has ended."""
        return self.start(arguments, **how).wait()

    def close(self) -> None:
        """End the parent."""
        self._parent.communicate()


def _serve() -> None:
    """Read orders from stdin; answer each with the child's pid and, later, its exit code."""
    for name in (*IMPORTED, *sys.argv[1:]):
        importlib.import_module(name)
    from labelkit.cli.app import main

    with contextlib.redirect_stdout(None), contextlib.suppress(SystemExit):
        main(["status", "--help"])  # typer imports more when it is first called
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            _be_a_command(order)
        with contextlib.suppress(OSError):  # the child does it too, in either order
            os.setpgid(pid, pid)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _be_a_command(order: dict[str, Any]) -> None:
    """Never returns."""
    code = 70
    try:
        log = os.open(order["log"], os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.environ.update(order["environment"])
        if order["die_at"]:
            _die_at(*order["die_at"])
        if order["largest_file"]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest_file"],) * 2)
        from labelkit.cli.app import main

        main(order["arguments"])
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _die_at(name: str, nth: int) -> None:
    """Kill this process right before the call; audit hooks run before it."""
    left = nth
    place_of_path = {"os.rename": 1, "os.remove": 0}

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        place = place_of_path.get(event)
        if place is not None and os.path.basename(arguments[place]) == name:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


if __name__ == "__main__":
    _serve()
