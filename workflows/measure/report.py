"""`labelkit report`: what pre-annotation saves, what labels bought, and whether to go on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from labelkit.domain.pose import Pose
from labelkit.domain.selection import control_arm
from labelkit.domain.skeleton import Skeleton
from labelkit.domain.text import counted, duration
from labelkit.errors import UsageError
from labelkit.files.atomic import write_text
from labelkit.metrics.effort import BLANK, FATES, SHOWN, arm_of, costs, fates, seconds_until
from labelkit.metrics.referee import Interval, mean_interval
from labelkit.metrics.table import markdown, reference_lengths
from labelkit.metrics.worth.learning_curve import LearningCurve
from labelkit.metrics.worth.savings import ENOUGH, Saving, anchoring, saving
from labelkit.project.outputs import check_output
from labelkit.project.predictions import find_predictions
from labelkit.project.project import Project
from labelkit.project.rounds import COMPLETE, Round, rounds
from labelkit.report import Report
from labelkit.store.journal import KEYPOINTS, SECOND, Entry, pose_of
from labelkit.store.label_store import LabelStore
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot, read_snapshot
from labelkit.workflows.rounds.queue_file import CONTROL_SHARE
from labelkit.workflows.rounds.served import COMPARABLE, NETWORK, served

#: By this line `check_output` recognises a page that may be replaced.
MARK = '<meta name="generator" content="labelkit report">'

#: A keypoint is right within this share of the reference length, usually the box's long side.
RIGHT_WITHIN = 0.1

#: Where the next 1 % surely brings less accuracy, labelling stops: a keypoint in a thousand.
WORTH = 0.001

#: Settings that networks of one learning curve share.
SAME = ("model", "preset", "backbone", "pretrained", "teacher")

#: Points of the drawn curve.
DRAWN = 30

#: A keypoint is named whose labels surely keep more of its prediction's error.
PULLED = 0.1

#: What costs and errors of objects are measured in, and how the table calls it.
UNITS = {"seconds": "seconds", "actions": "actions", "error": "error, % of the box"}

GO_ON, STOP, UNKNOWN = "go on", "stop", "not known"


class Spent(NamedTuple):
    """Costs with pre-annotation and without, of all annotators ("") or of one."""

    annotator: str
    unit: str
    saving: Saving | None
    objects: tuple[int, int]
    means: tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class LedgerReport(Report):
    """What a project's labels cost and brought.

    Attributes:
        name: of the project.
        savings: "annotator" ("" is all), "unit" (see `UNITS`), "objects" and "means" (with and
            without pre-annotation; None without an object), "once" and "always" (saved: mean, low,
            high); the last two are None where an arm has fewer than two objects.
        keypoints: by "round" and "keypoint" ("" is all): "answers", and the share of each of
            `FATES`.
        anchoring: by "keypoint" ("" is all): "points", "share" (mean, low, high; None if unknown).
        rounds: "round", "percent", "hours" and "cost" (None if no time was measured), "objects",
            "right" (mean, low, high).
        curve: the learning curve that was fitted to the rounds and reaches beyond them: "percent",
            "right" (mean, low, high); empty if it is not known.
        next_percent: "right" (expected gain: mean, low, high), "rounds" (that the curve was fitted
            to), "objects", "hours", "cost"; None if unknown.
        decision: "go on", "stop" or "not known".
        findings: what all this says, in sentences.
        file: the page; None if none was asked for.
    """

    name: str
    savings: tuple[Mapping[str, Any], ...]
    keypoints: tuple[Mapping[str, Any], ...]
    anchoring: tuple[Mapping[str, Any], ...]
    rounds: tuple[Mapping[str, Any], ...]
    curve: tuple[Mapping[str, Any], ...]
    next_percent: Mapping[str, Any] | None
    decision: str
    findings: tuple[str, ...]
    file: Path | None
    exit_code: int = 0

    def text(self) -> str:
        """For people."""
        tables = [f"{name}\n{what}\n\n{markdown(cells)}" for name, what, cells in tables_of(self)]
        written = [f"Wrote {self.file}."] if self.file else []
        return "\n\n".join(["\n".join(self.findings), *tables, *written])


def report(
    project: Project,
    store: LabelStore,
    *,
    output: Path | None = None,
    hourly_rate: float | None = None,
    overwrite: bool = False,
) -> LedgerReport:
    """Read the journal and the rounds, and write the page if one is asked for.

    Args:
        project: see `open_project`.
        store: its label store.
        output: of the page; None writes none.
        hourly_rate: what an hour of labelling costs, in any currency; None leaves money out.
        overwrite: replace a file that is not such a page, too.

    Raises:
        UsageError: if the rate is negative, or `output` is another file.
    """
    if hourly_rate is not None and not 0 <= hourly_rate < float("inf"):
        raise UsageError(f"--hourly-rate {hourly_rate:g} is not a price.", "Type for example 30")
    if output is not None:
        check_output(output, MARK, project, overwrite=overwrite)
    snapshot = read_snapshot(project, store)
    control = control_arm(snapshot.instances, project.seed, CONTROL_SHARE)
    done = [item for item in rounds(project) if item.status == COMPLETE]
    twice = _labelled_twice(project, store, snapshot, control)
    spent = [*_spent(store, control, snapshot.dev), *_errors(twice, snapshot)]
    left = len(snapshot.instances) - len(snapshot.poses)
    pulls = _anchoring(project, snapshot, twice, done)
    reached = _reached(project, store, snapshot, done, hourly_rate)
    curve, ahead = _ahead(project, snapshot, done, spent, hourly_rate)
    decision = _decide(ahead)
    made = LedgerReport(
        project.name,
        tuple(_saving_row(it) for it in spent),
        tuple(_keypoints(fates(_entries(store), control, project.skeleton), project.skeleton)),
        tuple(pulls),
        tuple(reached),
        tuple(curve),
        ahead,
        decision,
        (*_on_savings(spent, left), *_on_anchoring(pulls), _on_next(ahead, decision)),
        output,
    )
    if output is not None:
        write_text(output, page(made))
    return made


def _entries(store: LabelStore) -> Iterator[Entry]:
    return (recorded.entry for recorded in store.entries())


def _spent(store: LabelStore, control: Collection[str], dev: Collection[str]) -> list[Spent]:
    by_annotator = costs(_entries(store), control, dev)
    rows = []
    for annotator in ["", *sorted(name for name in by_annotator if name and len(by_annotator) > 1)]:
        chosen = [it for name, it in by_annotator.items() if annotator in ("", name)]
        for unit in ("seconds", "actions"):
            arms = [
                [value for it in chosen for value in getattr(it, unit)[arm]]
                for arm in (SHOWN, BLANK)
            ]
            if annotator == "" or any(arms):
                rows.append(_compared(annotator, unit, *arms))
    return rows


def _compared(annotator: str, unit: str, shown: Sequence[float], blank: Sequence[float]) -> Spent:
    with_it, without = (float(np.mean(arm)) if arm else None for arm in (shown, blank))
    objects = len(shown), len(blank)
    return Spent(annotator, unit, saving(shown, blank), objects, (with_it, without))


def _saving_row(spent: Spent) -> dict[str, Any]:
    found = spent.saving
    return {
        "annotator": spent.annotator,
        "unit": spent.unit,
        "objects": spent.objects,
        "means": spent.means,
        "once": found and found.once,
        "always": found and found.always,
    }


def _keypoints(
    found: Mapping[tuple[str, str], Counter[str]], skeleton: Skeleton
) -> Iterator[dict[str, Any]]:
    for version in sorted({version for version, _ in found}):
        counted_ones = {name: found.get((version, name), Counter()) for name in skeleton.keypoints}
        everything = sum(counted_ones.values(), Counter[str]())
        for name, counts in {"": everything, **counted_ones}.items():
            if answers := counts.total():
                shares = {fate: counts[fate] / answers for fate in FATES.values()}
                yield {"round": version, "keypoint": name, "answers": answers, **shares}


def _on_savings(spent: Sequence[Spent], left: int) -> list[str]:
    """What pre-annotation saves, in words, in a project with so many objects left to label."""
    (_, blank), found = spent[0].objects, []
    more = ENOUGH - blank
    if more > 0:
        queue = round(more / CONTROL_SHARE)
        how = f"label {more} more of them (about {counted(queue, 'object')} of the queue)"
        if queue > left:
            how = f"{more} more are needed, which the {left} objects left cannot give"
        found.append(
            f"{counted(blank, 'object')} without pre-annotation: too few to say what "
            f"pre-annotation saves; {how}."
        )
    for row in spent:
        enough = row.saving is not None and min(row.saving.objects) >= ENOUGH
        if row.annotator == "" and row.saving is not None and enough:
            found.append(_in_words(row.unit, row.saving))
    return found


def _in_words(unit: str, found: Saving) -> str:
    """What one comparison of both arms says, by the interval that holds for all looks."""
    (shown, blank), (mean, low, high) = found.means, found.always
    both = "({} and {} objects)".format(*found.objects)
    if unit == "error":
        verdict = "more" if high < 0 else "less" if low > 0 else "no clear difference"
        return (
            f"Labels made from predictions lie {shown:.1f} % of the box's long side from a second "
            f"label, labels made without them {blank:.1f} % {both}: {verdict}."
        )
    if not found.always.is_clear:
        return (
            f"Whether pre-annotation saves {unit} is not known yet: {shown:.1f} an object with it, "
            f"{blank:.1f} without {both}; the saving is between {low:.1f} and {high:.1f}."
        )
    low, high = sorted((abs(low), abs(high)))
    return (
        f"Pre-annotation {'saves' if mean > 0 else 'costs'} {abs(mean):.1f} {unit} an object, "
        f"between {low:.1f} and {high:.1f}: {shown:.1f} with it, {blank:.1f} without {both}."
    )


class Twice(NamedTuple):
    """An object that two people labelled, one of them without pre-annotation.

    Attributes:
        label: the first, made in one of the arms.
        arm: `SHOWN` or `BLANK`.
        pose: of the label.
        reference: of the other one.
    """

    label: Entry
    arm: str
    pose: Pose
    reference: Pose


def _labelled_twice(
    project: Project, store: LabelStore, snapshot: LabelSnapshot, control: Collection[str]
) -> list[Twice]:
    """Objects with a second label, of another person or of a file, made without pre-annotation."""

    def is_pose(entry: Entry) -> bool:
        return entry.kind in (KEYPOINTS, SECOND) and bool(entry.content)

    poses = Counter(entry.instance_id for entry in _entries(store) if is_pose(entry))
    several = (id_ for id_, count in poses.items() if count > 1 and id_ in snapshot.instances)
    given: dict[str, list[Entry]] = {id_: [] for id_ in several}
    for recorded in store.history(given):
        if is_pose(recorded.entry):
            given[recorded.entry.instance_id].append(recorded.entry)
    found = []
    for theirs in given.values():
        arms = [BLANK if it.kind == SECOND else arm_of(it, control) for it in theirs]
        is_file = [entry.source.startswith("file:") for entry in theirs]
        pairs = (
            (label, arm, other)
            for label, arm in zip(theirs, arms, strict=True)
            for other, its_arm, from_file in zip(theirs, arms, is_file, strict=True)
            if arm and label.kind == KEYPOINTS and other is not label
            if from_file or (its_arm == BLANK and other.annotator != label.annotator)
        )
        if pair := next(pairs, None):
            label, arm, other = pair
            both = (pose_of([entry], project.skeleton) for entry in (label, other))
            found.append(Twice(label, arm, *both))
    return found


def _errors(twice: Sequence[Twice], snapshot: LabelSnapshot) -> list[Spent]:
    """How far labels of both arms lie from the second label, in percent of the box's long side.

    Like their costs without the dev set, all of which is labelled without pre-annotation.
    """
    errors: dict[str, list[float]] = {SHOWN: [], BLANK: []}
    for it in twice:
        both = it.pose.present & it.reference.present
        if both.any() and it.label.instance_id not in snapshot.dev:
            apart = np.linalg.norm(it.pose.xy - it.reference.xy, axis=1)[both]
            box = snapshot.instances[it.label.instance_id].box
            errors[it.arm].append(100 * apart.mean() / box.long_side)
    if not twice:
        return []
    return [_compared("", "error", errors[SHOWN], errors[BLANK])]


def _anchoring(
    project: Project, snapshot: LabelSnapshot, twice: Sequence[Twice], done: Sequence[Round]
) -> list[dict[str, Any]]:
    """Pull of predictions on the keypoints of labels that were made from them."""
    versions, skeleton = {f"round-{item.plan.number:03d}": item for item in done}, project.skeleton
    by_round: dict[str, dict[str, Twice]] = defaultdict(dict)
    for it in twice:
        if it.arm == SHOWN:
            by_round[str(it.label.shown["model_version"])][it.label.instance_id] = it
    points: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray, str]]] = defaultdict(list)
    for version in by_round.keys() & versions.keys():
        path = versions[version].path / "predictions.parquet"
        predictions = find_predictions(path, skeleton, by_round[version])
        for id_, prediction in predictions.items():
            it, shown = by_round[version][id_], prediction.pose
            length = snapshot.instances[id_].box.long_side
            origins = it.label.shown.get("origins", {})
            placed = {
                skeleton.present_name(name) for name, what in origins.items() if what == "new"
            }
            was_shown = np.array([name not in placed for name in skeleton.keypoints])
            both = it.pose.present & it.reference.present
            for k in np.flatnonzero(both & shown.known & was_shown):
                places = (pose.xy[k] / length for pose in (it.pose, it.reference, shown))
                points[skeleton.keypoints[k]].append((*places, id_))
    if not points:
        return []
    points[""] = [point for found in points.values() for point in found]
    rows = []
    for name in ("", *skeleton.keypoints):
        if found := points.get(name):
            labels, blank, predicted, objects = zip(*found, strict=True)
            share = anchoring(labels, blank, predicted, objects, project.seed)
            known = None if np.isnan(share).any() else share
            rows.append({"keypoint": name, "points": len(found), "share": known})
    return rows


def _on_anchoring(pulls: Sequence[Mapping[str, Any]]) -> list[str]:
    if not pulls or pulls[0]["points"] < ENOUGH or pulls[0]["share"] is None:
        count = pulls[0]["points"] if pulls else 0
        return [
            f"{counted(count, 'keypoint')} labelled both with and without pre-annotation: too few "
            f"to say whether it misleads; {ENOUGH} are needed: labelkit label --second 60"
        ]
    mean, low, high = pulls[0]["share"]
    found = [
        f"Labels keep {100 * mean:.0f} % of the error of predictions, between {100 * low:.0f} and "
        f"{100 * high:.0f} %."
    ]
    worse = [
        row["keypoint"]
        for row in pulls[1:]
        if row["points"] >= ENOUGH and row["share"] and row["share"].low > PULLED
    ]
    if worse:
        found.append(
            f"Pre-annotation makes labels of these keypoints worse: {', '.join(worse)}. Switch it "
            f"off for them: labelkit queue --unshown {','.join(worse)}"
        )
    return found


def _truth(snapshot: LabelSnapshot) -> dict[str, Pose]:
    return {
        id_: snapshot.poses[id_]
        for id_ in sorted(snapshot.dev & snapshot.poses.keys())
        if snapshot.poses[id_].present.any()
    }


def _right(project: Project, snapshot: LabelSnapshot, found: Round) -> np.ndarray:
    """(N,) share of keypoints that a round has right, of each labelled object of the dev set."""
    truth = _truth(snapshot)
    rows = find_predictions(found.path / "predictions.parquet", project.skeleton, truth.keys())
    length, _ = reference_lengths(list(truth.values()), [snapshot.instances[id_] for id_ in truth])
    shares = []
    for (id_, pose), unit in zip(truth.items(), length.tolist(), strict=True):
        if id_ not in rows:
            shares.append(0.0)
            continue
        off = np.linalg.norm(rows[id_].pose.xy - pose.xy, axis=1)[pose.present]
        shares.append(float((off <= RIGHT_WITHIN * unit).mean()))
    return np.array(shares)


def _images(snapshot: LabelSnapshot) -> list[str]:
    return [snapshot.instances[id_].image.id for id_ in _truth(snapshot)]


def _reached(
    project: Project,
    store: LabelStore,
    snapshot: LabelSnapshot,
    done: Sequence[Round],
    rate: float | None,
) -> list[dict[str, Any]]:
    if not (images := _images(snapshot)):
        return []
    rows = []
    seconds = seconds_until(store.entries(), {found.plan.journal_head for found in done})
    for found in done:
        head = found.plan.journal_head
        hours = seconds[head] / 3600 if seconds[head] or not head else None
        right = mean_interval(_right(project, snapshot, found), images, project.seed)
        rows.append(
            {
                "round": found.plan.number,
                "percent": 100 * found.plan.labelled_share,
                "hours": hours,
                "cost": None if rate is None or hours is None else hours * rate,
                "objects": len(images),
                "right": Interval(right.mean, max(right.low, 0.0), min(right.high, 1.0)),
            }
        )
    return rows


def _ahead(
    project: Project,
    snapshot: LabelSnapshot,
    done: Sequence[Round],
    spent: Sequence[Spent],
    rate: float | None,
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """The learning curve of networks trained like the newest one, and its next 1 %."""
    images, learned = _images(snapshot), [it for it in done if _has_learned(it)]
    alike = [it for it in learned if _trained(it) == _trained(learned[-1])]
    left = len(snapshot.instances) - len(snapshot.trainable) - len(snapshot.dev)
    if not alike or len(images) < COMPARABLE or len(set(images)) < 2 or left <= 0:
        return [], None
    percents = [100 * it.plan.labelled_share for it in alike]
    rights = np.stack([_right(project, snapshot, it) for it in alike])
    curve, now = LearningCurve(percents, rights, images), snapshot.trainable_percent
    objects, timed = min(len(snapshot.instances) / 100, left), spent[0].saving
    hours = None if timed is None else objects * timed.means[0] / 3600
    upto = min(100.0, 2 * max(now, *percents))
    drawn = np.geomspace(min(percents), upto, DRAWN).tolist()
    return [{"percent": percent, "right": curve.right(percent)} for percent in drawn], {
        "right": curve.gain(now, 100 * objects / len(snapshot.instances)),
        "rounds": len(alike),
        "objects": objects,
        "hours": hours,
        "cost": None if hours is None or rate is None else hours * rate,
    }


def _has_learned(found: Round) -> bool:
    """Whether its predictions are of a network that learned from keypoints."""
    return not found.plan.is_foreign and bool(found.plan.labelled) and served(found) == NETWORK


def _trained(found: Round) -> list[Any]:
    return [found.plan.settings.get(name) for name in SAME]


def _decide(ahead: Mapping[str, Any] | None) -> str:
    if ahead is None:
        return UNKNOWN
    if ahead["right"].low > WORTH:
        return GO_ON
    return STOP if ahead["right"].high < WORTH else UNKNOWN


def _on_next(ahead: Mapping[str, Any] | None, decision: str) -> str:
    if ahead is None:
        return (
            "What the next 1 % brings is not known: it takes objects without labels, a round whose "
            "network learned from keypoints and whose predictions are served, and "
            f"{COMPARABLE} labelled objects of the dev set in two images or more."
        )
    mean, low, high = (100 * value for value in ahead["right"])
    price = [counted(round(ahead["objects"]), "object")]
    if ahead["hours"] is not None:
        price.append(duration(3600 * ahead["hours"]))
    if ahead["cost"] is not None:
        price.append(f"{ahead['cost']:.2f} at your hourly rate")
    text = (
        f"The next 1 % of labels ({', '.join(price)}) is expected to bring {mean:.2f} points of "
        f"PCK@0.1, between {low:.2f} and {high:.2f}: a learning curve fitted to "
        f"{counted(ahead['rounds'], 'round')}"
    )
    last = {
        GO_ON: "Go on.",
        STOP: f"Stop: it is less than {100 * WORTH:g} points.",
        UNKNOWN: "Whether to go on is not known yet: another round narrows this, and so does a "
        "larger dev set.",
    }
    return f"{text}. {last[decision]}"


def tables_of(made: LedgerReport) -> list[tuple[str, str, list[list[str]]]]:
    """(heading, explanation, cells) of each table that has rows; the first row is the heading."""

    def interval(found: Interval | None, factor: float = 1.0) -> str:
        return "-" if found is None else Interval(*(factor * value for value in found)).text()

    def number(value: float | None, digits: int) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    money = any(row["cost"] is not None for row in made.rounds)
    tables = [
        (
            "With pre-annotation and without",
            "An object, of those that chance served without pre-annotation and the others. The "
            "first 95 % interval holds for one look, the second however often you look.",
            [["", "objects", "with", "without", "saved", "saved, any time"]]
            + [
                [
                    f"{UNITS[row['unit']]} {row['annotator']}".strip(),
                    "{} + {}".format(*row["objects"]),
                    *(number(value, 1) for value in row["means"]),
                    interval(row["once"]),
                    interval(row["always"]),
                ]
                for row in made.savings
                if any(row["objects"])
            ],
        ),
        (
            "What became of predicted keypoints",
            "Percent of the answers to objects with pre-annotation: of each round, and of each "
            "keypoint in the newest.",
            [["keypoint", "round", "answers", *FATES.values()]]
            + [
                [
                    row["keypoint"] or "all",
                    row["round"].removeprefix("round-"),
                    str(row["answers"]),
                    *(f"{100 * row[fate]:.0f}" for fate in FATES.values()),
                ]
                for row in sorted(made.keypoints, key=lambda row: row["keypoint"] != "")
                if row["keypoint"] == "" or row["round"] == made.keypoints[-1]["round"]
            ],
        ),
        (
            "Does pre-annotation mislead?",
            "Percent of a prediction's error that stays in the label, against labels that were "
            "given without it.",
            [["keypoint", "points", "percent that stays"]]
            + [
                [row["keypoint"] or "all", str(row["points"]), interval(row["share"], 100)]
                for row in made.anchoring
            ],
        ),
        (
            "What the rounds reached",
            "PCK@0.1 on the dev set, in percent: the mean over objects.",
            [["round", "percent", "hours", *(["cost"] if money else []), "objects", "PCK@0.1"]]
            + [
                [
                    f"{row['round']:03d}",
                    f"{row['percent']:.1f}",
                    number(row["hours"], 2),
                    *([number(row["cost"], 2)] if money else []),
                    str(row["objects"]),
                    interval(row["right"], 100)
                    if row["objects"] > 1
                    else f"{100 * row['right'].mean:.2f} [-]",
                ]
                for row in made.rounds
            ],
        ),
    ]
    return [table for table in tables if len(table[2]) > 1]


class Chart(NamedTuple):
    """A learning curve in a drawing of 100 by 60: SVG points, and what stands at the right end.

    Attributes:
        unit: "percent" or "hours".
        most: of the unit, at the right end.
        line, band: what the rounds reached, and its interval.
        fitted, around: the fitted curve and its interval; "" for none.
    """

    unit: str
    most: str
    line: str
    band: str
    fitted: str
    around: str


def page(made: LedgerReport) -> str:
    """The whole document; its policy makes browsers fetch nothing."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    charts = [_chart(made.rounds, "percent", made.curve), _chart(made.rounds, "hours", ())]
    return templates.get_template("report.html").render(
        mark=MARK,
        name=made.name,
        decision=made.decision,
        findings=made.findings,
        tables=tables_of(made),
        charts=[chart for chart in charts if chart is not None],
        fates=("untouched", "followed", "moved", "added", "removed"),
        bars=_bars(made.keypoints),
    )


