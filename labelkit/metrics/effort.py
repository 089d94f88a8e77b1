"""What labels cost their annotators, by what was shown to them, and what became of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from labelkit.domain.skeleton import Skeleton
from labelkit.store.journal import KEYPOINTS, VISIBILITY, WITHDRAWN, Entry, Recorded

#: What the journal counts; an action is one of the first three.
COUNTS = ("clicks", "drags", "keys", "undos", "attention_s")

SHOWN, BLANK = "prediction", "control"

#: What became of a keypoint, as the journal and as the report call it.
FATES = {
    "untouched": "untouched",
    "changed": "moved",
    "followed": "followed",
    "new": "added",
    "removed": "removed",
}


def effort(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """Means an object, of the newest answer to each question about each object.

    Only answers of the labelling page say what they cost.

    Args:
        entries: of the journal, in order.

    Returns:
        one row for each kind of answer and each arm ("prediction", "control", "nothing", "label"):
        `kind`, `arm`, `objects`, `actions`, and the means of `COUNTS`.
    """
    newest: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        if entry.kind in (VISIBILITY, KEYPOINTS) and "effort" in entry.shown:
            newest[entry.instance_id, entry.kind] = entry
    groups: dict[tuple[str, str], list[Mapping[str, float]]] = defaultdict(list)
    for (_, kind), entry in newest.items():
        groups[kind, entry.shown["arm"]].append(entry.shown["effort"])
    rows = []
    for (kind, arm), efforts in sorted(groups.items()):
        means = {name: sum(it[name] for it in efforts) / len(efforts) for name in COUNTS}
        actions = means["clicks"] + means["drags"] + means["keys"]
        rows.append(
            {"kind": kind, "arm": arm, "objects": len(efforts), "actions": actions, **means}
        )
    return rows


@dataclass(slots=True)
class Costs:
    """What objects took in each arm, `SHOWN` and `BLANK`.

    Attributes:
        seconds, actions: of each object; Label Studio counts no actions.
    """

    seconds: dict[str, list[float]] = field(default_factory=lambda: {SHOWN: [], BLANK: []})
    actions: dict[str, list[float]] = field(default_factory=lambda: {SHOWN: [], BLANK: []})


def arm_of(entry: Entry, control: Collection[str]) -> str:
    """`SHOWN`, `BLANK`, or "" for an answer that belongs to neither arm.

    Args:
        entry: of keypoints.
        control: ids of the control arm. Label Studio's answers say whether an object was in it
            only of tasks that this version made.
    """
    if "arm" in entry.shown:
        return str(entry.shown["arm"]) if entry.shown["arm"] in (SHOWN, BLANK) else ""
    if not str(entry.shown.get("model_version", "")).startswith("round-"):
        return ""
    return BLANK if entry.instance_id in control else SHOWN


def costs(
    entries: Iterable[Entry], control: Collection[str], dev: Collection[str]
) -> dict[str, Costs]:
    """Costs by annotator: of the first answer with keypoints about each object.

    The dev set is left out, because it is drawn in another way than what is served with
    pre-annotation; so are annotations of several objects, whose time is not divided.

    Args:
        entries: of the journal, in order.
        control, dev: ids.
    """
    objects: dict[tuple[str, str], str] = {}  # the first one of each annotation
    of_several: set[tuple[str, str]] = set()
    timed: list[tuple[tuple[str, str], str, str, float, Mapping[str, float]]] = []
    seen = set(dev)
    for entry in entries:
        if entry.kind != KEYPOINTS:
            continue
        annotation = entry.source, entry.reference
        if objects.setdefault(annotation, entry.instance_id) != entry.instance_id:
            of_several.add(annotation)
        if entry.instance_id in seen:
            continue
        seen.add(entry.instance_id)
        if (arm := arm_of(entry, control)) and entry.lead_time_s:
            counts = entry.shown.get("effort", {})
            timed.append((annotation, entry.annotator, arm, entry.lead_time_s, counts))
    found: dict[str, Costs] = defaultdict(Costs)
    for annotation, annotator, arm, seconds, counts in timed:
        if annotation in of_several:
            continue
        found[annotator].seconds[arm].append(seconds)
        if counts:
            actions = counts["clicks"] + counts["drags"] + counts["keys"]
            found[annotator].actions[arm].append(float(actions))
    return dict(found)


def fates(
    entries: Iterable[Entry], control: Collection[str], skeleton: Skeleton
) -> dict[tuple[str, str], Counter[str]]:
    """How often what became of each keypoint, by round and keypoint; see `FATES`.

    Args:
        entries: of the journal.
        control: ids.
        skeleton: of the project; keypoints that it no longer has are left out.
    """
    found: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for entry in entries:
        if entry.kind == KEYPOINTS and arm_of(entry, control) == SHOWN:
            for name, what in entry.shown.get("origins", {}).items():
                now = skeleton.present_name(name)
                if what in FATES and now in skeleton.keypoints:
                    found[str(entry.shown["model_version"]), now][FATES[what]] += 1
    return dict(found)


def seconds_until(entries: Iterable[Recorded], heads: Iterable[int]) -> dict[int, float]:
    """All time that was measured up to each of some entries of the journal.

    An edit in Label Studio has the time of all that it edits; answers of the labelling page have
    their own.

    Args:
        entries: of the journal, in order.
        heads: numbers of the last entries that count.
    """
    times: dict[tuple[str, str, str], float] = {}
    found: dict[int, float] = {}
    ahead = sorted(heads)
    for recorded in entries:
        while ahead and recorded.seq > ahead[0]:
            found[ahead.pop(0)] = sum(times.values())
        entry = recorded.entry
        if entry.lead_time_s and entry.kind != WITHDRAWN:
            own = entry.version if "effort" in entry.shown else ""
            times[entry.source, entry.reference, own] = entry.lead_time_s
    return found | dict.fromkeys(ahead, sum(times.values()))
