"""What people have answered about a project up to some moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from labelkit.domain.instance import Instance, image_of
from labelkit.domain.pose import UNKNOWN, Pose
from labelkit.domain.selection import DevDraw
from labelkit.project.project import Project
from labelkit.store.label_store import LabelStore

#: Share of the images whose instances are the dev set, unless it was chosen. They compare rounds
#: and train none.
DEV_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class LabelSnapshot:
    """The instances of a project and the human labels that count at one entry of its journal.

    Attributes:
        instances: all that are registered now, by id.
        presences: (K,) visibility answers by instance id: -1 unknown, 0 absent, 1 present.
        poses: human keypoints by instance id; unknown are those that no one was asked about.
        dev: ids of the dev set.
        skipped: ids of instances that an annotator skipped.
    """

    instances: Mapping[str, Instance]
    presences: Mapping[str, np.ndarray]
    poses: Mapping[str, Pose]
    dev: frozenset[str]
    skipped: frozenset[str]

    def is_answered(self, instance_id: str) -> bool:
        """Whether it is known of every keypoint if it is present."""
        presence = self.presences.get(instance_id)
        return presence is not None and bool((presence > UNKNOWN).all())

    def is_labelled(self, instance_id: str) -> bool:
        """Whether it has human keypoints, and none that the skeleton got later is missing."""
        pose = self.poses.get(instance_id)
        return pose is not None and bool(pose.known.all())

    @property
    def trainable(self) -> list[str]:
        """Instances whose locations may be trained on."""
        return [item for item in self.poses if item not in self.dev]

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
    images = set(map(image_of, instances.ids))
    dev = {image for image in images if draw.holds(image, project.seed)}
    return LabelSnapshot(
        instances,
        *store.labels(project.skeleton, as_of),
        frozenset(id_ for id_ in instances.ids if image_of(id_) in dev),
        frozenset(store.skipped(as_of)),
    )
