"""What each annotator has done, and how long the rest would take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from labelkit.domain.text import duration
from labelkit.store.journal import KEYPOINTS, SKIP, VISIBILITY, Entry

#: Stands for the annotators of label files.
FILES = "(files)"


@dataclass(frozen=True, slots=True)
class Annotator:
    """The work of one annotator.

    Attributes:
        name: as in the journal; `FILES` for labels of files, "" for others without one.
        ticked, located, skipped: instances to which they gave a visibility answer, keypoints and a
            skip.
        seconds: an object, of the kind that is asked for now: the median of their annotations; None
            where no time was measured.
        rest_seconds: that all objects asked for now would take them alone; None as above.
    """

    name: str
    ticked: int
    located: int
    skipped: int
    seconds: float | None
    rest_seconds: float | None

    def text(self) -> str:
        """One line for people."""
        done = f"{self.ticked} ticked, {self.located} with keypoints, {self.skipped} skipped"
        line = f"{self.name or '(unnamed)'}: {done}"
        if self.seconds is not None:
            line += f"; {self.seconds:.0f} s an object"
        if self.rest_seconds:
            line += f", about {duration(self.rest_seconds)} for the rest"
        return line


def annotators(entries: Iterable[Entry], kind: str, rest: int) -> list[Annotator]:
    """Every annotator in the journal, by name.

    Args:
        entries: of the journal, in order.
        kind: of the answers that are asked for now, "visibility" or "keypoints".
        rest: number of instances that are asked about now.
    """
    done: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    # An annotation of several objects has one time; an edit's time contains the former one.
    times: dict[str, dict[tuple[str, str], float]] = defaultdict(dict)
    objects: dict[tuple[str, str], set[str]] = defaultdict(set)
    for entry in entries:
        is_file = not entry.annotator and entry.source.startswith("file:")
        done[FILES if is_file else entry.annotator][entry.kind].add(entry.instance_id)
        if entry.kind == kind and entry.lead_time_s:
            annotation = (entry.source, entry.reference)
            times[entry.annotator][annotation] = entry.lead_time_s
            objects[annotation].add(entry.instance_id)
    result = []
    for name in sorted(done):
        paces = [time / len(objects[annotation]) for annotation, time in times[name].items()]
        seconds = median(paces) if paces else None
        result.append(
            Annotator(
                name,
                len(done[name][VISIBILITY]),
                len(done[name][KEYPOINTS]),
                len(done[name][SKIP]),
                seconds,
                None if seconds is None else seconds * rest,
            )
        )
    return result
