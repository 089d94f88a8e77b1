"""`labelkit check`: labels that are probably wrong, for a second look; it changes none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from labelkit.domain.text import counted
from labelkit.errors import UsageError
from labelkit.metrics.label_errors import FEWEST
from labelkit.metrics.table import markdown
from labelkit.progress import Progress
from labelkit.project.project import Project
from labelkit.report import Report
from labelkit.store.label_store import LabelStore
from labelkit.workflows.reviewing.folds import train_folds
from labelkit.workflows.reviewing.items import suspicious_file
from labelkit.workflows.reviewing.overlaps import Agreement, agreement
from labelkit.workflows.reviewing.suspects import KINDS, PROMISE, Suspect, find_suspects
from labelkit.workflows.rounds.image_files import check_image_files
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.settings import TrainingOptions

#: Suspicions that the text lists; JSON lists all.
_LISTED = 20


@dataclass(frozen=True, slots=True)
class CheckReport(Report):
    """What is probably wrong with the labels.

    Attributes:
        checked: objects with human keypoints.
        predicted: those of them on which a prediction that did not learn from them was heard.
        promise: 0 ... 1, the share of swaps, exchanged parts and jumps that is to be right.
        kinds: suspicions by kind.
        suspects: all, most certain first.
        objects: file of their ids, for `labelkit label --objects`.
        agreement: of annotators, on objects that two of them labelled.
        note: what was not checked.
    """

    checked: int
    predicted: int
    promise: float
    kinds: Mapping[str, int]
    suspects: tuple[Suspect, ...]
    objects: str
    agreement: Agreement
    note: str
    exit_code: int = 0

    def text(self) -> str:
        """For people."""
        heard = f", {self.predicted} of them beside predictions" if self.predicted else ""
        lines = [f"{counted(self.checked, 'labelled object')} checked{heard}."]
        if self.note:
            lines.append(f"note: {self.note}")
        lines += self.agreement.lines()
        if not self.suspects:
            return "\n".join([*lines, "Nothing looks wrong."])
        rows = [(kind, str(count)) for kind, count in self.kinds.items() if count]
        lines.append(markdown((("probably wrong", "labels"), *rows)))
        lines += [item.text for item in self.suspects[:_LISTED]]
        if len(self.suspects) > _LISTED:
            lines.append(f"... and {len(self.suspects) - _LISTED} more: labelkit check --json")
        return "\n".join([*lines, f"Look again with: labelkit label --objects {self.objects}"])


def check(
    project: Project,
    store: LabelStore,
    progress: Progress,
    *,
    promise: float = PROMISE,
    folds: int = 0,
    minutes: float | None = None,
) -> CheckReport:
    """Find labels that are probably wrong, and keep their ids for the page and the review.

    Args:
        project: see `open_project`.
        store: its label store.
        progress: shows how far the trainings are.
        promise: 0 ... 1, the share of suspicions of each kind that should be right. Labels that
            contradict each other are named in any case.
        folds: parts of the labelled objects, for each of which a network is trained on the others
            and heard; 0 trains none. What was trained before is heard in any case.
        minutes: that all these trainings may take together; None for as long as those of rounds.

    Raises:
        UsageError: if the promise, the folds or the minutes are out of range, or too few objects
            are labelled to train folds.
        LabelkitError: if a training cannot begin.
    """
    if not 0 < promise < 1:
        raise UsageError(
            f"--promise {promise:g} is not a share between 0 and 1.",
            "Type for example: labelkit check --promise 0.8",
        )
    if folds:
        snapshot = read_snapshot(project, store)
        if (count := len(snapshot.trainable)) < FEWEST:
            raise UsageError(
                f"Folds need keypoints of {FEWEST} objects outside the dev set; there are {count}.",
                "Label more objects first: labelkit label. Or check without folds: labelkit check",
            )
        check_image_files(project, store)
        train_folds(project, snapshot, folds, TrainingOptions(minutes=minutes), progress)
    elif minutes is not None:
        raise UsageError(
            f"--minutes {minutes:g} limits the training of folds, but no folds were asked for.",
            f"Add folds: labelkit check --folds 3 --minutes {minutes:g}",
        )
    found = find_suspects(project, store, promise)
    counts = Counter(item.kind for item in found.suspects)
    few = f"With fewer than {FEWEST} labelled objects, swaps and jumps are not checked."
    return CheckReport(
        checked=found.checked,
        predicted=found.predicted,
        promise=promise,
        kinds={kind: counts[kind] for kind in KINDS},
        suspects=found.suspects,
        objects=str(suspicious_file(project)),
        agreement=agreement(project, store),
        note=few if found.checked < FEWEST else "",
    )
