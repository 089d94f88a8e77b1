"""Rounds of another model's predictions, brought to the project's keypoints.

Such a round keeps the poses as the file has them (`RAW`) beside the predictions that came of them.
A complete round never changes, so an adapter that is learned again makes a new round. The two share
the file of poses by a hard link, where the disk can. Where a network's round serves the poses, that
round is repeated too, with the new ones.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from labelkit.domain.adapter import learn_adapter, sizes
from labelkit.domain.pose import UNKNOWN, VISIBLE, Pose
from labelkit.domain.prediction import Prediction, nothing_found
from labelkit.domain.selection import stable_order
from labelkit.domain.skeleton import Skeleton, make_skeleton
from labelkit.files.atomic import write_json
from labelkit.files.parquet import parts
from labelkit.project.following import LEFT_OUT
from labelkit.project.predictions import iter_predictions, read_predictions, write_predictions
from labelkit.project.project import Project
from labelkit.project.rounds import (
    COMPLETE,
    FOREIGN,
    LABELLED_FILE,
    ROUND_FILE,
    Round,
    RoundPlan,
    add_round,
    latest_complete,
    next_round_number,
    rounds,
)
from labelkit.store.label_store import LabelStore
from labelkit.workflows.rounds.gain import TOLERANCE
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot, read_snapshot
from labelkit.workflows.rounds.run_round import measure
from labelkit.workflows.rounds.served import DECISIVE, as_served, name_of, served

RAW = "foreign.parquet"

#: An adapter learns from at most so many objects: more hardly improve it, and take seconds.
MOST = 500

#: It is learned again when it could learn from so many times as many objects.
MORE = 1.1


class Adapted(NamedTuple):
    """Predictions of another model with the project's keypoints.

    Attributes:
        predictions: by instance id, of the objects that the model has posed.
        learned_from: ids of the labelled objects that the adapter learned from; none where every
            keypoint has its namesake.
        keypoints: of each keypoint of the project: "start", its namesake or the foreign keypoint
            that it is learned from; "error", the median distance to the label of an object that was
            left out of learning, in long sides of the box; "reached", whether the foreign
            keypoints tell where it is. None where it is not known.
        left_out: predictions of the objects learned from, by adapters that had not.
    """

    predictions: dict[str, Prediction]
    learned_from: tuple[str, ...]
    keypoints: dict[str, dict[str, Any]]
    left_out: Mapping[str, Prediction]


def foreign_round(
    project: Project,
    store: LabelStore,
    name: str,
    file: str,
    theirs: Skeleton,
    raw: Mapping[str, Prediction],
) -> tuple[Round, bool]:
    """The round of a file's predictions: the one that holds them already, or a new one.

    Args:
        project: see `open_project`.
        store: its label store.
        name: of the model.
        file: name of the file.
        theirs: skeleton of the file.
        raw: its poses by instance id.

    Returns:
        the round, and whether it is new.

    Raises:
        ProjectError: if a round is unfinished.
    """

    def keep(path: Path) -> None:
        write_predictions(path, raw.values(), theirs)

    return _round(project, store, {"name": name, "file": file}, theirs, raw, keep)


def learn_again(project: Project, store: LabelStore) -> Round | None:
    """A new round of the foreign poses that annotators get, if there is more to learn from.

    They get those of the newest round, or those that it serves because its network is worse. Then
    a last round has the same network, and serves the new poses.

    Returns:
        the foreign round; None if there is nothing new.
    """
    newest = latest_complete(project)
    source = _source(project, newest) if newest else None
    if newest is None or source is None:
        return None
    theirs, poses = skeleton_of_round(source), source.path / RAW
    raw = read_predictions(poses, theirs)
    now = len(_teachers(read_snapshot(project, store), raw, project.seed))
    if _has(source, project.skeleton) and now < MORE * len(source.plan.labelled) + (
        not source.plan.labelled
    ):
        return None
    settings = {key: source.plan.settings[key] for key in ("name", "file")}
    found, is_new = _round(project, store, settings, theirs, raw, lambda to: _link(poses, to))
    if is_new and newest.plan.number != source.plan.number:
        _serve(project, newest, found, read_snapshot(project, store))
    return found if is_new else None


def _source(project: Project, found: Round) -> Round | None:
    """The foreign round whose poses a round serves; None where they are not foreign."""
    earlier = {name_of(item): item for item in rounds(project)}
    at: Round | None = found
    while at is not None and not at.plan.is_foreign:
        at = earlier.get(served(at))
    return at


def _serve(project: Project, network: Round, poses: Round, snapshot: LabelSnapshot) -> None:
    """A round of the same network that serves the poses of a newer foreign round.

    What the model has not found keeps the network's locations.
    """
    skeleton, name = project.skeleton, name_of(poses)
    new = read_predictions(poses.path / "predictions.parquet", skeleton)

    def merged(part: Path) -> Iterator[Prediction]:
        for row in iter_predictions(part, skeleton):
            if (id_ := row.instance_id) in snapshot.instances:
                row = as_served(row, snapshot.instances[id_], skeleton, name, new[id_])
            yield row

    predictions = parts(network.path / "predictions.parquet")
    rows = (row for part in predictions for row in merged(part))
    on_dev = {id_: new[id_] for id_ in snapshot.dev}  # of what came later there is no other yet
    on_dev |= {row.instance_id: row for row in rows if row.instance_id in on_dev}
    score = measure(snapshot, on_dev, skeleton)[DECISIVE]
    own = {*predictions, *(network.path / name for name in (ROUND_FILE, LABELLED_FILE))}

    def fill(folder: Path) -> None:
        for file in network.path.rglob("*"):
            if file.is_file() and file not in own:
                _link(file, folder / file.relative_to(network.path))
        for part in predictions:
            write_predictions(folder / part.name, merged(part), skeleton)

    plan = replace(network.plan, number=next_round_number(project))
    facts = {**network.facts, "serves": name, "earlier": {DECISIVE: score}}
    add_round(project, plan, facts, fill)


def skeleton_of_round(found: Round) -> Skeleton:
    """The skeleton of a foreign round's file."""
    settings = found.plan.settings
    return make_skeleton(settings["name"], settings["keypoints"])


