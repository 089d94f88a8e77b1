"""`labelkit skeleton`: show a project's skeleton, or change its keypoints, links and pairs."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelkit.domain.skeleton import Skeleton, pairs_in_words, with_pairs
from labelkit.domain.skeleton_edit import Difference, difference, edited
from labelkit.domain.text import counted, named
from labelkit.errors import SkeletonError, UsageError
from labelkit.files.documents import load_text
from labelkit.project.first_skeleton import keep_first_skeleton
from labelkit.project.project import Project, change_project
from labelkit.project.rounds import latest_complete
from labelkit.report import Report
from labelkit.store.label_store import LabelStore
from labelkit.store.task_ledger import mark_former
from labelkit.workflows.intake.label_files import read_skeleton
from labelkit.workflows.loop.retrain import percent_after
from labelkit.workflows.rounds.image_files import ImageFiles
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.next_step import next_step
from labelkit.workflows.rounds.queue_file import fill_queue

SHOW, EDIT = ACTIONS = ("show", "edit")


@dataclass(frozen=True, slots=True)
class SkeletonReport(Report):
    """A project's skeleton, and what an edit changed (in a dry run: would change).

    Attributes:
        skeleton: after the edit.
        changed: keypoints that came, went or got another name.
        left_over: answers in the journal by keypoints that the skeleton does not have.
        back: answers in the journal by keypoints that came back.
        incomplete: instances with human keypoints that leave some of the skeleton's unknown.
        dry_run: nothing was changed.
        next_step: what to type; "" for a skeleton that is only shown.
    """

    skeleton: Skeleton
    changed: Difference
    left_over: Mapping[str, int]
    back: Mapping[str, int]
    incomplete: int
    dry_run: bool = False
    next_step: str = ""
    exit_code: int = 0

    def text(self) -> str:
        """For people; a shown skeleton is a file that an edit takes."""
        notes = [pairs_in_words(self.skeleton)]
        if self.left_over:
            kept = [f"{name} ({counted(n, 'answer')})" for name, n in self.left_over.items()]
            notes.append(f"In the journal, but not in the skeleton: {', '.join(kept)}.")
        if not self.next_step:
            return "".join(f"# {line}\n" for line in notes) + self.skeleton.to_toml().rstrip()
        added, removed, renamed = self.changed
        lines = [
            f"The skeleton {self.skeleton.name!r} {'would have' if self.dry_run else 'has'} "
            f"{counted(len(self.skeleton), 'keypoint')}."
        ]
        for name in added:
            known = self.back.get(name, 0)
            comes = f"back, with {counted(known, 'answer')}" if known else "unknown in all labels"
            lines.append(f"  {name} is added: {comes}")
        lines += [f"  {former} is called {now}" for former, now in renamed]
        lines += [f"  {name} is removed: its answers stay in the journal" for name in removed]
        if added and removed:
            lines.append(
                "If a keypoint only got another name, type for example: labelkit skeleton edit "
                f"--rename {removed[0]}={added[0]}"
            )
        if self.incomplete:
            lines.append(
                f"{counted(self.incomplete, 'labelled instance')} lack some keypoints. They are "
                "trained on for the others."
            )
        return "\n".join([*lines, *notes, self.next_step])

    def data(self) -> dict[str, Any]:
        """For machines."""
        return {
            "skeleton": self.skeleton.to_table(),
            **self.changed._asdict(),
            "left_over": dict(self.left_over),
            "back": dict(self.back),
            "incomplete": self.incomplete,
            "dry_run": self.dry_run,
            "next_step": self.next_step,
        }


def show_skeleton(project: Project, store: LabelStore) -> SkeletonReport:
    """The skeleton of a project, and what the journal has besides."""
    return _report(project, store, project.skeleton, _answers(store))


def edit_skeleton(
    project: Project,
    store: LabelStore,
    *,
    file: Path | None = None,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    pairs: str | None = None,
    dry_run: bool = False,
) -> SkeletonReport:
    """Change a project's skeleton. Labels stay as they are: a new keypoint is unknown in them.

    Args:
        project: see `open_project`; nothing else may be at work in it.
        store: its label store.
        file: a skeleton file; what it leaves out stays. Of a DeepLabCut config or a COCO file,
            keypoints and links count.
        add, remove: names of keypoints.
        rename: former and new names.
        pairs: left/right pairs, see `with_pairs`.
        dry_run: change nothing.

    Raises:
        SkeletonError: if the changes contradict each other, the skeleton or the labels.
        UsageError: if there is nothing to change.
    """
    before = project.skeleton
    table = {} if file is None else _table(file)
    origin = "labelkit skeleton edit" if file is None else str(file)
    renames = [*table.get("renamed", []), *([old, new] for old, new in (rename or {}).items())]
    after = edited(before, {**table, "renamed": renames}, origin)
    names = list(after.keypoints)
    for name in remove:
        names.remove(after.keypoints[after.index(name)])
    if [*names, *add] != list(after.keypoints):
        after = edited(after, {"keypoints": [*names, *add]}, origin)
    if pairs is not None:
        after = with_pairs(after, pairs)
    if file is None and not (add or remove or rename or pairs):
        raise UsageError(
            "There is nothing to change.",
            "Type for example: labelkit skeleton edit --add tail_tip; or write the skeleton down, "
            "change it and take it: labelkit skeleton show > skeleton.toml; "
            "labelkit skeleton edit skeleton.toml",
        )
    if len(difference(before, after).removed) == len(before):
        raise SkeletonError(
            f"{origin}: none of the keypoints of {before.name!r} would stay: "
            f"{named(before.keypoints)}.",
            "Make another project: --project DIR. Or say what was renamed: --rename OLD=NEW",
        )
    answers = _answers(store)
    for former, now in difference(before, after).renamed:
        if answers[now] and before.present_name(now) == now:
            raise SkeletonError(
                f"{former!r} cannot become {now!r}: the journal has {answers[now]} answers about "
                "another keypoint of that name, which was removed.",
                "Choose another name.",
            )
    if not dry_run and after != before:
        keep_first_skeleton(project)
        if after.keypoints != before.keypoints:
            mark_former(store.database)
        project = change_project(project, skeleton=after)
        store.renamed = dict(after.renamed)
        if newest := latest_complete(project):
            fill_queue(project, read_snapshot(project, store), percent_after(newest))
    return _report(project, store, after, answers, before, dry_run)


def renames(texts: Sequence[str]) -> dict[str, str]:
    """Former and new names, from texts such as "snout=nose".

    Raises:
        UsageError: if a text is not written like that.
    """
    for text in texts:
        if text.count("=") != 1 or not all(part.strip() for part in text.split("=")):
            raise UsageError(
                f"--rename {text!r} is not OLD=NEW.", "Type for example: --rename snout=nose"
            )
    return {old.strip(): new.strip() for old, new in (text.split("=") for text in texts)}


def _table(file: Path) -> dict[str, Any]:
    """The table of a skeleton file of any kind."""
    if file.suffix.lower() == ".toml":
        try:
            return tomllib.loads(load_text(file))
        except tomllib.TOMLDecodeError as error:
            raise SkeletonError(f"{file} is not a TOML file ({error}).") from error
    table = read_skeleton(str(file)).to_table()
    return {key: table[key] for key in ("keypoints", "links")}


def _answers(store: LabelStore) -> Counter[str]:
    """Answers in the journal by the keypoints that they name."""
    return Counter(name for recorded in store.entries() for name in recorded.entry.content)


def _report(
    project: Project,
    store: LabelStore,
    skeleton: Skeleton,
    answers: Counter[str],
    before: Skeleton | None = None,
    dry_run: bool = False,
) -> SkeletonReport:
    changed = difference(before or skeleton, skeleton)
    left_over = {n: count for n, count in answers.items() if max(skeleton.columns_in([n])) < 0}
    incomplete = sum(not pose.known.all() for pose in store.poses(skeleton).values())
    step = ""
    if before is not None:
        files = ImageFiles(project, store)
        step = next_step(project, store, read_snapshot(project, store), files)
    back = {name: answers[name] for name in changed.added if answers[name]}
    return SkeletonReport(skeleton, changed, left_over, back, incomplete, dry_run, step)
