"""A round that is worse than the skeleton in the box serves that skeleton, wherever it is shown."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import make_instance, make_pose, stick_skeleton
from trained import Trained

from labelkit.domain.instance import Box
from labelkit.domain.pose import Pose
from labelkit.domain.pose_priors import skeleton_in_box
from labelkit.domain.prediction import Prediction
from labelkit.progress import Silent
from labelkit.project.preannotation import pre_annotation
from labelkit.project.predictions import write_predictions
from labelkit.project.rounds import Round, RoundPlan
from labelkit.workflows.loop.retrain import retrain
from labelkit.workflows.loop.status import status
from labelkit.workflows.reviewing.items import gather
from labelkit.workflows.rounds import run_round
from labelkit.workflows.rounds.gain import advice
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.run_round import latest_predictions, predict_later
from labelkit.workflows.rounds.served import (
    COMPARABLE,
    NETWORK,
    SKELETON,
    as_served,
    better,
    name_of,
    note_on_serving,
    served,
    skeleton_measures,
)
from labelkit.workflows.rounds.settings import TrainingOptions
from labelkit.workflows.serving.task_predictor import TaskPredictor
from labelkit.workflows.sync.push_files import push_files


@pytest.mark.parametrize(
    ("located", "network", "skeleton", "serves"),
    [
        (COMPARABLE, 0.034, 0.145, SKELETON),
        (COMPARABLE - 1, 0.034, 0.145, NETWORK),  # too few to tell
        (COMPARABLE, 0.145, 0.145, NETWORK),
        (COMPARABLE, 0.3, 0.145, NETWORK),
        (COMPARABLE, None, 0.145, NETWORK),  # no present keypoint
        (0, None, None, NETWORK),
    ],
)
def test_the_better_of_the_two_is_served_where_the_dev_set_can_tell(
    located, network, skeleton, serves
):
    measures = {"located": located, "pck@0.1": network}
    assert better(measures, {"pck@0.1": skeleton}) == serves
    assert better(measures, {}) == NETWORK  # a skeleton without a layout


def test_the_skeleton_is_scored_as_the_round_is():
    skeleton, instance = stick_skeleton(), make_instance(box=(0, 0, 100, 50))
    # The layout puts them at (50, 5), (20, 20), (80, 20) and (50, 45); the long side is 100.
    pose = make_pose([(50, 5), (20, 24), (80, 28), (50, 30)])  # 0, 4, 8 and 15 pixels away
    found = skeleton_measures({instance.id: pose}, {instance.id: instance}, skeleton)
    shares = [found[f"pck@{share}"] for share in (0.02, 0.05, 0.1, 0.2)]
    assert shares == [0.25, 0.5, 0.75, 1.0]
    assert found["median_px"] == 6.0
    flat = replace(skeleton, layout=((0.5, 0.5),) * 4)
    assert skeleton_measures({instance.id: pose}, {instance.id: instance}, flat) == {}
    assert skeleton_measures({}, {}, skeleton) == {}


def test_what_is_served_has_the_places_of_the_skeleton_and_the_networks_scores():
    instance, skeleton = make_instance(box=(10, 20, 100, 50)), stick_skeleton()
    pose = Pose(np.zeros((4, 2)), np.full(4, 2), np.array([0.1, 0.2, 0.3, 0.4]))
    prediction = Prediction(instance.id, pose, np.array([0.9, 0.2, 0.8, 0.7]), 0.25)
    assert as_served(prediction, instance, skeleton, NETWORK) is prediction
    found = as_served(prediction, instance, skeleton, SKELETON)
    assert found.pose.xy == pytest.approx(np.array([(60, 25), (30, 40), (90, 40), (60, 65)]))
    assert (found.presence.tolist(), found.score) == (prediction.presence.tolist(), 0.25)
    assert found.pose.score.tolist() == pose.score.tolist()


def test_poses_of_an_earlier_round_stay_and_what_it_had_not_is_the_networks():
    instance, skeleton = make_instance(box=(10, 20, 100, 50)), stick_skeleton()
    pose = Pose(np.zeros((4, 2)), np.full(4, 2), np.array([0.1, 0.2, 0.3, 0.4]))
    prediction = Prediction(instance.id, pose, np.array([0.9, 0.2, 0.8, 0.7]), 0.25)
    before = make_pose([(60, 25), (30, 40), (0, 0), (60, 65)], [2, 2, 0, 2])
    earlier = Prediction(instance.id, before, np.ones(4), 1.0)
    found = as_served(prediction, instance, skeleton, "round 001", earlier)
    assert found.pose.xy.tolist() == [[60, 25], [30, 40], [0, 0], [60, 65]]
    assert (found.presence.tolist(), found.score) == (prediction.presence.tolist(), 0.25)
    assert as_served(prediction, instance, skeleton, "round 001") is prediction  # a new image
    assert as_served(prediction, instance, skeleton, NETWORK, earlier) is prediction


def test_a_training_that_is_clearly_worse_leaves_the_poses_of_the_round_before(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
):
    """As another model's poses are kept where a network of few labels is worse."""
    project, store = trained.project, trained.store
    trained.bootstrap(trained.truth_file)
    before, of_before = latest_predictions(project)
    right = {
        id_: replace(of_before[id_], pose=pose)
        for id_, pose in store.poses(project.skeleton).items()
    }
    write_predictions(before.path / "predictions.parquet", right.values(), project.skeleton)
    monkeypatch.setattr(run_round, "COMPARABLE", 2)
    options = TrainingOptions(seed=5)
    report = retrain(project, store, Silent(), percent=0.0, now=True, options=options)
    newest, predictions = latest_predictions(project)
    assert newest.plan.number == report.round == before.plan.number + 1
    assert served(newest) == name_of(before)
    assert note_on_serving(newest) in report.text()
    assert newest.facts["earlier"]["pck@0.1"] == 1.0 > newest.facts["dev"]["pck@0.1"]
    for id_, prediction in predictions.items():
        shown = right[id_].pose.present
        assert prediction.pose.xy[shown] == pytest.approx(right[id_].pose.xy[shown])
        assert prediction.score != right[id_].score
    assert advice(project, read_snapshot(project, store)) == ""


