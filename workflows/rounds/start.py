"""How a project begins: with ticks, or with keypoints where ticks cannot teach."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import islice

import numpy as np

from labelkit.domain.instance import image_of
from labelkit.domain.selection import stable_order
from labelkit.domain.text import counted
from labelkit.metrics.quality import answer_bits
from labelkit.project.project import Project
from labelkit.store.ids import Ids, among, in_stable_order, without
from labelkit.store.journal import KEYPOINTS as KEYPOINTS_ENTRY
from labelkit.store.journal import VISIBILITY
from labelkit.store.label_store import LabelStore
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot

#: What people give before the first round. Without a choice of the user: ticks, and keypoints as
#: soon as the first ticks show that they cannot teach.
TICKS, KEYPOINTS = "ticks", "keypoints"

#: So many instances are ticked before more are asked for; where a project has fewer, all of them.
FIRST_TICKS = 30

#: With fewer answers than this their entropy says too little.
TELLING = 10

#: Answers with fewer bits a keypoint (see `answer_bits`) cannot teach where keypoints are: nearly
#: everything is visible in nearly all of them. Faces and fish have 0.00, people in sports 0.52.
TEACHING_BITS = 0.2

#: With this many corrected instances a round gives pre-annotations worth correcting: 1 % of LSPET
#: (benchmarks/README.md, "From random weights").
FEW = 50


@dataclass(frozen=True, slots=True)
class Start:
    """What people are asked for before the first round.

    Attributes:
        asks: "ticks" or "keypoints".
        ids: of the instances to ask about now.
        done: instances that have what is asked for; those of the dev set do not count as keypoints.
        needed: so many of them are enough for the first training.
        bits: entropy of the ticks, see `answer_bits`; NaN while there are too few to tell.
    """

    asks: str
    ids: tuple[str, ...]
    done: int
    needed: int
    bits: float

    @property
    def note(self) -> str:
        """Why keypoints are asked for although the user did not choose that; else ""."""
        if self.asks == TICKS or math.isnan(self.bits):
            return ""
        return (
            "Ticks cannot teach here: nearly every keypoint is answered alike in nearly all "
            f"objects ({self.bits:.2f} bits a keypoint; {TEACHING_BITS} are needed). Keypoints of "
            f"some {FEW} objects teach more."
        )

    @property
    def missing(self) -> str:
        """What people have to do before the first training; "" if they have done it."""
        if self.done >= self.needed:
            return ""
        labelled = "Ticked" if self.asks == TICKS else "With keypoints"
        return (
            f"{labelled} so far: {self.done} of the first {counted(self.needed, 'object')}. "
            "Next: labelkit push, label, labelkit pull."
        )


def start_of(project: Project, snapshot: LabelSnapshot) -> Start:
    """What people are asked for before the first round of a project, and how far they are."""
    chosen = project.options.get("start")
    every, answered = snapshot.instances.ids, len(snapshot.presences)
    waits = ~(among(every, snapshot.answered) | among(every, snapshot.skipped))
    needed = min(FIRST_TICKS, answered + int(waits.sum()))
    bits = math.nan
    if answered >= max(needed, TELLING) and chosen is None:
        bits = answer_bits(np.stack([*snapshot.presences.values()]))
    if chosen == KEYPOINTS or bits < TEACHING_BITS:
        ids = _few(project, snapshot)
        to_train_on = len(without(ids, snapshot.dev))
        done = len(snapshot.trainable)
        return Start(KEYPOINTS, ids, done, min(FEW, done + to_train_on), bits)
    unanswered = [*without(snapshot.instances, snapshot.answered, snapshot.skipped)]
    if chosen is None and answered < FIRST_TICKS:
        unanswered = _of_whole_images(project, unanswered, FIRST_TICKS - answered)
    return Start(TICKS, tuple(unanswered), answered, needed, bits)


def waits_for_labels(store: LabelStore, snapshot: LabelSnapshot, start: Start) -> bool:
    """Whether people have to label before a first training makes sense.

    Of labels that came from files the user knows how many there are: those are not waited for,
    unless they are ticks that cannot teach.
    """
    if not start.missing or (start.asks == KEYPOINTS and not snapshot.trainable):
        return bool(start.missing)
    entries = store.latest((VISIBILITY, KEYPOINTS_ENTRY))
    return not any(entry.source.startswith("file:") for entry in entries)


def _few(project: Project, snapshot: LabelSnapshot) -> tuple[str, ...]:
    """The dev set, and then instances in random order until `FEW` can be trained on."""
    every = in_stable_order(snapshot.instances.ids, project.seed)
    waiting = without(every, snapshot.poses.ids, snapshot.skipped)
    is_dev = among(waiting, snapshot.dev)
    dev, others = Ids(waiting.array[is_dev]), Ids(waiting.array[~is_dev])
    return (*dev, *islice(others, max(0, FEW - len(snapshot.trainable))))


def _of_whole_images(project: Project, ids: list[str], count: int) -> list[str]:
    """At least `count` of some instances, of images in random order; no image is asked twice."""
    objects = Counter(map(image_of, ids))
    chosen: set[str] = set()
    for image in stable_order(objects, project.seed):
        if count <= 0:
            break
        chosen.add(image)
        count -= objects[image]
    return [item for item in ids if image_of(item) in chosen]
