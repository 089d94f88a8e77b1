from dataclasses import replace

import numpy as np
import pytest
from builders import make_image, make_project, write_picture
from lines import Lines
from trained import FIGURES, TINY, Trained

from labelkit.domain.instance import Box
from labelkit.domain.pose import Pose, human_pose
from labelkit.domain.selection import labelled_count
from labelkit.errors import (
    ImageError,
    MissingDependencyError,
    UsageError,
    WaitingForLabels,
)
from labelkit.models.parts import pretrained
from labelkit.models.presets import PRESETS
from labelkit.progress import Silent
from labelkit.project.rounds import (
    ABANDONED,
    TRAINING,
    RoundPlan,
    begin_round,
    latest_complete,
    locked_labelled,
    rounds,
)
from labelkit.store.journal import (
    KEYPOINTS,
    VISIBILITY,
    Entry,
    keypoints_content,
    visibility_content,
)
from labelkit.store.label_store import LabelStore, NewInstance
from labelkit.workflows.loop.retrain import COMPARABLE, RoundReport, report_round, retrain
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.queue_file import read_queue
from labelkit.workflows.rounds.run_round import latest_predictions
from labelkit.workflows.rounds.settings import TrainingOptions
from labelkit.workflows.sync.pull_file import pull_file


def run(trained: Trained, percent=10.0, now=False, options=None, progress=None) -> RoundReport:
    return retrain(
        trained.project,
        trained.store,
        progress or Silent(),
        percent=percent,
        now=now,
        options=options or TrainingOptions(),
    )


@pytest.fixture
def corrected(trained):
    """The queue of the first round was corrected and pulled."""
    pull_file(trained.project, trained.store, trained.corrections())
    return trained


def test_without_enough_labels_it_reports_how_many_are_missing_and_trains_nothing(trained):
    report = run(trained)
    # 10 % of 24 is 2.4, which rounds to 2.
    assert (report.round, report.labelled, report.missing, report.exit_code) == (None, 0, 2, 3)
    assert "labelkit retrain --labeled 10%" in report.next_step
    assert report.next_step in report.text()
    assert len(rounds(trained.project)) == 1


def test_before_the_first_answer_it_names_the_commands_that_ask_people(tmp_path):
    project = make_project(tmp_path)
    with (
        LabelStore.open(project.store_url) as store,
        pytest.raises(WaitingForLabels) as caught,
    ):
        retrain(project, store, Silent(), percent=10.0, now=True, options=TrainingOptions())
    assert "labelkit push" in caught.value.next_step
    assert f"labelkit bootstrap --images {project.images_root}" in caught.value.next_step


def test_what_is_missing_is_queued_up_to_the_percentage(trained):
    report = run(trained, percent=50.0)
    assert report.missing == 12
    dev = sum(item.reason == "dev" for item in read_queue(trained.project))
    assert report.queued == len(read_queue(trained.project)) == dev + 12


def test_it_trains_on_exactly_the_labelled_share(corrected):
    report = run(corrected)
    assert (report.round, report.kind, report.labelled, report.instances, report.is_new) == (
        1,
        "semi-weak",
        2,
        FIGURES,
        True,
    )
    newest = latest_complete(corrected.project)
    assert newest is not None
    assert newest.facts["training"]["located"] == 2
    dev = {item.instance_id for item in read_queue(corrected.project) if item.reason == "dev"}
    assert not dev & set(newest.plan.labelled)
    assert newest.facts["training"]["answered"] + 2 + newest.facts["dev"]["answered"] == FIGURES


def test_a_round_that_was_stopped_is_complete_and_says_so(corrected):
    class Stopped(Lines):
        """Ctrl-C after the first stretch, and then the wish to finish."""

        def line(self, text):
            super().line(text)
            if ": step " in text:
                raise KeyboardInterrupt

        def confirm(self, question):
            return True

    report = run(corrected, options=TrainingOptions(epochs=3), progress=Stopped())
    newest = latest_complete(corrected.project)
    assert newest.plan.number == report.round == 1
    assert newest.facts["training"]["stopped"]
    assert "stopped after 2 of 6 steps" in report.note
    assert "labelkit retrain --epochs" in report.note
    assert (newest.path / "training.png").is_file()
    assert not run(corrected).is_new


def test_the_learning_rate_differs_until_there_are_locations(corrected):
    run(corrected)
    first, second = rounds(corrected.project)
    preset = PRESETS["tiny"]["training"]
    assert second.facts["training"]["recipe"]["lr"] == preset["lr"]
    assert first.facts["training"]["recipe"]["lr"] == preset["lr"] * preset["lr_unlocated"]


def test_the_dev_set_is_measured_and_never_trained_on(corrected):
    report = run(corrected)
    assert report.dev["located"] == report.dev["answered"] >= 2
    assert 0 <= report.dev["pck@0.2"] <= 1
    enough = replace(report, dev={**report.dev, "located": COMPARABLE})
    assert ("too few" in report.text(), "too few" in enough.text()) == (True, False)


