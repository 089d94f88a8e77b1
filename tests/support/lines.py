"""The lines that a workflow reports, kept for a test to read."""

from __future__ import annotations

from labelkit.progress import Silent


class Lines(Silent):
    """Keeps every line that a workflow reports."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    @property
    def epochs(self) -> list[str]:
        """One line for each stretch of a training: an epoch, where there are few."""
        return [line for line in self.lines if ": step " in line]
