"""The questions to ask people next, and the Label Studio tasks that ask them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from labelkit.domain.instance import Box, Image, Instance
from labelkit.domain.pose import Pose
from labelkit.domain.prediction import Prediction
from labelkit.errors import UsageError
from labelkit.formats.label_studio.config import correction_config, visibility_config
from labelkit.formats.label_studio.tasks import (
    CORRECTION_TASK,
    ONE_OBJECT,
    VISIBILITY_TASK,
    correction_task,
    visibility_task,
)
from labelkit.project.images import browsers_show, image_file
from labelkit.project.preannotation import as_shown, pre_annotation
from labelkit.project.project import Project
from labelkit.project.rounds import latest_complete
from labelkit.store.journal import content_version, keypoints_content
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot
from labelkit.workflows.rounds.queue_file import waiting
from labelkit.workflows.rounds.run_round import latest_predictions
from labelkit.workflows.rounds.start import TICKS, start_of
from labelkit.workflows.sync.task_crops import crop_around, crop_url

#: What a push says that has nothing to ask.
EMPTY = "Everything in the queue is labelled. Next: labelkit status"

#: Model version of a prediction that holds only boxes, before the first round.
BOXES_VERSION = "boxes"

#: Share of the image that an object fills if it needs no zoom.
LARGE = 0.25


@dataclass(frozen=True)
class Questions:
    """The questions to ask next.

    Attributes:
        project: whose instances they are about.
        kind: "visibility" where the project begins with ticks, "correction" afterwards.
        model_version: of the predictions that the tasks show.
        snapshot: instances and labels.
        predictions: of the newest round.
        ids: of the instances to ask about, in this order.
        control: those of them that are served without pre-annotation.
        per_instance: False makes a task of all objects of an image, with their boxes. Otherwise a
            task is about one object and shows no box; None zooms in on it where it fills less than
            `LARGE` of the image or is not alone in it, True always.
        folder: what the images folder is called below the document root of the server; "" is its
            own name.
    """

    project: Project
    kind: str
    model_version: str
    snapshot: LabelSnapshot
    predictions: Mapping[str, Prediction]
    ids: tuple[str, ...]
    control: frozenset[str]
    per_instance: bool | None = None
    folder: str = ""

    @property
    def one_object(self) -> bool:
        """Whether each task is about one object."""
        return self.per_instance is not False

    @property
    def project_kind(self) -> str:
        """The kind of Label Studio project that the tasks go to."""
        return self.kind + (ONE_OBJECT if self.one_object else "")

    @property
    def interface(self) -> str:
        """The labelling interface, as XML."""
        make = visibility_config if self.kind == VISIBILITY_TASK else correction_config
        return make(self.project.skeleton, one_object=self.one_object)

    @property
    def figure(self) -> NDArray[np.float64] | None:
        """(K, 2) a pose that shows what the keypoints mean: the layout, or a labelled object."""
        skeleton, instances = self.project.skeleton, self.snapshot.instances
        if skeleton.has_layout and instances:
            sides = np.median(instances.columns.boxes[:, 2:], axis=0)
            return np.array(skeleton.layout) * sides
        return next((pose.xy for pose in self.snapshot.poses.values() if pose.present.all()), None)

    def without(self, image_ids: Collection[str]) -> Questions:
        """The same questions, but none about some images."""
        instances = self.snapshot.instances
        ids = tuple(id_ for id_ in self.ids if instances[id_].image.id not in image_ids)
        return replace(self, ids=ids, control=self.control.intersection(ids))

    def groups(self, ids: Iterable[str]) -> list[tuple[str, ...]]:
        """Instances that share a task: those of an image, in the order they first appear."""
        groups: dict[str, list[str]] = defaultdict(list)
        for id_ in ids:
            groups[id_ if self.one_object else self.snapshot.instances[id_].image.id].append(id_)
        return [tuple(group) for group in groups.values()]

    def task(
        self, ids: Sequence[str], control: Collection[str], url: str, crop: Box | None = None
    ) -> dict[str, Any]:
        """The task that asks about some instances of one image.

        Args:
            ids: of the instances.
            control: those that show no pre-annotation, only what people labelled.
            url: of what is shown (see `url`).
            crop: the part of the image that is shown (see `crop`); None for all of it.
        """
        instances = [self.snapshot.instances[id_] for id_ in ids]
        image, skeleton = instances[0].image, self.project.skeleton
        if self.kind == VISIBILITY_TASK:
            return visibility_task(
                image,
                instances,
                skeleton,
                url,
                self.model_version,
                crop,
                one_object=self.one_object,
                ticks={id_: self._ticked(id_) for id_ in ids},
            )
        task = correction_task(
            image,
            [(item, self._shown(item, is_predicted=item.id not in control)) for item in instances],
            skeleton,
            image_url=url,
            model_version=self.model_version,
            crop=crop,
            one_object=self.one_object,
        )
        labelled = {
            id_: content_version(keypoints_content(skeleton, self.snapshot.poses[id_]))
            for id_ in ids
            if id_ in self.snapshot.poses
        }
        if labelled:
            task["data"]["labelkit"]["labelled"] = labelled
        if blank := [id_ for id_ in ids if id_ in control and id_ not in labelled]:
            task["data"]["labelkit"]["control"] = blank
        return task

    def url(self, id_: str, base: str = "", crop: Box | None = None) -> str:
        """Where Label Studio finds the image of an instance (see `image_url`), or the crop itself.

        Raises:
            ImageError: if there is a crop and the image cannot be read.
        """
        instance = self.snapshot.instances[id_]
        if crop is None:
            return image_url(self.project, instance.image, base, self.folder)
        mark = self.one_object and not self._is_alone(instance)
        return crop_url(self.project, instance, crop, mark=mark)

    def crop(self, id_: str) -> Box | None:
        """The part of its image that a task shows of an instance; None for the image file.

        It has the keypoints in it that are shown of the instance. An image that browsers do not
        show is sent in full, as the part of it that is all of it.
        """
        instance = self.snapshot.instances[id_]
        image, box = instance.image, instance.box
        is_large = box.w * box.h >= LARGE * image.width * image.height
        is_whole = self.per_instance is None and is_large and self._is_alone(instance)
        if not self.one_object or is_whole:
            shows = browsers_show(image_file(self.project.images_root, image.path))
            return None if shows else Box(0, 0, image.width, image.height)
        shown = self._shown(instance, is_predicted=id_ not in self.control)
        return crop_around(instance, shown)

    def _is_alone(self, instance: Instance) -> bool:
        objects = self.snapshot.instances.columns
        return bool(self._objects[objects.images[objects.ids.place(instance.id)]] == 1)

    @cached_property
    def _objects(self) -> NDArray[np.int64]:
        """Objects in each image, by its number."""
        return np.bincount(self.snapshot.instances.columns.images)

    def _ticked(self, id_: str) -> list[str]:
        """The keypoints of an instance that are known to be present."""
        presence = self.snapshot.presences.get(id_)
        names = self.project.skeleton.keypoints
        return [] if presence is None else [names[k] for k in np.flatnonzero(presence > 0)]

    def _shown(self, instance: Instance, *, is_predicted: bool = True) -> Pose | None:
        """Human keypoints, and perhaps what is predicted of those that they leave unknown."""
        human = self.snapshot.poses.get(instance.id)
        if not is_predicted or instance.id not in self.predictions:
            return human
        answer = self.snapshot.presences.get(instance.id)
        prediction = as_shown(self.project, self.predictions[instance.id])
        predicted = pre_annotation(prediction, answer, instance.image)
        return predicted if human is None else human.completed(predicted)


def next_questions(project: Project, snapshot: LabelSnapshot) -> Questions:
    """Before the first round what the project begins with, corrections of the queue after it."""
    version = BOXES_VERSION
    predictions: Mapping[str, Prediction] = {}
    if latest_complete(project) is not None:
        newest, predictions = latest_predictions(project)
        version = f"round-{newest.plan.number:03d}"
    elif start_of(project, snapshot).asks == TICKS:
        return visibility_questions(project, snapshot)
    queued = waiting(project, snapshot)
    return Questions(
        project,
        CORRECTION_TASK,
        version,
        snapshot,
        predictions,
        tuple(item.instance_id for item in queued),
        frozenset(item.instance_id for item in queued if item.control),
        project.options.get("per_instance"),
    )


def visibility_questions(project: Project, snapshot: LabelSnapshot) -> Questions:
    """Visibility questions about the instances to begin with; none if keypoints come first."""
    start = start_of(project, snapshot)
    ids = start.ids if start.asks == TICKS else ()
    return Questions(
        project,
        VISIBILITY_TASK,
        BOXES_VERSION,
        snapshot,
        {},
        ids,
        frozenset(),
        project.options.get("per_instance"),
    )


def check_base(base: str) -> None:
    """Check the address that stands in front of image paths.

    Raises:
        UsageError: if neither Label Studio nor a browser reads from such an address.
    """
    if base and not re.fullmatch(r"(https?|s3|gs|azure-blob)://[^\s/]+(/\S*)?", base):
        raise UsageError(
            f"--image-url {base!r} is not an address that Label Studio reads images from.",
            "Type for example: --image-url https://images.example.org/frames or --image-url "
            's3://bucket/frames; "" stands for the server\'s own disk.',
        )


def image_url(project: Project, image: Image, base: str = "", folder: str = "") -> str:
    """Where Label Studio finds an image.

    Args:
        project: of the image.
        image: of the project.
        base: what stands in front of the path, such as "https://images.example.org/frames" or
            "s3://bucket/frames"; "" for files that the server reads from its own disk.
        folder: what the images folder is called below the document root of the server; "" is its
            own name.
    """
    if not base:
        below = f"{folder or project.images_root.name}/{image.path}"
        return f"/data/local-files/?d={quote(below)}"
    path = quote(image.path) if base.startswith("http") else image.path
    return f"{base.rstrip('/')}/{path}"
