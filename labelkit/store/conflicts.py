"""Answers that contradict each other: both are kept and listed, and the user settles them.

Every answer is recorded. If it contradicts one that came another way, or one of another annotator
to the same task, the answer that counts until then is recorded again after it, marked as held: it
continues to count, and neither side loses anything. Settling records one of the two after that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from labelkit.domain.text import named
from labelkit.store.journal import KEYPOINTS, SKIP, TELLING, VISIBILITY, WITHDRAWN, Entry
from labelkit.store.journal_columns import HELD as HELD
from labelkit.store.label_store import LabelStore

#: Distance in pixels up to which a keypoint has the same location on both sides.
SAME_PX = 1e-3

#: The same for two annotators of one task, as a share of the long side of the keypoints' extent:
#: no two people click the same pixel.
SAME_SHARE = 0.02

THEIRS, OURS = "theirs", "ours"

#: What `Entry.source` of a label file has before its colon.
FILE = "file"


@dataclass(frozen=True, slots=True)
class Conflict:
    """One instance with two answers of the same kind.

    Attributes:
        ours: counts until the conflict is settled.
        theirs: from Label Studio, FiftyOne or a file; None if the annotation was deleted there.
        keypoints: names of those that differ.
    """

    ours: Entry
    theirs: Entry | None
    keypoints: tuple[str, ...]

    @property
    def summary(self) -> str:
        """One line: who differs, in which keypoints, by how much, and where to see it."""
        rows = list(self.rows())
        distances = [row["distance_px"] for row in rows if row["distance_px"] is not None]
        apart = f", up to {max(distances):.1f} px apart" if distances else ""
        where = next((row["task"] for row in rows if row["task"]), self.ours.instance_id)
        who = (
            _origin(self.ours) + " and " + ("deleted" if not self.theirs else _origin(self.theirs))
        )
        return f"{who}: {named([row['keypoint'] for row in rows])}{apart}: {where}"

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row for each keypoint that differs, with both values.

        A value is [x, y, v] in image pixels, or true or false in a visibility answer; None if
        theirs was deleted. `distance_px` is None where a side has no location. `task` is the
        address of the Label Studio task; "" without one.
        """
        theirs = self.theirs
        for name in self.keypoints:
            mine, other = self.ours.content[name], theirs.content[name] if theirs else None
            yield {
                "instance": self.ours.instance_id,
                "keypoint": name,
                "ours": _row_value(mine),
                "ours_from": _origin(self.ours),
                "theirs": _row_value(other),
                "theirs_from": "deleted" if theirs is None else _origin(theirs),
                "distance_px": _distance(mine, other),
                "task": (theirs or self.ours).shown.get("address", ""),
            }


def differing(ours: Entry, theirs: Entry) -> tuple[str, ...]:
    """Names of the keypoints that differ between two entries of the same kind."""
    slack = SAME_PX
    if of_two_annotators(ours, theirs):
        slack = max(SAME_PX, SAME_SHARE * _extent(ours, theirs))
    return tuple(
        name
        for name, value in ours.content.items()
        if not _same(value, theirs.content.get(name, value), slack)
    )


def hold(ours: Entry, theirs: Entry) -> Entry:
    """What to record after `theirs`, so that `ours` continues to count."""
    against = {"source": theirs.source, "reference": theirs.reference, "version": theirs.version}
    version = f"{ours.version}, held against {theirs.reference} {theirs.version}"
    return replace(ours, version=version, shown={**ours.shown, HELD: against})


def hold_deleted(ours: Entry, gone: Iterable[str]) -> Entry:
    """What to record if the annotation that a label came from was deleted.

    Args:
        ours: counts until the user settles it.
        gone: references of all annotations of the instance that were deleted.
    """
    shown = {**ours.shown, HELD: {"gone": sorted(gone)}}
    return replace(ours, version=f"{ours.version}, held: deleted", shown=shown)


