"""Predictions for Label Studio's tasks, by the network of the newest round."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from numpy.typing import NDArray

from labelkit.domain.instance import Box, Image, Instance
from labelkit.domain.pose import Pose
from labelkit.domain.prediction import Prediction
from labelkit.errors import FormatError, ImageError, LabelkitError, ProjectError
from labelkit.formats.label_studio.tasks import VISIBILITY_TASK, correction_task, visibility_task
from labelkit.progress import Progress, Silent
from labelkit.project.images import image_file
from labelkit.project.preannotation import as_shown, pre_annotation
from labelkit.project.predictions import find_predictions
from labelkit.project.project import PROJECT_FILE, Project, open_project
from labelkit.project.rounds import ROUND_FILE, Round, latest_complete
from labelkit.store.label_store import LabelStore
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.networks import load_network, predict_instances
from labelkit.workflows.rounds.queue_file import unshown
from labelkit.workflows.rounds.served import NETWORK, SKELETON, as_served, served
from labelkit.workflows.rounds.settings import settings_of

#: Instances predicted at a time.
BATCH = 64

#: Images and boxes that other commands register count after this long; answers count at once.
FRESH_SECONDS = 60.0

#: How long a request for the round's name waits for a prediction in progress.
PATIENCE_SECONDS = 1.0

#: A task with an unknown image has the store read again, at most this often.
UNKNOWN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class TaskAnswer:
    """The predictions for one task, or why there are none.

    Attributes:
        predictions: to be stored with the task; none if it cannot be answered.
        instances: number of instances that the network predicted.
        problem: why it cannot be answered, or "".
    """

    predictions: tuple[dict[str, Any], ...] = ()
    instances: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class StoreContent:
    """What the label store held when it was last read.

    Attributes:
        head: its newest entry then.
        read_at: when, in seconds of the monotonic clock.
        by_id, by_path: the images.
        instances: of each image by the image's id.
        answers: (K,) visibility answers by instance id.
        dev: ids of the dev set.
    """

    head: int = -1
    read_at: float = float("-inf")
    by_id: Mapping[str, Image] = field(default_factory=dict)
    by_path: Mapping[str, Image] = field(default_factory=dict)
    instances: Mapping[str, Sequence[Instance]] = field(default_factory=dict)
    answers: Mapping[str, NDArray] = field(default_factory=dict)
    dev: Collection[str] = ()


class TaskPredictor:
    """Answers tasks with what `labelkit push` would have sent, one request at a time.

    It loads the network once, and again when a newer round is complete.

    Args:
        project: whose tasks these are.
        store: its label store.
        progress: gets a line when another round is served.

    Raises:
        ProjectError: if no round is complete.
        CheckpointError: if its network cannot be used.
    """

    def __init__(self, project: Project, store: LabelStore, progress: Progress) -> None:
        self.project = project
        self.store = store
        self.progress = progress
        self.failed_reloads = 0
        self._busy = threading.Lock()
        self._content = StoreContent()
        self._round_files: tuple[Any, ...] = ()
        self._round: Round | None = None
        self._network: Any = None
        self._follow_rounds()
        self._warm_up()

    @property
    def round_number(self) -> int:
        """Number of the round that is served."""
        assert self._round is not None
        return self._round.plan.number

    def version(self) -> str:
        """Model version of the newest round.

        It does not wait for a long prediction to end: Label Studio gives up after three seconds.
        """
        if self._busy.acquire(timeout=PATIENCE_SECONDS):
            try:
                self._follow_rounds()
            finally:
                self._busy.release()
        return self._version

    def answer(self, tasks: Sequence[Mapping[str, Any]]) -> list[TaskAnswer]:
        """Predict for tasks, in their order; the answer to one that cannot be predicted says why.

        Args:
            tasks: as Label Studio sends them, each with its `data`.
        """
        with self._busy:
            self._follow_rounds()
            images = [self._image(task) for task in tasks]
            instances = {
                instance.id: instance
                for task, image in zip(tasks, images, strict=True)
                if isinstance(image, Image) and _asked(task).kind != VISIBILITY_TASK
                for instance in self._instances(task, image)
            }
            for id_ in unshown(self.project, self._content.dev, instances):
                del instances[id_]
            found, problems = self._predict(instances)
            predictions = {id_: as_shown(self.project, it) for id_, it in found.items()}
            return [
                TaskAnswer(problem=image)
                if isinstance(image, str)
                else self._answer(task, image, predictions, problems)
                for task, image in zip(tasks, images, strict=True)
            ]

    @property
    def _version(self) -> str:
        return f"round-{self.round_number:03d}"

    def _answer(
        self,
        task: Mapping[str, Any],
        image: Image,
        predictions: Mapping[str, Prediction],
        problems: Mapping[str, str],
    ) -> TaskAnswer:
        if image.id in problems:
            return TaskAnswer(problem=problems[image.id])
        instances, asked = self._instances(task, image), _asked(task)
        skeleton, version = self.project.skeleton, self._version
        if asked.kind == VISIBILITY_TASK:
            made = visibility_task(
                image, instances, skeleton, "", version, asked.crop, one_object=asked.one_object
            )
            return TaskAnswer(tuple(made["predictions"]))
        items: list[tuple[Instance, Pose | None]] = []
        for instance in instances:
            found = predictions.get(instance.id)
            answer = self._content.answers.get(instance.id)
            items.append((instance, pre_annotation(found, answer, image) if found else None))
        made = correction_task(
            image,
            items,
            skeleton,
            image_url="",
            model_version=version,
            crop=asked.crop,
            one_object=asked.one_object,
        )
        predicted = sum(pose is not None for _, pose in items)
        return TaskAnswer(tuple(made["predictions"]), predicted)

    def _instances(self, task: Mapping[str, Any], image: Image) -> list[Instance]:
        """Instances that the task asks about; all of the image where the task is not ours."""
        ids = _asked(task).instances
        of_image = list(self._content.instances[image.id])
        return [item for item in of_image if item.id in ids] or of_image

    def _predict(
        self, instances: Mapping[str, Instance]
    ) -> tuple[dict[str, Prediction], dict[str, str]]:
        """Predictions by instance id, and what is wrong with images by image id."""
        problems: dict[str, str] = {}
        found: dict[str, Prediction] = {}
        for instance in instances.values():
            try:
                image_file(self.project.images_root, instance.image.path)
            except ImageError as error:
                problems[instance.image.id] = str(error)
        readable = [item for item in instances.values() if item.image.id not in problems]
        for start in range(0, len(readable), BATCH):
            batch = readable[start : start + BATCH]
            try:
                found |= self._predictions(batch)
            except ImageError:  # of one of them: the others are still predicted
                for instance in batch:
                    try:
                        found |= self._predictions([instance])
                    except ImageError as error:
                        problems[instance.image.id] = str(error)
        return found, problems

    def _predictions(self, instances: Sequence[Instance]) -> dict[str, Prediction]:
        assert self._round is not None
        by_id = {instance.id: instance for instance in instances}
        if not self._round.plan.reads_boxes:
            file = self._round.path / "predictions.parquet"
            return find_predictions(file, self.project.skeleton, by_id.keys())
        settings = settings_of(self._round)
        found = predict_instances(self.project, self._network, settings, by_id, Silent())
        serves, skeleton = served(self._round), self.project.skeleton
        predictions = {item.prediction.instance_id: item.prediction for item in found}
        earlier: Mapping[str, Prediction] = {}
        if serves not in (NETWORK, SKELETON):
            file = self._round.path / "predictions.parquet"
            earlier = find_predictions(file, skeleton, by_id.keys())
        return {
            id_: as_served(prediction, by_id[id_], skeleton, serves, earlier.get(id_))
            for id_, prediction in predictions.items()
        }

    def _image(self, task: Mapping[str, Any]) -> Image | str:
        """The registered image of a task, or what is wrong."""
        try:
            _asked(task)
            image = self._registered(task["data"])
        except FormatError as error:
            return error.problem
        if not self._content.instances.get(image.id):
            return f"{image.path} has no boxes in this project."
        return image

    def _registered(self, data: Mapping[str, Any]) -> Image:
        self._read_store(FRESH_SECONDS)
        found = self._find(data)
        if found is None:
            self._read_store(UNKNOWN_SECONDS)
            found = self._find(data)
        if found is None:
            named = next(data[key] for key in ("image_path", "image_id", "image") if key in data)
            raise FormatError(f"The image {str(named)[:200]!r} is not in this project.")
        return found

    def _find(self, data: Mapping[str, Any]) -> Image | None:
        """The image that the task's data names: by id, by path, or by the address of its file."""
        if isinstance(key := data.get("image_id"), str):
            return self._content.by_id.get(key)
        if isinstance(path := data.get("image_path"), str):
            return self._content.by_path.get(path)
        if isinstance(url := data.get("image"), str):
            folders = {self.project.images_root.name, self.project.id}  # see `image_url`
            return self._content.by_path.get(_path_of(url, folders))
        raise FormatError("The task's data has no image_id, image_path or image.")

    def _read_store(self, seconds: float) -> None:
        """Read the store, unless no answer came since and the last reading is recent enough."""
        head, now = self.store.head(), time.monotonic()
        if head == self._content.head and now - self._content.read_at < seconds:
            return
        images, snapshot = self.store.images(), read_snapshot(self.project, self.store)
        instances: dict[str, list[Instance]] = defaultdict(list)
        for instance in snapshot.instances.values():
            instances[instance.image.id].append(instance)
        self._content = StoreContent(
            head,
            now,
            {image.id: image for image in images},
            {image.path: image for image in images},
            dict(instances),
            snapshot.presences,
            snapshot.dev,
        )

    def _follow_rounds(self) -> None:
        """Serve the newest complete round if that, or the skeleton, has changed."""
        rounds = sorted(self.project.rounds_root.glob(f"*/{ROUND_FILE}"))
        files = tuple(
            (path.parent.name, path.stat().st_mtime_ns)
            for path in (self.project.root / PROJECT_FILE, *rounds)
        )
        if self._round is not None and files == self._round_files:
            return
        self._round_files = files
        try:
            project = open_project(self.project.root)
            newest = latest_complete(project)
            if newest is None:
                raise ProjectError(
                    "No round is complete: there is no network to serve yet.",
                    "See what comes first: labelkit status",
                )
            is_new = self._round is None or newest.plan.number != self._round.plan.number
            if is_new or project.skeleton != self.project.skeleton:
                if newest.plan.reads_boxes:
                    path = newest.path / "model.safetensors"
                    self._network, _ = load_network(path, project.skeleton)
                self._round, self.project, self._content = newest, project, StoreContent()
                self.store.renamed = dict(project.skeleton.renamed)
                self.progress.line(f"Serving {self._version}.")
            self.project = project
        except LabelkitError as error:
            if self._round is None:
                raise
            self.failed_reloads += 1
            self.progress.line(f"Still serving {self._version}: {error.problem}")

    def _warm_up(self) -> None:
        """Predict one instance, so that the first task does not wait for one-time work."""
        self._read_store(FRESH_SECONDS)
        first = next(iter(self._content.instances.values()), None)
        if first:
            self._predict({first[0].id: first[0]})


