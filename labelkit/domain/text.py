"""Numbers, durations and long lists as messages write them."""

from __future__ import annotations

from collections.abc import Sequence

#: How many of a long list a message names.
NAMED = 5


def counted(number: int, what: str) -> str:
    """A number and its noun: "1 instance", "2 instances"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def named(items: Sequence[str]) -> str:
    """The first of many, and how many more there are."""
    more = f" and {len(items) - NAMED} more" if len(items) > NAMED else ""
    return ", ".join(items[:NAMED]) + more


def duration(seconds: float) -> str:
    """Seconds in readable units: "45 s", "3 min 20 s", "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