def of_two_annotators(ours: Entry, theirs: Entry) -> bool:
    """Whether two people answered the same Label Studio task, each without the other's answer."""
    tasks = {entry.shown.get("task") for entry in (ours, theirs)}
    people = {entry.annotator for entry in (ours, theirs)}
    return len(tasks) == 1 < len(people) and None not in tasks and "" not in {*tasks, *people}


def came_another_way(ours: Entry, theirs: Entry) -> bool:
    """Whether `theirs` was made without `ours` being shown; all files are one side."""
    return _side(ours) != _side(theirs) or of_two_annotators(ours, theirs)


def beside_what_is_known(
    store: LabelStore,
    entries: Sequence[Entry],
    unseen: Callable[[Entry, Entry], bool] = came_another_way,
) -> tuple[list[Entry], list[Entry]]:
    """Entries that are new, and what to record so that the right label counts in the end.

    An answer that was made without knowing the one that counts, and contradicts it, is a conflict:
    the one that counts continues to count until the user settles it, or until one of the two sides
    comes to agree with the other. A later answer of the same side counts, even if an earlier one
    arrives after it. A label of a file is known if the same label counts already, or if any file
    held it before, unless that file has brought another one since: then it was changed back.

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
    known: dict[tuple[str, ...], Entry] = {}
    for recorded in store.history(entry.instance_id for entry in entries):
        entry = recorded.entry
        known[_key(entry)] = entry
        id_ = entry.instance_id
        if entry.kind in (KEYPOINTS, WITHDRAWN):
            latest[id_] = _joined(latest.get(id_), entry)
        if entry.kind in TELLING:
            present[id_] = _joined(present.get(id_), entry)
    fresh, to_record = [], []
    for entry in entries:
        counting = latest if entry.kind == KEYPOINTS else present
        ours = counting.get(entry.instance_id)
        if _side(entry) == FILE:
            if _agrees(ours, entry):
                continue
            if _key(entry) in known:
                if ours is None or (ours.source, ours.kind) != (entry.source, entry.kind):
                    continue
                entry = replace(entry, version=f"{entry.version}, again after {ours.version}")
        to_record.append(entry)
        if _key(entry) in known:  # the store checks that its content is the same
            continue
        known[_key(entry)] = entry
        fresh.append(entry)
        if entry.kind == SKIP:
            continue
        kept = _kept(ours, entry, known, unseen)
        if kept is not None:
            to_record.append(kept)
        told = _joined(ours, entry)
        counting[entry.instance_id] = told if kept is None else _joined(told, kept)
        if entry.kind == KEYPOINTS:
            present[entry.instance_id] = latest[entry.instance_id]
    return fresh, to_record


def _kept(
    ours: Entry | None,
    entry: Entry,
    known: Mapping[tuple[str, ...], Entry],
    unseen: Callable[[Entry, Entry], bool],
) -> Entry | None:
    """What to record after a new answer so that the right one counts; None if it counts itself."""
    if ours is None or ours.kind == WITHDRAWN:
        return None
    comparable, other = ours.kind == entry.kind, _held_against(ours, known)
    if comparable and unseen(ours, entry):
        if differing(ours, entry):
            return hold(ours, entry)
        # A third side agrees with ours: that does not settle the conflict with the other.
        settles = other is None or not came_another_way(other, entry)
        again = f"{ours.version}, also {entry.reference} {entry.version}"
        return None if settles else replace(ours, version=again)
    if _side(ours) == _side(entry) and _is_later(ours.made_at, entry.made_at):
        return replace(ours, version=f"{ours.version}, newer than {entry.version}")
    if comparable and other is not None and differing(entry, other):
        return hold(entry, other)  # a new version of ours, which the other side contradicts too
    return None


def _held_against(ours: Entry, known: Mapping[tuple[str, ...], Entry]) -> Entry | None:
    """The answer that a held one contradicts; None if it is not held, or its cause was deleted."""
    against = ours.shown.get(HELD, {})
    if "source" not in against:
        return None
    theirs = replace(ours, **{key: against[key] for key in ("source", "reference", "version")})
    return known.get(_key(theirs))


def _side(entry: Entry) -> str:
    return entry.source.partition(":")[0]


def _key(entry: Entry) -> tuple[str, ...]:
    named = (FILE, "") if _side(entry) == FILE else (entry.source, entry.reference)
    return *named, entry.version, entry.instance_id, entry.kind


def _agrees(ours: Entry | None, entry: Entry) -> bool:
    """Whether an entry tells nothing that the one that counts does not tell."""
    if ours is None or ours.kind != entry.kind:
        return False
    return entry.content.keys() <= ours.content.keys() and not differing(ours, entry)


def _joined(before: Entry | None, entry: Entry) -> Entry:
    """An entry, with what an earlier one of its kind tells about keypoints that it does not name.

    They are those that the skeleton got, or lost, between the two.
    """
    if before is None or before.kind != entry.kind:
        return entry
    return replace(entry, content={**before.content, **entry.content})


def _is_later(one: str, other: str) -> bool:
    try:
        return datetime.fromisoformat(one) > datetime.fromisoformat(other)
    except (ValueError, TypeError):  # a source without times
        return False


def settled_by_deleting(store: LabelStore, deleted: Mapping[str, Collection[str]]) -> list[Entry]:
    """What to record for conflicts of which one side was deleted in Label Studio: the other counts.

    Args:
        store: whose conflicts they are.
        deleted: references of annotations that are gone, by instance id.
    """
    entries = []
    for conflict in find_conflicts(store):
        ours, theirs = conflict.ours, conflict.theirs
        gone = deleted.get(ours.instance_id, ())
        if theirs is not None and theirs.reference in gone:
            entries.append(_again(ours, f"{theirs.reference} was deleted"))
        elif theirs is not None and ours.reference in gone:
            entries.append(_again(theirs, f"{ours.reference} was deleted"))
    return entries


def find_conflicts(store: LabelStore) -> list[Conflict]:
    """The conflicts of all instances whose answer is held, the largest distance first.

    A visibility answer that is held is a conflict until there are keypoints, which answer it too.
    """
    held = [e for e in store.latest((KEYPOINTS, WITHDRAWN), showing=HELD) if HELD in e.shown]
    answers = store.latest((VISIBILITY, KEYPOINTS, WITHDRAWN), showing=HELD)
    held += [e for e in answers if e.kind == VISIBILITY and HELD in e.shown]
    known = {
        _key(recorded.entry): recorded.entry
        for recorded in store.history(entry.instance_id for entry in held)
    }
    found = []
    for ours in held:
        theirs = _held_against(ours, known)
        names = tuple(ours.content) if theirs is None else differing(ours, theirs)
        found.append(Conflict(ours, theirs, names))
    return sorted(found, key=lambda it: -max((r["distance_px"] or 0 for r in it.rows()), default=0))


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
    newest: dict[str, Entry] = {}
    for entry in answers:
        if (entry.source, entry.reference) not in gone and HELD not in entry.shown:
            newest[entry.kind] = _joined(newest.get(entry.kind), entry)
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


def _same(one: Any, other: Any, slack_px: float) -> bool:
    if isinstance(one, bool):
        return bool(one == other)
    return one[2] == other[2] and (_distance(one, other) or 0.0) <= slack_px


def _distance(one: Any, other: Any) -> float | None:
    """Pixels between two values [x, y, v]; None where one has no location."""
    if isinstance(one, bool) or other is None or not (one[2] and other[2]):
        return None
    return math.hypot(one[0] - other[0], one[1] - other[1])


def _extent(*entries: Entry) -> float:
    """The long side, in pixels, of the box around all keypoints of some entries."""
    places = [value for entry in entries for value in entry.content.values()]
    located = [value[:2] for value in places if not isinstance(value, bool) and value[2]]
    return max((max(side) - min(side) for side in zip(*located, strict=True)), default=0.0)


def _row_value(value: Any) -> Any:
    return value if isinstance(value, bool | None) else list(value)


def _origin(entry: Entry) -> str:
    """Who answered; the file where a file says so."""
    return entry.source if _side(entry) == FILE else entry.annotator or entry.source
