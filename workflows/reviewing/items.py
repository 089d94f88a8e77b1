"""What a review shows of each instance: labels, predictions and findings."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from labelkit.bridges.fiftyone.samples import round_field
from labelkit.domain.prediction import Prediction
from labelkit.domain.selection import control_arm
from labelkit.errors import UsageError
from labelkit.metrics.findings import ReviewItem, Work, assess, work_on
from labelkit.progress import Progress
from labelkit.project.preannotation import pre_annotation
from labelkit.project.predictions import read_predictions
from labelkit.project.project import Project
from labelkit.project.response_maps import MapReader
from labelkit.project.rounds import COMPLETE, Round, in_words, rounds
from labelkit.store.label_store import LabelStore
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot, read_snapshot
from labelkit.workflows.rounds.queue_file import CONTROL_SHARE, read_queue


@dataclass(frozen=True, slots=True)
class Review:
    """The instances under review.

    Attributes:
        items: by instance id, in the order of the project.
        round: whose findings and maps are shown; None before the first one.
        fields: names of the rounds whose predictions are shown, that of `round` last.
        labels: of the project.
    """

    items: Mapping[str, ReviewItem]
    round: Round | None
    fields: tuple[str, ...]
    labels: LabelSnapshot

    @property
    def most_uncertain_first(self) -> list[ReviewItem]:
        """Instances without a prediction come last; ties in the order of the project."""
        return sorted(
            self.items.values(),
            key=lambda item: -1.0 if item.finding.uncertainty is None else item.finding.uncertainty,
            reverse=True,
        )


def map_file(found: Round) -> Path:
    """Where a round keeps its response maps."""
    return found.path / "maps" / "maps.parquet"


def note_on_maps(found: Round | None) -> str:
    """That a round has no maps to show, and why; "" where it can have them."""
    if found is None or found.plan.reads_boxes:
        return ""
    return f"{in_words(found)} has no response maps: they come from a network that reads boxes."


def suspicious_file(project: Project) -> Path:
    """Where `check` and `pull` keep what is probably wrong: an object's id, a tab, why."""
    return project.root / "reports" / "suspicious.txt"


def read_suspicious(project: Project) -> dict[str, list[str]]:
    """What is probably wrong with labels, in words, by id of the object."""
    file = suspicious_file(project)
    lines = file.read_text("utf-8").splitlines() if file.is_file() else []
    found: dict[str, list[str]] = {}
    for id_, _, text in (line.partition("\t") for line in lines):
        found.setdefault(id_, []).extend([text] if text else [])
    return found


def gather(
    project: Project,
    store: LabelStore,
    progress: Progress,
    *,
    number: int | None = None,
    with_maps: bool = True,
) -> Review:
    """Read labels, predictions and maps, and derive the findings.

    Args:
        project: see `open_project`.
        store: its label store.
        progress: shows a bar.
        number: of the round to show; None for the newest complete one.
        with_maps: also compare the predictions with their response maps.

    Raises:
        UsageError: if there is no such round, or it is not complete.
    """
    complete = [item for item in rounds(project) if item.status == COMPLETE]
    chosen = complete[-1] if complete else None
    if number is not None:
        chosen = next((item for item in complete if item.plan.number == number), None)
        if chosen is None:
            names = ", ".join(str(item.plan.number) for item in complete) or "none yet"
            raise UsageError(f"Round {number} is not complete.", f"Complete rounds: {names}.")
        complete = [item for item in complete if item.plan.number <= number]
    predictions: dict[str, Mapping[str, Prediction]] = {
        round_field(item.plan.number): read_predictions(
            item.path / "predictions.parquet", project.skeleton
        )
        for item in complete
    }
    labels = read_snapshot(project, store)
    work = work_on(store.entries())
    queued = {item.instance_id for item in read_queue(project)}
    suspicious = read_suspicious(project)
    drawn = control_arm(labels.instances, project.seed, CONTROL_SHARE)
    items: dict[str, ReviewItem] = {}
    base = round_field(chosen.plan.number) if chosen else ""
    with ExitStack() as stack:
        maps = None
        if with_maps and chosen is not None and map_file(chosen).is_file():
            maps = stack.enter_context(MapReader(map_file(chosen), project.skeleton))
        bar = progress.track(labels.instances.items(), "Comparing", len(labels.instances))
        for id_, instance in bar:
            answer, human = labels.presences.get(id_), labels.poses.get(id_)
            mine = {name: found[id_] for name, found in predictions.items() if id_ in found}
            shown = {
                name: pre_annotation(found, answer, instance.image) for name, found in mine.items()
            }
            done = work.get(id_, Work())
            finding = assess(
                instance,
                project.skeleton,
                prediction=mine.get(base),
                shown=shown.get(base),
                human=human,
                answer=answer,
                work=done,
                corrected=mine.get(done.shown.replace("-", "_")),
                maps=maps.get(id_) if maps is not None and id_ in maps else None,
            )
            waiting = id_ in queued and not (human is not None and human.known.all())
            served = waiting or (human is not None and bool(done.annotators))
            states = {
                "labelled": human is not None,
                "queued": waiting,
                "dev": id_ in labels.dev,
                "control": id_ in drawn and served,
                "suspicious": id_ in suspicious,
            }
            tags = tuple(name for name, holds in states.items() if holds)
            why = tuple(suspicious.get(id_, ()))
            items[id_] = ReviewItem(instance, human, answer, mine, shown, finding, tags, why)
    return Review(items, chosen, tuple(predictions), labels)