def adapt(
    raw: Mapping[str, Prediction],
    theirs: Skeleton,
    ours: Skeleton,
    snapshot: LabelSnapshot,
    seed: int,
) -> Adapted:
    """Another model's predictions with the project's keypoints.

    Where all of these have namesakes, they are taken as they are. Otherwise an adapter is learned
    from the labelled objects that the model has posed, without the dev set; with no such object,
    only namesakes are taken. A keypoint has the score of the foreign one at which it starts, times
    the probability that it lies within `TOLERANCE` of the box's long side, if errors are Rayleigh
    distributed with the adapter's median: 1 - 2 ** -(tolerance / median) ** 2.

    Args:
        raw: by instance id, with the keypoints of `theirs`.
        theirs, ours: skeletons of the model and of the project.
        snapshot: the labels.
        seed: of the project.
    """
    columns = np.array(ours.columns_in(theirs.keypoints))
    teachers = () if (columns >= 0).all() else _teachers(snapshot, raw, seed)
    if not teachers:
        names = [theirs.keypoints[at] if at >= 0 else None for at in columns]
        table = [{"start": name, "error": None, "reached": name is not None} for name in names]
        found = {id_: item.take(columns) for id_, item in raw.items()}
        return Adapted(found, (), dict(zip(ours.keypoints, table, strict=True)), {})
    labels = [snapshot.poses[id_] for id_ in teachers]
    adapter = learn_adapter(
        np.stack([raw[id_].xy for id_ in teachers]),
        np.stack([np.where(pose.present[:, None], pose.xy, np.nan) for pose in labels]),
        [ours.present_name(name) for name in theirs.keypoints],
        ours.keypoints,
    )
    ids = [id_ for id_ in raw if id_ in snapshot.instances]
    foreign = np.stack([raw[id_].xy for id_ in ids])
    long_side = np.array([snapshot.instances[id_].box.long_side for id_ in ids])
    share = sizes(foreign) / long_side  # of a pose's size, in long sides of its box
    error = share[:, None] * adapter.error  # (N, K)
    with np.errstate(divide="ignore", invalid="ignore"):
        near = np.where(np.isnan(error), 1.0, 1 - 2.0 ** -((TOLERANCE / error) ** 2))
    found = {
        id_: _prediction(raw[id_], xy, chance, adapter.start)
        for id_, xy, chance in zip(ids, adapter(foreign), near, strict=True)
    }
    typical = float(np.nanmedian(share)) * adapter.error
    table = [
        {
            "start": theirs.keypoints[start] if start >= 0 else None,
            "error": None if np.isnan(miss) else float(miss),
            "reached": bool(reached),
        }
        for start, miss, reached in zip(adapter.start, typical, adapter.reached, strict=True)
    ]
    certain = np.ones(len(ours))
    left_out = {
        id_: _prediction(raw[id_], xy, certain, adapter.start)
        for id_, xy in zip(teachers, adapter.left_out, strict=True)
    }
    return Adapted(found, teachers, dict(zip(ours.keypoints, table, strict=True)), left_out)