class _Asked(NamedTuple):
    """What a task asks for; empty for a task that labelkit did not make."""

    kind: str = ""
    instances: tuple[str, ...] = ()
    crop: Box | None = None
    one_object: bool = False


def _asked(task: Mapping[str, Any]) -> _Asked:
    ours = task["data"].get("labelkit")
    if not isinstance(ours, Mapping):
        return _Asked()
    named, crop = ours.get("instances"), ours.get("crop")
    return _Asked(
        str(ours.get("kind", "")),
        tuple(map(str, named)) if isinstance(named, list) else (),
        _box(crop) if crop else None,
        bool(ours.get("box")),
    )


def _box(crop: Any) -> Box:
    numbers = crop if isinstance(crop, list) and len(crop) == 4 else [0]
    if not all(isinstance(part, int | float) and abs(part) < 1e9 for part in numbers):
        numbers = [0]
    if min(numbers[2:], default=0) <= 0:
        raise FormatError(f"The task's crop {crop!r:.100} is not [x, y, width, height].")
    return Box(*numbers)


def _path_of(url: str, folders: Collection[str]) -> str:
    """The path below a folder of one of these names in the address of a local file, or ""."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if not parts.path.endswith("/data/local-files/"):
        return ""
    served = parse_qs(parts.query).get("d", [""])[0]
    folder, _, path = served.partition("/")
    return path if folder in folders else ""
