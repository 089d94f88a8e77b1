"""A simulated annotator at the labelling page: knows the truth, counts what answers cost."""

from __future__ import annotations

import math
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelkit.domain.pose import ABSENT, UNKNOWN, Pose, human_pose
from labelkit.domain.selection import QueueItem, draws
from labelkit.errors import UsageError
from labelkit.store.journal import KEYPOINTS, VISIBILITY
from labelkit.workflows.labelling.following import Following
from labelkit.workflows.labelling.question import question
from labelkit.workflows.labelling.recording import Answer, Recording
from labelkit.workflows.labelling.work import Holder, Work

NAME = "simulated annotator"

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Habits:
    """What a simulated annotator does, and how long it takes.

    Seconds are those of the keystroke-level model (Card, Moran and Newell, "The keystroke-level
    model for user performance time with interactive systems", CACM 1980, table 1), and an eye
    movement of the same authors' model human processor (1983). With them, four clicks take 7.5 s an
    object; 7.0 s were measured for extreme clicking (Papadopoulos et al., ICCV 2017).

    Attributes:
        tolerance: a shown keypoint this near is accepted, as a share of the box's long side.
        noise: standard deviation of a placed keypoint, in x and in y, likewise.
        follows: the others move after each keypoint that is set, see `labelkit label`.
        object_s: to take in an object: mental preparation, M.
        look_s: to check one keypoint: an eye movement.
        click_s: to point and click: P + 2 B.
        drag_s: to point, press, point and release: 2 P + 2 B.
        key_s: to press a key: K of an average typist.
    """

    tolerance: float = 0.05
    noise: float = 0.01
    follows: bool = True
    object_s: float = 1.35
    look_s: float = 0.23
    click_s: float = 1.3
    drag_s: float = 2.4
    key_s: float = 0.28

    def seconds(self, done: Mapping[str, int]) -> float:
        """Of an answer.

        Args:
            done: numbers of "looks", "clicks", "drags" and "keys".
        """
        return (
            self.object_s
            + self.look_s * done["looks"]
            + self.click_s * done["clicks"]
            + self.drag_s * done["drags"]
            + self.key_s * done["keys"]
        )


def read_seconds(text: str) -> dict[str, float]:
    """The seconds of actions from "click=1.3,drag=2.4", by the names of `Habits`.

    Raises:
        UsageError: if they are something else.
    """
    known = [field.name.removesuffix("_s") for field in fields(Habits) if field.name[-2:] == "_s"]
    found = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.strip().partition("=")
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if name not in known or not 0 <= seconds < math.inf:
            raise UsageError(
                f"--seconds {part!r} is not the time of an action.",
                f"Type for example click=1.3; actions: {', '.join(known)}.",
            )
        found[f"{name}_s"] = seconds
    return found