def _prediction(raw: Prediction, xy: np.ndarray, near: np.ndarray, start: np.ndarray) -> Prediction:
    there = np.isfinite(xy).all(axis=1)
    score = np.where(there, raw.pose.score[start] * near, 0.0)
    presence = np.where(start >= 0, raw.presence[start], np.nan)
    pose = Pose(np.where(there[:, None], xy, 0.0), np.where(there, VISIBLE, UNKNOWN), score)
    shown = there & (presence > 0.5)
    shown = shown if shown.any() else there
    return Prediction(
        raw.instance_id, pose, presence, float(score[shown].mean()) if shown.any() else 0.0
    )


def _teachers(snapshot: LabelSnapshot, raw: Mapping[str, Prediction], seed: int) -> tuple[str, ...]:
    """Ids of objects that an adapter learns from, in nested order: labelled, posed, not in dev."""
    known = [id_ for id_ in snapshot.trainable if id_ in raw and raw[id_].pose.present.any()]
    return stable_order(known, seed)[:MOST]


def _round(
    project: Project,
    store: LabelStore,
    settings: Mapping[str, Any],
    theirs: Skeleton,
    raw: Mapping[str, Prediction],
    keep: Callable[[Path], object],
) -> tuple[Round, bool]:
    snapshot, ours = read_snapshot(project, store), project.skeleton
    adapted = adapt(raw, theirs, ours, snapshot, project.seed)
    rows = {
        id_: adapted.predictions.get(id_) or nothing_found(id_, len(ours))
        for id_ in snapshot.instances
    }
    before = _newest_of(project, settings["name"])
    if before is not None and _holds(before, rows, ours):
        return before, False
    plan = RoundPlan(
        number=next_round_number(project),
        kind=FOREIGN,
        labelled=adapted.learned_from,
        labelled_share=len(adapted.learned_from) / len(snapshot.instances),
        journal_head=store.head(),
        settings={**settings, "keypoints": list(theirs.keypoints)},
        seed=project.seed,
    )
    facts = {
        "dev": measure(snapshot, rows, ours),
        "keypoints": adapted.keypoints,
        "found": len(adapted.predictions),
    }

    def fill(folder: Path) -> None:
        keep(folder / RAW)
        write_predictions(folder / "predictions.parquet", rows.values(), ours)
        if adapted.left_out:
            write_predictions(folder / LEFT_OUT, adapted.left_out.values(), ours)
        write_json(folder / "metrics.json", facts["dev"])

    return add_round(project, plan, facts, fill), True


def _newest_of(project: Project, name: str) -> Round | None:
    """The newest complete round of a model's predictions."""
    complete = (item for item in reversed(rounds(project)) if item.status == COMPLETE)
    mine = (item for item in complete if item.plan.is_foreign)
    return next((item for item in mine if item.plan.settings["name"] == name), None)


def _holds(found: Round, rows: Mapping[str, Prediction], ours: Skeleton) -> bool:
    """Whether a round holds the same predictions."""
    if not _has(found, ours):
        return False
    held = read_predictions(found.path / "predictions.parquet", ours)
    return held.keys() == rows.keys() and all(_equal(held[id_], rows[id_]) for id_ in rows)


def _has(found: Round, ours: Skeleton) -> bool:
    """Whether a round was made for the keypoints that the project has now."""
    return {ours.present_name(name) for name in found.facts["keypoints"]} == set(ours.keypoints)


def _equal(one: Prediction, other: Prediction) -> bool:
    return one.pose == other.pose and one.score == other.score


def _link(file: Path, to: Path) -> None:
    """The same file in another place, which takes no room where the disk has hard links."""
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file, to)
    except OSError:
        shutil.copyfile(file, to)
