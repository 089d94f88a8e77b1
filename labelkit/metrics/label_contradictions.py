"""Labels that cannot be right, whatever other labels look like."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from labelkit.domain.instance import Instance
from labelkit.domain.pose import ABSENT, VISIBLE, Pose

#: How far a keypoint may lie outside its box, in lengths of the box's long side.
OUTSIDE = 0.1
#: Mean distance of the keypoints up to which two objects of an image are one, likewise.
SAME = 0.02
#: Fewer keypoints are equal by chance.
_FEWEST = 3


def outside_box(pose: Pose, instance: Instance) -> NDArray[np.float64]:
    """(K,) pixels by which each keypoint lies outside the box, where that is far; 0 elsewhere."""
    left, top, right, bottom = instance.box.corners
    beyond = np.maximum((left, top) - pose.xy, pose.xy - (right, bottom)).max(axis=1)
    far = pose.present & (beyond > OUTSIDE * instance.box.long_side)
    return np.where(far, beyond, 0.0)


def against_answer(pose: Pose, answer: Mapping[str, bool], names: tuple[str, ...]) -> list[str]:
    """Keypoints that were answered as seen and labelled as absent, or the other way round.

    One that is labelled as occluded contradicts neither answer.

    Args:
        pose: the label.
        answer: a visibility answer, by the name of the keypoint.
        names: K names.
    """
    codes = zip(names, pose.visibility.tolist(), strict=True)
    wrong = {name: ABSENT if answer[name] else VISIBLE for name in names if name in answer}
    return [name for name, code in codes if wrong.get(name) == code]


def duplicates(
    poses: Mapping[str, Pose], instances: Mapping[str, Instance]
) -> Iterator[tuple[str, str]]:
    """Pairs of objects of one image that have nearly the same keypoints, the later one first."""
    of_image: dict[str, list[str]] = defaultdict(list)
    for id_ in poses:
        image = instances[id_].image.id
        for other in of_image[image]:
            one, two = poses[id_], poses[other]
            both = one.present & two.present
            most = max(one.present.sum(), two.present.sum())
            side = max(instances[id_].box.long_side, instances[other].box.long_side)
            if both.any() and 2 * both.sum() >= most:
                apart = np.linalg.norm(one.xy - two.xy, axis=1)[both].mean()
                if apart <= SAME * side:
                    yield id_, other
                    break
        of_image[image].append(id_)


def copies(
    poses: Mapping[str, Pose], instances: Mapping[str, Instance]
) -> Iterator[tuple[str, str]]:
    """Objects with exactly the coordinates of one in another image, and that one."""
    first: dict[bytes, str] = {}
    for id_, pose in poses.items():
        if pose.present.sum() < _FEWEST:
            continue
        other = first.setdefault(pose.xy.tobytes() + pose.present.tobytes(), id_)
        if instances[other].image.id != instances[id_].image.id:
            yield id_, other
