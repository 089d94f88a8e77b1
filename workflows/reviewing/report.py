"""What a review brought up to date, for people and machines."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from labelkit.domain.text import named


@dataclass(frozen=True, slots=True)
class ReviewReport:
    """What the dataset holds now.

    Attributes:
        dataset: its name in FiftyOne.
        database: where it is.
        round: that findings and maps are of; None before the first one.
        samples, instances: in the dataset now, and reviewed this time.
        added, updated, unchanged, removed: samples.
        edits: keypoints that were edited in FiftyOne and are labels now.
        conflicts: instances that were labelled elsewhere since; that label goes on counting.
        unread: instances, or pictures, with edits that fit none; they are left as they are.
        views: names of the saved views.
        view: the one to open.
        map_port: where the App will ask for response maps; 0 if there are none.
    """

    dataset: str
    database: str
    round: int | None
    samples: int
    instances: int
    added: int
    updated: int
    unchanged: int
    removed: int
    edits: int
    conflicts: tuple[str, ...]
    unread: tuple[str, ...]
    views: tuple[str, ...]
    view: str | None
    map_port: int
    exit_code: int = 0

    def text(self) -> str:
        """For people."""
        lines = [
            f"FiftyOne dataset {self.dataset!r} in {self.database}: {self.samples} samples; "
            f"{self.added} new, {self.updated} updated, {self.unchanged} unchanged"
            + (f", {self.removed} removed." if self.removed else "."),
            f"Views: {', '.join(self.views)}.",
        ]
        if self.edits:
            lines.append(f"{self.edits} edited instances came back as labels.")
        if self.conflicts:
            lines.append(
                f"{len(self.conflicts)} of them had also been labelled elsewhere: "
                f"{', '.join(self.conflicts)}. That label goes on counting. See both: labelkit "
                "status. Settle: labelkit pull --take theirs (the edit) or ours."
            )
        if self.unread:
            lines.append(
                f"Edited so that nobody can tell what is meant, and left alone: "
                f"{named(self.unread)}. labelkit reads places and visibility of keypoints that it "
                "wrote, as many as the skeleton has; one without a place (NaN) is absent."
            )
        return "\n".join(lines)

    def data(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)