def test_presence_is_measured_beside_one_score_for_all(trained):
    snapshot = read_snapshot(trained.project, trained.store)
    answers = np.stack([snapshot.presences[item] for item in sorted(snapshot.dev)])
    shares = answers.mean(axis=0)
    mixed = shares[(shares > 0) & (shares < 1)]
    newest = latest_complete(trained.project)
    assert newest is not None
    measured = newest.facts["dev"]["presence_map_chance"]
    assert measured == (pytest.approx(mixed.mean()) if len(mixed) else None)


@pytest.mark.parametrize(("presence_map", "percent"), [(0.61, "5%"), (0.9, "10%")])
def test_where_presence_alone_taught_little_few_are_queued(
    trained, monkeypatch, presence_map, percent
):
    monkeypatch.setattr("labelkit.workflows.loop.retrain.FEW", 1)  # of 24
    newest = latest_complete(trained.project)
    assert newest is not None
    dev = {"presence_map": presence_map, "presence_map_chance": 0.6}
    found = replace(newest, facts={**newest.facts, "dev": dev})
    snapshot = read_snapshot(trained.project, trained.store)
    report = report_round(trained.project, trained.store, snapshot, found, True, Silent())
    needed = labelled_count(FIGURES, float(percent.rstrip("%")))
    assert report.queued == len(snapshot.dev) + needed
    assert report.next_step.endswith(f"labelkit retrain --labeled {percent}")
    assert bool(report.note) is (percent == "5%")
    assert report.note in report.text()


def test_settings_without_an_option_stay_as_they_were(corrected):
    run(corrected)
    first, second = rounds(corrected.project)
    assert second.plan.settings == first.plan.settings
    assert second.plan.settings["epochs"] == 1


def test_running_it_again_trains_nothing(corrected):
    run(corrected)
    again = run(corrected)
    assert (again.round, again.is_new, again.exit_code) == (1, False, 0)
    assert len(rounds(corrected.project)) == 2


def test_a_smaller_percentage_is_a_part_of_a_larger_one(corrected):
    run(corrected, percent=10.0)
    small = run(corrected, percent=5.0)
    assert small.labelled == labelled_count(FIGURES, 5.0) == 1
    first, larger, smaller = (item.plan.labelled for item in rounds(corrected.project))
    assert first == ()
    assert larger[:1] == smaller
    assert locked_labelled(corrected.project) == list(larger)


def test_now_trains_on_what_there_is(corrected):
    report = run(corrected, percent=50.0, now=True)
    assert (report.labelled, report.missing, report.exit_code) == (2, 0, 0)


def test_without_a_percentage_everything_that_is_labelled_gives_locations(corrected):
    assert run(corrected, percent=None).labelled == 2


def test_the_next_queue_asks_for_twice_as_much(corrected):
    # 2 of 24 are 8.3 %; twice that is 16.7 %, 4 instances, of which 2 are labelled.
    report = run(corrected)
    assert report.queued == 2
    assert "labelkit retrain --labeled 17%" in report.next_step


def relabel(trained: Trained, id_: str, pose: Pose) -> None:
    """The keypoints of an instance come once more, from a file."""
    content = keypoints_content(trained.project.skeleton, pose)
    version = str(trained.store.head())
    trained.store.record([Entry(id_, KEYPOINTS, content, "file:more.json", id_, version)])


def dev_and_located(trained: Trained) -> tuple[str, str]:
    """One labelled instance of the dev set, and one that gave its locations."""
    newest = latest_complete(trained.project)
    assert newest is not None
    located = newest.plan.labelled[0]
    poses = trained.store.poses(trained.project.skeleton)
    return next(item for item in poses if item not in newest.plan.labelled), located


def moved(pose: Pose) -> Pose:
    return human_pose(pose.xy * 0.5, pose.visibility)


def test_labels_that_teach_nothing_new_train_nothing(corrected):
    run(corrected)
    poses = corrected.store.poses(corrected.project.skeleton)
    dev, located = dev_and_located(corrected)
    relabel(corrected, located, poses[located])
    relabel(corrected, dev, moved(poses[dev]))
    assert run(corrected).is_new is False


def test_a_keypoint_that_was_moved_is_learned_from(corrected):
    run(corrected)
    _, located = dev_and_located(corrected)
    relabel(corrected, located, moved(corrected.store.poses(corrected.project.skeleton)[located]))
    report = run(corrected)
    assert (report.round, report.is_new) == (2, True)


def test_an_answer_that_was_changed_is_learned_from(corrected):
    run(corrected)
    dev, located = dev_and_located(corrected)
    answers = corrected.store.presences(corrected.project.skeleton)
    other = next(item for item in answers if item not in (dev, located))
    content = visibility_content(corrected.project.skeleton, answers[other] < 1)
    corrected.store.record([Entry(other, VISIBILITY, content, "file:more.csv", other, "1")])
    assert run(corrected).is_new is True


