"""Rounds of another model's predictions: adapted, immutable, learned again."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
from foreign import THEIRS, Foreign, make_foreign

from labelkit.domain.pose import Pose
from labelkit.domain.prediction import Prediction
from labelkit.errors import ProjectError
from labelkit.project.predictions import read_predictions, write_predictions
from labelkit.project.project import open_project
from labelkit.project.rounds import (
    Round,
    RoundPlan,
    begin_round,
    finish_round,
    read_round,
    rounds,
)
from labelkit.workflows.loop.predictions import learn_adapter_again
from labelkit.workflows.reviewing.independent import independent
from labelkit.workflows.rounds.foreign import RAW, learn_again
from labelkit.workflows.rounds.served import NETWORK, as_served, note_on_serving, served
from labelkit.workflows.upkeep.skeleton import edit_skeleton


@pytest.fixture
def foreign(tmp_path) -> Iterator[Foreign]:
    made = make_foreign(tmp_path)
    with made.store:
        yield made


def predicted(foreign: Foreign, number: int):
    path = foreign.project.rounds_root / f"{number:03d}" / "predictions.parquet"
    return read_predictions(path, foreign.project.skeleton)


def errors(foreign: Foreign, number: int) -> np.ndarray:
    """(N, K) distances to the truth in long sides of the box, NaN without a location."""
    rows = predicted(foreign, number)
    return np.array(
        [np.linalg.norm(rows[id_].xy - foreign.truth(id_).xy, axis=1) / 60 for id_ in rows]
    )


def test_without_labels_keypoints_of_the_same_name_are_taken_and_the_rest_is_empty(foreign):
    report = foreign.add()
    assert (report.round, report.is_new, report.found, report.learned_from) == (0, True, 30, 0)
    found = errors(foreign, 0)
    assert np.isnan(found[:, 1:]).all()
    assert np.allclose(found[:, 0], 0)
    reached = [name for name, row in report.keypoints.items() if row["reached"]]
    assert reached == ["nose"]


def test_with_labels_every_keypoint_is_learned_and_its_error_is_known(foreign):
    foreign.label(foreign.trainable[:20])
    report = foreign.add()
    assert report.learned_from == 20
    assert np.median(errors(foreign, 0)) < 0.01
    assert report.keypoints["left_paw"]["start"] == "hand L"
    assert all(row["error"] < 0.03 and row["reached"] for row in report.keypoints.values())


def test_the_dev_set_teaches_nothing(foreign):
    foreign.label([*foreign.dev, *foreign.trainable[:3]])
    report = foreign.add()
    assert report.learned_from == 3
    plan = rounds(foreign.project)[0].plan
    assert set(plan.labelled) == set(foreign.trainable[:3])


def test_a_large_error_lowers_the_score_by_the_chance_of_a_correction(foreign):
    rng = np.random.default_rng(0)
    ids = foreign.trainable[:20]
    for id_ in ids:  # what people call the tail has nothing to do with the model's keypoints
        foreign.poses[id_][[0, 4]] += rng.normal(scale=20, size=2)
    foreign.label(ids)
    for id_ in ids:
        foreign.poses[id_][[0, 4]] = 0.9 * foreign.poses[id_][[1]] + 3
    report = foreign.add(foreign.file(score=0.8))
    row = next(iter(predicted(foreign, 0).values()))
    assert report.keypoints["tail"]["error"] > 0.1
    # .8 times a chance of at most 1 - 2 ** -1: the median error is as large as the tolerance.
    assert row.pose.score[3] < 0.8 * 0.5
    assert row.pose.score[0] > 0.75


def test_an_object_that_the_model_did_not_find_is_left_empty(foreign):
    lost = foreign.trainable[0]
    report = foreign.add(foreign.file(without=[lost]))
    row = predicted(foreign, 0)[lost]
    assert (report.found, report.instances) == (29, 30)
    assert np.isnan(row.xy).all()
    assert row.score == 0


def test_the_same_predictions_make_no_second_round(foreign):
    foreign.label(foreign.trainable[:5])
    foreign.add()
    again = foreign.add()
    assert (again.round, again.is_new) == (0, False)
    assert len(rounds(foreign.project)) == 1


def test_more_labels_make_a_new_round_and_the_old_one_stays_as_it_is(foreign):
    foreign.label(foreign.trainable[:4])
    foreign.add()
    files = {p: p.read_bytes() for p in (foreign.project.rounds_root / "000").iterdir()}
    assert learn_again(foreign.project, foreign.store) is None
    foreign.label(foreign.trainable[4:12])
    found = learn_again(foreign.project, foreign.store)
    assert found.plan.number == 1
    assert len(found.plan.labelled) == 12
    assert {p: p.read_bytes() for p in files} == files
    assert (found.path / RAW).read_bytes() == files[foreign.project.rounds_root / "000" / RAW]


def test_less_than_a_tenth_more_labels_are_not_worth_a_round(foreign):
    foreign.label(foreign.trainable[:20])
    foreign.add()
    foreign.label(foreign.trainable[20:21])
    assert learn_again(foreign.project, foreign.store) is None
    foreign.label(foreign.trainable[21:22])
    assert learn_again(foreign.project, foreign.store) is not None


def network_round(foreign: Foreign, serves: str, **measured) -> Round:
    """A round after the first, of a network that is 30 pixels off; it serves what it is told to."""
    project, number = foreign.project, len(rounds(foreign.project))
    labelled = tuple(foreign.trainable[:4])
    plan = RoundPlan(number, "semi-weak", labelled, 4 / 30, foreign.store.head(), {}, 3)
    path, before = begin_round(project, plan), predicted(foreign, number - 1)
    served_rows = []
    for id_, instance in foreign.snapshot.instances.items():
        xy = foreign.truth(id_).xy + 30
        row = Prediction(id_, Pose(xy, np.full(4, 2), np.full(4, 0.4)), np.full(4, 0.7), 0.25)
        served_rows.append(as_served(row, instance, project.skeleton, serves, before[id_]))
    write_predictions(path / "predictions.parquet", served_rows, project.skeleton)
    (path / "maps").mkdir()
    for name in ("model.safetensors", "maps/maps.parquet"):
        (path / name).write_text(name)
    return finish_round(path, {"serves": serves, "dev": {"pck@0.1": 0.0}, **measured})


def test_where_a_network_serves_the_poses_their_adapter_is_learned_again(foreign):
    lost = foreign.trainable[-1]
    foreign.label(foreign.dev)
    foreign.add(foreign.file(without=[lost]))
    network = network_round(foreign, "round 000", earlier={"pck@0.1": 0.5})
    files = {p: p.read_bytes() for p in network.path.rglob("*") if p.is_file()}
    assert learn_again(foreign.project, foreign.store) is None
    foreign.label(foreign.trainable[:20])
    assert "Adapted with 20 labelled objects" in learn_adapter_again(foreign.project, foreign.store)
    adapted, again = rounds(foreign.project)[2:]
    assert adapted.plan.is_foreign
    assert len(adapted.plan.labelled) == 20
    assert (again.plan.kind, again.plan.labelled) == ("semi-weak", network.plan.labelled)
    assert served(again) == "round 002"
    assert "round 003" in note_on_serving(again)
    assert again.facts["earlier"]["pck@0.1"] == 1.0
    for name in ("model.safetensors", "maps/maps.parquet"):
        assert (again.path / name).read_text() == name
    shown, of_adapter = predicted(foreign, 3), predicted(foreign, 2)
    assert np.median(errors(foreign, 1)) > 0.5 > 0.01 > np.median(errors(foreign, 3))
    for id_, row in shown.items():
        assert (row.score, row.presence.tolist()) == (0.25, [0.7] * 4)  # the network's
        if id_ != lost:
            assert row.xy == pytest.approx(of_adapter[id_].xy)
    assert shown[lost].xy == pytest.approx(foreign.truth(lost).xy + 30)
    assert {p: p.read_bytes() for p in files} == files

    foreign.label(foreign.trainable[20:])
    assert learn_again(foreign.project, foreign.store).plan.number == 4
    assert served(rounds(foreign.project)[-1]) == "round 004"
    # What judges a label has learned from it neither as the network nor as the adapter.
    _, of_network = independent(foreign.project, foreign.trainable, None)
    assert not of_network.predictions.keys() & set(foreign.trainable[:4])
    taught = foreign.trainable[10]
    paw = of_network.predictions[taught].xy[1]
    assert paw == pytest.approx(foreign.truth(taught).xy[1] + 30)


def test_where_a_network_serves_its_own_poses_no_adapter_is_learned_again(foreign):
    foreign.label(foreign.trainable[:4])
    foreign.add()
    network_round(foreign, NETWORK)
    foreign.label(foreign.trainable[4:20])
    assert learn_again(foreign.project, foreign.store) is None


def test_a_keypoint_that_the_skeleton_gets_later_is_learned_too(foreign):
    foreign.label(foreign.trainable[:10])
    foreign.add()
    edit_skeleton(foreign.project, foreign.store, add=["ear"])
    found = learn_again(open_project(foreign.project.root), foreign.store)
    assert found.facts["keypoints"]["ear"] == {"start": "ear", "error": None, "reached": True}


def test_a_round_is_whole_or_not_there(foreign, monkeypatch):
    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("labelkit.workflows.rounds.foreign.write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        foreign.add()
    assert rounds(foreign.project) == []
    monkeypatch.undo()
    assert foreign.add().round == 0


def test_nothing_is_added_while_a_round_is_unfinished(foreign):
    plan = RoundPlan(0, "semi-weak", ("a-0",), 0.1, 1, {"preset": "tiny"}, 3)
    begin_round(foreign.project, plan)
    with pytest.raises(ProjectError, match="Round 000"):
        foreign.add()


def test_a_foreign_round_is_read_back_as_it_was_written(foreign):
    foreign.add()
    found = read_round(foreign.project.rounds_root / "000")
    assert found.plan.is_foreign
    assert found.plan.settings == {
        "name": "beast-net",
        "file": "poses.json",
        "keypoints": list(THEIRS),
    }
    document = json.loads((found.path / "metrics.json").read_text())
    assert document["answered"] == 0
