"""`labelkit predictions add`: a round without a network, in every command that uses rounds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from builders import write_picture
from command_line import TINY, labelkit
from foreign import Foreign, make_foreign

import labelkit as lk
from labelkit.domain.instance import Box
from labelkit.domain.pose import UNKNOWN, VISIBLE, human_pose
from labelkit.errors import ProjectError, UsageError, WaitingForLabels
from labelkit.progress import Silent
from labelkit.project.images import scan_images
from labelkit.project.predictions import read_predictions
from labelkit.project.project import remember
from labelkit.project.rounds import latest_complete, trained_round
from labelkit.store.objects import NewInstance
from labelkit.workflows.choosing.draw_records import newest_record
from labelkit.workflows.labelling.following import Following
from labelkit.workflows.labelling.work import Work, next_mode
from labelkit.workflows.loop.export import export
from labelkit.workflows.loop.predict import predict
from labelkit.workflows.loop.pull import pull
from labelkit.workflows.loop.retrain import retrain
from labelkit.workflows.loop.status import status
from labelkit.workflows.measure.evaluate import evaluate
from labelkit.workflows.reviewing.page import review_html
from labelkit.workflows.rounds.gain import advice
from labelkit.workflows.rounds.networks import load_network, predict_instances
from labelkit.workflows.rounds.queue_file import unshown
from labelkit.workflows.rounds.run_round import predict_later
from labelkit.workflows.rounds.settings import TrainingOptions, settings_of
from labelkit.workflows.serving.task_predictor import TaskPredictor
from labelkit.workflows.sync.push_files import push_files
from labelkit.workflows.synthetic.simulated_annotator import correct

OPTIONS = TrainingOptions(preset="tiny", backbone="test_resnet", epochs=1, pretrained=False)


@pytest.fixture
def foreign(tmp_path) -> Iterator[Foreign]:
    made = make_foreign(tmp_path)
    with made.store:
        yield made


@pytest.fixture
def adapted(foreign) -> Foreign:
    """With a round that was adapted with ten labelled objects and the dev set labelled."""
    foreign.label([*foreign.dev, *foreign.trainable[:10]])
    foreign.add()
    return foreign


def corrections(foreign: Foreign):
    """An export in which the whole queue is corrected."""
    tasks = json.loads(
        push_files(foreign.project, foreign.store, dry_run=False).files[1].read_text("utf-8")
    )
    truth = {id_: foreign.truth(id_) for id_ in foreign.poses}
    rows = correct(tasks, foreign.store.instances(), truth, foreign.project.skeleton)
    path = foreign.folder / "export.json"
    path.write_text(json.dumps(rows))
    return path


def train(foreign: Foreign, now: bool = True):
    return retrain(foreign.project, foreign.store, Silent(), percent=None, now=now, options=OPTIONS)


def test_the_command_and_its_twin_say_the_same(foreign):
    foreign.label(foreign.trainable[:10])
    root, file = foreign.project.root, foreign.file()
    ended = labelkit("predictions", "add", file, "--name", "net", "--project", root, "--json")
    told = json.loads(ended.out)
    assert (ended.code, told["round"], told["found"], told["learned_from"]) == (0, 0, 30, 10)
    again = lk.open(root).add_predictions(file, "net")
    assert (again.round, again.is_new) == (0, False)


def test_a_model_needs_a_name(foreign):
    with pytest.raises(UsageError, match="--name"):
        foreign.add(name=" ")


def test_what_has_no_namesake_is_said(foreign):
    text = foreign.add().text()
    assert "left_paw, right_paw, tail" in text
    assert "repeat this command" in text


def test_the_first_labels_that_it_learns_from_are_drawn_at_random(foreign):
    foreign.add()
    assert newest_record(foreign.project).strategy == "random"
    foreign.label(foreign.trainable[:10])
    foreign.add()
    assert newest_record(foreign.project).strategy == "mixed"


def test_a_lead_who_chooses_everything_chooses_the_first_labels_too(foreign):
    foreign = foreign._replace(project=remember(foreign.project, queue="manual"))
    foreign.add()
    assert newest_record(foreign.project) is None  # nothing was drawn


def test_status_names_the_model_and_asks_for_corrections(adapted):
    report = status(adapted.project, adapted.store)
    (row,) = report.rounds
    assert (row["kind"], row["serves"], row["labeled"]) == ("foreign", "beast-net", "33.33%")
    assert row["dev"]["pck@0.1"] == 1.0
    assert "predictions of beast-net" in report.text()
    assert report.round == 0
    assert "labelkit push" in report.next_step


def test_its_poses_are_pushed_as_pre_annotations(adapted):
    push = push_files(adapted.project, adapted.store, dry_run=False)
    tasks = json.loads(push.files[1].read_text("utf-8"))
    versions = {task["predictions"][0]["model_version"] for task in tasks}
    assert (push.kind, versions) == ("correction", {"round-000"})
    regions = [region for task in tasks for region in task["predictions"][0]["result"]]
    points = sum("keypointlabels" in region["value"] for region in regions)
    assert points == 4 * (push.instances - push.control)


def test_a_pull_that_brings_labels_learns_the_adapter_again(foreign):
    foreign.label(foreign.trainable[:3])
    foreign.add()
    report = pull(foreign.project, foreign.store, Silent(), file=corrections(foreign))
    newest = latest_complete(foreign.project)
    assert report.poses > 0
    assert newest.plan.number == 1
    assert len(newest.plan.labelled) > 3
    assert any("Round 001" in note for note in report.notes)


def test_it_is_scored_beside_the_pose_priors_on_the_dev_set(adapted):
    report = evaluate(
        adapted.project, adapted.store, Silent(), images=None, labels=None,
        supervised=False, output=None,
    )  # fmt: skip
    rows = {row.name: row for row in report.table.rows}
    assert rows["beast-net"].labeled == "33.3%"
    assert rows["beast-net"]["pck@0.1"] == 1.0
    assert rows.keys() == {"skeleton in box", "mean pose", "beast-net"}


def test_it_cannot_be_scored_on_images_of_another_folder(adapted, tmp_path):
    write_picture(tmp_path / "other" / "new.png", (100, 80), seed=99)
    document = adapted.document(without=list(adapted.poses)[1:])
    document["categories"][0]["keypoints"] = list(adapted.project.skeleton.keypoints)
    document["images"] = [{"id": 1, "file_name": "new.png", "width": 100, "height": 80}]
    row = document["annotations"][0]
    row |= {"image_id": 1, "keypoints": row["keypoints"][:12], "keypoint_scores": [1] * 4}
    labels = tmp_path / "new.json"
    labels.write_text(json.dumps(document))
    report = evaluate(
        adapted.project, adapted.store, Silent(), images=tmp_path / "other", labels=labels,
        supervised=False, output=None,
    )  # fmt: skip
    assert "beast-net" in report.note
    assert {row.name for row in report.table.rows} == {"skeleton in box", "mean pose"}


def test_the_review_says_that_it_has_no_maps(adapted):
    page = adapted.folder / "review.html"
    report = review_html(adapted.project, adapted.store, Silent(), page)
    assert "beast-net" in report.note
    assert "no response maps" in report.text()
    assert page.stat().st_size > 0


def test_the_labelling_page_shows_its_poses_and_no_keypoint_follows(adapted):
    assert next_mode(adapted.project, adapted.store) == "keypoints"
    work = Work(adapted.project, adapted.store, "keypoints")
    id_ = adapted.trainable[-1]
    assert work.round == "round-000"
    assert np.allclose(work.prediction(id_).xy, adapted.truth(id_).xy, atol=3)
    placed = human_pose([(20.0, 20.0), *[(0, 0)] * 3], np.array([VISIBLE, *[UNKNOWN] * 3]))
    assert Following(work).follow(work.instances[id_], placed) is None


def test_it_is_served_without_a_network(adapted):
    predictor = TaskPredictor(adapted.project, adapted.store, Silent())
    instances = adapted.store.instances()
    blank = unshown(adapted.project, adapted.snapshot.dev, instances)
    image = next(item.image for id_, item in instances.items() if id_ not in blank)
    (answer,) = predictor.answer([{"data": {"image_id": image.id}}])
    assert predictor.version() == "round-000"
    assert answer.problem == ""
    assert answer.instances > 0


@pytest.mark.parametrize("number", [None, 0])
def test_a_network_that_it_does_not_have_is_not_run(adapted, number, tmp_path):
    with pytest.raises(ProjectError, match=r"beast-net.*\n.*labelkit retrain"):
        predict(
            adapted.project, adapted.store, Silent(), images=adapted.project.images_root,
            number=number,
        )  # fmt: skip
    with pytest.raises(ProjectError, match="labelkit retrain"):
        export(
            adapted.project, adapted.store, Silent(), form="onnx", predictions=False,
            output=tmp_path / "net.onnx", dry_run=False,
        )  # fmt: skip


def test_objects_that_come_later_are_empty_until_the_file_is_added_again(adapted):
    write_picture(adapted.project.images_root / "new.png", (100, 80), seed=77)
    image = next(i for i in scan_images(adapted.project.images_root).images if i.path == "new.png")
    adapted.store.add_images([image])
    adapted.store.add_instances([NewInstance(image, Box(5, 10, 40, 60), "given", 2400.0)])
    found = latest_complete(adapted.project)
    assert predict_later(adapted.project, found, adapted.store.instances(), Silent()) == 0
    rows = read_predictions(found.path / "predictions.parquet", adapted.project.skeleton)
    assert len(rows) == 31
    assert np.isnan(rows[f"{image.id}-0"].xy).all()
    assert status(adapted.project, adapted.store).round == 0


def test_after_it_training_waits_for_labels_like_a_first_round(foreign):
    foreign.add()
    with pytest.raises(WaitingForLabels):
        train(foreign, now=False)


@pytest.mark.slow
def test_training_after_it_starts_like_a_first_round_and_both_stay_usable(adapted):
    report = train(adapted)
    assert (report.round, report.kind, report.is_new) == (1, "semi-weak", True)
    assert trained_round(adapted.project, None).plan.number == 1
    assert advice(adapted.project, adapted.snapshot) == ""
    adapted.label(adapted.trainable[10:12])
    again = adapted.add()
    assert (again.round, again.is_current) == (2, True)
    # The network is still there, below the newer predictions.
    assert train(adapted).round == 3
    adapted.add(name="other-net")
    new = {"images": adapted.project.images_root, "boxes": "whole-image"}
    predicted = predict(adapted.project, adapted.store, Silent(), **new)
    assert predicted.round == 3
    with pytest.raises(UsageError, match="3"):
        predict(adapted.project, adapted.store, Silent(), **new, number=0)
    rows = {row.name for row in _evaluated(adapted).table.rows}
    assert {"LOFR semi-weak", "beast-net", "other-net"} <= rows
    root = adapted.project.root
    ended = labelkit("bootstrap", "--images", adapted.project.images_root, "--project", root, *TINY)
    assert ended.code == 0


def _evaluated(foreign: Foreign):
    return evaluate(
        foreign.project, foreign.store, Silent(), images=None, labels=None,
        supervised=False, output=None,
    )  # fmt: skip


@pytest.mark.slow
def test_a_teacher_is_learned_from_and_read_beside(adapted):
    options = replace(OPTIONS, teacher="beast-net")
    report = retrain(
        adapted.project, adapted.store, Silent(), percent=None, now=True, options=options
    )
    found = trained_round(adapted.project, report.round)
    assert found.plan.settings["teacher"] == {"name": "beast-net", "round": 0}
    # Ten objects have locations; the others teach too, but for the four of the dev set.
    assert found.facts["training"]["located"] == 10
    assert found.facts["training"]["unanswered"] == 16
    network, _ = load_network(found.path / "model.safetensors", adapted.project.skeleton)
    settings, instances = settings_of(found), adapted.store.instances()

    def error(settings) -> float:
        rows = predict_instances(adapted.project, network, settings, instances, Silent())
        apart = [
            np.linalg.norm(r.prediction.xy - adapted.truth(r.prediction.instance_id).xy, axis=1)
            for r in rows
        ]
        return float(np.mean(apart))

    # After one epoch the network knows little, and the other model nearly everything.
    assert error(settings) < 0.5 * error(settings | {"teacher": None})
    assert {row.name for row in _evaluated(adapted).table.rows} >= {
        "LOFR semi-weak with beast-net",
        "beast-net",
    }
    again = retrain(
        adapted.project, adapted.store, Silent(), percent=None, now=True, options=options
    )
    assert (again.round, again.is_new) == (report.round, False)
    without = train(adapted)
    assert without.is_new


def test_a_teacher_that_is_not_there_is_named(adapted):
    with pytest.raises(UsageError, match=r"no-net.*beast-net"):
        retrain(
            adapted.project,
            adapted.store,
            Silent(),
            percent=None,
            now=True,
            options=replace(OPTIONS, teacher="no-net"),
        )
