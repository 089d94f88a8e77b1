"""`labelkit status`: how far the project is, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from labelkit.domain.selection import format_percent
from labelkit.domain.text import counted
from labelkit.formats.label_studio.export import LISTED
from labelkit.metrics.effort import effort
from labelkit.metrics.table import describe
from labelkit.project.project import Project
from labelkit.project.rounds import FOREIGN, latest_complete, rounds, unfinished
from labelkit.report import Report
from labelkit.store.conflicts import find_conflicts
from labelkit.store.ids import among
from labelkit.store.journal import KEYPOINTS, VISIBILITY
from labelkit.store.journal_columns import EFFORT
from labelkit.store.label_store import LabelStore
from labelkit.workflows.rounds.annotators import Annotator, annotators
from labelkit.workflows.rounds.gain import advice
from labelkit.workflows.rounds.image_files import ImageFiles
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.next_step import next_step
from labelkit.workflows.rounds.queue_file import waiting
from labelkit.workflows.rounds.served import note_on_serving, served
from labelkit.workflows.rounds.start import TICKS, start_of


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
        unknown: instances with human keypoints that leave a keypoint unknown, by its name.
        entries: in the journal.
        annotators: entries by annotator.
        people: what each annotator has done, and how long the rest would take, see `Annotator`.
        queued: instances that wait for keypoints.
        new_images: files in the images folder that are not registered.
        lost_images: images whose file is gone or changed.
        removed_images: images that were taken out of the project.
        round: the current one: it trains, or its predictions are corrected; None before the first.
        effort: means an object of answers that were given on the labelling page (see `effort`);
            the dev set, which is drawn in another way, is left out.
        conflicts: keypoints with two values (see `Conflict.rows`), each with its image.
        rounds: number, kind, status and dev measures of each, what it serves as pre-annotations
            (the name of the model in a foreign one), and a note where that is not its network's
            predictions.
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
    unknown: Mapping[str, int]
    entries: int
    annotators: Mapping[str, int]
    people: tuple[Mapping[str, Any], ...]
    queued: int
    new_images: int
    lost_images: int
    removed_images: int
    round: int | None
    effort: tuple[Mapping[str, Any], ...]
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
            f"Images     {self.images}{self._image_changes()}, instances {self.instances}",
            f"Answers    {self.answered} of {self.instances} instances have visibility answers",
            f"Keypoints  {counted(located, 'instance')} ({percent:.1f} %) to train on; and "
            f"{self.dev_located} of the {self.dev} in the dev set, which compares rounds",
            *(
                f"           {name} is not labelled yet in {counted(count, 'instance')} of them"
                for name, count in self.unknown.items()
            ),
            f"Journal    {self.entries} entries, {self.skipped} skipped",
            *(f"Annotator  {Annotator(**person).text()}" for person in self.people),
            f"Queue      {counted(self.queued, 'instance')}",
            "Current    " + ("no round yet" if self.round is None else f"round {self.round:03d}"),
        ]
        for item in self.effort:
            lines.append(
                f"Effort     {item['kind']} ({_SHOWN.get(item['arm'], item['arm'])}): "
                f"{item['actions']:.1f} actions and {item['attention_s']:.0f} s an object, "
                f"{counted(item['objects'], 'object')}"
            )
        for item in self.rounds:
            measures = describe(item["dev"])
            lines.append(
                f"Round {item['round']:03d}  {_what(item)}, {item['status']}"
                + (f"; dev: {measures}" if measures else "")
            )
            if item["note"]:
                lines.append(f"           note: {item['note']}")
        for item in self.conflicts[:LISTED]:
            lines.append(
                f"Conflict   {item['image']}, {item['instance']} {item['keypoint']}: "
                f"ours {_place(item['ours'])} ({item['ours_from']}), "
                f"theirs {_place(item['theirs'])} ({item['theirs_from']})"
                + (f", {item['distance_px']:.1f} px apart" if item["distance_px"] else "")
                + (f"; {item['task']}" if item["task"] else "")
            )
        if len(self.conflicts) > LISTED:
            lines.append(f"           ... and {len(self.conflicts) - LISTED} more (--json: all)")
        if self.conflicts:
            lines.append("Ours still counts. Settle: labelkit pull --take theirs (or ours)")
        if self.gain:
            lines.append(self.gain)
        return "\n".join([*lines, self.next_step])

    def _image_changes(self) -> str:
        changes = (
            (self.new_images, "new in the folder"),
            (self.lost_images, "gone or changed"),
            (self.removed_images, "removed"),
        )
        words = ", ".join(f"{count} {what}" for count, what in changes if count)
        return f" ({words})" if words else ""


#: What annotators were shown, by arm.
_SHOWN = {
    "prediction": "from a prediction",
    "control": "control arm",
    "nothing": "without a prediction",
    "label": "labelled before",
}


def _what(item: Mapping[str, Any]) -> str:
    """What a round's predictions came from."""
    if item["kind"] != FOREIGN:
        return f"{item['kind']} at {item['labeled']}"
    learned = f", adapted with {item['labeled']}" if item["labeled"] != "0%" else ""
    return f"predictions of {item['serves']}{learned}"


