"""Progress of a workflow, kept for a test to read."""

from __future__ import annotations

from labelkit.progress import Silent


class Lines(Silent):
    """Keeps what a workflow says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def line(self, text: str) -> None:
        self.said.append(text)

    @property
    def epochs(self) -> list[str]:
        """One line for each epoch that was trained."""
        return [line for line in self.said if ": epoch " in line]
