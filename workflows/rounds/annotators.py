"""What each annotator has done, and how long the rest would take."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelkit.domain.text import duration
from labelkit.store.journal import KEYPOINTS, SKIP, VISIBILITY
from labelkit.store.journal_columns import JournalColumns

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


def annotators(columns: JournalColumns, kind: str, rest: int) -> list[Annotator]:
    """Every annotator in the journal, by name.

    Args:
        columns: of the journal.
        kind: of the answers that are asked for now, "visibility" or "keypoints".
        rest: number of instances that are asked about now.
    """
    names = np.array([*columns.annotators, FILES], object)
    of_file = columns.rows["of_file"] & (names[columns.rows["annotator"]] == "")
    who = np.where(of_file, len(names) - 1, columns.rows["annotator"])
    paces = _paces(columns.of(kind).rows)
    result = []
    for code in sorted(set(who.tolist()), key=lambda code: str(names[code])):
        own = replace(columns, rows=columns.rows[who == code])
        ticked, located, skipped = (
            len(np.unique(own.of(each).rows["instance"])) for each in (VISIBILITY, KEYPOINTS, SKIP)
        )
        seconds = median(paces[code]) if code in paces else None
        result.append(
            Annotator(
                str(names[code]),
                ticked,
                located,
                skipped,
                seconds,
                None if seconds is None else seconds * rest,
            )
        )
    return result


def _paces(rows: NDArray[Any]) -> dict[int, list[float]]:
    """Seconds an object of each annotation, by annotator."""
    rows = rows[rows["lead_time_s"] > 0]
    _, annotation = np.unique(rows["annotation"], return_inverse=True)
    # An annotation of several objects has one time; an edit's time contains the former one.
    size = rows["instance"].max(initial=0) + 1
    objects = np.bincount(np.unique(annotation * size + rows["instance"]) // size)
    keys = rows["annotator"].astype(np.int64) * len(objects) + annotation
    keys, from_end = np.unique(keys[::-1], return_index=True)
    found: dict[int, list[float]] = defaultdict(list)
    for key, seconds in zip(keys.tolist(), rows["lead_time_s"][::-1][from_end], strict=True):
        annotator, which = divmod(key, len(objects))
        found[annotator].append(float(seconds / objects[which]))
    return found
