"""Which objects of a label file are objects of the project already."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from labelkit.domain.instance import Box

#: Objects are alike if at least so many of the keypoints that both locate, as a share, ...
ALIKE_SHARE = 0.5
#: ... lie at most so far apart, as a share of the box's long side, ...
NEAR = 0.05
#: ... or, where one of them locates no keypoint, if their boxes overlap at least so much.
OVERLAP = 0.5


@dataclass(frozen=True, slots=True)
class Candidate:
    """One object of an image, as a label file or the label store has it.

    Attributes:
        box: in image pixels.
        individual: who it is; "" where that is not known.
        origins: (file, reference) of the annotations that described it.
        keypoints: (x, y, v) by name; empty without a label.
    """

    box: Box
    individual: str
    origins: frozenset[tuple[str, str]]
    keypoints: Mapping[str, Sequence[float]]


def same_objects(known: Sequence[Candidate], found: Sequence[Candidate]) -> list[int | None]:
    """For each object that was found in an image, the index of the known object that it is.

    The same individual comes first, then the same box. Else it is the object with the largest
    overlap among those that are alike, or that the same annotation of the same file described,
    which counts half an object more: an annotation that was numbered anew is recognised by what it
    shows. No known object is taken twice. A found object without origin was not read from a file:
    only the same box makes it a known one.
    """
    pairs = sorted(
        (-likeness, f, k)
        for f, candidate in enumerate(found)
        for k, other in enumerate(known)
        if (likeness := _likeness(other, candidate)) > 0
    )
    result: list[int | None] = [None] * len(found)
    taken = set()
    for _, f, k in pairs:
        if result[f] is None and k not in taken:
            result[f] = k
            taken.add(k)
    return result


def _likeness(known: Candidate, found: Candidate) -> float:
    """0 another object; higher is more certainly the same."""
    same_origin = bool(known.origins & found.origins)
    overlap = known.box.overlap(found.box)
    if found.individual and found.individual == known.individual:
        return 4 + overlap
    if known.box.is_nearly(found.box):
        return 2 + same_origin
    if same_origin:
        return 0.5 + overlap
    return overlap if overlap and found.origins and _alike(known, found, overlap) else 0.0


def _alike(known: Candidate, found: Candidate, overlap: float) -> bool:
    ours, theirs = (_located(item.keypoints) for item in (known, found))
    if not ours or not theirs:
        return overlap >= OVERLAP
    both = ours.keys() & theirs.keys()
    reach = NEAR * max(known.box.long_side, found.box.long_side)
    near = sum(math.dist(ours[name], theirs[name]) <= reach for name in both)
    return bool(both) and near >= ALIKE_SHARE * len(both)


def _located(keypoints: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float]]:
    return {name: (x, y) for name, (x, y, v) in keypoints.items() if v > 0}
