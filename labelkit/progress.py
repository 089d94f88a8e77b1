"""How a workflow tells its caller how far it is. Workflows never print."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from typing import Protocol, TypeVar

from labelkit.domain.text import duration

T = TypeVar("T")

#: Called with (done, total).
Step = Callable[[int, int], None]

#: Seconds between two updates of a notebook's line.
_NOTEBOOK_PACE = 0.5


class Progress(Protocol):
    """What the command line, a notebook or a test gives a workflow to report to."""

    def line(self, text: str) -> None:
        """Show one line that stays on the screen."""

    def bar(self, what: str) -> AbstractContextManager[Step]:
        """A bar with the time left, moved by calling what comes with it."""
        ...

    def track(self, items: Iterable[T], what: str, total: int) -> Iterator[T]:
        """Pass `items` through while a bar counts them."""
        ...

    def confirm(self, question: str) -> bool:
        """Ask, and wait for yes or no; no where there is no one to ask."""
        ...


class Silent:
    """Progress that shows nothing."""

    def line(self, text: str) -> None:
        """Drop the text."""

    def bar(self, what: str) -> AbstractContextManager[Step]:
        """A bar that is not shown."""
        return nullcontext(lambda done, total: None)

    def track(self, items: Iterable[T], what: str, total: int) -> Iterator[T]:
        """Pass the items through."""
        yield from items

    def confirm(self, question: str) -> bool:
        """No."""
        return False


class Console:
    """Progress for people: lines always, and bars where there is a terminal or a notebook.

    Elsewhere, as in a log file, a long piece of work prints a line after one minute, two, four.
    Everything goes to stderr, in a notebook to the output of the cell.
    """

    def line(self, text: str) -> None:
        """Show one line that stays on the screen."""
        print(text, file=sys.stdout if _in_notebook() else sys.stderr, flush=True)

    @contextmanager
    def bar(self, what: str) -> Iterator[Step]:
        """A bar with the time left, moved by calling what comes with it."""
        if _in_notebook():
            yield _notebook_line(what)
            return
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

    def track(self, items: Iterable[T], what: str, total: int) -> Iterator[T]:
        """Pass `items` through while a bar counts them."""
        with self.bar(what) as step:
            for done, item in enumerate(items, 1):
                yield item
                step(done, total)

    def confirm(self, question: str) -> bool:
        """Ask in a terminal; elsewhere the answer is no."""
        if _in_notebook() or not (sys.stdin.isatty() and sys.stderr.isatty()):
            return False
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def _rare_line(self, what: str) -> Step:
        so_far, due = _so_far(what), 60.0

        def step(done: int, total: int) -> None:
            nonlocal due
            took, text = so_far(done, total)
            if took < due or done == total:
                return
            self.line(text)
            while due <= took:
                due *= 2

        return step


def default_progress() -> Progress:
    """A `Console` in a terminal or a notebook, `Silent` elsewhere."""
    return Console() if _in_notebook() or sys.stderr.isatty() else Silent()


def _in_notebook() -> bool:
    """Whether a notebook's kernel runs this; nothing is imported to find out."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def _notebook_line(what: str) -> Step:
    """A line below the cell that is written over as the work advances."""
    # rich needs ipywidgets for its bars; this needs nothing but the notebook.
    display = import_module("IPython.display").display
    shown = display({"text/plain": what}, raw=True, display_id=True)
    so_far, due = _so_far(what), 0.0

    def step(done: int, total: int) -> None:
        nonlocal due
        took, text = so_far(done, total)
        if took >= due or done == total:
            shown.update({"text/plain": text}, raw=True)
            due = took + _NOTEBOOK_PACE

    return step


def _so_far(what: str) -> Callable[[int, int], tuple[float, str]]:
    """Called like a `Step`, it returns the seconds since the first call and a line to show."""
    started, before = 0.0, -1

    def so_far(done: int, total: int) -> tuple[float, str]:
        nonlocal started, before
        if before < 0:  # what came before, loading or a resumed run, says nothing about speed
            started, before = time.monotonic(), done
        took = time.monotonic() - started
        text = f"{what}: {done:,} of {total:,}"
        if before < done < total:
            text += f"  {duration(took / (done - before) * (total - done))} left"
        return took, text

    return so_far
