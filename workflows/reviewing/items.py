"""What a review shows of each instance: labels, predictions and findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labelkit.bridges.fiftyone.samples import round_field
from labelkit.domain.prediction import Prediction
from labelkit.domain.selection import control_arm
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import UsageError
from labelkit.metrics.findings import ReviewItem, Work, assess, work_on
from labelkit.project.preannotation import pre_annotation
from labelkit.project.predictions import iter_tables, read_predictions
from labelkit.project.project import Project
from labelkit.project.response_maps import MapReader
from labelkit.project.rounds import COMPLETE, Round, in_words, rounds
from labelkit.store.ids import as_bytes
from labelkit.store.label_store import LabelStore
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot, read_snapshot
from labelkit.workflows.rounds.queue_file import CONTROL_SHARE, read_queue


@dataclass(frozen=True, slots=True)
class Review:
    """The instances under review.

    Attributes:
        items: by instance id, in the order of the project; each is made when it is asked for.
        round: whose findings and maps are shown; None before the first one.
        fields: names of the rounds whose predictions are shown, that of `round` last.
        labels: of the project.
        work: what annotators did, by instance id.
    """

    items: Mapping[str, ReviewItem]
    round: Round | None
    fields: tuple[str, ...]
    labels: LabelSnapshot
    work: Mapping[str, Work]

    def most_uncertain(self, limit: int, skeleton: Skeleton) -> list[str]:
        """Ids of at most so many instances, most uncertain first.

        Instances without a prediction come last; ties in the order of the project.
        """
        ids = self.labels.instances.columns.ids
        uncertainty = np.full(len(ids), -1.0)
        if self.round is not None:
            for table in iter_tables(self.round.path / "predictions.parquet", skeleton):
                places = ids.places(as_bytes(table.ids))
                uncertainty[places[places >= 0]] = 1.0 - table.score[places >= 0]
        order = np.argsort(-uncertainty, kind="stable")[:limit]
        return [ids[place] for place in order.tolist()]


class _Items(Mapping[str, ReviewItem]):
    """See `Review`; the arguments are those of `gather`, and what it read."""

    def __init__(
        self,
        project: Project,
        labels: LabelSnapshot,
        work: Mapping[str, Work],
        predictions: Mapping[str, Mapping[str, Prediction]],
        base: str,
        maps: MapReader | None,
    ) -> None:
        self._skeleton, self._seed = project.skeleton, project.seed
        self._labels, self._work = labels, work
        self._predictions, self._base, self._maps = predictions, base, maps
        self._queued = {item.instance_id for item in read_queue(project)}
        self._suspicious = read_suspicious(project)

    def __getitem__(self, id_: str) -> ReviewItem:
        instance = self._labels.instances[id_]
        answer, human = self._labels.presences.get(id_), self._labels.poses.get(id_)
        mine = {name: found[id_] for name, found in self._predictions.items() if id_ in found}
        shown = {
            name: pre_annotation(found, answer, instance.image) for name, found in mine.items()
        }
        done = self._work.get(id_, Work())
        finding = assess(
            instance,
            self._skeleton,
            prediction=mine.get(self._base),
            shown=shown.get(self._base),
            human=human,
            answer=answer,
            work=done,
            corrected=mine.get(done.shown.replace("-", "_")),
            maps=self._maps.get(id_) if self._maps is not None and id_ in self._maps else None,
        )
        waiting = id_ in self._queued and not (human is not None and human.known.all())
        served = waiting or (human is not None and bool(done.annotators))
        states = {
            "labelled": human is not None,
            "queued": waiting,
            "dev": id_ in self._labels.dev,
            "control": served and id_ in control_arm([id_], self._seed, CONTROL_SHARE),
            "suspicious": id_ in self._suspicious,
        }
        tags = tuple(name for name, holds in states.items() if holds)
        why = tuple(self._suspicious.get(id_, ()))
        return ReviewItem(instance, human, answer, mine, shown, finding, tags, why)

    def __contains__(self, id_: object) -> bool:
        return id_ in self._labels.instances

    def __iter__(self) -> Iterator[str]:
        return iter(self._labels.instances)

    def __len__(self) -> int:
        return len(self._labels.instances)


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
    *,
    number: int | None = None,
    with_maps: bool = True,
) -> Review:
    """Read labels, and open the predictions and maps that findings are derived from.

    Args:
        project: see `open_project`.
        store: its label store.
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
    labels, work = read_snapshot(project, store), work_on(store.entries())
    base, maps = round_field(chosen.plan.number) if chosen else "", None
    if with_maps and chosen is not None and map_file(chosen).is_file():
        maps = MapReader(map_file(chosen), project.skeleton)
    items = _Items(project, labels, work, predictions, base, maps)
    return Review(items, chosen, tuple(predictions), labels, work)
