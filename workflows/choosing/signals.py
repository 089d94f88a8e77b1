"""What a round says of each object: how uncertain it is, and what it looks like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelkit.domain.pose import ABSENT
from labelkit.project.features import FEATURES_FILE, LENGTH, iter_features, projected
from labelkit.project.preannotation import PRESENT
from labelkit.project.predictions import PredictionTable, iter_tables
from labelkit.project.project import Project
from labelkit.project.rounds import Round
from labelkit.project.video_frames import frames_of_videos
from labelkit.store.columns import Objects as StoredObjects
from labelkit.store.columns import Poses
from labelkit.store.ids import as_bytes
from labelkit.workflows.choosing.strategies import Objects

#: What raises the uncertainty of an object. Of each, its rank among all objects counts, and their
#: mean is the uncertainty. The confidence is read off maps that are averaged over the views of an
#: object, so views that disagree lower it.
DOUBTS = {
    "spread": "its maps single out no place",
    "presence": "whether its keypoints are there is open",
    "contradiction": "keypoints that are said to be absent have a clear place",
    "disagreement": "the newest two rounds place its keypoints differently",
}

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Signals:
    """A round's view of the project's N objects.

    Attributes:
        objects: what strategies know of them.
        doubts: (N,) rank of each object by each of `DOUBTS`, 0 least ... 1 most; those that the
            round can tell.
        least: (N,) index of the present keypoint it is least certain of, -1 for none.
        compared: "features" or "poses", what tells which objects look alike; "" if nothing does.
    """

    objects: Objects
    doubts: Mapping[str, Floats]
    least: NDArray[np.int64]
    compared: str


def read_signals(
    project: Project,
    rounds: Sequence[Round],
    instances: StoredObjects,
    poses: Poses,
) -> Signals:
    """Read what the newest round says of the project's objects, in one pass over its predictions.

    Args:
        project: of the rounds.
        rounds: the complete ones; without any, all objects are alike.
        instances: of the project, by id.
        poses: human keypoints by instance id, which tell how often each keypoint is labelled.
    """
    stored = instances.columns
    count = len(stored.ids)
    numbers = {name: np.full(count, np.nan, np.float32) for name in (*DOUBTS, "rarity")}
    least = np.full(count, -1, dtype=np.int64)
    alike = np.zeros((count, LENGTH), dtype=np.float16)
    predicted = np.zeros(count, dtype=bool)
    rare = _rarity(poses)
    earlier = _Poses(project, rounds[-2:-1])
    for table in _tables(project, rounds[-1:]):
        places = stored.ids.places(as_bytes(table.ids))
        known, at = np.flatnonzero(places >= 0), places[places >= 0]
        before = earlier.of([table.ids[row] for row in known])
        values, least[at], pose = _numbers(table, known, stored.boxes[at], before, rare)
        for name, value in values.items():
            numbers[name][at] = value
        alike[at], predicted[at] = projected(pose), True
    compared = "poses" if predicted.any() else ""
    if rounds and predicted.any():
        features = np.full_like(alike, np.nan)
        for found, vectors in iter_features(rounds[-1].path / FEATURES_FILE):
            at = stored.ids.places(as_bytes(found))
            features[at[at >= 0]] = vectors[at >= 0]
        if not (np.isnan(features).any(axis=1) & predicted).any():
            np.copyto(alike, features, where=predicted[:, None])
            compared = "features"
    doubts = {name: _rank(numbers[name]) for name in DOUBTS if np.isfinite(numbers[name]).any()}
    doubtful = np.mean([*doubts.values()], axis=0) if doubts else np.full(count, 0.5)
    used, image = np.unique(stored.images, return_inverse=True)
    video, seconds = _videos(project, stored.paths[used])
    objects = Objects(
        stored.ids,
        doubtful.astype(np.float32),
        np.nan_to_num(numbers["rarity"]),
        alike,
        image,
        video[image],
        seconds[image],
    )
    return Signals(objects, doubts, least, compared)


def _numbers(
    table: PredictionTable, rows: NDArray[np.intp], boxes: Doubles, earlier: Doubles, rare: Floats
) -> tuple[dict[str, Doubles], NDArray[np.int64], Doubles]:
    """Of B rows: signals, least certain keypoints, and (B, 2 K) poses in their boxes."""
    xy, score, presence = table.xy[rows], table.keypoint_score[rows], table.presence[rows]
    known = np.isfinite(xy[..., 0])
    there = np.where(np.isnan(presence), 1.0, presence)
    present = known & (there > PRESENT)
    in_box = (xy - boxes[:, None, :2]) / boxes[:, None, 2:]
    moved = np.linalg.norm(xy - earlier, axis=2) / boxes[:, 2:].max(axis=1)[:, None]
    doubtful = np.where(present, score, np.inf)
    signals = {
        "spread": 1 - table.score[rows],
        "presence": _mean(1 - np.abs(2 * presence - 1), known),
        "contradiction": _mean(np.maximum(score - presence, 0), known),
        "disagreement": _mean(np.minimum(moved, 1), present),
        "rarity": np.where(present, rare, 0).max(axis=1),
    }
    pose = np.clip(np.nan_to_num(in_box, nan=0.5), -0.5, 1.5).reshape(len(rows), -1)
    return signals, np.where(present.any(axis=1), doubtful.argmin(axis=1), -1), pose


def _mean(values: Doubles, counted: NDArray[np.bool_]) -> Doubles:
    """(B,) means of (B, K) values that count and are known; NaN where there are none."""
    counted = counted & np.isfinite(values)
    total = np.where(counted, values, 0).sum(axis=1)
    return np.where(counted.any(axis=1), total / np.maximum(counted.sum(axis=1), 1), np.nan)


def _rank(values: Floats) -> Floats:
    """0 least ... 1 most; equal values have one rank, unknown ones the middle."""
    known = np.isfinite(values)
    _, number, count = np.unique(values[known], return_inverse=True, return_counts=True)
    middle = np.cumsum(count) - (count + 1) / 2  # mean place of equal values
    rank = np.full(len(values), 0.5, dtype=np.float32)
    rank[known] = (middle / max(known.sum() - 1, 1))[number]
    return rank


def _rarity(poses: Poses) -> Floats:
    """(K,) 0 labelled as often as any keypoint ... 1 never."""
    count = (poses.in_order[..., 2] > ABSENT).sum(axis=0)
    return (1 - count / max(count.max(), 1)).astype(np.float32)


def _tables(project: Project, rounds: Sequence[Round]) -> Iterator[PredictionTable]:
    for found in rounds:
        yield from iter_tables(found.path / "predictions.parquet", project.skeleton)


class _Poses:
    """The poses of at most one round, asked for in about the order in which it has them."""

    def __init__(self, project: Project, rounds: Sequence[Round]) -> None:
        self._unknown = np.full((len(project.skeleton), 2), np.nan)
        self._tables = _tables(project, rounds)
        self._ahead: dict[str, Doubles] = {}

    def of(self, ids: Sequence[str]) -> Doubles:
        """(B, K, 2) of some objects, NaN where the round has none."""
        missing = set(ids) - self._ahead.keys()
        while missing and (table := next(self._tables, None)) is not None:
            self._ahead.update(zip(table.ids, table.xy, strict=True))
            missing.difference_update(table.ids)
        found = [self._ahead.pop(id_, self._unknown) for id_ in ids]
        return np.array(found).reshape(-1, *self._unknown.shape)


def _videos(project: Project, paths: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(N,) numbers of the videos of images, -1 for none, and the seconds of each."""
    frames = frames_of_videos(project.images_root, paths)
    video = np.full(len(paths), -1, dtype=np.int64)
    seconds = np.zeros(len(paths))
    numbers: dict[str, int] = {}
    for place, path in enumerate(paths):
        if path in frames:
            name, seconds[place] = frames[path]
            video[place] = numbers.setdefault(name, len(numbers))
    return video, seconds
