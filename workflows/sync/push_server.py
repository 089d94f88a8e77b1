"""`labelkit push`: the queue and its pre-annotations to a server, any number of times.

Whatever an interrupted push left is found again: a project by the mark in its description, a task
by the instances that its data names. A push that was killed between the server's answer and the
entry in the ledger therefore sends nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import Any

from labelkit.ahead import ahead
from labelkit.bridges.label_studio.api import StudioApi
from labelkit.bridges.label_studio.server import serve_images, served_images
from labelkit.domain.instance import Box
from labelkit.domain.text import counted, named
from labelkit.errors import FormatError, ServiceError
from labelkit.formats.label_studio.project import (
    lacks,
    marker,
    marks_another,
    may_replace,
    project_fields,
    surplus,
    with_former,
)
from labelkit.formats.label_studio.tasks import CORRECTION_TASK, VISIBILITY_TASK
from labelkit.progress import Progress
from labelkit.project.first_skeleton import first_skeleton
from labelkit.project.project import Project, remember
from labelkit.report import Report
from labelkit.store.label_store import LabelStore
from labelkit.store.objects import FOUND
from labelkit.store.task_ledger import FORMER, LedgerProject, LedgerTask, TaskLedger
from labelkit.workflows.rounds.image_files import images_not_to_show
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.sync.follow_images import Images, follow_images
from labelkit.workflows.sync.questions import EMPTY, Questions, check_base, next_questions

#: Tasks in each request: one or two seconds of the server's time, so that the bar moves.
CHUNK = 500

#: The same for tasks that hold crops, of up to a megabyte: Label Studio accepts 250.
CROPS = 50

#: Predictions in each request. After each, Label Studio counts those of the whole project again,
#: unless `labelkit studio` started it.
PREDICTIONS = 5000

#: Runs of consecutive task ids that fit into an address, and how many are still fewer than tasks.
_RUNS, _MOST_RUNS = 20, 200


@dataclass(slots=True)
class ServerPushReport(Report):
    """What a push to a server did, or in a dry run would do.

    Attributes:
        server: URL.
        kind: "visibility" or "correction".
        project_id: Label Studio's; None where a dry run found none.
        url: where people label.
        sent, instances: new tasks, and the instances in them.
        control: those of them that are served without pre-annotation.
        there: tasks that were on the server before.
        refreshed: untouched tasks among them that got the newest predictions.
        started: started or finished tasks among them, which stay as they are.
        gone: tasks that were deleted on the server; their instances are asked about again.
        doubled: removed copies of tasks that an interrupted push left and no one touched.
        foreign: tasks in the project that are not labelkit's.
        notes: what else was found, and what was done about it.
        dry_run: nothing was written.
    """

    server: str
    kind: str
    project_id: int | None = None
    sent: int = 0
    instances: int = 0
    control: int = 0
    there: int = 0
    refreshed: int = 0
    started: int = 0
    gone: int = 0
    doubled: int = 0
    foreign: int = 0
    notes: list[str] = field(default_factory=list)
    dry_run: bool = False
    exit_code: int = 0

    @property
    def url(self) -> str:
        """Where people label."""
        return (
            self.server if self.project_id is None else f"{self.server}/projects/{self.project_id}"
        )

    def data(self) -> dict[str, Any]:
        """For machines."""
        return {**asdict(self), "tasks": self.sent, "url": self.url}

    def text(self) -> str:
        """For people."""
        if not (self.sent or self.there):
            return "\n".join([*self.notes, EMPTY])
        would = "Would send" if self.dry_run else "Sent"
        lines = [
            *self.notes,
            f"{would} {counted(self.sent, f'new {self.kind} task')} "
            f"with {counted(self.instances, 'instance')}"
            + (f", {self.control} of them without pre-annotation" if self.control else "")
            + f"; {self.there} were there before.",
        ]
        counts = (
            (self.refreshed, "untouched: now with the newest predictions"),
            (self.started, "started or finished: left as they are"),
            (self.gone, "deleted on the server"),
            (self.doubled, "copies of an interrupted push: removed"),
            (self.foreign, "not labelkit's: left as they are"),
        )
        lines += [f"  {count} {what}" for count, what in counts if count]
        return "\n".join([*lines, f"Label at {self.url}", "Then type: labelkit pull"])


def push_server(
    project: Project,
    store: LabelStore,
    api: StudioApi,
    progress: Progress,
    *,
    per_instance: bool | None,
    base: str | None,
    dry_run: bool,
) -> ServerPushReport:
    """Bring the server up to date with the queue.

    Args:
        project: whose queue it is.
        store: its labels and task ledger.
        api: of the server.
        progress: shows bars.
        per_instance: see `Questions`; remembered. None for the choice of an earlier push, else that
            of an earlier version, whose tasks showed boxes.
        base: what stands in front of image paths (see `image_url`); None for that of the last push.
        dry_run: change nothing.

    Raises:
        UsageError: if `base` is not an address of images.
        ServiceError: if the server cannot be used. Run again: nothing is lost or sent twice.
    """
    check_base(base or "")
    with store.database.syncing():
        api.check()
        snapshot, ledger = read_snapshot(project, store), TaskLedger(store.database, api.url)
        served = served_images(replace(project, id=ledger.uid), api.url)
        if served is not None and not dry_run:
            serve_images(project.images_root, served)
        questions = replace(
            next_questions(project, snapshot), folder="" if served is None else served.name
        )
        chosen = questions.per_instance if per_instance is None else per_instance
        if chosen is None and ledger.project(questions.kind):
            chosen = False  # an earlier version made a project of tasks with boxes
        questions = replace(questions, per_instance=chosen)
        if not dry_run:
            remember(project, per_instance=per_instance)
        known = ledger.project(questions.project_kind)
        elsewhere = known.image_url if base is None and known else base
        lost = () if elsewhere and chosen is False else images_not_to_show(project, store)
        questions = questions.without(lost)
        report = ServerPushReport(api.url, questions.kind, dry_run=dry_run)
        if lost:
            report.notes.append(
                f"{counted(len(lost), 'image')} cannot be found, and is not asked about: labelkit "
                "images list"
            )
        removed = store.removed_images()
        everything = store.instances(with_removed=True)
        gone = {*lost, *(image.id for image in removed)}
        images = Images(project, everything, gone, questions.folder)
        there: set[str] = set()
        for kind, one_object in product((VISIBILITY_TASK, CORRECTION_TASK), (True, False)):
            other = replace(questions, kind=kind, per_instance=one_object, ids=())
            if other.project_kind == questions.project_kind:
                continue
            push = Push(api, ledger, other, report, images)
            push.follow()
            if kind == questions.kind:
                there |= push.hand_over()
        Push(api, ledger, questions, report, images, served).run(progress, base=base, there=there)
        return report


class Push:
    """One push of one kind of questions.

    Args:
        api: of the server.
        ledger: what was sent before.
        questions: to be asked.
        report: filled on the way.
        images: what tasks can show.
        served: the images folder for a server of `labelkit studio`, see `served_images`.
    """

    def __init__(
        self,
        api: StudioApi,
        ledger: TaskLedger,
        questions: Questions,
        report: ServerPushReport,
        images: Images,
        served: Path | None = None,
    ) -> None:
        self.api, self.ledger, self.questions, self.report = api, ledger, questions, report
        self._images, self._served = images, served
        self._kind = questions.project_kind
        self._facts: dict[str, Any] = {}

    def run(
        self, progress: Progress, *, base: str | None, there: Collection[str] = frozenset()
    ) -> None:
        """Bring the server up to date.

        Args:
            progress: shows bars.
            base: see `push_server`.
            there: ids of instances that other projects on the server ask about.
        """
        ids = [id_ for id_ in self.questions.ids if id_ not in there]
        current, target = self.questions.model_version, self._project(base)
        if target is None:  # a dry run without a project, or nothing to ask
            self._count_new(self.questions.groups(ids))
            return
        self.report.project_id = target.project_id
        tasks, started = self._reconcile(target)
        tasks = self._follow(target, tasks, started, send_again=True)
        tasks = self._without_former(target, tasks, started)
        tasks = self._without_answered(target, tasks, started)
        tasks = self._without_changed(target, tasks, started)
        asked = self._asked_in(tasks.values())
        groups = self.questions.groups(id_ for id_ in ids if id_ not in asked)
        old = [
            task
            for task in tasks.values()
            if task.task_id not in started
            and task.model_version != current
            and self._knows(task.instances)  # their image may have become another one
        ]
        self.report.there, self.report.started = len(tasks), len(started & tasks.keys())
        self._count_new(groups)
        self.report.refreshed = len(old)
        if self.report.dry_run:
            return
        if groups:
            self.ledger.keep_project(replace(target, sending=True))
        with progress.bar("Sending tasks") as step:
            for done in self._send(target, groups):
                step(done, len(groups))
        if target.sending:  # what the interrupted push sent may have arrived meanwhile
            self._reconcile(target)
        self.ledger.keep_project(replace(target, sending=False))
        with progress.bar("Renewing predictions") as step:
            for done in self._refresh(target, old):
                step(done, len(old))
        renewed = groups or old or any(t.model_version == current for t in tasks.values())
        if renewed and self._facts.get("model_version") != current:
            self.api.change_project(target.project_id, model_version=current)

    def hand_over(self) -> set[str]:
        """Delete the untouched tasks, because another project asks their questions now.

        Returns:
            ids of the instances in the tasks that stay.
        """
        target = self.ledger.project(self._kind)
        if target is None or self._found(target) is None:
            return set()
        tasks, started = self._reconcile(target)
        untouched = [id_ for id_ in tasks if id_ not in started]
        if untouched:
            url = f"{self.api.url}/projects/{target.project_id}"
            handed = counted(len(untouched), "untouched task")
            self._note(f"{handed} of {url}: asked in another way now.")
        self._withdraw(target, untouched)
        return self._asked_in(tasks[id_] for id_ in started & tasks.keys())

    def follow(self) -> None:
        """Let the tasks that earlier pushes sent for other questions show their images."""
        target = self.ledger.project(self._kind)
        if target is None:
            return
        known = self.ledger.tasks(self._kind).values()
        if all(task.url == self._images.address(task, target.image_url) for task in known):
            return
        if self._found(target) is not None:
            self._follow(target, *self._reconcile(target), send_again=False)

    def _follow(
        self,
        target: LedgerProject,
        tasks: dict[int, LedgerTask],
        started: set[int],
        *,
        send_again: bool,
    ) -> dict[int, LedgerTask]:
        tasks, notes = follow_images(
            self._images,
            self.api,
            self.ledger,
            target,
            tasks,
            started,
            send_again=send_again,
            dry_run=self.report.dry_run,
        )
        self.report.notes += notes
        return tasks

    def _without_former(
        self, target: LedgerProject, tasks: dict[int, LedgerTask], started: set[int]
    ) -> dict[int, LedgerTask]:
        """Delete untouched tasks that ask about the keypoints of a former skeleton.

        They are sent again. Those that were started stay, and once they are pulled, what they do
        not ask about gets a task of its own.
        """
        former = [
            id_
            for id_, task in tasks.items()
            if task.model_version == FORMER and id_ not in started
        ]
        if former:
            self._note(f"{counted(len(former), 'untouched task')} had the former keypoints.")
        self._withdraw(target, former)
        return {id_: task for id_, task in tasks.items() if id_ not in set(former)}

    def _without_answered(
        self, target: LedgerProject, tasks: dict[int, LedgerTask], started: set[int]
    ) -> dict[int, LedgerTask]:
        """Delete untouched tasks whose objects were labelled elsewhere, as on the labelling page.

        What is to be asked again stays.
        """
        again = set(self.questions.ids)
        answered = [
            id_
            for id_, task in tasks.items()
            if id_ not in started
            and all(self._is_done(item) and item not in again for item in task.instances)
        ]
        if answered:
            self._note(
                f"{counted(len(answered), 'untouched task')} about objects that were labelled "
                "elsewhere: removed."
            )
        self._withdraw(target, answered)
        return {id_: task for id_, task in tasks.items() if id_ not in set(answered)}

    def _without_changed(
        self, target: LedgerProject, tasks: dict[int, LedgerTask], started: set[int]
    ) -> dict[int, LedgerTask]:
        """Delete untouched tasks of whole images in which a newer round found other objects.

        They are sent again.
        """
        if self.questions.one_object:
            return tasks
        asked = {_image(ids): set(ids) for ids in self.questions.groups(self.questions.ids)}
        former = []
        for id_, task in tasks.items():
            mine = set(task.instances)
            now = asked.get(_image(task.instances), mine if self._knows(task.instances) else set())
            if id_ not in started and now != mine and any(map(self._is_found, mine)):
                former.append(id_)
        if former:
            self._note(f"{counted(len(former), 'untouched task')} about other objects: sent again.")
        self._withdraw(target, former)
        return {id_: task for id_, task in tasks.items() if id_ not in set(former)}

    def _is_found(self, id_: str) -> bool:
        """Whether a network that reads whole images found an object, perhaps an earlier one."""
        instance = self.questions.snapshot.instances.get(id_)
        return instance is None or instance.box_source == FOUND

    def _withdraw(self, target: LedgerProject, untouched: Sequence[int]) -> None:
        """Delete tasks that are still untouched when the server deletes them."""
        if self.report.dry_run:
            return
        for start in range(0, len(untouched), CHUNK):
            self.api.delete_untouched(target.project_id, untouched[start : start + CHUNK])
        self.ledger.forget_tasks(self._kind, untouched)

    def _asked_in(self, tasks: Iterable[LedgerTask]) -> set[str]:
        """Ids of the instances that tasks ask about, unless they did so by a former skeleton."""
        return {
            id_
            for task in tasks
            for id_ in task.instances
            if task.model_version != FORMER or not self._is_answered(id_)
        }

    def _is_answered(self, id_: str) -> bool:
        """Whether answers of this kind came in about an instance, perhaps not to all keypoints."""
        snapshot = self.questions.snapshot
        ticks = self.questions.kind.startswith(VISIBILITY_TASK)
        return id_ in (snapshot.presences if ticks else snapshot.poses)

    def _is_done(self, id_: str) -> bool:
        """Whether nothing of this kind is left to ask about an instance; or it has no object."""
        snapshot = self.questions.snapshot
        ticks = self.questions.kind == VISIBILITY_TASK
        known = snapshot.is_answered if ticks else snapshot.is_labelled
        return id_ in snapshot.skipped or known(id_)

    def _count_new(self, groups: Sequence[Sequence[str]]) -> None:
        self.report.sent, self.report.instances = len(groups), sum(map(len, groups))
        self.report.control = sum(id_ in self.questions.control for ids in groups for id_ in ids)

    # The project

    def _project(self, base: str | None) -> LedgerProject | None:
        """The Label Studio project: from the ledger, found by its mark, or a new one."""
        known, facts = self.ledger.project(self._kind), None
        if known is not None:
            facts = self._found(known)
            if facts is None:
                self._note(f"The project {known.project_id} is no longer on the server.")
                if not self.report.dry_run:
                    self.ledger.forget_project(self._kind)
        if known is None or facts is None:
            marked = self.api.projects_marked(marker(self.ledger.uid, self._kind))
            if len(marked) > 1:
                self._note(
                    f"Several projects carry this project's mark: {marked}; the first is used."
                )
            facts = self.api.project(marked[0]) if marked else None
            if facts is None and (self.report.dry_run or not self.questions.ids):
                return None
            facts = facts or self._create()
            known = LedgerProject(self._kind, facts["id"], known.image_url if known else "")
        self._facts = facts
        target = known if base is None else replace(known, image_url=base)
        if not self.report.dry_run:
            self.ledger.keep_project(target)
            self._check_interface(facts)
            self._renew_instructions(facts)
            shows_images = any(self.questions.crop(id_) is None for id_ in self.questions.ids)
            if shows_images and not target.image_url:
                self._share_images(facts["id"])
        return target

    def _found(self, known: LedgerProject) -> dict[str, Any] | None:
        """A project of the ledger as it is on the server; None if it is not there.

        The same address may be another server now, with a project of that number.
        """
        facts = self.api.project(known.project_id)
        return None if facts is None or marks_another(facts, self.ledger.uid) else facts

    def _create(self) -> dict[str, Any]:
        fields = self._fields
        facts = self.api.create_project(**fields, label_config=self.questions.interface)
        self._note(f"Created the Label Studio project {facts['id']}: {fields['title']}")
        return facts

    @cached_property
    def _fields(self) -> dict[str, Any]:
        project, figure = self.questions.project, self.questions.figure
        # Projects share a server, and many folders of images are called "frames".
        name = f"{project.images_root.parent.name}/{project.name}".lstrip("/")
        return project_fields(name, self.ledger.uid, self._kind, project.skeleton, figure)

    def _check_interface(self, facts: dict[str, Any]) -> None:
        """Renew our labelling interface where it lacks what our tasks need, or shows more."""
        theirs, ours = str(facts.get("label_config") or ""), self.questions.interface
        missing, unused = lacks(theirs, ours), surplus(theirs, ours)
        renewed = with_former(ours, theirs)
        wrong = [f"lacked {named(missing)}"] if missing else []
        wrong += [f"showed {named(unused)}, which tasks do not use"] if unused else []
        if wrong:
            try:
                self.api.change_project(facts["id"], label_config=renewed)
            except ServiceError as error:
                raise ServiceError(
                    f"The labelling interface of the project {facts['id']} "
                    f"{' and '.join(wrong)}, and cannot be changed: {error.problem}",
                    "Change it in Label Studio: Settings, Labeling Interface.",
                ) from error
            self._note(f"Renewed the labelling interface, which {' and '.join(wrong)}.")
        elif theirs.split() != renewed.split():
            self._note(
                "Kept the labelling interface, which people changed or an earlier version made: it "
                "lacks nothing that tasks need."
            )
        if not facts.get("show_collab_predictions"):
            self.api.change_project(facts["id"], show_collab_predictions=True)
            self._note("Switched the display of predictions on again.")

    def _renew_instructions(self, facts: dict[str, Any]) -> None:
        """Bring our instructions up to date with the skeleton, unless people changed them."""
        theirs = str(facts.get("expert_instruction") or "")
        ours = self._fields["expert_instruction"]
        if theirs != ours and may_replace(theirs):
            self.api.change_project(facts["id"], expert_instruction=ours)

    def _share_images(self, project_id: int) -> None:
        """Add the local storage through which Label Studio reads images from its own disk."""
        images = self.questions.project.images_root
        path = str(self._served or images)
        folders = self.api.local_folders(project_id)
        if path in folders:
            return
        try:
            self.api.add_local_folder(project_id, path)
        except ServiceError as error:
            raise ServiceError(
                f"Label Studio cannot read the images in {path}: {error.problem}",
                "Start it with: labelkit studio; or with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED="
                f"true and LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={images.parent}; or give the "
                "images' address: labelkit push --image-url https://images.example.org/frames",
            ) from error

    # Tasks

    def _reconcile(self, target: LedgerProject) -> tuple[dict[int, LedgerTask], set[int]]:
        """Our tasks on the server, now also in the ledger, and the ids of those started."""
        kind, known = self._kind, self.ledger.tasks(self._kind)
        # Drafts first: what is submitted after this shows up as an annotation below.
        drafted = self.api.drafted_tasks(target.project_id)
        started = drafted | self.api.answered_tasks(target.project_id)
        found = self._there(target, known)
        gone = [id_ for id_ in known if id_ not in found]
        tasks = {id_: task for id_, task in known.items() if id_ in found}
        adopted, doubled = self._adopt(target, tasks, found - known.keys(), started)
        self.report.gone += len(gone)
        self.report.doubled += len(doubled)
        if not self.report.dry_run:
            self.ledger.forget_tasks(kind, gone)
            self.ledger.keep_tasks(kind, adopted)
            for start in range(0, len(doubled), CHUNK):
                self.api.delete_untouched(target.project_id, doubled[start : start + CHUNK])
        return {**tasks, **{task.task_id: task for task in adopted}}, started

    def _there(self, target: LedgerProject, known: Collection[int]) -> set[int]:
        """Ids of the tasks on the server.

        They are those of the ledger if they are as many and none is missing in a run of
        consecutive ids. Otherwise they are listed, which takes half as long as importing them.
        """
        number, runs = target.project_id, _runs(known)
        if len(runs) <= _MOST_RUNS and self.api.count_tasks(number) == len(known):
            parts = (runs[start : start + _RUNS] for start in range(0, len(runs), _RUNS))
            if len(known) == sum(self.api.count_tasks(number, part) for part in parts):
                return set(known)
        return {fact["id"] for fact in self.api.task_facts(number, "id")}

    def _adopt(
        self,
        target: LedgerProject,
        known: dict[int, LedgerTask],
        unknown: set[int],
        started: set[int],
    ) -> tuple[list[LedgerTask], list[int]]:
        """Tasks of ours that the ledger lacks: those to keep, and ids of untouched copies."""
        adopted: list[LedgerTask] = []
        doubled: list[int] = []
        project = self.questions.project
        if not unknown:
            return adopted, doubled
        self.report.foreign = 0
        asked_already = {
            id_ for task in known.values() for id_ in task.instances if task.model_version != FORMER
        }
        for fact in self.api.task_facts(target.project_id, "id,data"):
            if fact["id"] not in unknown:
                continue
            ours = (fact["data"] or {}).get("labelkit") or {}
            ids = tuple(map(str, ours.get("instances") or ()))
            of_kind = ours.get("kind") == self.questions.kind
            of_form = bool(ours.get("box")) == self.questions.one_object
            if not (of_kind and of_form and self._knows(ids)):
                self.report.foreign += 1
            elif asked_already.intersection(ids) and fact["id"] not in started:
                doubled.append(fact["id"])
            else:
                asked_already.update(ids)
                control = frozenset(ids).difference(ours.get("served") or ())
                # Its predictions may be missing: without a version they are sent again.
                crop = Box(*ours["crop"]) if ours.get("crop") else None
                url = "" if crop else str(fact["data"].get("image", ""))
                keypoints = ours.get("keypoints") or first_skeleton(project).keypoints
                same = set(keypoints) == set(project.skeleton.keypoints)
                version = "" if same else FORMER
                adopted.append(LedgerTask(fact["id"], ids, control, version, crop, url))
        return adopted, doubled

    def _knows(self, ids: Sequence[str]) -> bool:
        return bool(ids) and all(id_ in self.questions.snapshot.instances for id_ in ids)

    def _send(self, target: LedgerProject, groups: Sequence[tuple[str, ...]]) -> Iterator[int]:
        """Import new tasks."""
        done = 0
        planned = [self._plan(ids) for ids in groups]
        size = CROPS if any(plan.crop for plan in planned) else CHUNK
        make = partial(self._tasks, base=target.image_url)
        for plans, tasks in _made(make, planned, size):
            ids = self.api.import_tasks(target.project_id, tasks)
            self.ledger.keep_tasks(
                self._kind,
                (
                    replace(plan, task_id=id_, url="" if plan.crop else sent["data"]["image"])
                    for id_, plan, sent in zip(ids, plans, tasks, strict=True)
                ),
            )
            done += len(plans)
            yield done

    def _plan(self, ids: tuple[str, ...]) -> LedgerTask:
        """A task to be sent; Label Studio gives it its id."""
        control = self.questions.control.intersection(ids)
        crop = self.questions.crop(ids[0])
        return LedgerTask(0, ids, control, self.questions.model_version, crop)

    def _refresh(self, target: LedgerProject, old: Sequence[LedgerTask]) -> Iterator[int]:
        """Add the newest predictions to tasks that are not started.

        Label Studio shows those of the project's version. The former ones stay, because a browser
        may show them: an annotation that starts from a deleted prediction cannot be submitted.
        """
        version, done = self.questions.model_version, 0
        there = self.api.predicted_tasks(target.project_id, version) if old else set()
        make = partial(self._predictions, there=there)
        for tasks, predictions in _made(make, old, PREDICTIONS):
            if predictions:
                self.api.import_predictions(target.project_id, predictions)
            self.ledger.keep_tasks(
                self._kind, (replace(task, model_version=version) for task in tasks)
            )
            done += len(tasks)
            yield done

    def _predictions(
        self, tasks: Sequence[LedgerTask], there: Collection[int]
    ) -> list[dict[str, Any]]:
        """The newest predictions for tasks, except those that an interrupted push sent.

        Earlier versions did not count the dev set among what comes without them.
        """
        dev = self.questions.snapshot.dev
        blank = [replace(it, control=it.control.union(dev & {*it.instances})) for it in tasks]
        return [
            {"task": task.task_id, **self._task(task, "")["predictions"][0]}
            for task in blank
            if task.task_id not in there
        ]

    def _tasks(self, plans: Sequence[LedgerTask], base: str) -> list[dict[str, Any]]:
        urls = [self.questions.url(plan.instances[0], base, plan.crop) for plan in plans]
        return [self._task(plan, url) for plan, url in zip(plans, urls, strict=True)]

    def _task(self, plan: LedgerTask, url: str) -> dict[str, Any]:
        """A task whose prediction passes Label Studio's own rules; the server does not check."""
        ids = plan.instances
        task = self.questions.task(ids, plan.control, url, plan.crop)
        for prediction in task["predictions"]:
            if problems := self._interface.validate_prediction(prediction, return_errors=True):
                raise FormatError(f"The prediction for {ids[0]} is not valid: {problems[0]}")
        return task

    @cached_property
    def _interface(self) -> Any:
        from label_studio_sdk.label_interface import LabelInterface  # takes a second

        return LabelInterface(self.questions.interface)

    def _note(self, text: str) -> None:
        self.report.notes.append(text)


def _image(ids: Sequence[str]) -> str:
    """Id of the image of some instances of it."""
    return ids[0].rpartition("-")[0] if ids else ""


def _made(
    make: Callable[[Sequence[LedgerTask]], list[dict[str, Any]]],
    tasks: Sequence[LedgerTask],
    size: int,
) -> Iterator[tuple[Sequence[LedgerTask], list[dict[str, Any]]]]:
    """So many tasks at a time with what is made of them, while the server handles those before."""
    parts = (tasks[start : start + size] for start in range(0, len(tasks), size))
    return ahead(((part, make(part)) for part in parts), 1)


def _runs(ids: Iterable[int]) -> list[tuple[int, int]]:
    """First and last of each run of consecutive numbers."""
    runs: list[tuple[int, int]] = []
    for id_ in sorted(ids):
        follows = runs and runs[-1][1] == id_ - 1
        first = runs.pop()[0] if follows else id_
        runs.append((first, id_))
    return runs
