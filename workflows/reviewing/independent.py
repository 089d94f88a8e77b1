"""What predictors say of labelled objects without having learned from their labels."""

from __future__ import annotations

from contextlib import ExitStack
from typing import NamedTuple

from labelkit.domain.prediction import Prediction
from labelkit.project.predictions import find_predictions
from labelkit.project.project import Project
from labelkit.project.response_maps import MapReader
from labelkit.project.rounds import COMPLETE, rounds
from labelkit.workflows.reviewing.folds import read_folds
from labelkit.workflows.rounds.served import name_of, served


class Heard(NamedTuple):
    """What a predictor that did not learn from their labels says of objects, by their id.

    Attributes:
        predictions: of the objects that it predicts.
        maps: the file that holds theirs; None where there is none.
    """

    predictions: dict[str, Prediction]
    maps: dict[str, MapReader | None]


def independent(project: Project, ids: list[str], files: ExitStack | None) -> list[Heard]:
    """Predictions that did not learn from the label of their object, of each predictor.

    labelkit's own networks, of rounds and of folds, are one predictor; of an object the one counts
    that learned from most labels. Each foreign model is another.

    Args:
        project: see `open_project`.
        ids: of labelled objects.
        files: closes the maps; None for none.
    """
    learned: dict[str, frozenset[str]] = {}  # by each round, or the one whose poses it served
    sources = []
    for item in rounds(project):
        if item.status == COMPLETE:
            own = frozenset(item.plan.labelled) | learned.get(served(item), frozenset())
            learned[name_of(item)] = own
            name = str(item.plan.settings["name"]) if item.plan.is_foreign else ""
            sources.append((len(item.plan.labelled), name, item.path, set(ids) - own))
    sources += [(fold.taught, "", fold.path, set(ids)) for fold in read_folds(project)]
    heard: dict[str, Heard] = {}
    for _, name, path, unseen in sorted(sources, key=lambda item: item[0]):
        found = find_predictions(path / "predictions.parquet", project.skeleton, unseen)
        file, maps = path / "maps" / "maps.parquet", None
        if found and files is not None and file.is_file():
            maps = files.enter_context(MapReader(file, project.skeleton))
        predictor = heard.setdefault(name, Heard({}, {}))
        predictor.predictions.update(found)
        predictor.maps.update(dict.fromkeys(found, maps))
    return [predictor for predictor in heard.values() if predictor.predictions]
