"""What people see: progress on stderr, results on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


class Console:
    """Lines always; bars with rate and time left where stderr is a terminal."""

    def line(self, text: str) -> None:
        """Say one thing that stays on the screen."""
        print(text, file=sys.stderr, flush=True)

    def track(self, items: Iterable[T], what: str, total: int | None) -> Iterator[T]:
        """Pass `items` through while a bar shows the rate and the time left."""
        if not sys.stderr.isatty():
            yield from items
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
            TextColumn("{task.speed:.0f}/s"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=RichConsole(stderr=True), transient=True) as progress:
            task = progress.add_task(what, total=total)
            for item in items:
                yield item
                progress.advance(task)
