"""What the labels of a project teach a network that reads whole images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from labelkit.domain.instance import Image
from labelkit.domain.pose import ABSENT
from labelkit.store.journal import KEYPOINTS, PAGE, SKIP, VISIBILITY, WITHDRAWN, content_version
from labelkit.store.label_store import LabelStore
from labelkit.workflows.detector_free.canvases import LabelledImage
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot


class Lessons(NamedTuple):
    """The images of a project without its dev set.

    Attributes:
        labelled: with answers: what no one marked in them is background, but for the boxes of
            objects that were not answered yet.
        others: the rest.
    """

    labelled: list[LabelledImage]
    others: list[Image]

    @property
    def version(self) -> str:
        """A hash of the answers: equal labels teach the same."""
        return content_version(
            {
                item.image.id: [[p.xy.tolist(), p.visibility.tolist()] for p in item.poses]
                for item in self.labelled
            }
        )

    @property
    def objects_per_image(self) -> float:
        """Mean number of labelled objects."""
        return sum(len(item.poses) for item in self.labelled) / max(len(self.labelled), 1)

    @property
    def median_side(self) -> float:
        """Of the extents of labelled objects, the longer side in image pixels; 0 without any."""
        extents = [pose.extent for item in self.labelled for pose in item.poses]
        sides = [extent.long_side for extent in extents if extent is not None]
        return float(np.median(sides)) if sides else 0.0


def lessons_of(
    store: LabelStore, snapshot: LabelSnapshot, labelled: Collection[str], as_of: int
) -> Lessons:
    """Sort the images by what people answered about them.

    An object is not there if its box was deleted, or every keypoint was answered as absent. An
    image of such objects alone, or that a label file lists as empty, has no object.

    Args:
        store: the label store.
        snapshot: of the labels.
        labelled: ids of the instances that give locations.
        as_of: journal entry after which answers do not count, that of the snapshot.
    """
    ids: dict[str, list[str]] = defaultdict(list)
    for id_, instance in snapshot.instances.items():
        ids[instance.image.id].append(id_)
    dev = {snapshot.instances[id_].image.id for id_ in snapshot.dev}
    not_there = _deleted(store, as_of) | {
        id_ for id_, presence in snapshot.presences.items() if (presence == ABSENT).all()
    }
    located, empty = set(labelled), store.empty_images()
    lessons = Lessons([], [])
    for image in store.images():
        if image.id in dev:
            continue
        poses = [snapshot.poses[i] for i in ids[image.id] if i in located and i not in not_there]
        open_ones = [
            snapshot.instances[i].box
            for i in ids[image.id]
            if i not in located and i not in not_there
        ]
        is_empty = image.id in empty or bool(ids[image.id])
        if poses or (is_empty and not open_ones):
            lessons.labelled.append(LabelledImage(image, tuple(poses), tuple(open_ones)))
        else:
            lessons.others.append(image)
    return lessons


def _deleted(store: LabelStore, as_of: int) -> set[str]:
    """Ids of the objects whose box someone deleted. A skipped task leaves open what is there."""
    latest = store.latest((VISIBILITY, KEYPOINTS, SKIP, WITHDRAWN), as_of)
    skips = (entry for entry in latest if entry.kind == SKIP)
    return {it.instance_id for it in skips if it.source == PAGE or "task" in it.shown}
