"""Networks of folds are trained once, and never on what they predict."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from trained import TINY, Trained

from labelkit.domain.pose import Pose, human_pose
from labelkit.errors import UsageError
from labelkit.progress import Silent
from labelkit.project.predictions import read_predictions
from labelkit.project.project import Project
from labelkit.store.journal import KEYPOINTS, Entry, keypoints_content
from labelkit.workflows.network.data import Example
from labelkit.workflows.reviewing import folds
from labelkit.workflows.reviewing.folds import read_folds, train_folds
from labelkit.workflows.reviewing.independent import independent
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.networks import train_network


def label(trained: Trained, poses: Mapping[str, Pose]) -> None:
    version, skeleton = str(trained.store.head()), trained.project.skeleton
    trained.store.record(
        Entry(id_, KEYPOINTS, keypoints_content(skeleton, pose), "test", "", version)
        for id_, pose in poses.items()
    )


@pytest.fixture
def labelled(trained: Trained) -> Trained:
    """All figures have keypoints."""
    label(trained, trained.truth)
    return trained


def train(trained: Trained, count: int = 2) -> None:
    snapshot = read_snapshot(trained.project, trained.store)
    train_folds(trained.project, snapshot, count, TINY, Silent())


@pytest.fixture
def taught(monkeypatch: pytest.MonkeyPatch) -> dict[Path, set[str]]:
    """The objects that each training learned from, by its folder."""
    found = {}

    def noted(kind: str, project: Project, examples: list[Example], *rest: Any) -> dict[str, Any]:
        found[rest[2].parent] = {example.instance.id for example in examples}
        return train_network(kind, project, examples, *rest)

    monkeypatch.setattr(folds, "train_network", noted)
    return found


def test_each_object_is_predicted_by_a_network_that_never_saw_it(
    labelled: Trained, taught: dict[Path, set[str]]
):
    train(labelled)
    project, ids = labelled.project, set(read_snapshot(labelled.project, labelled.store).trainable)
    found = read_folds(project)
    assert [len(taught[fold.path]) for fold in found] == [fold.taught for fold in found]
    for fold in found:
        predicted = read_predictions(fold.path / "predictions.parquet", project.skeleton)
        assert predicted.keys() == ids - taught[fold.path]
    with ExitStack() as files:
        (heard,) = independent(project, sorted(ids), files)
    assert heard.predictions.keys() == ids
    assert all(heard.maps.values())


def test_a_training_is_finished_and_then_used_until_labels_change(
    labelled: Trained, taught: dict[Path, set[str]]
):
    train(labelled)
    one, two = (fold.path for fold in read_folds(labelled.project))
    (two / "predictions.parquet").unlink()
    taught.clear()
    train(labelled)
    assert list(taught) == [two]
    (id_, pose), *_ = read_snapshot(labelled.project, labelled.store).poses.items()
    label(labelled, {id_: pose})
    taught.clear()
    train(labelled)
    assert taught == {}  # the keypoints are where they were
    label(labelled, {id_: human_pose(pose.xy + 1, pose.visibility)})
    train(labelled)
    assert list(taught) == [one, two]


@pytest.mark.parametrize("count", [1, 100])
def test_each_fold_holds_an_image_and_leaves_others(labelled: Trained, count: int):
    with pytest.raises(UsageError):
        train(labelled, count)
