"""What people have answered about a project up to some moment."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from functools import cached_property

from labelkit.domain.instance import image_of
from labelkit.domain.selection import DevDraw
from labelkit.files.noted import conclude
from labelkit.project.project import Project
from labelkit.store.columns import Objects, Poses, Presences
from labelkit.store.ids import Bytes, Ids, among
from labelkit.store.label_store import LabelStore

#: Share of the images whose instances are the dev set, unless it was chosen. They compare rounds
#: and train none.
DEV_SHARE = 0.05

#: In a project of so many instances, what takes long to find out is remembered.
MANY = 10_000

#: Which images are in the dev set, in the project's folder.
DEV_FILE = "dev.cache"


@dataclass(frozen=True, slots=True)
class LabelSnapshot:
    """The instances of a project and the human labels that count at one entry of its journal.

    Attributes:
        instances: all that are registered now, by id.
        presences: (K,) visibility answers by instance id: -1 unknown, 0 absent, 1 present.
        poses: human keypoints by instance id; unknown are those that no one was asked about.
        dev: ids of the dev set.
        skipped: ids of instances that an annotator skipped.
        answered: ids of instances of which every keypoint is known to be present or absent.
        labelled: ids of instances that have human keypoints, and lack none that the skeleton got
            later.
    """

    instances: Objects
    presences: Presences
    poses: Poses
    dev: Set[str]
    skipped: frozenset[str]
    answered: Set[str]
    labelled: Set[str]

    def is_answered(self, instance_id: str) -> bool:
        """Whether it is known of every keypoint if it is present."""
        return instance_id in self.answered

    def is_labelled(self, instance_id: str) -> bool:
        """Whether it has human keypoints, and none that the skeleton got later is missing."""
        return instance_id in self.labelled

    @property
    def trainable(self) -> list[str]:
        """Instances whose locations may be trained on."""
        is_dev = among(Ids.of(self.poses), self.dev).tolist()
        return [item for item, of_dev in zip(self.poses, is_dev, strict=True) if not of_dev]

    @property
    def trainable_percent(self) -> float:
        """0 ... 100, the largest labelled percentage that a round can have now."""
        return 100.0 * len(self.trainable) / len(self.instances)


def read_snapshot(project: Project, store: LabelStore, as_of: int | None = None) -> LabelSnapshot:
    """Read the labels of a project.

    Args:
        project: whose skeleton and seed apply.
        store: its label store.
        as_of: journal entry after which answers do not count; None for all answers.
    """
    instances, draw = store.instances(), store.dev_draw() or DevDraw(DEV_SHARE)
    presences, poses = store.labels(project.skeleton, as_of)
    return LabelSnapshot(
        instances,
        presences,
        poses,
        _DevSet(project, store, instances, draw),
        frozenset(store.skipped(as_of)),
        presences.complete,
        poses.complete,
    )


class _DevSet(Ids):
    """Ids of the dev set, drawn when all of them are asked for.

    Args:
        project, store: of the images.
        instances: of the project.
        draw: which images.
    """

    def __init__(
        self, project: Project, store: LabelStore, instances: Objects, draw: DevDraw
    ) -> None:
        self._project, self._store = project, store
        self._instances, self._draw = instances, draw

    @cached_property
    def array(self) -> Bytes:  # type: ignore[override]
        ids, version = self._instances.ids, self._store.images_version()
        if len(ids) < MANY or not version:
            return ids.array[self._draw.held([*map(image_of, ids)], self._project.seed)]
        draw = [self._draw.share, sorted(self._draw.added), sorted(self._draw.left_out)]
        state = [version, self._project.seed, *draw]
        return ids.in_images(conclude(self._project.root / DEV_FILE, state, self._images))

    def _images(self) -> list[str]:
        """Ids of the images in the dev set, also of those without an object."""
        images = self._store.image_ids()
        return [*Ids(images.array[self._draw.held([*images], self._project.seed)])]

    def __contains__(self, instance_id: object) -> bool:
        return (
            isinstance(instance_id, str)
            and self._draw.holds(image_of(instance_id), self._project.seed)
            and instance_id in self._instances
        )
