"""What human time buys: the accuracy of the labels delivered, after each answer of a project.

Delivered are the human keypoints of an object, or else what the newest round predicts of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from labelkit.domain.instance import Instance
from labelkit.domain.pose import Pose
from labelkit.project.predictions import read_predictions
from labelkit.project.project import Project
from labelkit.project.rounds import COMPLETE, rounds
from labelkit.store.journal import KEYPOINTS, VISIBILITY, pose_of
from labelkit.store.label_store import LabelStore

#: A delivered keypoint is right within this share of the box's long side.
RIGHT_WITHIN = 0.1

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """A project that was played: T answers about N objects, and R rounds.

    Attributes:
        present: (N,) keypoints of each object that have a location.
        objects: (T,) the object of each answer, in order.
        seconds, clicks, ticks: (T,) what each answer cost; clicks include drags, ticks are the
            visibility answers that it gave.
        labelled: (T,) how many keypoints are right in the label that it gave; -1 for a visibility
            answer.
        rounds: (R,) how many answers there were when each round began.
        predicted: (R, N) how many keypoints are right in what each round predicts.
    """

    present: Places
    objects: Places
    seconds: Floats
    clicks: Floats
    ticks: Floats
    labelled: Places
    rounds: Places
    predicted: Places


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """What was reached, and what it had cost: (T + 1,) each, before the first answer and after all.

    Attributes:
        accuracy: 0 ... 1, share of keypoints that are right in the labels delivered (PCK@0.1).
        minutes, clicks, ticks: until then.
    """

    accuracy: Floats
    minutes: Floats
    clicks: Floats
    ticks: Floats

    def first(self, accuracy: float, cost: Floats) -> float:
        """What had been paid when an accuracy was first reached; NaN if it never was."""
        there = np.flatnonzero(self.accuracy >= accuracy)
        return float(cost[there[0]]) if len(there) else float("nan")

    def at(self, minutes: float) -> float:
        """The accuracy after so many minutes."""
        return float(self.accuracy[np.searchsorted(self.minutes, minutes, "right") - 1])


def read_history(
    project: Project,
    store: LabelStore,
    instances: Mapping[str, Instance],
    truth: Mapping[str, Pose],
) -> History:
    """The history of a project, from its journal and its rounds.

    Args:
        project: that was played.
        store: its label store.
        instances, truth: by instance id.
    """
    ids = list(instances)
    place = {id_: n for n, id_ in enumerate(ids)}
    entries = [it for it in store.entries() if it.entry.kind in (KEYPOINTS, VISIBILITY)]
    answers = [it.entry for it in entries]
    efforts = [entry.shown["effort"] for entry in answers]
    seqs = np.array([it.seq for it in entries])
    done = [item for item in rounds(project) if item.status == COMPLETE]

    def right(id_: str, pose: Pose) -> int:
        true = truth[id_]
        off = np.linalg.norm(pose.xy - true.xy, axis=1)
        near = off <= RIGHT_WITHIN * instances[id_].box.long_side
        return int((near & true.present & pose.present).sum())

    predicted = np.zeros((len(done), len(ids)), dtype=np.int64)
    for number, found in enumerate(done):
        shown = read_predictions(found.path / "predictions.parquet", project.skeleton)
        for id_, prediction in shown.items():
            predicted[number, place[id_]] = right(id_, prediction.pose)
    return History(
        np.array([int(truth[id_].present.sum()) for id_ in ids]),
        np.array([place[entry.instance_id] for entry in answers], dtype=np.int64),
        np.array([effort["attention_s"] for effort in efforts]),
        np.array([effort["clicks"] + effort["drags"] for effort in efforts], dtype=float)
        * np.array([entry.kind == KEYPOINTS for entry in answers]),
        np.array([len(e.content) if e.kind == VISIBILITY else 0 for e in answers], dtype=float),
        np.array(
            [
                right(e.instance_id, pose_of([e], project.skeleton)) if e.kind == KEYPOINTS else -1
                for e in answers
            ],
            dtype=np.int64,
        ),
        np.array([int((seqs <= it.plan.journal_head).sum()) for it in done], dtype=np.int64),
        predicted,
    )


def curve(history: History, weight: Floats) -> Curve:
    """The curve of a project in which each object counts so many times.

    Args:
        history: of the project.
        weight: (N,) how often each object counts; ones for the project as it is. Costs are scaled
            to as many objects as there are.
    """
    scale = len(weight) / weight.sum()
    total = float((weight * history.present).sum())
    human = np.full(len(weight), -1, dtype=np.int64)  # right keypoints of each label
    shown = np.zeros(len(weight), dtype=np.int64)  # of the newest round's predictions
    right = np.zeros(len(history.objects) + 1)
    starts = [0, *history.rounds.tolist(), len(history.objects)]
    for number, (start, end) in enumerate(pairwise(starts)):
        if number:
            shown = history.predicted[number - 1]
        right[start] = (weight * np.where(human >= 0, human, shown)).sum()
        objects, labelled = history.objects[start:end], history.labelled[start:end]
        gain = np.zeros(end - start)
        for turn, (item, new) in enumerate(zip(objects, labelled, strict=True)):
            if new >= 0:
                gain[turn] = weight[item] * (
                    new - (human[item] if human[item] >= 0 else shown[item])
                )
                human[item] = new
        right[start + 1 : end + 1] = right[start] + np.cumsum(gain)

    def paid(cost: Floats) -> Floats:
        return scale * np.concatenate([[0.0], np.cumsum(cost * weight[history.objects])])

    return Curve(
        right / total, paid(history.seconds / 60), paid(history.clicks), paid(history.ticks)
    )


class Draw(NamedTuple):
    """One draw of a bootstrap.

    Attributes:
        seeds: (S,) of the S seeds, those that were drawn; one may come several times.
        weight: (N,) how often each object was drawn.
    """

    seeds: Sequence[int]
    weight: Floats


def resampled(histories: Sequence[History], draws: int) -> list[Draw]:
    """Draws of a bootstrap: seeds and objects.

    They are the same for every arm, because what is the same for all arms is no difference between
    them.

    Args:
        histories: of one arm, one for each seed.
        draws: how many.
    """
    rng, count, size = np.random.default_rng(0), len(histories), len(histories[0].present)
    result = []
    for _ in range(draws):
        seeds = rng.integers(count, size=count).tolist()
        objects = np.bincount(rng.integers(size, size=size), minlength=size)
        result.append(Draw(seeds, objects.astype(float)))
    return result