def _place(value: Sequence[float] | bool | None) -> str:
    if value is None:
        return "deleted"
    if isinstance(value, bool):
        return "visible" if value else "absent"
    x, y, v = value
    return f"{x:.1f}, {y:.1f} {('absent', 'occluded', 'visible')[int(v)]}" if v else "absent"


def status(project: Project, store: LabelStore) -> StatusReport:
    """Count what the project holds, without changing it."""
    snapshot = read_snapshot(project, store)
    columns, files = store.columns(), ImageFiles(project, store)
    history, dev = rounds(project), frozenset(snapshot.dev)
    queued = len(waiting(project, snapshot))
    asks, rest = KEYPOINTS, queued
    if latest_complete(project) is None and (start := start_of(project, snapshot)).asks == TICKS:
        asks, rest = VISIBILITY, len(start.ids)
    current = unfinished(project) or latest_complete(project)
    unknown = (~snapshot.poses.known).sum(axis=0)
    return StatusReport(
        project=str(project.root),
        skeleton=f"{project.skeleton.name}, {len(project.skeleton)} keypoints",
        images=store.image_count(),
        instances=len(snapshot.instances),
        answered=len(snapshot.presences),
        located=len(snapshot.poses),
        skipped=len(snapshot.skipped),
        dev=len(snapshot.dev),
        dev_located=int(among(snapshot.poses.ids, snapshot.dev).sum()),
        unknown={
            name: count
            for name, count in zip(project.skeleton.keypoints, unknown.tolist(), strict=True)
            if count
        },
        entries=len(columns.rows),
        annotators=store.annotators(),
        people=tuple(map(asdict, annotators(columns, asks, rest))),
        queued=queued,
        new_images=len(files.new),
        lost_images=len(files.lost.all),
        removed_images=len(store.removed_images()),
        round=current.plan.number if current else None,
        effort=tuple(effort(it for it in store.work(EFFORT) if it.instance_id not in dev)),
        conflicts=tuple(
            {"image": snapshot.instances[row["instance"]].image.path, **row}
            for item in find_conflicts(store)
            if item.ours.instance_id in snapshot.instances  # their image was not taken out
            for row in item.rows()
        ),
        rounds=tuple(
            {
                "round": item.plan.number,
                "kind": item.plan.kind,
                "labeled": format_percent(round(100 * item.plan.labelled_share, 2)),
                "status": item.status,
                "dev": dict(item.facts.get("dev", {})),
                "serves": served(item),
                "note": note_on_serving(item),
            }
            for item in history
        ),
        gain=advice(project, snapshot),
        next_step=next_step(project, store, snapshot, files),
    )
