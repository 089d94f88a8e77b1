import json
import re

import numpy as np
import pytest
from trained import Trained

from labelkit.domain.pose import human_pose
from labelkit.errors import (
    CheckpointError,
    FormatError,
    ImageError,
    InputError,
    ProjectError,
    UsageError,
    WaitingForLabels,
)
from labelkit.metrics.table import METRICS
from labelkit.models.checkpoint import load_model
from labelkit.progress import Silent
from labelkit.project.predictions import read_predictions
from labelkit.project.rounds import latest_complete
from labelkit.store.journal import KEYPOINTS, WITHDRAWN, Entry, keypoints_content
from labelkit.store.label_store import LabelStore
from labelkit.workflows.loop.retrain import retrain
from labelkit.workflows.measure.evaluate import EvaluateReport, evaluate
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.settings import TrainingOptions
from labelkit.workflows.sync.pull_file import pull_file
from labelkit.workflows.synthetic.figures import generate

KEYS = ["name", "labeled", *METRICS]


def run(trained: Trained, images=None, labels=None, supervised=False, output=None):
    return evaluate(
        trained.project,
        trained.store,
        Silent(),
        images=images,
        labels=labels,
        supervised=supervised,
        output=output,
    )


def names(report: EvaluateReport):
    return [(row.name, row.labeled) for row in report.table.rows]


@pytest.fixture
def others(tmp_path):
    """Three figures that the project does not hold."""
    generate(tmp_path / "others", 3, seed=99, size=96)
    return {
        "images": tmp_path / "others" / "images",
        "labels": tmp_path / "others" / "keypoints.json",
    }


@pytest.fixture
def retrained(trained):
    pull_file(trained.project, trained.store, trained.corrections())
    options = TrainingOptions()
    retrain(trained.project, trained.store, Silent(), percent=10.0, now=False, options=options)
    return trained


def test_every_round_stands_beside_the_pose_priors_and_supervised_only(retrained, others):
    report = run(retrained, **others, supervised=True)
    # 2 of 24 instances gave locations.
    assert names(report) == [
        ("skeleton in box", None),
        ("mean pose", "8.3%"),
        ("LOFR location-free", "0%"),
        ("supervised-only", "8.3%"),
        ("LOFR semi-weak", "8.3%"),
    ]
    assert report.instances == 3


def test_supervised_only_had_the_same_labels_and_as_many_steps(retrained, others):
    run(retrained, **others, supervised=True)
    newest = latest_complete(retrained.project)
    assert newest is not None
    recipe = newest.facts["training"]["recipe"]
    (path,) = retrained.project.root.glob("reports/supervised/001-*/model.safetensors")
    network, header = load_model(path)
    trained_by = header["training"]
    for same in ("steps", "batch_size", "seed", "optimizer", "lr", "sigma", "weight_decay"):
        assert trained_by["recipe"][same] == recipe[same]
    assert (trained_by["located"], trained_by["answered"]) == (2, 0)
    assert type(network).__name__ == "SimpleBaseline"
    assert header["network"]["preset"]["backbone"] == newest.plan.settings["backbone"]


def test_the_supervised_network_is_trained_once(retrained, others):
    run(retrained, **others, supervised=True)
    (path,) = retrained.project.root.glob("reports/supervised/001-*/model.safetensors")
    before = path.stat().st_mtime_ns
    first = run(retrained, **others, supervised=True)
    assert path.stat().st_mtime_ns == before
    assert first.data() == run(retrained, **others, supervised=True).data()


def test_the_dev_set_is_the_default_and_its_keypoints_are_counted(retrained):
    report = run(retrained)
    labels = retrained.store.poses(retrained.project.skeleton)
    newest = latest_complete(retrained.project)
    assert newest is not None
    dev = [pose for item, pose in labels.items() if item not in newest.plan.labelled]
    assert report.source == "the dev set"
    assert report.note == ""  # the annotator moved every keypoint
    assert (report.instances, report.keypoints) == (
        len(dev),
        sum(int(pose.present.sum()) for pose in dev),
    )


