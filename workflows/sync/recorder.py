"""From Label Studio's annotations to journal entries, and a report of what is new."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from labelkit.domain.instance import Image, Instance
from labelkit.errors import FormatError
from labelkit.formats.label_studio.export import LISTED, StudioAnnotation, StudioInstance
from labelkit.metrics.effort import BLANK
from labelkit.project.predictions import find_predictions
from labelkit.project.project import Project
from labelkit.project.rounds import COMPLETE, rounds
from labelkit.store.conflicts import (
    HELD,
    beside_what_is_known,
    came_another_way,
    find_conflicts,
    of_two_annotators,
)
from labelkit.store.journal import (
    KEYPOINTS,
    SKIP,
    VISIBILITY,
    Entry,
    content_version,
    keypoints_content,
)
from labelkit.store.label_store import LabelStore, NewInstance
from labelkit.workflows.sync.pull_report import PullReport

SOURCE = "label-studio"

#: A box counts as moved where one of its borders is off by more than this many pixels.
MOVED_PX = 0.5


class Recorder:
    """Records annotations in the journal and reports what they changed.

    Args:
        project: that the annotations are for.
        store: whose journal gets them.
    """

    def __init__(self, project: Project, store: LabelStore) -> None:
        self.project, self.store = project, store

    # Answers about images that were taken out of the project are kept too.

    @cached_property
    def images(self) -> dict[str, Image]:
        """Every image, by its id."""
        return {image.id: image for image in self.store.images(with_removed=True)}

    @cached_property
    def _by_path(self) -> dict[str, Image]:
        images = (*self.images.values(), *self.store.images())  # removed ones do not hide others
        return {image.path: image for image in images}

    @cached_property
    def _known(self) -> dict[str, Instance]:
        return dict(self.store.instances(with_removed=True))

    @cached_property
    def _of_image(self) -> dict[str, list[str]]:
        of_image: dict[str, list[str]] = defaultdict(list)
        for id_, instance in self._known.items():
            of_image[instance.image.id].append(id_)
        return of_image

    @cached_property
    def _drawn(self) -> dict[tuple[str, str], str]:
        """Instances that annotators drew, by image and Label Studio's id of their region."""
        return {
            (self._known[entry.instance_id].image.id, entry.shown["region"]): entry.instance_id
            for entry in (recorded.entry for recorded in self.store.entries())
            if "region" in entry.shown
        }

    def instances_of(self, image_id: str) -> list[str]:
        """Ids of the instances in an image."""
        return self._of_image[image_id]

    def _image(self, annotation: StudioAnnotation) -> Image | None:
        """By its id, because another picture may have its path now; without an id by its path."""
        if annotation.image_id:
            return self.images.get(annotation.image_id)
        return self._by_path.get(annotation.image_path)

    def record(self, annotations: Sequence[StudioAnnotation], origin: str) -> PullReport:
        """Record annotations, in the order in which they were made.

        Args:
            annotations: of this project's tasks.
            origin: file or server that they come from, for messages.

        Raises:
            FormatError: if one is for an image that the project does not have.
        """
        entries: list[Entry] = []
        unanswered: dict[str, None] = {}  # tasks
        unknown: list[tuple[StudioAnnotation, Image, StudioInstance]] = []
        beside: dict[str, None] = {}  # instances answered in the annotations that draw new ones
        for annotation in sorted(annotations, key=lambda item: item.updated_at):
            image = self._image(annotation)
            if image is None:
                about = (
                    f"{origin}: annotation {annotation.annotation_id} is for "
                    f"{annotation.image_path}, which is"
                )
                if annotation.image_path in self._by_path:
                    raise FormatError(
                        f"{about} another picture now.",
                        "Put the former file back, or remove this task from the export.",
                    )
                raise FormatError(
                    f"{about} not in the project {self.project.root}.",
                    "Pull the export of the tasks that this project pushed. Keypoints of another "
                    "Label Studio project come in with: labelkit bootstrap --labels FILE",
                )
            declined: Sequence[str] = annotation.declined
            if annotation.skipped and not annotation.asked:
                declined = self._of_image[image.id]
            entries += [
                _entry(self.project, annotation, item, None)
                for item in declined
                if item in self._known
            ]
            answered: list[str] = []
            if not declined and not annotation.instances:
                unanswered[_task(annotation)] = None  # a blank page
            for answer in annotation.instances:
                if answer.presence is None and answer.pose is None:
                    unanswered[_task(annotation)] = None
                    continue
                region = answer.region_id
                id_ = region if region in self._known else self._drawn.get((image.id, region))
                if id_ is None:
                    unknown.append((annotation, image, answer))
                else:
                    answered.append(id_)
                    entries.append(_entry(self.project, annotation, id_, answer))
            if unknown and unknown[-1][0] is annotation:
                beside |= dict.fromkeys(answered)
        drawn = self._draw([(image, answer) for _, image, answer in unknown], beside)
        for annotation, image, answer in unknown:
            id_ = self._drawn[image.id, answer.region_id]
            entries.append(_entry(self.project, annotation, id_, answer))

        informed = self._informed(annotations)

        def unseen(ours: Entry, theirs: Entry) -> bool:
            knows = (theirs.instance_id, theirs.reference, theirs.version) in informed
            return came_another_way(ours, theirs) and not (
                knows and not of_two_annotators(ours, theirs)
            )

        fresh, to_record = beside_what_is_known(self.store, entries, unseen)
        notes = self._likely_slips(fresh, unanswered)
        self.store.record(to_record)
        held = {entry.instance_id for entry in to_record if HELD in entry.shown}
        conflicts = [it for it in find_conflicts(self.store) if it.ours.instance_id in held]
        kinds = Counter(entry.kind for entry in fresh)
        return PullReport(
            annotations=len(annotations),
            added=len(fresh),
            known=len(entries) - len(fresh),
            answers=kinds[VISIBILITY],
            poses=kinds[KEYPOINTS],
            skips=kinds[SKIP],
            new_instances=drawn,
            conflicts=len(conflicts),
            differences=[conflict.summary for conflict in conflicts],
            origins=Counter(
                what for entry in fresh for what in entry.shown.get("origins", {}).values()
            ),
            moves=_moves(self.project, fresh),
            moved_boxes=sum(self._has_moved_box(entry) for entry in fresh),
            notes=notes,
            lead_time_s=sum({e.reference: e.lead_time_s or 0.0 for e in fresh}.values()),
        )

    def _informed(self, annotations: Sequence[StudioAnnotation]) -> set[tuple[str, str, str]]:
        """Instance, annotation and version of the answers to tasks that show the present label."""
        if not any(annotation.labelled for annotation in annotations):
            return set()
        skeleton = self.project.skeleton
        poses = self.store.poses(skeleton)
        return {
            (id_, annotation.annotation_id, annotation.updated_at)
            for annotation in annotations
            for id_, version in annotation.labelled.items()
            if id_ in poses and content_version(keypoints_content(skeleton, poses[id_])) == version
        }

    def _draw(self, drawn: Iterable[tuple[Image, StudioInstance]], beside: Iterable[str]) -> int:
        """Register the objects that annotators added.

        Args:
            drawn: with their images; a region that comes twice is one object.
            beside: instances that a drawn one cannot be, even if its box is equal (a copy).

        Returns:
            the number of objects.
        """
        regions = {(image.id, answer.region_id): (image, answer.box) for image, answer in drawn}
        if not regions:
            return 0
        others = [self._known[id_] for id_ in beside]
        made = self.store.add_instances(
            [
                *(NewInstance(i.image, i.box, i.box_source, i.area) for i in others),
                *(NewInstance(image, b, "human", b.w * b.h) for image, b in regions.values()),
            ]
        )
        for region, instance in zip(regions, made[len(others) :], strict=True):
            self._add(instance)
            self._drawn[region] = instance.id
        return len(regions)

    def _has_moved_box(self, entry: Entry) -> bool:
        before = self._known[entry.instance_id].box
        shown = zip(before, entry.shown.get("box", before), strict=True)
        return max(abs(now - then) for then, now in shown) > MOVED_PX

    def _likely_slips(self, fresh: Sequence[Entry], unanswered: Iterable[str]) -> list[str]:
        """Notes on answers that are recorded as they are, but look submitted too early."""
        empty = [
            entry
            for entry in fresh
            if entry.kind == KEYPOINTS and not any(v for *_, v in entry.content.values())
        ]
        presences = self.store.presences(self.project.skeleton) if empty else {}
        seen = {id_ for id_, presence in presences.items() if (presence > 0).any()}
        odd = [e for e in empty if e.instance_id in seen or e.instance_id not in presences]
        again = "If that was a slip, correct them there (Update) and pull again:"
        deleted = [entry for entry in fresh if entry.kind == SKIP and "task" in entry.shown]
        slips = {
            "Boxes were deleted: their objects are not asked about again.": map(_where, deleted),
            "Objects were left without an answer.": unanswered,
            "Submitted without any keypoint, although no visibility answer says that none can be "
            "seen.": map(_where, odd),
        }
        notes = []
        for what, where in slips.items():
            tasks = list(dict.fromkeys(task for task in where if task))
            if tasks:
                more = [f"... and {len(tasks) - LISTED} more"] if len(tasks) > LISTED else []
                notes.append("\n  ".join([f"{what} {again}", *tasks[:LISTED], *more]))
        return notes

    def _add(self, instance: Instance) -> None:
        if instance.id not in self._known:
            self._of_image[instance.image.id].append(instance.id)
            self._known[instance.id] = instance


