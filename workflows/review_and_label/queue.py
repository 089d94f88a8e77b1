"""`labelkit queue`: what is corrected next, with the choices that a lead made in a review."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from labelkit.bridges.fiftyone.dataset import find_dataset, put_tags, quiet_fiftyone, tagged
from labelkit.bridges.fiftyone.mongod import prepare_database
from labelkit.bridges.fiftyone.samples import EXCLUDE, LABEL_NEXT
from labelkit.domain.text import counted
from labelkit.errors import ProjectError
from labelkit.files.atomic import write_json
from labelkit.project.project import Project
from labelkit.report import Report
from labelkit.store.label_store import LabelStore
from labelkit.workflows.loop.status import status
from labelkit.workflows.reviewing.app import SELECTION_FILE
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.queue_file import (
    Choices,
    arrange,
    current_queue,
    read_choices,
    waiting,
    write_choices,
    write_queue,
)


@dataclass(frozen=True, slots=True)
class QueueReport(Report):
    """The queue as it is now.

    Attributes:
        queued: instances that wait for correction.
        reasons: their number by reason: chosen, dev, unsure, new.
        chosen, excluded: instances that the lead put first, and took out.
        labelled: chosen instances that already have keypoints and are not sent again.
        control: queued instances that are served without pre-annotation.
        next_ids: the first ten.
        next_step: what to type.
    """

    queued: int
    reasons: Mapping[str, int]
    chosen: int
    excluded: int
    labelled: int
    control: int
    next_ids: tuple[str, ...]
    next_step: str
    exit_code: int = 0

    def text(self) -> str:
        """For people."""
        parts = ", ".join(f"{count} {reason}" for reason, count in self.reasons.items())
        queued = f"{counted(self.queued, 'instance')} {'is' if self.queued == 1 else 'are'} queued"
        lines = [queued + (f": {parts}." if parts else ".")]
        if self.labelled:
            lines.append(f"{self.labelled} of those chosen already have keypoints.")
        if self.excluded:
            lines.append(f"{self.excluded} are excluded.")
        if self.control:
            lines.append(f"{self.control} are served without pre-annotation.")
        return "\n".join([*lines, self.next_step])


def queue(project: Project, store: LabelStore, *, from_review: bool) -> QueueReport:
    """Show the queue, after applying what was tagged and selected in FiftyOne.

    Tags are compared with those of the last run: a new tag in either of the project's datasets
    adds a choice, a removed one takes it back.

    Args:
        project: see `open_project`.
        store: its label store.
        from_review: apply FiftyOne's tags and the App's selection.

    Raises:
        MissingDependencyError: if FiftyOne is not installed or its database does not answer.
        ProjectError: if the project was never reviewed.
    """
    choices = read_choices(project)
    if not from_review:
        return _report(project, store, choices)
    prepare_database()
    quiet_fiftyone()
    datasets = [found for kind in (False, True) if (found := find_dataset(project, kind))]
    if not datasets:
        raise ProjectError("The project has no FiftyOne dataset.", "Make one with: labelkit review")
    first, excluded = dict.fromkeys(choices.first), dict.fromkeys(choices.excluded)
    known = {LABEL_NEXT: first, EXCLUDE: excluded}
    before = {tag: set(ids) for tag, ids in known.items()}
    for dataset in datasets:
        now, present = tagged(dataset, known)
        for tag, ids in known.items():
            ids.update(dict.fromkeys(sorted(now[tag] - before[tag])))
            for id_ in (before[tag] & present) - now[tag]:
                ids.pop(id_, None)
    first.update(dict.fromkeys(_selected(project)))
    write_json(project.root / SELECTION_FILE, {"instances": []})
    _write(project, store, Choices(tuple(first), tuple(excluded)))
    return _report(project, store, read_choices(project))


def decide(
    project: Project, store: LabelStore, instance_ids: Iterable[str], *, exclude: bool
) -> QueueReport:
    """Move instances to the front of the queue, or exclude them from it.

    Args:
        project: see `open_project`.
        store: its label store.
        instance_ids: of the project.
        exclude: exclude them instead of moving them to the front.
    """
    ids = dict.fromkeys(instance_ids)
    choices = read_choices(project)
    first = [item for item in choices.first if item not in ids]
    excluded = [item for item in choices.excluded if item not in ids]
    if exclude:
        excluded += ids
    else:
        first += ids
    _write(project, store, Choices(tuple(first), tuple(excluded)))
    return _report(project, store, read_choices(project))


def _write(project: Project, store: LabelStore, choices: Choices) -> None:
    """Write choices, the queue that follows from them, and the tags that show them."""
    known = store.instances()
    choices = Choices(
        tuple(i for i in choices.first if i in known and i not in set(choices.excluded)),
        tuple(i for i in choices.excluded if i in known),
    )
    snapshot = read_snapshot(project, store)
    items = arrange(project, current_queue(project, snapshot), snapshot, choices)
    write_choices(project, choices)
    write_queue(project, items)
    for kind in (False, True):
        dataset = find_dataset(project, kind)
        if dataset is not None:
            put_tags(dataset, {LABEL_NEXT: choices.first, EXCLUDE: choices.excluded})


def _selected(project: Project) -> list[str]:
    path = project.root / SELECTION_FILE
    if not path.exists():
        return []
    try:
        return [str(item) for item in json.loads(path.read_text(encoding="utf-8"))["instances"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProjectError(
            f"{path} is damaged ({error!r}).", "Delete it and select again: labelkit review"
        ) from error


def _report(project: Project, store: LabelStore, choices: Choices) -> QueueReport:
    snapshot = read_snapshot(project, store)
    items = waiting(project, snapshot)
    return QueueReport(
        queued=len(items),
        reasons=dict(Counter(item.reason for item in items)),
        chosen=len(choices.first),
        excluded=len(choices.excluded),
        labelled=sum(item in snapshot.poses for item in choices.first),
        control=sum(item.control for item in items),
        next_ids=tuple(item.instance_id for item in items[:10]),
        next_step="Next: labelkit push" if items else status(project, store).next_step,
    )
