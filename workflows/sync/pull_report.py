"""What a pull brought, for people and machines."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from labelkit.domain.text import counted
from labelkit.formats.label_studio.export import LISTED
from labelkit.report import Report

#: Upper ends of the bins of correction distances, as shares of the box's long side.
DISTANCE_BINS = (0.01, 0.02, 0.05, 0.1, 0.2)


@dataclass(slots=True)
class PullReport(Report):
    """What is new in the label store.

    Attributes:
        annotations: that were read.
        added, known: journal entries that are new, and that were there before.
        answers, poses, skips: new entries of each kind.
        new_instances: objects that annotators added.
        moved_boxes: instances whose box was changed in Label Studio; the registered box still
            counts.
        conflicts: instances of which two answers contradict each other, see `Conflict`.
        differences: who differs about them, in what and by how much.
        deleted: annotations that were deleted on the server, whole or in part; their labels still
            count.
        settled: conflicts that this pull settled.
        origins: keypoints by what happened to them: untouched, changed, new, removed.
        moves: (pixels, share of the box's long side) by which each changed keypoint moved.
        suspicions: labels that are probably wrong among those that came in, by kind.
        lead_time_s: seconds of work that Label Studio reports.
        problems: annotations that cannot be used until they are corrected in Label Studio.
        notes: what else was found.
        next_step: what to type; "" where that is not known.
    """

    annotations: int = 0
    added: int = 0
    known: int = 0
    answers: int = 0
    poses: int = 0
    skips: int = 0
    new_instances: int = 0
    moved_boxes: int = 0
    conflicts: int = 0
    differences: list[str] = field(default_factory=list)
    deleted: int = 0
    settled: int = 0
    origins: Counter[str] = field(default_factory=Counter)
    moves: list[tuple[float, float]] = field(default_factory=list)
    suspicions: Counter[str] = field(default_factory=Counter)
    lead_time_s: float = 0.0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    next_step: str = ""

    @property
    def exit_code(self) -> int:
        """1 while there are annotations that cannot be used."""
        return 1 if self.problems else 0

    @property
    def moved(self) -> dict[str, int]:
        """Changed keypoints by distance: "<= 2%" of the box's long side -> count."""
        shares = [share for _, share in self.moves]
        bins = np.searchsorted(DISTANCE_BINS, shares, side="left")
        names = [f"<= {edge:.0%}" for edge in DISTANCE_BINS] + [f"> {DISTANCE_BINS[-1]:.0%}"]
        counts = np.bincount(bins, minlength=len(names)).tolist()
        return {name: count for name, count in zip(names, counts, strict=True) if count}

    @property
    def median_move_px(self) -> float | None:
        """Median distance of changed keypoints in pixels; None without any."""
        return float(np.median([px for px, _ in self.moves])) if self.moves else None

    def add(self, other: PullReport) -> None:
        """Add the counts of another part of the same pull."""
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))

    def data(self) -> dict[str, Any]:
        """For machines."""
        counted = {item.name: getattr(self, item.name) for item in fields(self)}
        del counted["moves"]
        return {**counted, "moved": self.moved, "median_move_px": self.median_move_px}

    def text(self) -> str:
        """For people."""
        lines = [
            *self.notes,
            f"Read {counted(self.annotations, 'annotation')}; new: "
            f"{counted(self.poses, 'instance')} with keypoints, "
            f"{counted(self.answers, 'visibility answer')}, {counted(self.skips, 'skip')}, "
            f"{counted(self.new_instances, 'drawn object')}; known before: {self.known}.",
        ]
        shown = sum(self.origins.get(k, 0) for k in ("untouched", "changed", "removed"))
        if shown:
            parts = ", ".join(f"{count} {name}" for name, count in self.origins.items())
            share = self.origins.get("untouched", 0) / shown
            lines.append(f"Keypoints: {parts}; {share:.0%} of those shown were left untouched.")
        if self.moves:
            parts = ", ".join(f"{count} {name}" for name, count in self.moved.items())
            lines.append(
                f"Corrections by distance (share of the box): {parts}; "
                f"median {self.median_move_px:.1f} px."
            )
        if self.moved_boxes:
            lines.append(
                f"The box of {counted(self.moved_boxes, 'instance')} was changed in Label Studio. "
                "The keypoints count; the registered box stays. To change a box, delete it there "
                "and draw a new one (Ctrl+drag), which gets the keypoints."
            )
        if self.conflicts:
            lines.append(
                f"Conflicts: {counted(self.conflicts, 'instance')} got answers that contradict "
                "each other. The first still counts. See both: labelkit status. Settle: labelkit "
                "pull --take theirs (or ours)"
            )
            lines += [f"  {difference}" for difference in self.differences[:LISTED]]
        if self.deleted:
            lines.append(
                f"Deleted on the server, whole or in part: {counted(self.deleted, 'annotation')}. "
                "Their labels still count. Withdraw them: labelkit pull --take theirs"
            )
        if self.settled:
            lines.append(f"Settled {counted(self.settled, 'conflict')}.")
        if self.problems:
            lines.append(f"{counted(len(self.problems), 'annotation')} cannot be used:")
            lines += [f"  {problem}" for problem in self.problems[:LISTED]]
            if len(self.problems) > LISTED:
                lines.append(f"  ... and {len(self.problems) - LISTED} more.")
            lines.append("Correct them in Label Studio (Update), then pull again.")
        if self.suspicions:
            kinds = ", ".join(f"{kind} {count}" for kind, count in self.suspicions.items())
            lines.append(f"Probably wrong among them: {kinds}. Name them: labelkit check")
        if self.lead_time_s:
            lines.append(f"Working time: {self.lead_time_s / 60:.1f} min.")
        return "\n".join([*lines, self.next_step or "Next: labelkit status"])
