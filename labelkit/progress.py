"""How a workflow tells its caller how far it is. Workflows never print."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar

T = TypeVar("T")

#: Called with (done, total).
Step = Callable[[int, int], None]


class Progress(Protocol):
    """What the command line (or a notebook, or a test) gives a workflow to report to."""

    def line(self, text: str) -> None:
        """Say one thing that stays on the screen."""

    def bar(self, what: str) -> AbstractContextManager[Step]:
        """A bar with rate and time left, moved by calling what comes with it."""
        ...

    def track(self, items: Iterable[T], what: str, total: int) -> Iterator[T]:
        """Pass `items` through while a bar shows how many there were."""
        ...


class Silent:
    """Progress for callers who do not want any."""

    def line(self, text: str) -> None:
        """Drop the text."""

    def bar(self, what: str) -> AbstractContextManager[Step]:
        """A bar that nobody sees."""
        return nullcontext(lambda done, total: None)

    def track(self, items: Iterable[T], what: str, total: int) -> Iterator[T]:
        """Pass the items through."""
        yield from items