def test_a_round_of_an_earlier_version_serves_its_network():
    plan = RoundPlan(3, "location-free", (), 0.0, 1, {}, 0)
    found = Round(Path("003"), plan, "complete", "", "", {"dev": {"pck@0.1": 0.01}})
    assert (served(found), note_on_serving(found)) == (NETWORK, "")
    facts = {"dev": {"pck@0.1": 0.034}, "skeleton_in_box": {"pck@0.1": 0.1451}, "serves": SKELETON}
    note = note_on_serving(replace(found, facts=facts))
    for part in ("003", "0.034", "0.145"):
        assert part in note


def test_a_small_project_serves_the_skeleton_after_a_training_that_hardly_began(trained: Trained):
    """Its dev set of 2 to 4 objects cannot tell; the objects that it learned from can."""
    project, store = trained.project, trained.store
    trained.bootstrap(trained.truth_file)
    options = TrainingOptions(seed=5, minutes=1e-9)
    report = retrain(project, store, Silent(), percent=50.0, now=True, options=options)
    newest, predictions = latest_predictions(project)
    assert newest.facts["training"]["steps"] == 1 < newest.facts["training"]["recipe"]["steps"]
    assert "stopped after 1 of" in report.note
    assert "labelkit retrain --minutes 0" in report.note
    assert served(newest) == SKELETON
    both = newest.facts["on_what_it_learned"]
    assert both[NETWORK]["located"] == len(newest.plan.labelled) == 12
    for measures in both.values():
        assert f"{measures['pck@0.1']:.3f}" in note_on_serving(newest)
    assert note_on_serving(newest) in report.note
    instances = store.instances()
    for id_, prediction in predictions.items():
        (expected,) = skeleton_in_box([instances[id_].box], project.skeleton)
        assert prediction.pose.xy == pytest.approx(expected)


