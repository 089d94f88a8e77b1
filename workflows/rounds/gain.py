"""What the last round gained: on the dev set, or of ticks against the skeleton in the box."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelkit.domain.instance import Instance
from labelkit.domain.pose import Pose
from labelkit.domain.pose_priors import skeleton_in_box
from labelkit.domain.prediction import Prediction, prior_predictions
from labelkit.domain.selection import stable_order
from labelkit.files.noted import conclude
from labelkit.files.parquet import parts
from labelkit.metrics.referee import mean_interval
from labelkit.metrics.table import THRESHOLDS, reference_lengths
from labelkit.project.predictions import find_predictions
from labelkit.project.project import Project
from labelkit.project.rounds import COMPLETE, Round, rounds
from labelkit.store.ids import Ids, among
from labelkit.workflows.rounds.label_snapshot import MANY, LabelSnapshot
from labelkit.workflows.rounds.served import COMPARABLE, name_of, served

#: A difference counts from so many standard errors on.
CLEAR = 2.0

#: A keypoint within this share of the box's long side hardly needs a correction.
TOLERANCE = 0.1

#: What was told last in a project of many instances, in the project's folder.
GAIN_FILE = "gain.cache"

#: Whether ticks paid is told by at most so many labelled objects, drawn at random.
ENOUGH = 2000


@dataclass(frozen=True, slots=True)
class Gain:
    """How much one PCK changed between two rounds.

    Attributes:
        threshold: of the PCK, in reference lengths.
        difference: of the later round from the earlier one, -1 ... 1.
        standard_error: of the difference, over objects.
        objects: of the dev set that both were scored on.
    """

    threshold: float
    difference: float
    standard_error: float
    objects: int

    @property
    def is_clear(self) -> bool:
        """Whether the difference exceeds its uncertainty."""
        return abs(self.difference) > CLEAR * self.standard_error


def gain_between(
    before: Mapping[str, Prediction],
    after: Mapping[str, Prediction],
    truth: Mapping[str, Pose],
    instances: Mapping[str, Instance],
) -> Gain | None:
    """The change of the finest PCK that changed clearly; of the coarsest where none did.

    Args:
        before, after: predictions of two rounds by instance id.
        truth: human poses of the dev set by instance id; those that both rounds predicted count.
        instances: by id.

    Returns:
        None with fewer than two objects: their spread is unknown.
    """
    ids = [
        item
        for item, pose in truth.items()
        if item in before and item in after and pose.present.any()
    ]
    if len(ids) < 2:
        return None
    length, _ = reference_lengths([truth[item] for item in ids], [instances[i] for i in ids])
    count = np.array([truth[item].present.sum() for item in ids])
    errors = [_errors(found, truth, ids) / length[:, None] for found in (before, after)]
    found = []
    for threshold in THRESHOLDS:
        hits = [(error <= threshold).sum(axis=1) for error in errors]
        change = hits[1] - hits[0]
        difference = float(change.sum() / count.sum())
        spread = np.square(change - difference * count).sum() * len(ids) / (len(ids) - 1)
        found.append(Gain(threshold, difference, math.sqrt(spread) / float(count.sum()), len(ids)))
    return next((gain for gain in found if gain.is_clear), found[-1])


def _errors(
    predictions: Mapping[str, Prediction], truth: Mapping[str, Pose], ids: Sequence[str]
) -> NDArray[np.float64]:
    """(N, K) pixels, infinite where the keypoint is absent."""
    xy = np.stack([predictions[item].xy - truth[item].xy for item in ids])
    present = np.stack([truth[item].present for item in ids])
    return np.where(present, np.linalg.norm(xy, axis=2), np.inf)


def advice(project: Project, snapshot: LabelSnapshot) -> str:
    """Whether more corrections pay, by the last two networks; "" where that cannot be measured.

    Of a single network that learned from ticks alone: whether those paid.
    """
    complete = [item for item in rounds(project) if item.status == COMPLETE]
    done = [item for item in complete if not item.plan.is_foreign][-2:]
    labelled = Ids.of(snapshot.poses)
    if len(done) == 1 and not done[0].plan.labelled:
        ids, tell = [*stable_order(labelled, project.seed)[:ENOUGH]], _worth_of_ticks
    elif len(done) < 2 or served(done[1]) == name_of(done[0]):
        return ""
    else:
        ids, tell = [*Ids(labelled.array[among(labelled, snapshot.dev)])], _last_gain
    truth = snapshot.poses.some(ids)
    if len(truth) < COMPARABLE:
        return ""
    instances = snapshot.instances.some(ids)
    if len(snapshot.instances) < MANY:
        return tell(project, done, truth, instances)
    state = _fingerprint(project, done, truth, instances)
    find = partial(tell, project, done, truth, instances)
    return str(conclude(project.root / GAIN_FILE, state, find))


def _fingerprint(
    project: Project,
    done: Sequence[Round],
    truth: Mapping[str, Pose],
    instances: Mapping[str, Instance],
) -> str:
    """Another text after any change to what advice depends on."""
    digest = sha256(repr((project.seed, project.skeleton)).encode())
    for part in (part for item in done for part in parts(_file(item))):
        status = part.stat()
        digest.update(repr((str(part), status.st_size, status.st_mtime_ns)).encode())
    for id_, pose in truth.items():
        digest.update(repr((id_, instances[id_].image.path, instances[id_].box)).encode())
        digest.update(pose.xy.tobytes() + pose.visibility.tobytes())
    return digest.hexdigest()


def _file(item: Round) -> Path:
    return item.path / "predictions.parquet"


def _last_gain(
    project: Project,
    done: Sequence[Round],
    truth: Mapping[str, Pose],
    instances: Mapping[str, Instance],
) -> str:
    """What the last of two rounds gained on the dev set."""
    before, after = (find_predictions(_file(it), project.skeleton, truth.keys()) for it in done)
    gain = gain_between(before, after, truth, instances)
    if gain is None or gain.objects < COMPARABLE:
        return ""
    numbers = f"{gain.difference:+.3f} ± {CLEAR * gain.standard_error:.3f}"
    names = f"from round {done[0].plan.number:03d} to {done[1].plan.number:03d}"
    scored = f"pck@{gain.threshold:g} changed by {numbers} {names} on {gain.objects} dev objects"
    if not gain.is_clear:
        return f"No accuracy changed clearly ({scored}): more corrections may no longer pay."
    if gain.difference > 0:
        return f"The last round gained ({scored}): more corrections still pay."
    return f"The last round lost ({scored}): check its labels with labelkit review."


def _worth_of_ticks(
    project: Project,
    done: Sequence[Round],
    truth: Mapping[str, Pose],
    instances: Mapping[str, Instance],
) -> str:
    """Keypoints that need no correction because of ticks; absent ones, which ticks name, apart."""
    found = find_predictions(_file(done[0]), project.skeleton, truth.keys())
    ids = [item for item in truth if item in found and truth[item].present.any()]
    if len(ids) < COMPARABLE:
        return ""
    shown = [instances[item] for item in ids]
    layout = skeleton_in_box([instance.box for instance in shown], project.skeleton)
    everywhere = np.full(len(project.skeleton), np.nan)
    tolerance = TOLERANCE * np.array([[instance.box.long_side] for instance in shown])
    right, without = (
        (_errors(predictions, truth, ids) <= tolerance).sum(axis=1)
        for predictions in (found, prior_predictions(ids, layout, everywhere))
    )
    saved = mean_interval(right - without, [item.image.path for item in shown], project.seed)
    numbers = f"{saved.text()} corrections an object against the skeleton in the box"
    scored = f"at {TOLERANCE:g} of the box, {len(ids)} objects"
    if saved.low > 0:
        return f"Ticks paid: they save {numbers} ({scored})."
    return f"Ticks have not paid here: they save {numbers} ({scored}). Correct keypoints instead."
