"""What labels cost their annotators: actions and seconds, by question and by what was shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from labelkit.store.journal import KEYPOINTS, VISIBILITY, Entry

#: What the journal counts; an action is one of the first three.
COUNTS = ("clicks", "drags", "keys", "undos", "attention_s")


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
