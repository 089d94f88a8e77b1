"""Labels that are probably wrong, in words, and their ids for the page and the App."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np

from labelkit.domain.instance import Instance
from labelkit.domain.pose import Pose
from labelkit.domain.selection import stable_order
from labelkit.domain.skeleton import Skeleton
from labelkit.domain.text import named
from labelkit.files.atomic import write_text
from labelkit.metrics.exchanged_parts import find_exchanges
from labelkit.metrics.label_contradictions import (
    against_answer,
    copies,
    duplicates,
    outside_box,
)
from labelkit.metrics.label_errors import (
    FEWEST,
    JUMP,
    PAIR_SWAP,
    WHOLE_SWAP,
    Labels,
    find_errors,
)
from labelkit.project.project import Project
from labelkit.store.journal import KEYPOINTS, VISIBILITY
from labelkit.store.label_store import LabelStore
from labelkit.workflows.reviewing.independent import Heard, independent
from labelkit.workflows.reviewing.items import read_suspicious, suspicious_file
from labelkit.workflows.reviewing.map_densities import MapDensities

CONTRADICTION, OUTSIDE, DUPLICATE, COPY = EXACT = (
    "contradiction",
    "outside the box",
    "duplicate",
    "copy",
)
EXCHANGE = "exchanged parts"
#: In the order of the table.
KINDS = (WHOLE_SWAP, PAIR_SWAP, EXCHANGE, JUMP, *EXACT)

#: Share of suspicions of each kind that should be right, unless it is chosen.
PROMISE = 0.8
#: Labels with which new ones are compared, at most.
_COMPARED = 1000


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
class Suspects:
    """What was found, and in how much.

    Attributes:
        suspects: most certain first.
        checked: objects with human keypoints that were compared.
        predicted: those of them on which a prediction that did not learn from them was heard.
    """

    suspects: tuple[Suspect, ...]
    checked: int
    predicted: int


class _Labelled(NamedTuple):
    """The objects of a project, and the human keypoints that are compared, by id."""

    instances: Mapping[str, Instance]
    poses: Mapping[str, Pose]


def find_suspects(project: Project, store: LabelStore, promise: float) -> Suspects:
    """Find labels that are probably wrong, and keep their ids for the page and the review.

    Args:
        project: see `open_project`.
        store: its label store.
        promise: 0 ... 1, the share of suspicions of each kind that should be right. Labels that
            contradict each other are named in any case.
    """
    poses = dict(store.poses(project.skeleton))
    labelled = _Labelled(store.instances(), poses)
    found = _find(project, store, labelled, poses.keys(), promise, reads_maps=True)
    _keep(project, found, ())
    return found


def find_new_suspects(project: Project, store: LabelStore, since: int) -> Suspects:
    """Find those among labels that came in, and keep their ids beside the others.

    They are compared with a sample of the other labels, and with predictions but no maps, whose
    reading takes four times as long as all else: so this is cheap in a large project.

    Args:
        project: see `open_project`.
        store: its label store.
        since: the number of the journal's newest entry before they came.
    """
    told = (recorded.entry for recorded in store.entries(since))
    came = {entry.instance_id for entry in told if entry.kind in (KEYPOINTS, VISIBILITY)}
    instances, poses = store.instances(), store.poses(project.skeleton)
    new = came & poses.keys()
    if not new:
        return Suspects((), 0, 0)
    compared = _to_compare(instances, list(poses), new, project.seed)
    labelled = _Labelled(instances, {id_: poses[id_] for id_ in compared})
    found = _find(project, store, labelled, new, PROMISE, reads_maps=False)
    _keep(project, found, instances.keys() - came)
    return found


def _to_compare(
    instances: Mapping[str, Instance], ids: Sequence[str], new: Set[str], seed: int
) -> list[str]:
    """New labels, those beside them, and those of random images: `_COMPARED`, or all new ones."""
    image_of = {id_: instances[id_].image.id for id_ in ids}
    images = {image_of[id_] for id_ in new}
    place = {image: number for number, image in enumerate(stable_order(image_of.values(), seed))}

    def last(id_: str) -> tuple[bool, bool, int]:
        image = image_of[id_]
        return id_ not in new, image not in images, place[image]

    return sorted(ids, key=last)[: max(_COMPARED, len(new))]


def _find(
    project: Project,
    store: LabelStore,
    labelled: _Labelled,
    new: Set[str],
    promise: float,
    *,
    reads_maps: bool,
) -> Suspects:
    ids = [id_ for id_, pose in labelled.poses.items() if pose.present.any()]
    found = [*_contradictions(store, labelled, new, project.skeleton.keypoints)]
    with ExitStack() as files:
        heard = independent(project, ids, files if reads_maps else None)
        if len(ids) >= FEWEST:
            improbable = _improbable(project, labelled, ids, heard, promise)
            found += [it for it in improbable if not new.isdisjoint((it.instance_id, it.other))]
    found.sort(key=lambda item: -item.probability)
    predicted = {id_ for item in heard for id_ in item.predictions}
    return Suspects(tuple(found), len(ids), len(predicted))


def _keep(project: Project, found: Suspects, unchecked: Collection[str]) -> None:
    """Keep suspicions, and former ones about unchecked objects, for the page and the review."""
    lines = [
        (id_, " ".join(item.text.split()))  # a name may hold a line break
        for item in found.suspects
        for id_ in (item.instance_id, item.other)
        if id_
    ]
    former = read_suspicious(project).items()
    lines += [(id_, text) for id_, texts in former if id_ in unchecked for text in texts]
    write_text(suspicious_file(project), "".join(f"{id_}\t{text}\n" for id_, text in lines))


def _improbable(
    project: Project,
    labelled: _Labelled,
    ids: list[str],
    heard: list[Heard],
    promise: float,
) -> Iterator[Suspect]:
    """Exchanged sides and parts, and misplaced keypoints."""
    instances, skeleton = [labelled.instances[id_] for id_ in ids], project.skeleton
    poses = [labelled.poses[id_] for id_ in ids]
    labels = labels_of(skeleton, instances, poses, heard)
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
    heard: list[Heard],
) -> Labels:
    """Labels and predictions in the frames of their boxes.

    Args:
        skeleton: of the project.
        instances: N objects.
        poses: their labels.
        heard: what each predictor says of them.
    """
    frames = frames_of(instances)
    middle, side = frames[:, :2], frames[:, 2]
    shape = (len(heard), len(poses), len(skeleton))
    xy, places, scores = (
        np.full((*shape[1:], 2), np.nan),
        np.full((*shape, 2), np.nan),
        np.zeros(shape),
    )
    for row, pose in enumerate(poses):
        xy[row] = np.where(pose.present[:, None], pose.xy, np.nan)
    for number, predictor in enumerate(heard):
        for row, instance in enumerate(instances):
            if (prediction := predictor.predictions.get(instance.id)) is not None:
                places[number, row] = prediction.xy
                scores[number, row] = prediction.pose.score

    def framed(values: np.ndarray) -> np.ndarray:
        return (values - middle[:, None]) / side[:, None, None]

    ids = [instance.id for instance in instances]
    maps = tuple(MapDensities(it.maps, ids, frames, skeleton.flip_indices) for it in heard)
    return Labels(framed(xy), framed(places), scores, maps, skeleton.pairs)


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
    store: LabelStore, labelled: _Labelled, new: Set[str], names: tuple[str, ...]
) -> Iterator[Suspect]:
    """What cannot be right about new labels, whatever other labels look like."""
    instances, poses = labelled.instances, labelled.poses

    def suspect(
        id_: str, kind: str, keypoints: tuple[str, ...], text: str, other: str = ""
    ) -> Suspect:
        return Suspect(id_, instances[id_].image.path, kind, keypoints, 1.0, text, other)

    history = (recorded.entry for recorded in store.history(new))
    answers = {entry.instance_id: entry for entry in history if entry.kind == VISIBILITY}
    for id_, answer in answers.items():
        wrong = against_answer(poses[id_], answer.content, names)
        for was_seen, how in (
            (True, "answered as seen, and labelled as absent"),
            (False, "answered as not seen, and labelled as visible"),
        ):
            if of := tuple(name for name in wrong if answer.content[name] == was_seen):
                text = f"{named(of)} of {_name(instances[id_])}: {how}"
                yield suspect(id_, CONTRADICTION, of, text)
    for id_ in (id_ for id_ in poses if id_ in new):
        pixels = outside_box(poses[id_], instances[id_])
        if of := tuple(names[k] for k in np.flatnonzero(pixels)):
            where = f"up to {pixels.max():.0f} px" if len(of) > 1 else f"{pixels.max():.0f} px"
            text = f"{named(of)} of {_name(instances[id_])}: {where} outside its box"
            yield suspect(id_, OUTSIDE, of, text)
    images = {instances[id_].image.id for id_ in new}
    beside = {id_: pose for id_, pose in poses.items() if instances[id_].image.id in images}
    for kind, found, likeness in (
        (DUPLICATE, duplicates(beside, instances), "nearly"),
        (COPY, copies(poses, instances), "exactly"),
    ):
        for id_, other in found:
            if not new.isdisjoint((id_, other)):
                one, two = _name(instances[id_]), _name(instances[other])
                yield suspect(id_, kind, (), f"{one} has {likeness} the keypoints of {two}", other)


def _name(instance: Instance) -> str:
    return f"{instance.image.path}#{instance.ordinal}"
