"""Objects that a network found in whole images, as objects of the project."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from labelkit.domain.instance import Box, Image, Instance
from labelkit.domain.pose import VISIBLE, Pose
from labelkit.domain.prediction import Prediction, nothing_found
from labelkit.domain.skeleton import Skeleton
from labelkit.metrics.accuracy import oks
from labelkit.models.detector_free.instances import Instances
from labelkit.store.label_store import LabelStore
from labelkit.store.objects import FOUND, LOST, NewInstance
from labelkit.workflows.detector_free.canvases import whole
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot

#: A found object is a known one from this OKS with its label; without one, overlap of their boxes.
SAME = 0.5
#: A keypoint of this confidence is as likely there as not.
OPEN = 0.1
#: Least side of a box in pixels; of an object of one keypoint, as a share of the image's long side.
LEAST_PX, LEAST_SHARE = 4.0, 1 / 32


class FoundObject(NamedTuple):
    """One object as a network found it.

    Attributes:
        pose: every keypoint has a location, in image pixels, inside the image.
        score: 0 ... 1.
        box: around the pose.
    """

    pose: Pose
    score: float
    box: Box

    def prediction(self, instance_id: str) -> Prediction:
        """As the prediction of an instance."""
        presence = np.interp(self.pose.score, [0.0, OPEN, 1.0], [0.0, 0.5, 1.0])
        return Prediction(instance_id, self.pose, presence, self.score)


def found_objects(found: Instances, image: Image, columns: Sequence[int]) -> list[FoundObject]:
    """The objects that a network found in an image, with the keypoints of a project.

    Args:
        found: in image pixels.
        image: that they are in.
        columns: place of each of the project's keypoints among the network's; -1 for one that it
            has not learned.
    """
    size, count = np.array([image.width, image.height]), found.xy.shape[1]
    least = LEAST_PX if count > 1 else LEAST_SHARE * max(image.width, image.height)
    corners = found.boxes.numpy().reshape(-1, 2, 2)
    middle, half = corners.mean(axis=1), np.maximum(np.ptp(corners, axis=1), least) / 2
    middle = np.clip(middle, 0, size)
    low, high = np.clip(middle - half, 0, size), np.clip(middle + half, 0, size)
    boxes = np.concatenate([low, high - low], axis=1).tolist()
    poses = zip(found.xy.numpy(), found.confidence.numpy(), strict=True)
    return [
        FoundObject(
            Pose(np.clip(xy, 0, size), np.full(count, VISIBLE), np.clip(score, 0, 1)).take(columns),
            min(float(total), 1.0),
            Box(*box),
        )
        for (xy, score), total, box in zip(poses, found.score, boxes, strict=True)
    ]


def bring_in(
    store: LabelStore,
    snapshot: LabelSnapshot,
    skeleton: Skeleton,
    found: Mapping[str, Sequence[FoundObject]],
) -> dict[str, Prediction]:
    """Register what was found in some images, and predict all their objects.

    An image of which every object has an answer gets no others: a person has seen it. An image
    without any stands in for an object, so that people are asked about it.

    Args:
        store: the label store.
        snapshot: of the labels.
        skeleton: of the poses.
        found: by image id.

    Returns:
        by instance id; nothing is there of an object that was not found.
    """
    images = {image.id: image for image in store.images() if image.id in found}
    answered = snapshot.presences.keys() | snapshot.skipped
    known: dict[str, list[Instance]] = defaultdict(list)
    for item in store.instances(with_removed=True).values():
        if item.image.id in images and (item.box_source != "whole-image" or item.id in answered):
            known[item.image.id].append(item)
    empty = store.empty_images()
    again: dict[str, FoundObject] = {}
    new: list[tuple[NewInstance, FoundObject | None]] = []
    for id_, image in images.items():
        mine, objects = known[id_], found[id_]
        same = assigned(mine, snapshot.poses, objects, skeleton)
        pairs = list(zip(same, objects, strict=True))
        again |= {mine[place].id: item for place, item in pairs if place is not None}
        stay = [it for it in mine if it.box_source not in (FOUND, LOST) or it.id in answered]
        if not stay or any(it.id not in answered for it in stay):
            new += [(_new(image, it.box, FOUND), it) for place, it in pairs if place is None]
        if not (stay or objects) and id_ not in empty:
            new.append((_new(image, whole(image), "whole-image"), None))
    store.forget_stand_ins(image for id_, image in images.items() if found[id_])
    boxes = {id_: item.box for id_, item in again.items()}
    made = store.replace_found(images.values(), boxes, [candidate for candidate, _ in new])
    registered = {it.id: item for it, (_, item) in zip(made, new, strict=True) if item}
    predictions = {id_: item.prediction(id_) for id_, item in (again | registered).items()}
    return {
        id_: predictions.get(id_) or nothing_found(id_, len(skeleton))
        for id_, instance in store.instances().items()
        if instance.image.id in images
    }


def _new(image: Image, box: Box, source: str) -> NewInstance:
    return NewInstance(image, box, source, box.w * box.h)


def assigned(
    known: Sequence[Instance],
    poses: Mapping[str, Pose],
    found: Sequence[FoundObject],
    skeleton: Skeleton,
) -> list[int | None]:
    """For each found object of an image, the index of the known one that it is.

    The most alike come first, and none is taken twice.

    Args:
        known: objects of the image.
        poses: labels by instance id.
        found: in the image.
        skeleton: of the poses.
    """
    result: list[int | None] = [None] * len(found)
    alike = [_likeness(item, poses.get(item.id), found, skeleton) for item in known]
    pairs = ((-row[f], k, f) for k, row in enumerate(alike) for f in np.flatnonzero(row >= SAME))
    taken: set[int] = set()
    for _, k, f in sorted(pairs):
        if result[f] is None and k not in taken:
            result[f] = k
            taken.add(k)
    return result


def _likeness(
    known: Instance, pose: Pose | None, found: Sequence[FoundObject], skeleton: Skeleton
) -> NDArray[np.float64]:
    """(N,) how much a known object is like each found one, 0 not at all ... 1 equal."""
    if pose is None or not pose.present.any() or not found:
        return np.array([item.box.overlap(known.box) for item in found])
    count = len(found)
    return oks(
        [item.pose.xy for item in found],
        np.broadcast_to(pose.xy, (count, *pose.xy.shape)),
        np.broadcast_to(pose.present, (count, len(pose))),
        [item.box.w * item.box.h for item in found],
        skeleton.sigmas,
    )


def least_score(scores: Iterable[float], wanted: float, floor: float) -> float:
    """The score from which objects count, so that images have as many as labelled ones.

    In the middle between the last object that counts and the first that does not.

    Args:
        scores: of all candidates in some images.
        wanted: number of objects that these images have, as far as labels tell.
        floor: least of all.
    """
    ranked, count = sorted(scores, reverse=True), max(round(wanted), 1)
    if not ranked:
        return 1.0
    last, following = ranked[:count][-1], (*ranked, floor)[min(count, len(ranked))]
    return max((last + following) / 2, floor)
