"""What people see while a command works: lines and bars on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from labelkit.domain.text import duration

T = TypeVar("T")


class Console:
    """Lines always; bars with rate and time left where stderr is a terminal, else a rare line."""

    def line(self, text: str) -> None:
        """Say one thing that stays on the screen."""
        print(text, file=sys.stderr, flush=True)

    @contextmanager
    def bar(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """A bar, moved by calling what comes with it with (done, total)."""
        if not sys.stderr.isatty():
            yield self._rare_line(what)
            return
        from rich.console import Console as RichConsole
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=RichConsole(stderr=True), transient=True) as progress:
            task = progress.add_task(what, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)

    def _rare_line(self, what: str) -> Callable[[int, int], None]:
        """For a log file: how far a long work is, after one minute, two, four, eight."""
        started, before = time.monotonic(), -1
        due = 60.0

        def step(done: int, total: int) -> None:
            nonlocal started, before, due
            if before < 0:  # what a resumed run has behind it, and loading, say nothing of speed
                started, before = time.monotonic(), done
            took = time.monotonic() - started
            if took < due or done in (before, total):
                return
            left = took / (done - before) * (total - done)
            self.line(f"{what}: {done:,} of {total:,}  {duration(left)} left")
            while due <= took:
                due *= 2

        return step

    def track(self, items: Iterable[T], what: str, total: int) -> Iterator[T]:
        """Pass `items` through while a bar shows how many there were."""
        with self.bar(what) as step:
            for done, item in enumerate(items, 1):
                yield item
                step(done, total)
