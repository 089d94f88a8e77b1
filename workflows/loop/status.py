"""`labelkit status`: how far the project is, and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labelkit.domain.selection import format_percent
from labelkit.domain.text import counted
from labelkit.formats.label_studio.export import LISTED
from labelkit.metrics.table import describe
from labelkit.project.project import Project
from labelkit.project.rounds import COMPLETE, Round, rounds, unfinished
from labelkit.report import Report
from labelkit.store.conflicts import find_conflicts
from labelkit.store.label_store import LabelStore
from labelkit.workflows.rounds.gain import advice
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.queue_file import waiting


@dataclass(frozen=True, slots=True)
class StatusReport(Report):
    """Counts of a project.

    Attributes:
        project: its folder.
        skeleton: name and number of keypoints.
        images, instances: registered.
        answered, located, skipped: instances with a visibility answer, with human keypoints, and
            with a skip as their latest entry.
        dev, dev_located: instances of the dev set, and those with human keypoints.
        entries: in the journal.
        annotators: entries by annotator.
        queued: instances that wait for correction.
        conflicts: keypoints with two values (see `Conflict.rows`), each with its image.
        rounds: number, kind, status and dev measures of each.
        gain: what the last round gained on the dev set; "" where that is unknown.
        next_step: what to type.
    """

    project: str
    skeleton: str
    images: int
    instances: int
    answered: int
    located: int
    skipped: int
    dev: int
    dev_located: int
    entries: int
    annotators: Mapping[str, int]
    queued: int
    conflicts: tuple[Mapping[str, Any], ...]
    rounds: tuple[Mapping[str, Any], ...]
    gain: str
    next_step: str
    exit_code: int = 0

    def text(self) -> str:
        """For people."""
        located = self.located - self.dev_located
        percent = 100 * located / self.instances if self.instances else 0.0
        lines = [
            f"Project    {self.project} ({self.skeleton})",
            f"Images     {self.images}, instances {self.instances}",
            f"Answers    {self.answered} of {self.instances} instances have visibility answers",
            f"Keypoints  {counted(located, 'instance')} ({percent:.1f} %) to train on; and "
            f"{self.dev_located} of the {self.dev} in the dev set, which compares rounds",
            f"Journal    {self.entries} entries, {self.skipped} skipped; "
            + (", ".join(f"{who or '(unnamed)'} {n}" for who, n in self.annotators.items()) or "-"),
            f"Queue      {counted(self.queued, 'instance')}",
        ]
        for item in self.rounds:
            measures = describe(item["dev"])
            lines.append(
                f"Round {item['round']:03d}  {item['kind']} at {item['labeled']}, {item['status']}"
                + (f"; dev: {measures}" if measures else "")
            )
        for item in self.conflicts[:LISTED]:
            lines.append(
                f"Conflict   {item['image']}, {item['instance']} {item['keypoint']}: "
                f"ours {_place(item['ours'])} ({item['ours_from']}), "
                f"theirs {_place(item['theirs'])} ({item['theirs_from']})"
            )
        if len(self.conflicts) > LISTED:
            lines.append(f"           ... and {len(self.conflicts) - LISTED} more (--json: all)")
        if self.conflicts:
            lines.append("Ours still counts. Settle: labelkit pull --take theirs (or ours)")
        if self.gain:
            lines.append(self.gain)
        return "\n".join([*lines, self.next_step])


def _place(value: Sequence[float] | None) -> str:
    if value is None:
        return "deleted"
    x, y, v = value
    return f"{x:.1f}, {y:.1f} {('absent', 'occluded', 'visible')[int(v)]}" if v else "absent"


def _continue(project: Project, begun: Round) -> str:
    """The command that continues an interrupted round."""
    if not begun.plan.labelled:
        return f"labelkit bootstrap --images {shlex.quote(str(project.images_root))}"
    percent = format_percent(round(100 * begun.plan.labelled_share, 3))
    return f"labelkit retrain --labeled {percent} --now"


def status(project: Project, store: LabelStore) -> StatusReport:
    """Count what the project holds, without changing it."""
    snapshot = read_snapshot(project, store)
    counts = store.counts()
    annotators: dict[str, int] = {}
    for recorded in store.entries():
        annotators[recorded.entry.annotator] = annotators.get(recorded.entry.annotator, 0) + 1
    history = rounds(project)
    queued = len(waiting(project, snapshot))
    complete = [item for item in history if item.status == COMPLETE]
    begun = unfinished(project)
    if begun is not None:
        number = f"{begun.plan.number:03d}"
        step = f"Next: unless round {number} is training now: {_continue(project, begun)}"
    elif not snapshot.instances:
        step = f"Next: labelkit bootstrap --images {project.images_root} --boxes whole-image"
    elif not snapshot.presences:
        step = "Next: labelkit push, tick what can be seen, labelkit pull"
    elif not complete:
        step = f"Next: labelkit bootstrap --images {project.images_root}"
    elif queued:
        step = "Next: labelkit push, correct, labelkit pull, labelkit retrain"
    else:
        step = "Next: labelkit retrain, labelkit evaluate, or labelkit export --format coco"
    return StatusReport(
        project=str(project.root),
        skeleton=f"{project.skeleton.name}, {len(project.skeleton)} keypoints",
        images=counts.images,
        instances=counts.instances,
        answered=len(snapshot.presences),
        located=len(snapshot.poses),
        skipped=counts.skipped,
        dev=len(snapshot.dev),
        dev_located=sum(item in snapshot.poses for item in snapshot.dev),
        entries=counts.entries,
        annotators=annotators,
        queued=queued,
        conflicts=tuple(
            {"image": snapshot.instances[row["instance"]].image.path, **row}
            for item in find_conflicts(store)
            for row in item.rows()
        ),
        rounds=tuple(
            {
                "round": item.plan.number,
                "kind": item.plan.kind,
                "labeled": format_percent(round(100 * item.plan.labelled_share, 2)),
                "status": item.status,
                "dev": dict(item.facts.get("dev", {})),
            }
            for item in history
        ),
        gain=advice(project, snapshot),
        next_step=step,
    )
