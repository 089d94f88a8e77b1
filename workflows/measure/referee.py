"""`labelkit referee`: which pre-annotations are the cheapest to correct."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from labelkit.domain.prediction import Prediction, nothing_found
from labelkit.domain.text import counted
from labelkit.errors import ProjectError, UsageError, WaitingForLabels
from labelkit.metrics.effort import effort
from labelkit.metrics.referee import Interval, actions, chosen_by_scores, mean_interval
from labelkit.metrics.table import markdown
from labelkit.project.preannotation import predicted_pose
from labelkit.project.predictions import find_predictions
from labelkit.project.project import Project
from labelkit.project.rounds import COMPLETE, Round, complete_round, in_words, rounds
from labelkit.report import Report
from labelkit.store.journal import KEYPOINTS
from labelkit.store.label_store import LabelStore
from labelkit.workflows.measure.evaluate import anchored
from labelkit.workflows.rounds.label_snapshot import read_snapshot

#: With fewer images an interval means little.
FEWEST = 5

#: The row in which each object is corrected from the round whose score promises least work.
BY_SCORE = "the more promising, object by object"


@dataclass(frozen=True, slots=True)
class RefereeReport(Report):
    """What corrections of several rounds cost, cheapest first.

    Attributes:
        objects, images: that were compared: the dev set's with human keypoints.
        tolerance: a keypoint this near needs no correction, in long sides of the box.
        seconds_an_action: on the labelling page so far; None before the first answer there.
        rows: "name", "actions" (mean an object, with the ends of its interval), "from_scratch" and
            "more": how many actions more than the cheapest, with its interval.
        note: what limits the comparison, or "".
    """

    objects: int
    images: int
    tolerance: float
    seconds_an_action: float | None
    rows: tuple[Mapping[str, Any], ...]
    note: str
    exit_code: int = 0

    def text(self) -> str:
        """For people."""
        timed = self.seconds_an_action is not None
        heading = [
            "pre-annotations",
            "actions an object",
            *["seconds"] * timed,
            "more than the first",
        ]
        cells = [heading]
        for row in self.rows:
            cost, more = Interval(*row["actions"]), Interval(*row["more"])
            seconds = [f"{cost.mean * (self.seconds_an_action or 0):.0f}"] * timed
            cells.append(
                [row["name"], cost.text(), *seconds, more.text() if row["more"][0] else "-"]
            )
        what = f"{counted(self.objects, 'object')} of {counted(self.images, 'image')}"
        lines = [
            f"Corrections of {what} of the dev set until every keypoint lies within "
            f"{self.tolerance:g} of the box's long side, with 95 % intervals:\n",
            markdown(cells),
            self._verdict(),
        ]
        return "\n".join([*lines, *([self.note] if self.note else [])])

    def _verdict(self) -> str:
        best, *others = [row for row in self.rows if row["name"] != BY_SCORE]
        if not others:
            return "There is nothing to compare it with: labelkit predictions add FILE --name NAME"
        gaps = [Interval(*row["more"]) for row in others]
        if all(gap.low > 0 for gap in gaps):
            return f"{best['name']} is the cheapest to correct."
        return (
            f"{best['name']} seems the cheapest, but that is not certain yet: label more of the "
            "dev set, which can grow (labelkit retrain --dev P%)."
        )


def referee(
    project: Project,
    store: LabelStore,
    *,
    numbers: Sequence[int] = (),
    tolerance: float = 0.1,
) -> RefereeReport:
    """Compare what it costs to correct the predictions of rounds, on the dev set.

    The dev set is drawn at random, and neither networks nor adapters learn from it.

    Args:
        project: see `open_project`.
        store: its label store.
        numbers: of rounds; none takes the newest network, and the newest round of each other model.
        tolerance: 0 ... 1, share of the box's long side within which nothing is corrected.

    Raises:
        UsageError: if there is no such round, or the tolerance is not a share.
        ProjectError: if no round is complete.
        WaitingForLabels: if too few images of the dev set have human keypoints.
    """
    if not 0 < tolerance < 1:
        raise UsageError(f"--tolerance {tolerance} is not between 0 and 1.", "Type for example 0.1")
    compared = [complete_round(project, number) for number in numbers] or _newest(project)
    snapshot = read_snapshot(project, store)
    truth = {
        id_: pose
        for id_, pose in snapshot.poses.items()
        if id_ in snapshot.dev and pose.present.any()
    }
    images = [snapshot.instances[id_].image.id for id_ in truth]
    if (count := len(set(images))) < FEWEST:
        raise WaitingForLabels(
            f"Only {counted(count, 'image')} of the dev set have human keypoints; a comparison "
            f"needs {FEWEST}, better a few dozen.",
            "They are first in the queue: labelkit push, correct, labelkit pull; or labelkit label",
        )
    predicted = [_predictions(found, project, list(truth)) for found in compared]

    def cost(prediction: Prediction) -> int:
        id_ = prediction.instance_id
        instance = snapshot.instances[id_]
        shown = predicted_pose(prediction, None, instance.image)
        return actions(shown, truth[id_], instance.box.long_side, tolerance)

    costs = {
        in_words(found): np.array([cost(row) for row in rows])
        for found, rows in zip(compared, predicted, strict=True)
    }
    first = min(costs, key=lambda name: float(costs[name].mean()))
    if len(costs) > 1:
        table = np.stack(list(costs.values()))
        scores = [[row.score for row in rows] for rows in predicted]
        taken = chosen_by_scores(table, scores)
        costs[BY_SCORE] = table[taken, np.arange(table.shape[1])]
    rows = [
        {
            "name": name,
            "actions": _not_negative(mean_interval(values, images, project.seed)),
            "more": mean_interval(values - costs[first], images, project.seed),
        }
        for name, values in costs.items()
    ]
    note = anchored(compared, project, truth)
    return RefereeReport(
        len(truth),
        count,
        tolerance,
        _seconds_an_action(store),
        tuple(sorted(rows, key=lambda row: row["actions"].mean)),
        note.rstrip(),
    )


def _not_negative(cost: Interval) -> Interval:
    return cost._replace(low=max(cost.low, 0.0))


def _newest(project: Project) -> list[Round]:
    """The newest round with a network, and that of each other model."""
    complete = [item for item in rounds(project) if item.status == COMPLETE]
    found = {item.plan.settings["name"] if item.plan.is_foreign else "": item for item in complete}
    if not found:
        raise ProjectError(
            "No round is complete: there is nothing to compare.",
            "See what comes first: labelkit status",
        )
    return list(found.values())


def _predictions(found: Round, project: Project, ids: Sequence[str]) -> list[Prediction]:
    rows = find_predictions(found.path / "predictions.parquet", project.skeleton, ids)
    return [rows.get(id_) or nothing_found(id_, len(project.skeleton)) for id_ in ids]


def _seconds_an_action(store: LabelStore) -> float | None:
    """Seconds of attention for each action on the labelling page; None before the first answer."""
    rows = [
        row
        for row in effort(recorded.entry for recorded in store.entries())
        if row["kind"] == KEYPOINTS
    ]
    count = sum(row["objects"] * row["actions"] for row in rows)
    return sum(row["objects"] * row["attention_s"] for row in rows) / count if count else None