def _task(annotation: StudioAnnotation) -> str:
    """Where the task of an annotation is; "" if that is unknown."""
    return annotation.address or (annotation.task_id and f"task {annotation.task_id}")


def _where(entry: Entry) -> str:
    return str(entry.shown.get("address") or f"task {entry.shown['task']}")


def _entry(
    project: Project, annotation: StudioAnnotation, instance_id: str, answer: StudioInstance | None
) -> Entry:
    """The answer to one instance; None is a skip, of the task or by deleting the box."""
    content: Mapping[str, Any] = {}
    shown: dict[str, Any] = {"model_version": annotation.model_version}
    kind = SKIP
    if not annotation.skipped:
        shown["task"] = annotation.task_id
        if annotation.address:
            shown["address"] = annotation.address
    if answer is not None:
        shown |= {"region": answer.region_id, "box": list(answer.box)}
        if answer.presence is not None:
            kind, content = VISIBILITY, answer.presence
        elif answer.pose is not None:
            kind, content = KEYPOINTS, keypoints_content(annotation.skeleton, answer.pose)
            names = zip(annotation.skeleton.keypoints, answer.origins, strict=True)
            shown["origins"] = {name: what for name, what in names if what}
            if instance_id in annotation.control:
                shown["arm"] = BLANK
    return Entry(
        instance_id=instance_id,
        kind=kind,
        content=content,
        source=SOURCE,
        reference=annotation.annotation_id,
        version=annotation.updated_at,
        annotator=annotation.annotator,
        made_at=annotation.updated_at,
        lead_time_s=annotation.lead_time_s,
        shown=shown,
    )


def _moves(project: Project, entries: Sequence[Entry]) -> list[tuple[float, float]]:
    """(pixels, share of the box's long side) by which each changed keypoint moved."""
    shown_in = {
        f"round-{item.plan.number:03d}": item.path / "predictions.parquet"
        for item in rounds(project)
        if item.status == COMPLETE
    }
    result, names = [], project.skeleton.keypoints
    for version, path in shown_in.items():
        chosen = [entry for entry in entries if entry.shown.get("model_version") == version]
        if not chosen:
            continue
        asked = {entry.instance_id for entry in chosen}
        predictions = find_predictions(path, project.skeleton, asked)
        for entry in chosen:
            prediction = predictions.get(entry.instance_id)
            if prediction is None:
                continue
            long_side = max(entry.shown["box"][2:]) if "box" in entry.shown else float("inf")
            placed = {project.skeleton.present_name(k): v for k, v in entry.content.items()}
            for name, what in entry.shown.get("origins", {}).items():
                at = names.index(name) if name in names else -1
                if what == "changed" and at >= 0 and prediction.pose.known[at]:
                    before = prediction.pose.xy[at]
                    x, y, _ = placed[name]
                    px = math.hypot(x - before[0], y - before[1])
                    result.append((px, px / long_side))
    return result
