"""What to review in predictions: uncertainty, errors, and answers that contradict the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from labelkit.domain.geometry import apply_affine, invert_affine
from labelkit.domain.instance import Instance
from labelkit.domain.pose import Pose
from labelkit.domain.prediction import Prediction
from labelkit.domain.skeleton import Skeleton
from labelkit.metrics.accuracy import oks
from labelkit.project.preannotation import PRESENT
from labelkit.project.response_maps import ResponseMaps
from labelkit.store.journal import KEYPOINTS, Recorded

#: Locations farther apart than this, as a fraction of the box's long side, are different.
FAR = 0.2

#: A response this strong, as a fraction of its maximum, at the partner's location is ambiguous.
AMBIGUOUS = 0.5


@dataclass(frozen=True, slots=True)
class Work:
    """What annotators did with one instance.

    Attributes:
        annotators: who answered about it, in the order of their first answers.
        shown: version of the pre-annotation that the latest keypoints started from; "" if none.
        changed: names of the keypoints that were moved away from it.
    """

    annotators: tuple[str, ...] = ()
    shown: str = ""
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class ReviewItem:
    """One instance with everything that a reviewer can see.

    Attributes:
        instance: of the project.
        human: human keypoints, or None.
        answer: (K,) the visibility answer (-1 unknown, 0 absent, 1 present), or None.
        predictions: by field name ("round_000"), oldest first; the finding is about the last.
        shown: the pre-annotation of each prediction, by the same names.
        finding: see `Finding`.
        tags: labelled, queued, dev, control, suspicious.
        suspicions: what is probably wrong with the human keypoints, in words.
    """

    instance: Instance
    human: Pose | None
    answer: NDArray[np.int8] | None
    predictions: Mapping[str, Prediction]
    shown: Mapping[str, Pose]
    finding: Finding
    tags: tuple[str, ...] = ()
    suspicions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """What may need review in one instance; None and () where nothing is known.

    Attributes:
        uncertainty: 0 certain ... 1 lost, of the whole instance.
        error: 0 exact ...: mean distance to the human keypoints, as a fraction of the box's long
            side.
        oks: 0 lost ... 1 exact.
        correction: 0 untouched ...: the farthest that a keypoint of the pre-annotation was moved,
            as a fraction of the box's long side.
        doubt: (K,) uncertainty of each keypoint, 0 certain ... 1 lost; 0 if it is not shown.
        swaps: "left_x / right_x" pairs that may be exchanged.
        map_disagrees: keypoints whose map peaks far from their predicted location. Meant is the map
            that they were read from.
        not_found: keypoints answered as present that the model predicts as absent.
        answered_absent: keypoints answered as absent that the model predicts as present.
        work: what annotators did.
    """

    uncertainty: float | None = None
    error: float | None = None
    oks: float | None = None
    correction: float | None = None
    doubt: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    swaps: tuple[str, ...] = ()
    map_disagrees: tuple[str, ...] = ()
    not_found: tuple[str, ...] = ()
    answered_absent: tuple[str, ...] = ()
    work: Work = field(default_factory=Work)


def work_on(entries: Iterable[Recorded]) -> dict[str, Work]:
    """What annotators did, by instance id.

    Args:
        entries: of the journal, in order.
    """
    who: dict[str, dict[str, None]] = {}
    latest: dict[str, tuple[str, tuple[str, ...]]] = {}
    for _, _, entry in entries:
        names = who.setdefault(entry.instance_id, {})
        if entry.annotator:
            names[entry.annotator] = None
        if entry.kind == KEYPOINTS:
            origins = entry.shown.get("origins", {})
            changed = tuple(name for name, what in origins.items() if what == "changed")
            # In the control arm every keypoint is new: none was shown or corrected.
            was_shown = not set(origins.values()).isdisjoint(("untouched", "changed", "removed"))
            version = str(entry.shown.get("model_version", "")) if was_shown else ""
            latest[entry.instance_id] = (version, changed)
    return {id_: Work(tuple(names), *latest.get(id_, ("", ()))) for id_, names in who.items()}


def assess(
    instance: Instance,
    skeleton: Skeleton,
    *,
    prediction: Prediction | None,
    shown: Pose | None,
    human: Pose | None,
    answer: NDArray[np.int8] | None,
    work: Work,
    corrected: Prediction | None = None,
    maps: ResponseMaps | None = None,
) -> Finding:
    """What may need review in one instance.

    Args:
        instance: of the project.
        skeleton: of the project.
        prediction: of the round under review; None before the first round.
        shown: its pre-annotation, see `pre_annotation`.
        human: human keypoints, or None.
        answer: (K,) the visibility answer (-1 unknown, 0 absent, 1 present), or None.
        work: what annotators did.
        corrected: the prediction that `work` started from.
        maps: of the same round as `prediction`.
    """
    if prediction is None or shown is None:
        return Finding(doubt=np.zeros(len(skeleton)), work=work)
    names, side = skeleton.keypoints, instance.box.long_side
    found = prediction.presence > PRESENT
    known = ~np.isnan(prediction.presence)
    nothing: NDArray[np.bool_] = np.zeros(len(skeleton), dtype=bool)
    not_found, answered_absent = nothing, nothing
    if answer is not None:
        not_found, answered_absent = (answer > 0) & ~found & known, (answer == 0) & found
    swaps = _exchanged(skeleton, prediction.pose, human, side)
    disagrees: list[str] = []
    if maps is not None and maps.read.size:
        swaps += _ambiguous(skeleton, prediction.pose, shown, maps)
        disagrees = _far_from_peak(skeleton, prediction.pose, shown, maps, side)
    error = similarity = None
    if human is not None and (both := human.present & prediction.pose.known).any():
        distance = np.linalg.norm(prediction.pose.xy - human.xy, axis=1)[both]
        error = float(distance.mean()) / side
        similarity = float(
            oks(
                prediction.xy[None],
                human.xy[None],
                both[None],
                [instance.area],
                skeleton.sigmas,
            )[0]
        )
    return Finding(
        uncertainty=1.0 - prediction.score,
        error=error,
        oks=similarity,
        correction=_correction(skeleton, human, work, corrected, side),
        doubt=np.where(shown.present, 1.0 - prediction.pose.score, 0.0),
        swaps=tuple(dict.fromkeys(swaps)),
        map_disagrees=tuple(disagrees),
        not_found=_named(names, not_found),
        answered_absent=_named(names, answered_absent),
        work=work,
    )


def _named(names: Sequence[str], mask: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(names[k] for k in np.flatnonzero(mask))


def _correction(
    skeleton: Skeleton, human: Pose | None, work: Work, corrected: Prediction | None, side: float
) -> float | None:
    if human is None or corrected is None:
        return None
    named = np.array(skeleton.columns_in(work.changed)) >= 0
    moved = np.flatnonzero(named & corrected.pose.known & human.known)
    if not len(moved):
        return 0.0
    distance = np.linalg.norm(human.xy[moved] - corrected.pose.xy[moved], axis=1)
    return float(distance.max()) / side


def _pair(skeleton: Skeleton, left: int, right: int) -> str:
    return f"{skeleton.keypoints[left]} / {skeleton.keypoints[right]}"


def _exchanged(skeleton: Skeleton, pose: Pose, human: Pose | None, side: float) -> list[str]:
    """Pairs that are right once left and right are exchanged, and wrong as they are."""
    if human is None:
        return []
    result = []
    for left, right in skeleton.pairs:
        both = [left, right]
        if not (human.present[both].all() and pose.present[both].all()):
            continue
        placed, true = pose.xy[[left, right]], human.xy[[left, right]]
        as_is = np.linalg.norm(placed - true, axis=1)
        exchanged = np.linalg.norm(placed[::-1] - true, axis=1)
        if exchanged.max() <= FAR * side < as_is.max() and exchanged.sum() < as_is.sum():
            result.append(_pair(skeleton, left, right))
    return result


def _cells(xy: NDArray[np.float64], maps: ResponseMaps) -> NDArray[np.int64]:
    """(N, 2) column and row of the cells in which image points lie, at the border if outside."""
    height, width = maps.read.shape[1:]
    cells = np.floor(apply_affine(maps.crop, xy)).astype(np.int64)
    return np.clip(cells, 0, (width - 1, height - 1))


def _ambiguous(skeleton: Skeleton, pose: Pose, shown: Pose, maps: ResponseMaps) -> list[str]:
    """Pairs whose maps also respond strongly at the location of the partner."""
    cells = _cells(pose.xy, maps)
    peak = maps.read.max(axis=(1, 2))

    def at_partner(mine: int, other: int) -> bool:
        column, row = cells[other]
        return bool(peak[mine] > 0 and maps.read[mine, row, column] >= AMBIGUOUS * peak[mine])

    return [
        _pair(skeleton, left, right)
        for left, right in skeleton.pairs
        if shown.present[left]
        and shown.present[right]
        and tuple(cells[left]) != tuple(cells[right])
        and at_partner(left, right)
        and at_partner(right, left)
    ]


def _far_from_peak(
    skeleton: Skeleton, pose: Pose, shown: Pose, maps: ResponseMaps, side: float
) -> list[str]:
    """Shown keypoints whose location is far from the peak of the map they were read from."""
    count, _, width = maps.read.shape
    row, column = np.divmod(maps.read.reshape(count, -1).argmax(axis=1), width)
    centres = np.stack([column, row], axis=1) + 0.5
    peaks = apply_affine(invert_affine(maps.crop), centres)  # (K, 2) image pixels
    far = np.linalg.norm(peaks - pose.xy, axis=1) > FAR * side
    return list(_named(skeleton.keypoints, far & shown.present))