class Annotator:
    """Answers what the labelling page asks.

    A pose that costs more to correct than to place from nothing is taken away and placed: an
    experienced annotator sees which. Correcting sets the worst keypoint until all are right.

    Args:
        work: what is to be answered.
        truth: poses by instance id, all keypoints known.
        habits: of the annotator.
    """

    def __init__(self, work: Work, truth: Mapping[str, Pose], habits: Habits) -> None:
        self._work, self._truth, self._habits = work, truth, habits
        self._recording, self._following = Recording(work), Following(work)

    def answer_all(self) -> int:
        """Answer until nothing is left; returns how many answers."""
        holder, count = Holder(NAME, "simulation"), 0
        while (item := self._work.next(holder, ())) is not None:
            self._answer(item)
            self._work.give_back(item.instance_id, holder)
            count += 1
        return count

    def _answer(self, item: QueueItem) -> None:
        asked = question(self._work, item)
        truth = self._truth[item.instance_id]
        names = self._work.project.skeleton.keypoints
        content: dict[str, Any]
        if self._work.mode == "ticks":
            kind, origins = VISIBILITY, {}
            content = dict(zip(names, map(bool, truth.present), strict=True))
            done = Counter(looks=len(names), clicks=int((~truth.present).sum()), keys=1)
        else:
            kind = KEYPOINTS
            pose, made, done = self._placed(item.instance_id, asked["points"], truth)
            rows = zip(pose.xy.tolist(), pose.visibility.tolist(), strict=True)
            content = {n: [*xy, v] for n, (xy, v) in zip(names, rows, strict=True)}
            origins = {name: what for name, what in zip(names, made, strict=True) if what}
        counts = {name: done[name] for name in ("clicks", "drags", "keys")}
        seconds = round(self._habits.seconds(done), 2)
        self._recording.record(
            Answer(
                id=str(uuid.uuid5(uuid.NAMESPACE_OID, f"{item.instance_id} {kind}")),
                instance=item.instance_id,
                drawn="",
                image="",
                kind=kind,
                content=content,
                box=self._work.instances[item.instance_id].box,
                seen=asked["seen"],
                age_s=0.0,
                shown={
                    "model_version": asked["round"],
                    "arm": asked["arm"],
                    "origins": origins,
                    "effort": {**counts, "undos": 0, "attention_s": seconds},
                },
            ),
            NAME,
        )

    def _placed(
        self, id_: str, points: list[list[float] | None], truth: Pose
    ) -> tuple[Pose, list[str], Counter[str]]:
        """The label, where its keypoints came from, and what was done for it."""
        instance = self._work.instances[id_]
        long_side = instance.box.long_side
        (number,) = draws("noise", [id_], self._work.project.seed)
        noise = np.random.default_rng(int(number * 2**53)).standard_normal((len(truth), 2))
        limit = (instance.image.width, instance.image.height)
        aim = np.clip(truth.xy + self._habits.noise * long_side * noise, 0, limit)
        shown = np.array([point is not None and point[2] > ABSENT for point in points])
        xy = np.array([point[:2] if point and point[2] > ABSENT else (0, 0) for point in points])
        done = Counter(looks=len(truth), keys=1)  # Enter
        anew = Counter(clicks=int(truth.present.sum()), keys=int((~truth.present).sum()))
        if not any(points):
            origins = ["new" if there else "" for there in truth.present]
            return human_pose(aim, truth.visibility), origins, done + anew
        # Select what has to appear or to vanish; then place it, or press its key.
        appears, vanishes = truth.present & ~shown, ~truth.present & shown
        done.update(clicks=int(appears.sum()), keys=int(appears.sum() + 2 * vanishes.sum()))
        placed, followed = appears.copy(), np.zeros(len(truth), dtype=bool)
        xy[appears] = aim[appears]
        for _ in range(len(truth)):
            off = np.linalg.norm(xy - truth.xy, axis=1) * (truth.present & ~placed)
            worst = int(off.argmax())
            if off[worst] <= self._habits.tolerance * long_side:
                break
            xy[worst], placed[worst] = aim[worst], True
            done.update(drags=1, looks=1)
            if self._habits.follows:
                self._follow(id_, xy, placed, followed, truth)
        over = Counter(looks=len(truth), keys=2) + anew  # the key that starts over
        if self._habits.seconds(over) < self._habits.seconds(done):
            xy, placed, vanishes, done = aim, truth.present & shown, vanishes & False, over
        names = np.where(truth.present & followed & ~placed, "followed", "untouched")
        names[placed], names[appears], names[~truth.present] = "changed", "new", ""
        names[vanishes] = "removed"
        return human_pose(np.clip(xy, 0, limit), truth.visibility), names.tolist(), done

    def _follow(
        self,
        id_: str,
        xy: Floats,
        placed: NDArray[np.bool_],
        followed: NDArray[np.bool_],
        truth: Pose,
    ) -> None:
        """Move what is not placed yet, as the page does."""
        visibility = np.where(placed, truth.visibility, UNKNOWN)
        visibility[~truth.present] = ABSENT
        fixed = human_pose(np.where(placed[:, None], xy, 0.0), visibility)
        rows = self._following.follow(self._work.instances[id_], fixed)
        for k, row in enumerate(rows or ()):
            if row is not None and truth.present[k] and not placed[k]:
                followed[k] |= not np.allclose(xy[k], row, atol=0.01)
                xy[k] = row
