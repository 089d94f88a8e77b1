"""What people see while a command works: lines and bars on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Console:
    """Lines always; bars with rate and time left where stderr is a terminal."""

    def line(self, text: str) -> None:
        """Say one thing that stays on the screen."""
        print(text, file=sys.stderr, flush=True)

    @contextmanager
    def bar(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """A bar, moved by calling what comes with it with (done, total)."""
        if not sys.stderr.isatty():
            yield lambda done, total: None
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

    def track(self, items: Iterable[T], what: str, total: int) -> Iterator[T]:
        """Pass `items` through while a bar shows how many there were."""
        with self.bar(what) as step:
            for done, item in enumerate(items, 1):
                yield item
                step(done, total)
