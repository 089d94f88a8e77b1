"""`labelkit check`: labels that are probably wrong, for a second look; it changes none."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from labelkit.domain.instance import Instance
from labelkit.domain.pose import Pose
from labelkit.domain.prediction import Prediction
from labelkit.domain.skeleton import Skeleton
from labelkit.domain.text import counted, named
from labelkit.errors import UsageError
from labelkit.files.atomic import write_text
from labelkit.metrics.exchanged_parts import find_exchanges
from labelkit.metrics.label_contradictions import (
    against_answer,
    copies,
    duplicates,
    outside_box,
)
from labelkit.metrics.label_errors import FEWEST, JUMP, PAIR_SWAP, WHOLE_SWAP, Labels, find_errors
from labelkit.metrics.table import markdown
from labelkit.project.predictions import find_predictions
from labelkit.project.project import Project
from labelkit.project.rounds import COMPLETE, rounds
from labelkit.report import Report
from labelkit.store.journal import VISIBILITY
from labelkit.store.label_store import LabelStore
from labelkit.workflows.reviewing.items import suspicious_file
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot, read_snapshot

CONTRADICTION, OUTSIDE, DUPLICATE, COPY = EXACT = (
    "contradiction",
    "outside the box",
    "duplicate",
    "copy",
)
EXCHANGE = "exchanged parts"
#: In the order of the table.
KINDS = (WHOLE_SWAP, PAIR_SWAP, EXCHANGE, JUMP, *EXACT)

#: Suspicions that the text lists; JSON lists all.
_LISTED = 20


@dataclass(frozen=True, slots=True)
class Suspect:
    """A label that is probably wrong.

    Attributes:
        instance_id: of the object.
        image: path of its image.
        kind: one of `KINDS`.
        keypoints: names of those concerned; () where all are.
        probability: 0 ... 1 that it is wrong; 1 where labels contradict each other.
        text: in words.
        other: id of the object with which parts are exchanged, or whose keypoints it has; "" if
            there is none.
    """

    instance_id: str
    image: str
    kind: str
    keypoints: tuple[str, ...]
    probability: float
    text: str
    other: str = ""


@dataclass(frozen=True, slots=True)
class CheckReport(Report):
    """What is probably wrong with the labels.

    Attributes:
        checked: objects with human keypoints.
        predicted: those of them on which a prediction that did not learn from them was heard.
        promise: 0 ... 1, the share of swaps, exchanged parts and jumps that is to be right.
        kinds: suspicions by kind.
        suspects: all, most certain first.
        objects: file of their ids, for `labelkit label --objects`.
        note: what was not checked.
    """

    checked: int
    predicted: int
    promise: float
    kinds: Mapping[str, int]
    suspects: tuple[Suspect, ...]
    objects: str
    note: str
    exit_code: int = 0

    def text(self) -> str:
        """For people."""
        lines = [f"{counted(self.checked, 'labelled object')} checked."]
        if self.note:
            lines.append(f"note: {self.note}")
        if not self.suspects:
            return "\n".join([*lines, "Nothing looks wrong."])
        rows = [(kind, str(count)) for kind, count in self.kinds.items() if count]
        lines.append(markdown((("probably wrong", "labels"), *rows)))
        lines += [item.text for item in self.suspects[:_LISTED]]
        if len(self.suspects) > _LISTED:
            lines.append(f"... and {len(self.suspects) - _LISTED} more: labelkit check --json")
        return "\n".join([*lines, f"Look again with: labelkit label --objects {self.objects}"])


def check(project: Project, store: LabelStore, *, promise: float = 0.8) -> CheckReport:
    """Find labels that are probably wrong, and keep their ids for the page and the review.

    Args:
        project: see `open_project`.
        store: its label store.
        promise: 0 ... 1, the share of suspicions of each kind that shall be right. Labels that
            contradict each other are named in any case.

    Raises:
        UsageError: if the promise is out of range.
    """
    if not 0 < promise < 1:
        raise UsageError(
            f"No suspicions of which {promise} are right can be promised.",
            "Give a share: --promise 0.8",
        )
    snapshot = read_snapshot(project, store)
    ids = [id_ for id_, pose in snapshot.poses.items() if pose.present.any()]
    predicted = _independent(project, ids)
    suspects = [*_contradictions(project, store, snapshot)]
    if len(ids) >= FEWEST:
        suspects += _improbable(project, snapshot, ids, predicted, promise)
    suspects.sort(key=lambda item: -item.probability)
    objects = suspicious_file(project)
    named_ids = (id_ for item in suspects for id_ in (item.instance_id, item.other) if id_)
    write_text(objects, "".join(f"{id_}\n" for id_ in dict.fromkeys(named_ids)))
    counts = Counter(item.kind for item in suspects)
    few = f"With fewer than {FEWEST} labelled objects, swaps and jumps are not checked."
    return CheckReport(
        checked=len(ids),
        predicted=len({id_ for found in predicted for id_ in found}),
        promise=promise,
        kinds={kind: counts[kind] for kind in KINDS},
        suspects=tuple(suspects),
        objects=str(objects),
        note=few if len(ids) < FEWEST else "",
    )


def _independent(project: Project, ids: list[str]) -> list[dict[str, Prediction]]:
    """Predictions that did not learn from the label of their object, by object, of each predictor.

    All of labelkit's rounds are one predictor, of which the newest such prediction counts; each
    foreign model is another.
    """
    found: dict[str, dict[str, Prediction]] = {}
    for item in rounds(project):
        if item.status != COMPLETE:
            continue
        name = str(item.plan.settings["name"]) if item.plan.is_foreign else ""
        unseen = set(ids).difference(item.plan.labelled)
        path = item.path / "predictions.parquet"
        found.setdefault(name, {}).update(find_predictions(path, project.skeleton, unseen))
    return [predictions for predictions in found.values() if predictions]


def _improbable(
    project: Project,
    snapshot: LabelSnapshot,
    ids: list[str],
    predicted: list[dict[str, Prediction]],
    promise: float,
) -> Iterator[Suspect]:
    """Exchanged sides and parts, and misplaced keypoints."""
    instances, skeleton = [snapshot.instances[id_] for id_ in ids], project.skeleton
    poses = [snapshot.poses[id_] for id_ in ids]
    labels = labels_of(skeleton, instances, poses, predicted)
    explained: set[tuple[int, tuple[int, ...]]] = set()
    frames = frames_of(instances)
    pairs = _neighbours(instances, frames)
    for found in find_exchanges(labels, frames, pairs, promise, project.seed):
        explained |= {(row, (k,)) for row in found.rows for k in found.keypoints}
        names = tuple(skeleton.keypoints[k] for k in found.keypoints)
        one, two = (instances[row] for row in found.rows)
        text = f"{named(names)} of {_name(one)} and {_name(two)} are probably exchanged"
        text += f" ({found.wrong:.0%})"
        yield Suspect(one.id, one.image.path, EXCHANGE, names, found.wrong, text, two.id)
    for item in find_errors(labels, promise, project.seed):
        if (item.row, item.keypoints) in explained:
            continue
        names = tuple(skeleton.keypoints[k] for k in item.keypoints)
        where = _name(instances[item.row])
        if item.kind == WHOLE_SWAP:
            text, names = f"left and right of {where} are probably exchanged", ()
        elif item.kind == PAIR_SWAP:
            text = f"{names[0]} and {names[1]} of {where} are probably exchanged"
        else:
            text = f"{names[0]} of {where} is probably in the wrong place"
        text += f" ({item.wrong:.0%})"
        instance = instances[item.row]
        yield Suspect(instance.id, instance.image.path, item.kind, names, item.wrong, text)


def labels_of(
    skeleton: Skeleton,
    instances: list[Instance],
    poses: list[Pose],
    predicted: list[dict[str, Prediction]],
) -> Labels:
    """Labels and predictions in the frames of their boxes.

    Args:
        skeleton: of the project.
        instances: N objects.
        poses: their labels.
        predicted: predictions by object, of each predictor.
    """
    frames = frames_of(instances)
    middle, side = frames[:, :2], frames[:, 2]
    shape = (len(predicted), len(poses), len(skeleton))
    xy, places, scores = (
        np.full((*shape[1:], 2), np.nan),
        np.full((*shape, 2), np.nan),
        np.zeros(shape),
    )
    for row, pose in enumerate(poses):
        xy[row] = np.where(pose.present[:, None], pose.xy, np.nan)
    for number, found in enumerate(predicted):
        for row, instance in enumerate(instances):
            if (prediction := found.get(instance.id)) is not None:
                places[number, row] = prediction.xy
                scores[number, row] = prediction.pose.score

    def framed(values: np.ndarray) -> np.ndarray:
        return (values - middle[:, None]) / side[:, None, None]

    return Labels(framed(xy), framed(places), scores, skeleton.pairs)


def frames_of(instances: list[Instance]) -> np.ndarray:
    """(N, 3) middle of each box, x and y, and its long side, in pixels."""
    boxes = np.array([instance.box for instance in instances])
    return np.column_stack([boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:].max(axis=1)])


def _neighbours(instances: list[Instance], frames: np.ndarray) -> np.ndarray:
    """(E, 2) rows of objects of one image that are no farther apart than they are long."""
    of_image: dict[str, list[int]] = defaultdict(list)
    for row, instance in enumerate(instances):
        of_image[instance.image.id].append(row)
    near = (pair for rows in of_image.values() for pair in combinations(rows, 2))
    pairs = np.array(list(near), dtype=int).reshape(-1, 2)
    one, two = frames[pairs[:, 0]], frames[pairs[:, 1]]
    apart = np.linalg.norm(one[:, :2] - two[:, :2], axis=1)
    return pairs[apart <= one[:, 2] + two[:, 2]]


def _contradictions(
    project: Project, store: LabelStore, snapshot: LabelSnapshot
) -> Iterator[Suspect]:
    """What cannot be right, whatever other labels look like."""
    names, instances, poses = project.skeleton.keypoints, snapshot.instances, snapshot.poses

    def suspect(
        id_: str, kind: str, keypoints: tuple[str, ...], text: str, other: str = ""
    ) -> Suspect:
        return Suspect(id_, instances[id_].image.path, kind, keypoints, 1.0, text, other)

    for answer in store.latest((VISIBILITY,)):
        if (id_ := answer.instance_id) not in poses:
            continue
        for name in against_answer(poses[id_], answer.content, names):
            seen = (
                "seen, and is labelled as absent"
                if answer.content[name]
                else ("not seen, and is labelled as visible")
            )
            where = _name(instances[id_])
            yield suspect(id_, CONTRADICTION, (name,), f"{name} of {where} was answered as {seen}")
    for id_, pose in poses.items():
        for k, pixels in enumerate(outside_box(pose, instances[id_]).tolist()):
            if pixels:
                text = f"{names[k]} of {_name(instances[id_])} lies {pixels:.0f} px outside its box"
                yield suspect(id_, OUTSIDE, (names[k],), text)
    for id_, other in duplicates(poses, instances):
        text = f"{_name(instances[id_])} has nearly the keypoints of {_name(instances[other])}"
        yield suspect(id_, DUPLICATE, (), text, other)
    for id_, other in copies(poses, instances):
        text = f"{_name(instances[id_])} has exactly the keypoints of {_name(instances[other])}"
        yield suspect(id_, COPY, (), text, other)


def _name(instance: Instance) -> str:
    return f"{instance.image.path}#{instance.ordinal}"
