"""`labelkit pull`: answers and corrections since the last pull, from a server into the journal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from itertools import chain, islice
from typing import Any

from labelkit.bridges.label_studio.api import StudioApi
from labelkit.bridges.label_studio.filters import ANSWERED, UNANSWERED, annotated_after
from labelkit.domain.text import counted
from labelkit.errors import FormatError, ProjectError
from labelkit.formats.label_studio.export import read_tasks
from labelkit.formats.label_studio.project import marks_another
from labelkit.formats.label_studio.tasks import CORRECTION_TASK, ONE_OBJECT, VISIBILITY_TASK
from labelkit.progress import Progress
from labelkit.project.first_skeleton import first_skeleton
from labelkit.project.project import Project
from labelkit.store.conflicts import HELD, hold_deleted, settled_by_deleting
from labelkit.store.journal import TELLING, VISIBILITY, WITHDRAWN, Entry
from labelkit.store.label_store import LabelStore
from labelkit.store.task_ledger import LedgerProject, TaskLedger
from labelkit.workflows.sync.pull_report import PullReport
from labelkit.workflows.sync.recorder import SOURCE, Recorder

#: Tasks whose answers are recorded together.
BATCH = 200

#: Read again in each pull: a change becomes visible a little after the time it carries.
OVERLAP = timedelta(seconds=60)


def pull_server(
    project: Project, store: LabelStore, api: StudioApi, progress: Progress
) -> PullReport:
    """Read what changed on the server. Each version of each annotation is recorded once.

    An annotation that cannot be used is reported and the others are recorded. Every pull reads it
    again until it is corrected.

    Raises:
        ProjectError: if nothing was pushed to this server.
        ServiceError: if the server cannot be used. Run again: nothing is lost or recorded twice.
    """
    with store.database.syncing():
        ledger = TaskLedger(store.database, api.url)
        known = [
            ledger.project(kind + form)
            for kind in (VISIBILITY_TASK, CORRECTION_TASK)
            for form in ("", ONE_OBJECT)
        ]
        targets = [target for target in known if target is not None]
        if not targets:
            raise ProjectError(
                f"This project has no tasks on {api.url} yet.", "Type: labelkit push"
            )
        report = PullReport()
        for target in targets:
            report.add(_Pull(project, store, api, target).run(ledger, progress))
        return report


class _Pull:
    """Reading one Label Studio project."""

    def __init__(
        self, project: Project, store: LabelStore, api: StudioApi, target: LedgerProject
    ) -> None:
        self.project, self.store, self.api, self.target = project, store, api, target
        self.recorder = Recorder(project, store)
        self.foreign = 0
        self.first_keypoints = first_skeleton(project).keypoints

    @cached_property
    def users(self) -> dict[int, str]:
        """E-mail addresses by Label Studio's number."""
        return self.api.users()

    def run(self, ledger: TaskLedger, progress: Progress) -> PullReport:
        report, since = PullReport(), _earlier(self.target.pulled_until)
        number, last_task = self.target.project_id, self.target.pulled_task
        # The usual case, that nothing changed, costs two requests.
        until = self.api.newest_change(number, ANSWERED, ("id", "less_or_equal", last_task))
        if until is None:
            gone = f"The {self.target.kind} project {number} was deleted on the server"
            report.notes.append(f"{gone}. What was pulled from it stays.")
        if not until:
            return report
        overlooked = self._overlooked(since)
        first, is_new = next(overlooked, None), until >= since
        if first is None and not is_new:
            return report
        if marks_another(self.api.project(number) or {}, ledger.uid):
            report.notes.append(
                f"The project {number} on {self.api.url} is another project's now: labelkit push "
                "finds this one's."
            )
            return report
        unread: list[str] = []  # when each unusable annotation was changed
        done, last_annotation = 0, self.target.pulled_annotation
        with progress.bar("Reading answers") as step:
            found = chain([first] if first else (), overlooked, self._changed(since, is_new))
            for batch in _batches(found):
                part, bad = self._take(batch)
                report.add(part)
                unread += bad
                last_task = max(last_task, *(task["id"] for task in batch))
                ids = (annotation["id"] for task in batch for annotation in task["annotations"])
                last_annotation = max([last_annotation, *ids])
                done += len(batch)
                step(done, done)  # the total is not known
        if self.foreign:
            report.notes.append(f"{self.foreign} annotated tasks there are not labelkit's.")
        until = min((until, *unread))
        ledger.keep_project(
            replace(
                self.target,
                pulled_until=until,
                pulled_task=last_task,
                pulled_annotation=last_annotation,
            )
        )
        return report

    def _overlooked(self, since: str) -> Iterator[dict[str, Any]]:
        """Tasks with a new annotation that seem not to have changed since the last pull.

        A server that is killed after it has stored an annotation does not note the change.
        """
        new = annotated_after(self.target.pulled_annotation)
        if not since:
            return iter(())  # nothing was read before
        return self.api.changed_tasks(self.target.project_id, "", new, before=since)

    def _changed(self, since: str, is_new: bool) -> Iterator[dict[str, Any]]:
        """Tasks that have lost all their annotations, then tasks with annotations or skips."""
        if not is_new:
            return
        for conditions in (
            (UNANSWERED, ("id", "less_or_equal", self.target.pulled_task)),
            (ANSWERED,),
        ):
            yield from self.api.changed_tasks(self.target.project_id, since, *conditions)

    def _take(self, tasks: Sequence[dict[str, Any]]) -> tuple[PullReport, list[str]]:
        """Record the answers in some tasks; also return when unusable ones were changed."""
        for task in tasks:
            for annotation in task["annotations"]:
                annotation["completed_by"] = self._annotator(annotation.get("completed_by"))
        good, problems, unread = [], [], []
        for task in tasks:
            if not (task["data"] or {}).get("labelkit"):
                self.foreign += bool(task["annotations"])
                continue
            annotations, bad = read_tasks(
                [task], self.project.skeleton, self.api.url, self.first_keypoints
            )
            for item in annotations:
                if item.image_id in self.recorder.images:
                    good.append(item)
                else:
                    what = f"{item.address} shows {item.image_path}"
                    bad.append(FormatError(f"{what}, which is not in this project."))
            if bad:
                problems += [f"{error.problem} {error.next_step}".rstrip() for error in bad]
                unread.append(task["updated_at"])
        report = self.recorder.record(good, self.api.url)
        report.problems = problems
        self._keep_deleted(tasks, report)
        return report, unread

    def _keep_deleted(self, tasks: Sequence[Mapping[str, Any]], report: PullReport) -> None:
        """Hold labels whose annotation or box was deleted: the user decides whether they go.

        Visibility answers stay until the task is answered again.
        """
        present = {
            str(task["id"]): {
                (str(annotation["id"]), region)
                for annotation in task["annotations"]
                if not annotation.get("was_cancelled")
                for region in _regions(task, annotation)
            }
            for task in tasks
        }
        images = {(task["data"] or {}).get("image_id", "") for task in tasks}
        ids = [id_ for image in images for id_ in self.recorder.instances_of(image)]
        latest: dict[str, Entry] = {}  # of keypoints
        latest_visibility: dict[str, Entry] = {}  # keypoints answer visibility too
        gone: dict[str, set[str]] = defaultdict(set)
        for recorded in self.store.history(ids):
            entry = recorded.entry
            if entry.kind not in TELLING:
                continue
            latest_visibility[entry.instance_id] = entry
            if entry.kind != VISIBILITY:
                latest[entry.instance_id] = entry
            if entry.source != SOURCE:
                continue
            there = present.get(entry.shown.get("task", ""))
            if there is not None and (entry.reference, entry.shown["region"]) not in there:
                gone[entry.instance_id].add(entry.reference)
        settled = settled_by_deleting(self.store, gone)
        self.store.record(settled)
        report.settled = len(settled)
        counts = {entry.instance_id for entry in settled}
        held: dict[str, list[Entry]] = defaultdict(list)
        for entry in (entry for entry in latest.values() if entry.instance_id not in counts):
            is_held = HELD in entry.shown or entry.kind == WITHDRAWN
            kept = entry.version.endswith(", kept")
            lost = gone[entry.instance_id]
            if entry.source == SOURCE and entry.reference in lost and not is_held and not kept:
                held[entry.reference].append(hold_deleted(entry, lost))
        self.store.record(entry for entries in held.values() for entry in entries)
        report.deleted = len(held)
        ticked = (entry for entry in latest_visibility.values() if entry.kind == VISIBILITY)
        if left := {e.reference for e in ticked if e.reference in gone[e.instance_id]}:
            report.notes.append(
                "Deleted on the server, whole or in part: "
                f"{counted(len(left), 'visibility annotation')}. Their answers still count until "
                "the tasks are answered again."
            )

    def _annotator(self, who: Any) -> Any:
        """An e-mail address for a number, as exported files have it."""
        return self.users.get(who, who) if isinstance(who, int) else who


def _regions(task: Mapping[str, Any], annotation: Mapping[str, Any]) -> Iterator[str]:
    """Ids of the regions in an annotation, and of the object that a task without boxes is about."""
    ours = (task["data"] or {}).get("labelkit") or {}
    yield from (str(region.get("id")) for region in annotation.get("result") or ())
    yield from (map(str, ours.get("instances") or ()) if ours.get("box") else ())


def _batches(tasks: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while batch := list(islice(tasks, BATCH)):
        yield batch


def _earlier(time: str) -> str:
    """A little before a time, in the same form."""
    if not time:
        return ""
    then = datetime.fromisoformat(time) - OVERLAP
    return then.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
