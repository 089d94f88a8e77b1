"""Keypoints that were changed on two sides: both values are kept and listed; the user settles them.

Every answer is recorded. If it contradicts a label that came another way, the label that counts
until then is recorded again after it, marked as held: it continues to count, and neither side
loses anything. Settling records one of the two after that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from labelkit.store.journal import KEYPOINTS, SKIP, WITHDRAWN, Entry
from labelkit.store.label_store import LabelStore

#: Key in `Entry.shown` of a held label: the answer it is held against, or, if that was deleted,
#: the annotations that are gone.
HELD = "held"

#: Distance in pixels up to which a keypoint has the same location on both sides.
SAME_PX = 1e-3

THEIRS, OURS = "theirs", "ours"

#: What `Entry.source` of a label file has before its colon.
FILE = "file"


@dataclass(frozen=True, slots=True)
class Conflict:
    """One instance with two labels.

    Attributes:
        ours: counts until the conflict is settled.
        theirs: from Label Studio, FiftyOne or a file; None if the annotation was deleted there.
        keypoints: names of those that differ.
    """

    ours: Entry
    theirs: Entry | None
    keypoints: tuple[str, ...]

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row for each keypoint, with both values as [x, y, v] in image pixels."""
        for name in self.keypoints:
            yield {
                "instance": self.ours.instance_id,
                "keypoint": name,
                "ours": list(self.ours.content[name]),
                "ours_from": self.ours.source,
                "theirs": None if self.theirs is None else list(self.theirs.content[name]),
                "theirs_from": "deleted"
                if self.theirs is None
                else self.theirs.annotator or self.theirs.source,
            }


def differing(ours: Entry, theirs: Entry) -> tuple[str, ...]:
    """Names of the keypoints that differ between two entries of the kind "keypoints"."""
    return tuple(
        name
        for name, value in ours.content.items()
        if not _same(value, theirs.content.get(name, value))
    )


def hold(ours: Entry, theirs: Entry) -> Entry:
    """What to record after `theirs`, so that `ours` continues to count."""
    against = {"source": theirs.source, "reference": theirs.reference, "version": theirs.version}
    version = f"held against {theirs.reference} {theirs.version}"
    return replace(ours, version=version, shown={**ours.shown, HELD: against})


def hold_deleted(ours: Entry, gone: Iterable[str]) -> Entry:
    """What to record if the annotation that a label came from was deleted.

    Args:
        ours: counts until the user settles it.
        gone: references of all annotations of the instance that were deleted.
    """
    shown = {**ours.shown, HELD: {"gone": sorted(gone)}}
    return replace(ours, version=f"{ours.version}, held: deleted", shown=shown)


def came_another_way(ours: Entry, theirs: Entry) -> bool:
    """Whether `theirs` was made without `ours` being shown; all files are one side."""
    return _side(ours) != _side(theirs) or "source" in ours.shown.get(HELD, {})


def beside_what_is_known(
    store: LabelStore,
    entries: Sequence[Entry],
    unseen: Callable[[Entry, Entry], bool] = came_another_way,
) -> tuple[list[Entry], list[Entry]]:
    """Entries that are new, and what to record so that the right label counts in the end.

    A label that came another way in the meantime continues to count until the user settles the
    conflict. A later answer of the same side counts, even if an earlier one arrives after it. A
    label of a file is known if any file held it before, or if the same label counts already.

    Args:
        store: whose journal they are for.
        entries: in the order in which they were made.
        unseen: whether its second entry was made without knowing the first, which counts.

    Returns:
        fresh: the entries that the journal does not have.
        to_record: entries to pass to `LabelStore.record`, in order.
    """
    latest: dict[str, Entry] = {}  # of keypoints
    present: dict[str, Entry] = {}  # of visibility, which keypoints answer too
    known = set()
    for recorded in store.history(entry.instance_id for entry in entries):
        entry = recorded.entry
        known.add(_key(entry))
        if entry.kind in (KEYPOINTS, WITHDRAWN):
            latest[entry.instance_id] = entry
        if entry.kind != SKIP:
            present[entry.instance_id] = entry
    fresh, to_record = [], []
    for entry in entries:
        counting = latest if entry.kind == KEYPOINTS else present
        ours = counting.get(entry.instance_id)
        if _side(entry) == FILE and (_key(entry) in known or _agrees(ours, entry)):
            continue
        to_record.append(entry)
        if _key(entry) in known:  # the store checks that its content is the same
            continue
        known.add(_key(entry))
        fresh.append(entry)
        if entry.kind == SKIP:
            continue
        if ours is None or ours.kind == WITHDRAWN:
            counting[entry.instance_id] = entry
        elif entry.kind == KEYPOINTS and unseen(ours, entry) and differing(ours, entry):
            to_record.append(hold(ours, entry))
        elif _side(ours) == _side(entry) and _is_later(ours.made_at, entry.made_at):
            to_record.append(replace(ours, version=f"{ours.version}, newer than {entry.version}"))
        else:
            counting[entry.instance_id] = entry
        if entry.kind == KEYPOINTS:
            present[entry.instance_id] = latest[entry.instance_id]
    return fresh, to_record


