"""What is left to label, in which order, and which annotator has it on the screen."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from threading import RLock
from typing import Literal, NamedTuple

from labelkit.domain.instance import Instance
from labelkit.domain.prediction import Prediction
from labelkit.domain.selection import QueueItem, unasked
from labelkit.errors import UsageError
from labelkit.project.preannotation import as_shown
from labelkit.project.project import PROJECT_FILE, Project, open_project
from labelkit.project.rounds import ROUND_FILE, latest_complete
from labelkit.store.ids import without
from labelkit.store.journal import KEYPOINTS, SECOND, SKIP, WITHDRAWN, Entry
from labelkit.store.label_store import LabelStore
from labelkit.workflows.labelling.second import second_draw
from labelkit.workflows.rounds.image_files import lost_images
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot, read_snapshot
from labelkit.workflows.rounds.queue_file import QUEUE_FILE, unshown, waiting
from labelkit.workflows.rounds.run_round import latest_predictions
from labelkit.workflows.rounds.start import TICKS, start_of

Mode = Literal["ticks", "keypoints"]

#: How long an object is lent to one annotator since they last worked on it.
LEASE_SECONDS = 600.0


class Holder(NamedTuple):
    """Who has an object on the screen: an annotator, in one tab of a browser."""

    name: str
    tab: str


def next_mode(project: Project, store: LabelStore) -> Mode:
    """What the project needs next: what it begins with, and keypoints after the first round."""
    if latest_complete(project) is not None:
        return "keypoints"
    start = start_of(project, read_snapshot(project, store))
    return "ticks" if start.asks == TICKS and start.ids else "keypoints"


class Work:
    """The objects to label, each lent to one annotator at a time. Threads may share it.

    It follows the project: answers that came another way, a new queue, a new round, another
    skeleton, images that come and go.

    Args:
        project: see `open_project`.
        store: its label store.
        mode: "ticks" or "keypoints".
        chosen: ids to go through once, labelled or not; None for what is queued.
        second: how many labelled objects others label a second time, instead; see `second_draw`.
        follows: ask for keypoints instead of ticks once there is a round.
        clock: seconds, for leases.
    """

    def __init__(
        self,
        project: Project,
        store: LabelStore,
        mode: Mode,
        chosen: Sequence[str] | None = None,
        second: int = 0,
        follows: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.project, self.store, self.mode = project, store, mode
        self._chosen, self._second, self._clock = chosen, second, clock
        self._follows = follows
        self._seen_by: Mapping[str, frozenset[str]] = {}  # objects that others have to label
        self._lock = RLock()
        self._leases: dict[str, tuple[Holder, float]] = {}
        self._answered: set[str] = set()
        self._lost: set[str] = set()  # ids of images
        self._head = store.head()
        self._files = self._stamp()
        self.instances: Mapping[str, Instance] = {}
        self.of_image: Mapping[str, list[Instance]] = {}
        self.round = ""
        self._load()

    def next(self, holder: Holder, held: Collection[str]) -> QueueItem | None:
        """Lend the next object.

        Args:
            holder: who asks.
            held: ids that this tab has already, or has answered; their leases are renewed.

        Returns:
            the object; None if none is left, or all that are left are lent to others.
        """
        with self._lock:
            self._refresh()
            for id_ in held:
                self.lend(id_, holder)
            item = self._free(holder, held)
            if self._lost if item is None else not self._file_of(item).is_file():
                self._find_images()
                item = self._free(holder, held)
            return item

    def _free(self, holder: Holder, held: Collection[str]) -> QueueItem | None:
        for id_, item in self._order.items():
            if id_ not in held and self._is_left(id_, holder.name) and self.lend(id_, holder):
                return item
        return None

    def _is_left(self, id_: str, name: str) -> bool:
        """Whether an annotator can answer about an object, and its image is there to be shown."""
        if id_ in self._answered or name in self._seen_by.get(id_, ()):
            return False
        instance = self.instances.get(id_)
        return instance is not None and instance.image.id not in self._lost

    def _file_of(self, item: QueueItem) -> Path:
        return self.project.images_root / self.instances[item.instance_id].image.path

    def lend(self, id_: str, holder: Holder) -> bool:
        """Lend an object, or renew its lease; False if it is lent to another annotator or tab."""
        with self._lock:
            now = self._clock()
            other, until = self._leases.get(id_, (holder, 0.0))
            if other != holder and until > now:
                return False
            self._leases[id_] = (holder, now + LEASE_SECONDS)
            return True

    def give_back(self, id_: str, holder: Holder) -> None:
        """End a lease: the object is answered."""
        with self._lock:
            if self._leases.get(id_, (None,))[0] == holder:
                del self._leases[id_]

    def leave(self, holder: Holder) -> None:
        """End all leases of a tab: it was closed."""
        with self._lock:
            self._leases = {id_: it for id_, it in self._leases.items() if it[0] != holder}

    def remaining(self, name: str) -> int:
        """How many objects are left for an annotator, whose images can be shown."""
        with self._lock:
            return sum(self._is_left(id_, name) for id_ in self._order)

    def instance(self, id_: str) -> Instance | None:
        """An object of the project, also one that was registered since the server started."""
        with self._lock:
            if id_ not in self.instances:
                self.redraw()
            return self.instances.get(id_)

    def redraw(self) -> None:
        """Read the objects again: a box was moved or drawn."""
        with self._lock:
            self._know(self.store.instances())

    def _find_images(self) -> None:
        """Read again where images are: some were deleted, moved or removed."""
        self.redraw()
        self._lost = {image.id for image in lost_images(self.project, self.store).all}

    def prediction(self, id_: str) -> Prediction | None:
        """What is shown of the newest round's prediction of an object."""
        found = self._predictions.get(id_)
        return None if found is None else as_shown(self.project, found)

    def _know(self, instances: Mapping[str, Instance]) -> None:
        of_image: dict[str, list[Instance]] = defaultdict(list)
        for instance in instances.values():
            of_image[instance.image.id].append(instance)
        self.instances, self.of_image = instances, dict(of_image)

    def _refresh(self) -> None:
        files = self._stamp()
        if files != self._files:
            self._files = files
            self._load()
        for recorded in self.store.entries(after=self._head):
            self._head = recorded.seq
            entry = recorded.entry
            if entry.kind == WITHDRAWN:
                self._answered.discard(entry.instance_id)
            elif self._is_answer(entry):
                self._answered.add(entry.instance_id)

    def _is_answer(self, entry: Entry) -> bool:
        """Whether it answers what is asked; a page of before an edit knows no new keypoint."""
        if self._second:
            return entry.kind == SECOND
        if entry.kind == SKIP:
            return True
        is_asked = self.mode == "ticks" or entry.kind == KEYPOINTS
        return is_asked and min(self.project.skeleton.columns_in(entry.content)) >= 0

    def _stamp(self) -> Mapping[str, int]:
        root, rounds = self.project.root, self.project.rounds_root.glob(f"*/{ROUND_FILE}")
        files = (root / PROJECT_FILE, root / QUEUE_FILE, *rounds)
        return {str(path): path.stat().st_mtime_ns for path in files if path.exists()}

    def _load(self) -> None:
        before, self.project = self.project.skeleton, open_project(self.project.root)
        if self.project.skeleton != before:
            self.store.renamed = dict(self.project.skeleton.renamed)
            self._answered.clear()  # they may lack a keypoint now
        snapshot = read_snapshot(self.project, self.store)
        self._find_images()
        self.round = ""
        self._predictions: Mapping[str, Prediction] = {}
        if latest_complete(self.project) is not None:
            newest, self._predictions = latest_predictions(self.project)
            self.round = f"round-{newest.plan.number:03d}"
            if self._follows and self.mode == "ticks":
                self.mode = "keypoints"
                self._answered.clear()  # with ticks
        items = self._items(snapshot)
        self._order = {item.instance_id: item for item in items}

    def _items(self, snapshot: LabelSnapshot) -> Sequence[QueueItem]:
        if self._second:
            self._seen_by = second_draw(self.project, self.store, snapshot, self._second)
            return [QueueItem(id_, SECOND, True) for id_ in self._seen_by]
        if self._chosen is not None:
            blank = unshown(self.project, snapshot.dev, self._chosen)
            return [QueueItem(id_, "chosen", id_ in blank) for id_ in self._chosen]
        if self.mode == "ticks":
            start = start_of(self.project, snapshot)
            every = start.ids if start.asks == TICKS and not self.round else snapshot.instances
            ids = without(every, snapshot.answered, snapshot.skipped)
            blank = unshown(self.project, snapshot.dev, ids)
            return [QueueItem(id_, "unanswered", id_ in blank) for id_ in ids]
        if (items := waiting(self.project, snapshot)) or self.round:
            return items
        return unasked(
            snapshot.instances,
            done=snapshot.poses.keys() | snapshot.skipped,
            dev=snapshot.dev,
            seed=self.project.seed,
        )


def read_chosen(text: str, instances: Mapping[str, Instance], where: str) -> list[str]:
    """Ids of the objects that a file names, one object id or image path a line, up to a tab.

    Raises:
        UsageError: if it names what the project does not have, or nothing.
    """
    of_path: dict[str, list[str]] = {}
    for id_, instance in instances.items():
        of_path.setdefault(instance.image.path, []).append(id_)
    found: dict[str, None] = {}
    lines = (line.partition("\t")[0].strip() for line in text.splitlines())
    for line in filter(None, lines):
        ids = [line] if line in instances else of_path.get(line, [])
        if not ids:
            raise UsageError(
                f"{where}: {line!r} is neither an object nor an image of the project.",
                "Write one object id or image path a line; see: labelkit queue --json",
            )
        found |= dict.fromkeys(ids)
    if not found:
        raise UsageError(f"{where} names no object.", "Write one object id or image path a line.")
    return list(found)
