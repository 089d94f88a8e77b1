"""How a workflow tells its caller how far it is. Workflows never print."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """What the command line (or a notebook, or a test) gives a workflow to report to."""

    def line(self, text: str) -> None:
        """Say one thing that stays on the screen."""

    def track(self, items: Iterable[T], what: str, total: int | None) -> Iterator[T]:
        """Pass `items` through while a bar shows the rate and the time left."""
        raise NotImplementedError


class Silent:
    """Progress for callers who do not want any."""

    def line(self, text: str) -> None:
        """Drop the text."""

    def track(self, items: Iterable[T], what: str, total: int | None) -> Iterator[T]:
        """Pass the items through."""
        yield from items