def test_images_that_came_later_are_pre_annotated(corrected):
    run(corrected, now=True)
    corrected.store.add_images([make_image("late.png", 96, 96)])
    write_picture(corrected.images / "late.png", (96, 96))
    image = next(i for i in corrected.store.images() if i.path == "late.png")
    (late,) = corrected.store.add_instances([NewInstance(image, Box(0, 0, 90, 90), "given", 1.0)])
    report = run(corrected, now=True)
    assert (report.is_new, report.predicted) == (False, 1)
    assert (report.labelled, report.instances) == (2, FIGURES + 1)
    _, predictions = latest_predictions(corrected.project)
    assert late.id in predictions


def test_another_seed_is_another_round(corrected):
    run(corrected)
    assert run(corrected, options=TrainingOptions(seed=5)).round == 2


def test_a_killed_round_continues_under_its_number(corrected):
    first = latest_complete(corrected.project)
    assert first is not None
    run(corrected)
    done = latest_complete(corrected.project)
    assert done is not None
    # As a kill during the pre-annotation leaves it: trained, but not finished.
    (done.path / "predictions.parquet").unlink()
    text = (done.path / "round.json").read_text()
    (done.path / "round.json").write_text(text.replace('"complete"', '"training"'))
    lines = Lines()
    report = run(corrected, progress=lines)
    assert (report.round, report.is_new) == (1, True)
    (line,) = lines.lines
    assert "round 001" in line
    assert (done.path / "predictions.parquet").is_file()


def test_a_killed_round_is_given_up_for_another_training(corrected):
    first = latest_complete(corrected.project)
    assert first is not None
    begin_round(
        corrected.project,
        RoundPlan(1, "location-free", (), 0.0, 1, first.plan.settings, 99),
    )
    report = run(corrected)
    assert report.round == 2
    assert [item.status for item in rounds(corrected.project)][1] == ABANDONED


def test_a_changed_option_is_checked_before_a_half_trained_round_is_given_up(
    corrected, monkeypatch
):
    first = latest_complete(corrected.project)
    assert first is not None
    begin_round(
        corrected.project, RoundPlan(1, "location-free", (), 0.0, 1, first.plan.settings, 99)
    )
    with pytest.raises(UsageError, match="resnet9000"):
        run(corrected, options=TrainingOptions(backbone="resnet9000"))
    monkeypatch.setattr(pretrained, "cached", lambda *_: None)
    with pytest.raises(MissingDependencyError, match="--no-pretrained"):
        run(corrected, options=TrainingOptions(pretrained=True))
    gone = corrected.images / next(iter(corrected.store.images())).path
    gone.rename(corrected.folder / "away.png")
    with pytest.raises(ImageError, match=gone.name):
        run(corrected, options=TrainingOptions(pretrained=False))
    assert [item.status for item in rounds(corrected.project)][1] == TRAINING
    (corrected.folder / "away.png").rename(gone)
    assert run(corrected, options=TrainingOptions(pretrained=False)).round == 2


def test_options_override_the_settings_of_the_last_round(corrected):
    run(corrected, options=TrainingOptions(epochs=2, mirror=False))
    newest = latest_complete(corrected.project)
    assert newest is not None
    assert newest.plan.settings["epochs"] == 2
    assert newest.plan.settings["mirror"] is False
    assert newest.plan.settings["preset"] == TINY.preset


def label(trained: Trained, id_: str, pose: Pose) -> Entry:
    content = keypoints_content(trained.project.skeleton, pose)
    return Entry(id_, KEYPOINTS, content, "test", id_, "1")


def test_all_that_can_give_locations_is_enough_for_100_percent(trained):
    trained.store.record(label(trained, id_, pose) for id_, pose in trained.truth.items())
    dev = read_snapshot(trained.project, trained.store).dev
    report = run(trained, percent=100.0)  # the dev set never gives locations
    assert (report.round, report.labelled, report.exit_code) == (1, FIGURES - len(dev), 0)
    assert "labelkit export" in report.next_step


def test_with_one_more_to_correct_100_percent_waits_for_that_one(trained):
    snapshot = read_snapshot(trained.project, trained.store)
    *others, last = (id_ for id_ in snapshot.instances if id_ not in snapshot.dev)
    truth = trained.truth
    trained.store.record(label(trained, id_, truth[id_]) for id_ in (*snapshot.dev, *others))
    report = run(trained, percent=100.0)
    assert (report.round, report.missing, report.queued, report.exit_code) == (None, 1, 1, 3)
    assert [item.instance_id for item in read_queue(trained.project)] == [last]


def test_a_dev_instance_whose_keypoints_were_all_deleted_has_no_error_to_compare(corrected):
    empty, *_ = read_snapshot(corrected.project, corrected.store).dev
    nothing = human_pose(np.zeros((14, 2)), np.zeros(14, dtype=np.int64))
    corrected.store.record([label(corrected, empty, nothing)])
    report = run(corrected)
    assert report.round == 1
    assert report.exit_code == 0
