"""How long `labelkit --help` takes, compared with a Python that does nothing.

python benchmarks/help_startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from machine import machine

from labelkit.metrics.table import markdown

TURNS = 15


def main() -> None:
    labelkit = str(Path(sys.executable).with_name("labelkit"))
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "labelkit --help": [labelkit, "--help"],
        "labelkit bootstrap --help": [labelkit, "bootstrap", "--help"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(TURNS):
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - started)
    print(f"{machine()}; {TURNS} turns\n")
    rows = [
        (f"`{name}`", f"{min(took):.2f}", f"{statistics.median(took):.2f}")
        for name, took in seconds.items()
    ]
    print(markdown((("command", "best, s", "median, s"), *rows)))


if __name__ == "__main__":
    main()
