"""The one thing to do next in a project."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

from labelkit.bridges.mediapipe.networks import network_for
from labelkit.domain.selection import format_percent
from labelkit.domain.text import counted
from labelkit.project.project import Project, is_at_work
from labelkit.project.rounds import Round, latest_complete, latest_trained, unfinished
from labelkit.store.ids import without
from labelkit.store.journal import PAGE
from labelkit.store.label_store import LabelStore
from labelkit.store.task_ledger import sent_tasks
from labelkit.workflows.choosing.strategies import MANUAL
from labelkit.workflows.rounds.image_files import ImageFiles
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot
from labelkit.workflows.rounds.queue_file import read_choices, strategy_of, waiting
from labelkit.workflows.rounds.start import TICKS, start_of, waits_for_labels

#: A first training on ticks needs them of this share of the instances, if they can teach.
TICKED_SHARE = 0.1


def next_step(
    project: Project, store: LabelStore, snapshot: LabelSnapshot, files: ImageFiles
) -> str:
    """What to type next, and why where that is not plain.

    Args:
        project: see `open_project`.
        store: its label store.
        snapshot: its labels of now.
        files: of its images.
    """
    bootstrap = f"labelkit bootstrap --images {shlex.quote(str(project.images_root))}"
    begun = unfinished(project)
    if begun is not None:
        if is_at_work(project):
            return f"Round {begun.plan.number:03d} is training now: wait until it has finished."
        return f"Next: continue round {begun.plan.number:03d}: {_continue(begun, bootstrap)}"
    if not snapshot.instances:
        return f"Next: {bootstrap} --boxes whole-image"
    lost = files.lost
    if lost.gone and not project.images_root.is_dir():
        return f"{project.images_root} is gone. Next: labelkit images relocate NEW_FOLDER"
    if lost.gone:
        return f"{counted(len(lost.gone), 'image')} cannot be found. Next: labelkit images relocate"
    if lost.changed:
        return f"{counted(len(lost.changed), 'image')} changed. Next: labelkit images list"
    if new := files.new:
        return f"{counted(len(new), 'new image')} in the folder. Next: {bootstrap}"
    if latest_complete(project) is None:
        return _before_the_first_round(project, store, snapshot, bootstrap)
    if queued := waiting(project, snapshot):
        return _ask(store, "correction", "correct", [item.instance_id for item in queued])
    if _can_teach_more(project, snapshot):
        return "Next: labelkit retrain"
    if (left := _left_to_choose(project, snapshot)) and strategy_of(project) == MANUAL:
        return (
            f"{counted(left, 'object')} without keypoints, and the strategy manual queues only "
            "what you choose. Next: labelkit review, then labelkit queue --from-review. Or stop "
            "here: labelkit export --format coco"
        )
    return "Next: labelkit export --format coco"


def _continue(begun: Round, bootstrap: str) -> str:
    """The command that continues an interrupted round."""
    if begun.plan.number == 0 and not begun.plan.labelled:
        return bootstrap
    percent = format_percent(round(100 * begun.plan.labelled_share, 3))
    teacher = begun.plan.settings.get("teacher")
    taught = f" --teacher {shlex.quote(teacher['name'])}" if teacher else ""
    return f"labelkit retrain --labeled {percent} --now{taught}"


def _before_the_first_round(
    project: Project, store: LabelStore, snapshot: LabelSnapshot, bootstrap: str
) -> str:
    start = start_of(project, snapshot)
    enough = math.ceil(TICKED_SHARE * len(snapshot.instances))
    few = start.asks == TICKS and start.ids and start.done < enough
    if few or not snapshot.presences or waits_for_labels(store, snapshot, start):
        if start.asks == TICKS:
            ask = _ask(store, "visibility", "tick what can be seen of", start.ids)
        else:
            ask = _ask(store, "correction", "place the keypoints of", start.ids)
        return "\n".join(filter(None, (start.note, ask, head_start(project))))
    return f"Next: {bootstrap}"


def head_start(project: Project) -> str:
    """How to begin without a click, where a public network may know the objects; else ""."""
    network = network_for(project.skeleton.keypoints)
    if network is None:
        return ""
    return (
        f"If these are {network.objects}, start from a public network, without a click: "
        f"labelkit predict --with {network.name}"
    )


def _can_teach_more(project: Project, snapshot: LabelSnapshot) -> bool:
    """Whether there are more keypoints than the newest network learned from."""
    newest = latest_trained(project)
    learned = set(newest.plan.labelled) if newest else set()
    return newest is None or any(
        item not in learned and item not in snapshot.dev for item in snapshot.poses
    )


def _left_to_choose(project: Project, snapshot: LabelSnapshot) -> int:
    """Number of objects that could be labelled, and that the lead did not exclude."""
    gone = read_choices(project).excluded
    return len(without(snapshot.instances.ids, snapshot.poses.ids, snapshot.skipped, gone))


def by_hand(store: LabelStore, what: str) -> str:
    """How people do something, such as "correct the queue": first where they answered last."""
    if store.newest_source() == PAGE:
        return f"labelkit label, {what} (or labelkit push, then labelkit pull)"
    return f"labelkit push, {what}, labelkit pull (or labelkit label)"


def _ask(store: LabelStore, kind: str, verb: str, ids: Sequence[str]) -> str:
    """How people get to label some instances, which may be in Label Studio already."""
    sent = sent_tasks(store.database, kind)
    objects = counted(len(ids), "object")
    if store.newest_source() == PAGE:
        there = "Or in Label Studio: labelkit push, then labelkit pull"
        return f"Next: labelkit label, {verb} {objects}. {there}"
    page = "Or on labelkit's own page: labelkit label"
    if ids and all(id_ in sent for id_ in ids):
        return f"Next: {verb} {objects} at {sent[ids[0]]}, then labelkit pull. {page}"
    return f"Next: labelkit push, {verb} {objects}, then labelkit pull. {page}"