def _bars(
    rows: Sequence[Mapping[str, Any]],
) -> list[tuple[str, dict[str, Mapping[str, Any] | None]]]:
    """(keypoint, its row of each round or None); nothing where one round says it all."""
    versions = sorted({row["round"] for row in rows})
    found = {(row["keypoint"], row["round"]): row for row in rows}
    names = dict.fromkeys(row["keypoint"] for row in rows) if len(versions) > 1 else {}
    return [
        (name or "all", {version: found.get((name, version)) for version in versions})
        for name in names
    ]


def _chart(
    rows: Sequence[Mapping[str, Any]], unit: str, fitted: Sequence[Mapping[str, Any]]
) -> Chart | None:
    """None where there is no curve: fewer than two rounds, or nothing that differs."""
    rows = [row for row in rows if row[unit] is not None]
    most = max((row[unit] for row in (*rows, *fitted)), default=0.0)
    if len(rows) + len(fitted) < 2 or not most:
        return None

    def drawn(points: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
        ordered = sorted(points, key=lambda row: row[unit])
        line, low, high = (
            [f"{100 * row[unit] / most:.2f},{60 - 60 * row['right'][end]:.2f}" for row in ordered]
            for end in range(3)
        )
        return " ".join(line), " ".join([*low, *reversed(high)])

    return Chart(unit, f"{most:.3g}", *drawn(rows), *drawn(fitted))
