"""A person's answer about one instance, as the label store keeps it permanently."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labelkit.domain.pose import UNKNOWN, Pose, human_pose
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import StoreError

_NUMBER = (int, float)

VISIBILITY, KEYPOINTS, SKIP, WITHDRAWN = "visibility", "keypoints", "skip", "withdrawn"

#: Keypoints that a second person placed without seeing any other answer. They measure how far
#: people and predictions are apart, and never count as the label.
SECOND = "second"

#: The source of answers from the labelling page.
PAGE = "label"

#: The kinds of answers that a label is made of.
TELLING = (VISIBILITY, KEYPOINTS, WITHDRAWN)


@dataclass(frozen=True, slots=True)
class Entry:
    """One answer of one person about one instance.

    (source, reference, version, instance_id, kind) identifies an answer: recording it twice
    changes nothing.

    Attributes:
        instance_id: of the instance.
        kind: "visibility", "keypoints", "skip" (the person declined to answer), "withdrawn" (the
            keypoints were deleted at their source, and the user agreed), or "second" (see
            `SECOND`).
        content: by keypoint name; {"tail": true} for visibility, {"tail": [x, y, v]} for
            keypoints in upright image pixels, {} for the others, and where a second person found
            no object. A keypoint that it does not name was not asked about, and what is known of
            it stays.
        source: where it came from: "label-studio", "file:keypoints.json".
        reference: which item of the source: an annotation id.
        version: which edit of that item: updated_at, or `content_version` for files.
        annotator: who answered; "" if unknown.
        made_at: when it was saved, ISO 8601; "" if unknown.
        lead_time_s: how long it took, in seconds; None if unknown.
        shown: what the annotator was shown: round, pre-annotation, origin of each keypoint.

    Raises:
        StoreError: if the content does not fit the kind.
    """

    instance_id: str
    kind: str
    content: Mapping[str, Any]
    source: str
    reference: str
    version: str
    annotator: str = ""
    made_at: str = ""
    lead_time_s: float | None = None
    shown: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in (*TELLING, SKIP, SECOND):
            raise StoreError(f"{self.kind!r} is not a kind of answer.")
        for keypoint, value in self.content.items():
            if not _fits(self.kind, value):
                raise StoreError(
                    f"{self.source} {self.reference}: {value!r} is not a {self.kind} answer for "
                    f"{keypoint!r} of {self.instance_id}."
                )


class Recorded(NamedTuple):
    """An entry with its number in the journal and the time it was recorded, ISO 8601."""

    seq: int
    recorded_at: str
    entry: Entry


class RecordReport(NamedTuple):
    """How many entries were new, and how many were in the journal already."""

    added: int
    known: int


def _fits(kind: str, value: Any) -> bool:
    if kind == VISIBILITY:
        return isinstance(value, bool)
    is_place = kind in (KEYPOINTS, SECOND) and isinstance(value, list | tuple)
    if not is_place or len(value) != 3:
        return False
    x, y, v = value
    are_numbers = isinstance(x, _NUMBER) and isinstance(y, _NUMBER) and isinstance(v, _NUMBER)
    return are_numbers and math.isfinite(x) and math.isfinite(y) and v in (0, 1, 2)


def visibility_content(skeleton: Skeleton, presence: ArrayLike) -> dict[str, bool]:
    """Content of a visibility entry from (K,) presence; an unknown keypoint (-1) is left out."""
    codes = np.asarray(presence, dtype=np.int8).tolist()
    pairs = zip(skeleton.keypoints, codes, strict=True)
    return {keypoint: code > 0 for keypoint, code in pairs if code > UNKNOWN}


def keypoints_content(skeleton: Skeleton, pose: Pose) -> dict[str, list[float]]:
    """Content of a keypoints entry, [x, y, v] by name.

    Absent keypoints are [0, 0, 0]; unknown ones are left out.
    """
    rows = zip(skeleton.keypoints, pose.xy.tolist(), pose.visibility.tolist(), strict=True)
    return {keypoint: [x, y, v] for keypoint, (x, y), v in rows if v > UNKNOWN}


def content_version(content: Mapping[str, Any]) -> str:
    """A version for sources that have none: a hash of the content."""
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def presence_of(entries: Iterable[Entry], skeleton: Skeleton) -> NDArray[np.int8]:
    """(K,) whether each keypoint is present: -1 unknown, 0 absent, 1 present.

    Args:
        entries: about one instance, oldest first. The newest that names a keypoint counts for it;
            withdrawn answers do not count.
        skeleton: of the project.
    """
    told = _told(entries)
    values = [told.get(keypoint, UNKNOWN) for keypoint in skeleton.keypoints]
    codes = [int(v if isinstance(v, int) else v[2] > 0) for v in values]
    return np.array(codes, dtype=np.int8)


def pose_of(entries: Iterable[Entry], skeleton: Skeleton) -> Pose:
    """The pose that keypoints entries give, exactly as it was recorded.

    Args:
        entries, skeleton: as in `presence_of`. A keypoint that no entry names is unknown.
    """
    told = _told(entries)
    rows = [told.get(keypoint, (0.0, 0.0, UNKNOWN)) for keypoint in skeleton.keypoints]
    return human_pose([row[:2] for row in rows], np.array([row[2] for row in rows], dtype=int))


def _told(entries: Iterable[Entry]) -> dict[str, Any]:
    """What is known of each keypoint, by its name."""
    told: dict[str, Any] = {}
    for entry in entries:
        if entry.kind == WITHDRAWN:
            told.clear()
        told |= entry.content
    return told