def test_it_notes_how_many_keypoints_people_left_where_a_round_had_put_them(trained):
    newest = latest_complete(trained.project)
    assert newest is not None
    predictions = read_predictions(newest.path / "predictions.parquet", trained.project.skeleton)
    dev = sorted(read_snapshot(trained.project, trained.store).dev)
    skeleton = trained.project.skeleton
    for number, id_ in enumerate(dev):
        xy = predictions[id_].pose.xy.copy()
        xy[3 + number :] += 1.0
        pose = human_pose(xy, np.full(len(skeleton), 2))
        content = keypoints_content(skeleton, pose)
        trained.store.record([Entry(id_, KEYPOINTS, content, "file:x.json", str(number), "1")])
    kept = sum(3 + number for number in range(len(dev)))
    report = run(trained)
    assert re.findall(r"\d+", report.note) == [str(14 * len(dev)), str(kept), "000"]
    assert report.note in report.text()


def test_it_notes_how_far_two_people_are_apart(trained):
    skeleton = trained.project.skeleton
    for id_ in read_snapshot(trained.project, trained.store).dev:
        side = trained.store.instances()[id_].box.long_side
        for who, shift in (("ann", 0.0), ("ben", 0.05)):
            xy = trained.truth[id_].xy + np.array([shift * side, 0.0])
            content = keypoints_content(skeleton, human_pose(xy, np.full(len(skeleton), 2)))
            entry = Entry(
                id_, KEYPOINTS, content, "label-studio", who, "1", who, shown={"task": "7"}
            )
            trained.store.record([entry])
    note = run(trained).note.splitlines()[-1]
    assert "5.0%" in note
    assert "PCK@0.1" in note
    assert "1.000" in note


def test_the_table_is_written_as_json_with_exactly_these_keys(trained, others, tmp_path):
    report = run(trained, **others, output=tmp_path / "table.json")
    document = json.loads((tmp_path / "table.json").read_text())
    assert list(document) == ["rows"]
    assert all(list(row) == KEYS for row in document["rows"])
    assert document == report.data()


def test_a_label_file_is_not_replaced_by_a_table_but_a_table_is(trained, others, tmp_path):
    with pytest.raises(UsageError, match=r"keypoints\.json(?s:.*)--overwrite"):
        run(trained, **others, output=trained.truth_file)
    for _ in range(2):
        run(trained, **others, output=tmp_path / "table.json")


def test_evaluating_leaves_the_project_as_it_was(trained, others):
    head = trained.store.head()
    instances = trained.store.instances()
    run(trained, **others)
    assert (trained.store.head(), trained.store.instances()) == (head, instances)


def test_a_dev_set_without_keypoints_waits_for_people(trained):
    with pytest.raises(WaitingForLabels, match=r"labelkit push(?s:.*)labelkit evaluate --images"):
        run(trained)


def test_images_that_were_trained_on_are_refused(trained):
    first = min(path.name for path in trained.images.iterdir())
    with pytest.raises(InputError, match=first):
        run(trained, trained.images, trained.truth_file)


def test_images_without_labels_are_left_out(trained, others, tmp_path):
    # Nothing is detected in them either: only what is labelled can be scored.
    generate(tmp_path / "more", 2, seed=100, size=96)
    for path in (tmp_path / "more" / "images").iterdir():
        path.rename(others["images"] / f"unlabelled-{path.name}")
    assert run(trained, **others).instances == 3


def test_labels_without_keypoints_cannot_be_scored_on(trained, others, tmp_path):
    answers = tmp_path / "answers.csv"
    header = "image," + ",".join(trained.project.skeleton.keypoints)
    answers.write_text(header + "\n000000.jpg" + ",1" * 14 + "\n")
    with pytest.raises(InputError, match=r"answers\.csv(?s:.*)--labels FILE"):
        run(trained, others["images"], answers)