def _side(entry: Entry) -> str:
    return entry.source.partition(":")[0]


def _key(entry: Entry) -> tuple[str, ...]:
    named = (FILE, "") if _side(entry) == FILE else (entry.source, entry.reference)
    return *named, entry.version, entry.instance_id, entry.kind


def _agrees(ours: Entry | None, entry: Entry) -> bool:
    if ours is None or ours.kind != entry.kind:
        return False
    return not differing(ours, entry) if ours.kind == KEYPOINTS else ours.content == entry.content


def _is_later(one: str, other: str) -> bool:
    try:
        return datetime.fromisoformat(one) > datetime.fromisoformat(other)
    except (ValueError, TypeError):  # a source without times
        return False


def find_conflicts(store: LabelStore) -> list[Conflict]:
    """The conflicts of all instances whose label is held."""
    held = [e for e in store.latest((KEYPOINTS, WITHDRAWN)) if HELD in e.shown]
    others: dict[tuple[str, ...], Entry] = {}
    for recorded in store.history(entry.instance_id for entry in held):
        entry = recorded.entry
        if entry.kind == KEYPOINTS:
            others[entry.instance_id, entry.source, entry.reference, entry.version] = entry
    found = []
    for ours in held:
        against = ours.shown[HELD]
        theirs = None
        if "source" in against:
            key = (ours.instance_id, against["source"], against["reference"], against["version"])
            theirs = others.get(key)
        names = tuple(ours.content) if theirs is None else differing(ours, theirs)
        found.append(Conflict(ours, theirs, names))
    return found


def settle(store: LabelStore, take: str) -> int:
    """Let one side count for every conflict there is.

    Args:
        store: whose journal gets the decisions.
        take: "theirs" (from Label Studio, FiftyOne or a file) or "ours".

    Returns:
        number of conflicts that were settled.
    """
    found = find_conflicts(store)
    entries: list[Entry] = []
    for conflict in found:
        if take == OURS:
            entries.append(_again(conflict.ours, "kept"))
        elif conflict.theirs is not None:
            entries.append(_again(conflict.theirs, "taken"))
        else:
            entries += _without(store, conflict.ours)
    store.record(entries)
    return len(found)


def _without(store: LabelStore, deleted: Entry) -> list[Entry]:
    """Withdraw keypoints, and let the answers before them count again."""
    withdrawn = replace(deleted, kind=WITHDRAWN, content={}, version="withdrawn", shown={})
    answers = [recorded.entry for recorded in store.history([deleted.instance_id])]
    gone = {(entry.source, entry.reference) for entry in answers if entry.kind == WITHDRAWN}
    gone |= {
        (deleted.source, it) for it in (deleted.reference, *deleted.shown[HELD].get("gone", ()))
    }
    newest: Mapping[str, Entry] = {
        entry.kind: entry
        for entry in answers
        if (entry.source, entry.reference) not in gone and HELD not in entry.shown
    }
    return [
        withdrawn,
        *(
            _again(newest[kind], f"after {deleted.reference} was withdrawn")
            for kind in ("visibility", KEYPOINTS)
            if kind in newest
        ),
    ]


def _again(entry: Entry, why: str) -> Entry:
    """The same answer again, under a new version."""
    shown = {key: value for key, value in entry.shown.items() if key != HELD}
    return replace(entry, version=f"{entry.version}, {why}", shown=shown)


def _same(one: Iterable[float], other: Iterable[float]) -> bool:
    (x, y, v), (other_x, other_y, other_v) = one, other
    return v == other_v and (v == 0 or math.hypot(x - other_x, y - other_y) <= SAME_PX)
