"""Which labelled objects a second person labels, without seeing what others answered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from labelkit.domain.selection import control_arm, stable_order
from labelkit.metrics.effort import BLANK, SHOWN, arm_of
from labelkit.project.project import Project
from labelkit.store.journal import KEYPOINTS, SECOND, WITHDRAWN
from labelkit.store.label_store import LabelStore
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot
from labelkit.workflows.rounds.queue_file import CONTROL_SHARE


def second_draw(
    project: Project, store: LabelStore, snapshot: LabelSnapshot, count: int
) -> Mapping[str, frozenset[str]]:
    """Objects that wait for a second label, in random order, and who has seen their first one.

    Drawn are labels of which it is known what their annotators were shown; half of them were made
    without pre-annotation, where there are as many, so that both arms can be compared.

    Args:
        project: whose seed draws.
        store: its label store.
        snapshot: its labels of now.
        count: of objects with a second label in the end; those that have one count.

    Returns:
        names of annotators by instance id.
    """
    control = control_arm(snapshot.instances, project.seed, CONTROL_SHARE)
    done = {entry.instance_id for entry in store.latest((SECOND,))}
    arms: dict[str, list[str]] = {SHOWN: [], BLANK: []}
    first = {entry.instance_id: entry for entry in store.latest((KEYPOINTS, WITHDRAWN))}
    for id_ in sorted(stable_order(first, project.seed), key=lambda id_: id_ not in done):
        entry = first[id_]
        is_label = entry.kind == KEYPOINTS and entry.annotator and id_ in snapshot.instances
        if is_label and id_ not in snapshot.skipped and (arm := arm_of(entry, control)):
            arms[arm].append(id_)
    shown = arms[SHOWN][: count - min(len(arms[BLANK]), count // 2)]
    drawn = {*shown, *arms[BLANK][: count - len(shown)]} - done
    people: dict[str, set[str]] = defaultdict(set)
    for recorded in store.history(drawn):
        people[recorded.entry.instance_id].add(recorded.entry.annotator)
    return {id_: frozenset(people[id_]) for id_ in stable_order(drawn, project.seed)}