def test_bad_evaluation_images_are_named_without_options_that_only_bootstrap_has(trained, others):
    (others["images"] / "bad.png").touch()
    with pytest.raises(ImageError, match=r"bad\.png") as caught:
        run(trained, **others)
    assert "--" not in caught.value.next_step
    (others["images"] / "bad.png").unlink()
    (others["images"] / "000002.jpg").unlink()
    answers = others["images"].parent / "answers.csv"
    rows = "".join(f"00000{number}.jpg" + ",1" * 14 + "\n" for number in range(3))
    answers.write_text("image," + ",".join(trained.project.skeleton.keypoints) + "\n" + rows)
    for labels in (others["labels"], answers):
        with pytest.raises(FormatError, match=r"000002\.jpg") as caught:
            run(trained, others["images"], labels)
        assert "--" not in caught.value.next_step


def test_images_and_labels_come_together(trained, others):
    with pytest.raises(UsageError, match=r"--images DIR.*--labels FILE"):
        run(trained, images=others["images"])


def test_without_a_round_there_is_nothing_to_evaluate(trained, others):
    path = trained.project.rounds_root / "000"
    path.rename(trained.project.root / "aside")
    with pytest.raises(ProjectError, match="labelkit status"):
        run(trained, **others)


def test_weights_of_another_skeleton_are_refused(trained, others):
    from labelkit.models.checkpoint import load_model, save_checkpoint

    path = trained.project.rounds_root / "000" / "model.safetensors"
    network, header = load_model(path)
    names = [f"animal {name}" for name in header["skeleton"]["keypoints"]]
    save_checkpoint(path, network, header | {"skeleton": {"name": "animal", "keypoints": names}})
    with pytest.raises(CheckpointError, match=r"'animal'.*'lsp14'"):
        run(trained, **others)


def test_a_round_whose_network_cannot_be_read_is_left_out(retrained, others):
    path = retrained.project.rounds_root / "000" / "model.safetensors"
    path.write_bytes(b"from another time")
    report = run(retrained, **others)
    assert names(report) == [
        ("skeleton in box", None),
        ("mean pose", "8.3%"),
        ("LOFR semi-weak", "8.3%"),
    ]
    assert "round 000" in report.note
    assert str(path) in report.note


def test_another_store_url_does_not_get_evaluation_images(trained, others, monkeypatch, tmp_path):
    url = f"sqlite:///{tmp_path}/team.db"
    with LabelStore.open(url):
        pass
    monkeypatch.setenv("LABELKIT_DB", url)
    run(trained, **others)
    with LabelStore.open(url) as store:
        assert store.images() == []


def test_another_round_under_a_former_number_has_a_supervised_network_of_its_own(retrained, others):
    run(retrained, **others, supervised=True)
    (retrained.project.root / "rounds" / "001").rename(retrained.folder / "moved away")
    again = TrainingOptions()
    retrain(retrained.project, retrained.store, Silent(), percent=5.0, now=True, options=again)
    run(retrained, **others, supervised=True)
    located = [
        load_model(path)[1]["training"]["located"]
        for path in retrained.project.root.glob("reports/supervised/001-*/model.safetensors")
    ]
    assert sorted(located) == [1, 2]


def test_the_mean_pose_is_of_the_labels_that_the_round_learned_from(retrained, others):
    before = run(retrained, **others)
    newest = latest_complete(retrained.project)
    assert newest is not None
    first, second = newest.plan.labelled
    skeleton = retrained.project.skeleton
    moved = human_pose(retrained.truth[second].xy + 20.0, np.full(14, 2))
    retrained.store.record(
        [
            Entry(first, WITHDRAWN, {}, "test", first, "1"),
            Entry(second, KEYPOINTS, keypoints_content(skeleton, moved), "test", second, "1"),
        ]
    )
    assert run(retrained, **others).data() == before.data()
