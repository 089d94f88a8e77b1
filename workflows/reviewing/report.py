"""The report of `labelkit review`, for people and machines."""

from __future__ import annotations

from dataclasses import dataclass

from labelkit.domain.text import named
from labelkit.report import Report


@dataclass(frozen=True, slots=True)
class ReviewReport(Report):
    """The state of the FiftyOne dataset.

    Attributes:
        dataset: its name in FiftyOne.
        database: its address.
        round: whose findings and maps it shows; None before the first one.
        samples, instances: samples in the dataset, and instances reviewed this time.
        added, updated, unchanged, removed: samples.
        edits: instances edited in FiftyOne whose edits became labels.
        conflicts: instances that were also labelled elsewhere; that label stays valid.
        unread: instances, or image files, whose edits are not poses of the skeleton.
        views: names of the saved views.
        view: the one to open.
        map_port: port of the response maps; 0 if there are none.
        note: that the round has no maps, or "".
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
    note: str = ""
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
            lines.append(f"Recorded the edits of {self.edits} instances as labels.")
        if self.conflicts:
            lines.append(
                f"{len(self.conflicts)} of them had also been labelled elsewhere: "
                f"{', '.join(self.conflicts)}. That label stays valid. See both: labelkit "
                "status. Settle: labelkit pull --take theirs (the edit) or ours."
            )
        if self.unread:
            lines.append(
                f"Edits that are not a pose of the skeleton were left alone: {named(self.unread)}. "
                "labelkit reads positions and visibility of the keypoints that it wrote, no more "
                "and no fewer than the skeleton has; a keypoint without a position (NaN) is absent."
            )
        if self.note:
            lines.append(self.note)
        return "\n".join(lines)
