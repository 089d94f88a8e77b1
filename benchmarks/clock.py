"""Seconds by the clock, and of CPU, which another program beside a measurement changes less."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from statistics import median

import psutil


class Clock:
    """What steps took, each perhaps several times."""

    def __init__(self) -> None:
        self._seconds: dict[str, list[float]] = defaultdict(list)
        self._cpu: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Note what a block takes: this process, the programs that it runs and their servers."""
        started, before = time.perf_counter(), cpu_seconds()
        yield
        self._seconds[step].append(time.perf_counter() - started)
        self._cpu[step].append(cpu_seconds() - before)

    def rows(self, bare: str) -> list[tuple[str, ...]]:
        """Each step with its median seconds and seconds of CPU, and how often those of `bare`."""
        return [
            (step, *_against(self._seconds, step, bare), *_against(self._cpu, step, bare))
            for step in self._seconds
        ]


#: Header of `Clock.rows`, behind the name of what was measured.
HEADER = ("s", "times bare", "CPU s", "times bare")


def cpu_seconds() -> float:
    """Seconds of CPU of this process, of its children and of those that have ended."""
    here = psutil.Process()
    own = here.cpu_times()
    children = (child.cpu_times() for child in here.children(recursive=True))
    ended = own.children_user + own.children_system
    return own.user + own.system + ended + sum(child.user + child.system for child in children)


def _against(times: Mapping[str, list[float]], step: str, bare: str) -> tuple[str, str]:
    taken = median(times[step])
    return f"{taken:.2f}", f"{taken / median(times[bare]):.2f}"
