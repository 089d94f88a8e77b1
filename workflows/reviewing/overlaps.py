"""What objects that two annotators labelled tell: how well people agree, and who is off."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from labelkit.domain.text import counted
from labelkit.metrics.agreement import Bias, Spread, biases, spreads
from labelkit.metrics.table import reference_lengths
from labelkit.project.project import Project
from labelkit.store.journal import KEYPOINTS, SECOND, Entry, pose_of
from labelkit.store.label_store import LabelStore

#: Keypoints and biases that the text names; JSON has all.
_NAMED, _LISTED = 3, 10


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far annotators are apart on objects that two of them labelled, none seeing the other's.

    Attributes:
        annotators: who labelled some.
        whole: of an object's keypoints in the median.
        keypoints: of each, by name.
        biases: who places what elsewhere than the others, see `Bias`.
    """

    annotators: tuple[str, ...]
    whole: Spread
    keypoints: Mapping[str, Spread]
    biases: tuple[Bias, ...]

    @property
    def summary(self) -> str:
        """How far they are apart, in a line; "" if no object was labelled by two."""
        if not self.whole.objects:
            return ""
        line = (
            f"Two annotators labelled {counted(self.whole.objects, 'object')}. Median distance, in "
        )
        line += f"percent of the object's length: {_share(self.whole)}"
        known = {name: item for name, item in self.keypoints.items() if item.objects}
        worst = sorted(known, key=lambda name: -known[name].apart)[:_NAMED]
        most = ", ".join(f"{name} {known[name].apart:.1%}" for name in worst)
        close = f"PCK@0.1 of one against the other: {self.whole.close:.3f}"
        return f"{line}; most: {most}. {close}."

    def lines(self) -> list[str]:
        """For people."""
        lines = [self.summary] if self.summary else []
        lines += [_in_words(item) for item in self.biases[:_LISTED]]
        if len(self.biases) > _LISTED:
            lines.append(f"... and {len(self.biases) - _LISTED} more: labelkit check --json")
        return lines


def agreement(project: Project, store: LabelStore) -> Agreement:
    """Compare what two annotators answered to the same Label Studio task, or in second labels.

    Args:
        project: see `open_project`.
        store: its label store.
    """
    answers: dict[tuple[str, str], dict[str, Entry]] = defaultdict(dict)
    labels: dict[str, Entry] = {}
    for recorded in sorted(store.history(_labelled_twice(store)), key=lambda it: it.seq):
        entry = recorded.entry
        if entry.kind == KEYPOINTS and entry.annotator:
            labels[entry.instance_id] = entry
            if "task" in entry.shown:
                answers[entry.instance_id, entry.shown["task"]][entry.annotator] = entry
        elif entry.kind == SECOND and entry.content:
            label = labels[entry.instance_id]
            answers[entry.instance_id, SECOND] = {label.annotator: label, entry.annotator: entry}
    instances, skeleton = store.instances(), project.skeleton
    several = (item for item in answers.items() if len(item[1]) > 1)
    both = {id_: found for (id_, _), found in several if id_ in instances}
    people = sorted({name for found in both.values() for name in found})
    poses = [{who: pose_of([it], skeleton) for who, it in found.items()} for found in both.values()]
    first = [next(iter(found.values())) for found in poses]
    lengths, _ = reference_lengths(first, [instances[id_] for id_ in both])
    xy = np.full((len(people), len(both), len(skeleton), 2), np.nan)
    for column, (found, length) in enumerate(zip(poses, lengths, strict=True)):
        for who, pose in found.items():
            xy[people.index(who), column] = (
                np.where(pose.present[:, None], pose.xy, np.nan) / length
            )
    names = skeleton.keypoints
    whole, each = spreads(xy)
    found_off = biases(xy, people, names)
    return Agreement(tuple(people), whole, dict(zip(names, each, strict=True)), tuple(found_off))


def _labelled_twice(store: LabelStore) -> set[str]:
    """Ids of the objects that two annotators labelled; reading these alone takes little memory."""
    found: set[str] = set()
    first: dict[tuple[str, str], str] = {}  # who answered to a task first
    for recorded in store.entries():
        entry = recorded.entry
        if entry.kind == SECOND:
            found.add(entry.instance_id)
        elif entry.kind == KEYPOINTS and entry.annotator and "task" in entry.shown:
            task = entry.instance_id, entry.shown["task"]
            if first.setdefault(task, entry.annotator) != entry.annotator:
                found.add(entry.instance_id)
    return found


def _share(spread: Spread) -> str:
    """A median in percent, with its interval if it has one."""
    interval = " to ".join(f"{end:.1%}" for end in spread.interval)
    return f"{spread.apart:.1%}" + (f" ({interval})" if interval else "")


def _in_words(bias: Bias) -> str:
    low, high = sorted((abs(bias.low), abs(bias.high)))
    where = (("left", "right"), ("up", "down"))[bias.axis][bias.offset > 0]
    what = bias.keypoint or "all keypoints"
    return (
        f"{bias.annotator} places {what} {abs(bias.offset):.1%} ({low:.1%} to {high:.1%}) "
        f"farther {where} than the others do ({counted(bias.objects, 'object')})"
    )
