"""`labelkit simulate`: what each way to label a data set would have cost its annotators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labelkit.errors import UsageError
from labelkit.files.atomic import write_json, write_text
from labelkit.metrics.table import markdown
from labelkit.progress import Progress
from labelkit.project.project import lock_project, project_with_own_store
from labelkit.report import Report
from labelkit.store.ownership import open_store
from labelkit.workflows.intake.label_sets import read_label_files
from labelkit.workflows.intake.register import register_labelled
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.settings import TrainingOptions, check_options
from labelkit.workflows.simulation.arms import ARMS, SCRATCH, Data, Play, play
from labelkit.workflows.simulation.curves import read_history
from labelkit.workflows.simulation.findings import (
    LEAD_SHARE,
    Curves,
    Histories,
    Range,
    curves_of,
    lead_level,
    with_intervals,
)
from labelkit.workflows.simulation.hands import Habits
from labelkit.workflows.simulation.picture import draw_curves

#: Labelled percentages after which a network is trained, unless others are asked for.
PERCENTS = (10.0, 25.0, 50.0)

#: Columns of a curve.
_NUMBERS = ("minutes", "clicks", "ticks", "accuracy")


@dataclass(frozen=True, slots=True)
class SimulateReport(Report):
    """What the arms cost.

    Attributes:
        objects, keypoints: of the data set; keypoints of one object.
        seeds: how many projects of each arm.
        level: accuracy to reach, `LEAD_SHARE` of what labelling everything by hand delivers.
        minutes: `Range` of human minutes until then, by arm.
        share: the same as a share of labelling from scratch.
        worth: `Range` of clicks and drags that a tick spares at equal accuracy; None without the
            arms that tell.
        advice: what that means.
        rounds: of each arm, after each training and at the end, means over seeds: minutes, clicks,
            ticks and accuracy of the labels delivered.
        habits: of the annotator.
        files: JSON, Markdown and PNG.
    """

    objects: int
    keypoints: int
    seeds: int
    level: float
    minutes: Mapping[str, Range]
    share: Mapping[str, Range]
    worth: Range | None
    advice: str
    rounds: Mapping[str, Sequence[Mapping[str, float]]]
    habits: Mapping[str, float | bool]
    files: tuple[Path, ...]
    exit_code: int = 0

    def text(self) -> str:
        """For people."""
        lead = [("arm", "minutes", "95 % interval", "of from scratch", "95 % interval")]
        for arm, minutes in self.minutes.items():
            share = self.share[arm]
            lead.append(
                (
                    arm,
                    f"{minutes.value:.1f}",
                    f"{minutes.low:.1f} to {minutes.high:.1f}",
                    f"{share.value:.0%}",
                    f"{share.low:.0%} to {share.high:.0%}",
                )
            )
        table: list[tuple[str, ...]] = [("arm and round", *_NUMBERS)]
        for arm, rows in self.rounds.items():
            for number, row in enumerate(rows):
                name = f"{arm}: {'end' if number == len(rows) - 1 else f'round {number}'}"
                table.append(
                    (
                        name,
                        *(f"{row[key]:.1f}" for key in _NUMBERS[:-1]),
                        f"{row['accuracy']:.3f}",
                    )
                )
        only = " With one seed the interval leaves out chance in training." * (self.seeds == 1)
        lines = [
            f"{self.objects} objects of {self.keypoints} keypoints, {self.seeds} seed"
            f"{'s' * (self.seeds > 1)}. Human minutes until the labels delivered have PCK@0.1 "
            f"{self.level:.3f}, {LEAD_SHARE:.0%} of what labelling everything by hand gives:",
            markdown(lead).rstrip(),
            f"Intervals are of a bootstrap over seeds and objects.{only}",
            self.advice,
            "After each round, and at the end:",
            markdown(table).rstrip(),
            "A simulated annotator: " + ", ".join(f"{k} {v}" for k, v in self.habits.items()) + ".",
            f"Files: {', '.join(map(str, self.files))}",
        ]
        return "\n\n".join(line for line in lines if line)

    def data(self) -> dict[str, Any]:
        """For machines."""
        named = {"minutes", "share"}
        return {
            **{key: value for key, value in asdict(self).items() if key not in named | {"worth"}},
            **{key: {arm: _plain(one) for arm, one in getattr(self, key).items()} for key in named},
            "worth": _plain(self.worth) if self.worth else None,
            "files": [str(path) for path in self.files],
        }


def simulate(
    images: Path,
    labels: Path,
    progress: Progress,
    *,
    root: Path,
    arms: Sequence[str] = (),
    percents: Sequence[float] = (),
    seeds: int = 1,
    habits: Habits | None = None,
    options: TrainingOptions | None = None,
    predictions: Path | None = None,
) -> SimulateReport:
    """Play a project in each way, and report what it cost until its labels were right.

    Each project lies in a folder of its own below `root`, and an interrupted run continues.

    Args:
        images: folder of the images.
        labels: a label file, or a folder of them: keypoints of every object.
        progress: gets a line for each step.
        root: folder of the simulation.
        arms: names of `ARMS` beside labelling from scratch; empty for all.
        percents: 0 ... 100, labelled percentages after which a network is trained; empty for
            `PERCENTS`.
        seeds: number of seeds, from 0.
        habits: of the annotator; None for the usual ones.
        options: how to train; its seed is ignored.
        predictions: file of another model, see `labelkit predictions add`; None leaves out the arms
            that begin with it.

    Raises:
        UsageError: on an arm that does not exist or lacks its predictions, or without an object
            whose keypoints are known.
        LabelkitError: if images or labels cannot be used.
    """
    habits, options = habits or Habits(), options or TrainingOptions()
    check_options(options)
    if unknown := set(arms) - ARMS.keys():
        raise UsageError(f"There is no arm {min(unknown)!r}.", f"Arms: {'; '.join(ARMS)}.")
    asked = [arm for arm in ARMS.values() if arm is SCRATCH or not arms or arm.name in arms]
    chosen = [arm for arm in asked if predictions is not None or not arm.foreign]
    if arms and len(chosen) < len(asked):
        raise UsageError(
            "A foreign start needs predictions.", "Name the file of a model: --predictions FILE"
        )
    if predictions is not None and not predictions.is_file():
        raise UsageError(f"{predictions} is not a file.", "Name the file of a model.")
    skeleton = read_label_files([labels], None)[0].skeleton
    project = project_with_own_store(root / "truth", images, skeleton)
    histories: dict[str, list] = {arm.name: [] for arm in chosen}
    with lock_project(project), open_store(project) as store:
        register_labelled(project, store, progress, labels)
        known = read_snapshot(project, store)
        truth = {
            id_: pose
            for id_, pose in known.poses.items()
            if pose.known.all() and pose.present.any()
        }
        if not truth:
            raise UsageError(
                f"{labels} has no object whose keypoints are all known.",
                "Give a fully labelled data set: --labels FILE",
            )
        instances = {id_: item for id_, item in known.instances.items() if id_ in truth}
        data = Data(project, instances, truth)
        for seed in range(seeds):
            # Those with a file first: what is wrong with it should not be told after hours.
            for arm in sorted(chosen, key=lambda arm: not arm.foreign):
                one = Play(data, arm, seed, percents or PERCENTS, habits, options, predictions)
                progress.line(f"{arm.name}, seed {seed}")
                played, own = play(one, root / "projects", progress)
                with own:
                    histories[arm.name].append(read_history(played, own, instances, truth))
    return _report(root, histories, seeds, len(skeleton), habits)


def _report(
    root: Path, histories: Histories, seeds: int, keypoints: int, habits: Habits
) -> SimulateReport:
    curves, found = curves_of(histories), with_intervals(histories)
    level = lead_level(curves)
    worth: Range | None = found["worth"] if np.isfinite(found["worth"].value) else None
    files = tuple(root / f"simulation.{kind}" for kind in ("json", "md", "png"))
    report = SimulateReport(
        objects=len(histories[SCRATCH.name][0].present),
        keypoints=keypoints,
        seeds=seeds,
        level=level,
        minutes=found["minutes"],
        share=found["share"],
        worth=worth,
        advice=_advice(worth, keypoints, habits),
        rounds={arm: _rounds(histories, curves, arm) for arm in histories},
        habits=asdict(habits),
        files=files,
    )
    drawn = {
        arm: [{key: getattr(one, key).round(5).tolist() for key in _NUMBERS} for one in ones]
        for arm, ones in curves.items()
    }
    write_json(files[0], {**report.data(), "curves": drawn})
    write_text(files[1], report.text() + "\n")
    draw_curves(curves, level, files[2])
    return report


def _rounds(histories: Histories, curves: Curves, arm: str) -> list[dict[str, float]]:
    """Means over seeds after each training, and at the end."""
    pairs = list(zip(histories[arm], curves[arm], strict=True))
    stages = range(len(pairs[0][0].rounds) + 1)
    rows = []
    for stage in stages:
        numbers: dict[str, float] = {}
        for key in _NUMBERS:
            ends = [[*history.rounds.tolist(), len(history.objects)][stage] for history, _ in pairs]
            values = [getattr(one, key)[end] for (_, one), end in zip(pairs, ends, strict=True)]
            numbers[key] = float(np.mean(values))
        rows.append(numbers)
    return rows


def _advice(worth: Range | None, keypoints: int, habits: Habits) -> str:
    """What the exchange rate of a tick means for a project like this one."""
    if worth is None:
        return ""
    # Without absent keypoints: what is looked at, and the key that ends it.
    tick_s = (habits.object_s + habits.key_s) / keypoints + habits.look_s
    low, high = (end * habits.drag_s for end in (worth.low, worth.high))
    advice = "These objects do not tell whether they pay."
    if low > tick_s:
        advice = "They have paid."
    elif high < tick_s:
        advice = "They have not paid here; correct instead."
    return (
        f"A tick spares {worth.value:.3f} clicks or drags at equal accuracy ({worth.low:.3f} to "
        f"{worth.high:.3f}), and takes {tick_s:.2f} s or more where one takes up to "
        f"{habits.drag_s} s. {advice}"
    )


def _plain(found: Range) -> dict[str, float | None]:
    """A range as JSON values: None for NaN."""
    return {k: float(v) if np.isfinite(v) else None for k, v in found._asdict().items()}