def test_push_review_queue_serve_and_status_agree_on_what_a_round_serves(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
):
    project, store = trained.project, trained.store
    trained.bootstrap(trained.truth_file)  # keypoints, of which the dev set's measure the round
    monkeypatch.setattr(run_round, "better", lambda *_: SKELETON)
    options = TrainingOptions(seed=5)
    report = retrain(project, store, Silent(), percent=0.0, now=True, options=options)
    newest, predictions = latest_predictions(project)
    assert newest.plan.number == report.round == 1
    assert served(newest) == SKELETON
    assert note_on_serving(newest) in report.text()
    *_, last = status(project, store).rounds
    assert (last["serves"], last["note"]) == (SKELETON, note_on_serving(newest))
    assert newest.facts["dev"]["median_px"] != newest.facts["skeleton_in_box"]["median_px"]

    instances = store.instances()
    for id_, prediction in predictions.items():
        (expected,) = skeleton_in_box([instances[id_].box], project.skeleton)
        assert prediction.pose.xy == pytest.approx(expected)
    assert len({prediction.score for prediction in predictions.values()}) > 1

    shown = gather(project, store).items
    answers = store.presences(project.skeleton)
    for id_, item in shown.items():
        served_pose = pre_annotation(predictions[id_], answers[id_], instances[id_].image)
        assert item.shown["round_001"].xy == pytest.approx(served_pose.xy)

    later = replace(next(iter(instances.values())), ordinal=7, box=Box(10, 10, 50, 60))
    assert predict_later(project, newest, {**instances, later.id: later}, Silent()) == 1
    found = latest_predictions(project)[1][later.id]
    assert found.pose.xy == pytest.approx(skeleton_in_box([later.box], project.skeleton)[0])


@pytest.mark.parametrize("serves", [SKELETON, "round 000"])
def test_serve_and_push_send_the_same_poses(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, serves: str
):
    scores = iter((0.0, 1.0))
    monkeypatch.setattr(run_round, "measure", lambda *_: {"pck@0.1": next(scores)})
    monkeypatch.setattr(run_round, "better", lambda *_: SKELETON)
    monkeypatch.setattr(run_round, "skeleton_measures", lambda *_: {"pck@0.1": 1.0})
    if serves != SKELETON:
        monkeypatch.setattr(run_round, "COMPARABLE", 0)
        monkeypatch.setattr(run_round, "_clearly_better", lambda earlier, *_: earlier)
    project, store = trained.project, trained.store
    options = TrainingOptions(seed=5)
    retrain(project, store, Silent(), percent=0.0, now=True, options=options)
    assert served(latest_predictions(project)[0]) == serves
    tasks = json.loads(push_files(project, store, dry_run=False).files[1].read_text("utf-8"))
    answered = TaskPredictor(project, store, Silent()).answer(tasks)
    pushed = [task["predictions"] for task in tasks if task["predictions"]]
    assert pushed
    for task, answer in zip(tasks, answered, strict=True):
        if task["predictions"]:
            (mine,), (theirs,) = task["predictions"], answer.predictions
            assert [r["value"] for r in theirs["result"]] == [r["value"] for r in mine["result"]]


def test_predictions_that_an_earlier_version_left_when_it_was_killed_are_replaced(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
):
    class Killed(Exception):
        pass

    def killed(*_: object) -> None:
        raise Killed

    def run() -> None:
        options = TrainingOptions(seed=5)
        retrain(trained.project, trained.store, Silent(), percent=0.0, now=True, options=options)

    with monkeypatch.context() as earlier:
        earlier.setattr(run_round, "finish_round", killed)
        with pytest.raises(Killed):
            run()
    assert (trained.project.rounds_root / "001" / "predictions.parquet").is_file()
    monkeypatch.setattr(run_round, "better", lambda *_: SKELETON)
    monkeypatch.setattr(run_round, "skeleton_measures", lambda *_: {"pck@0.1": 1.0})
    monkeypatch.setattr(run_round, "measure", lambda *_: {"pck@0.1": 0.0})
    run()
    newest, predictions = latest_predictions(trained.project)
    assert served(newest) == SKELETON
    for id_, instance in trained.store.instances().items():
        (expected,) = skeleton_in_box([instance.box], trained.project.skeleton)
        assert predictions[id_].pose.xy == pytest.approx(expected)
