"""What a push to a server did, for people and machines."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from labelkit.domain.text import counted


@dataclass(slots=True)
class ServerPushReport:
    """What a push did, or in a dry run would do.

    Attributes:
        server: URL.
        kind: "visibility" or "correction".
        project_id: Label Studio's; None where a dry run found none.
        url: where people label.
        sent, instances: new tasks, and the instances in them.
        control: instances among those that are served without pre-annotation.
        there: tasks that were there already.
        refreshed: of those, untouched ones that got the newest predictions.
        started: of those, started or finished ones, which are left as they are.
        gone: tasks that were deleted on the server; what they asked is asked again.
        doubled: untouched copies of tasks, left by an interrupted push, that were removed.
        foreign: tasks in the project that are not ours.
        notes: what else was found, and what was done about it.
        dry_run: nothing was written.
    """

    server: str
    kind: str
    project_id: int | None = None
    sent: int = 0
    instances: int = 0
    control: int = 0
    there: int = 0
    refreshed: int = 0
    started: int = 0
    gone: int = 0
    doubled: int = 0
    foreign: int = 0
    notes: list[str] = field(default_factory=list)
    dry_run: bool = False
    exit_code: int = 0

    @property
    def url(self) -> str:
        """Where people label."""
        return (
            self.server if self.project_id is None else f"{self.server}/projects/{self.project_id}"
        )

    def data(self) -> dict[str, Any]:
        """For machines."""
        return {**asdict(self), "tasks": self.sent, "url": self.url}

    def text(self) -> str:
        """For people."""
        if not (self.sent or self.there):
            return "\n".join([*self.notes, "The queue is empty: everything in it is labelled."])
        would = "Would send" if self.dry_run else "Sent"
        lines = [
            *self.notes,
            f"{would} {counted(self.sent, f'new {self.kind} task')} "
            f"with {counted(self.instances, 'instance')}"
            + (f", {self.control} of them without pre-annotation" if self.control else "")
            + f"; {self.there} were there.",
        ]
        counts = (
            (self.refreshed, "untouched ones have the newest predictions now"),
            (self.started, "are started or finished, and were left alone"),
            (self.gone, "had been deleted on the server"),
            (self.doubled, "copies that an interrupted push had left were removed"),
            (self.foreign, "tasks are not labelkit's, and were left alone"),
        )
        lines += [f"  {count} {what}" for count, what in counts if count]
        return "\n".join([*lines, f"Label at {self.url}", "Then type: labelkit pull"])
