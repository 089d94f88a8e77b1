"""Data frames of a project of five objects, all values worked by hand."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from builders import make_image, make_instance, make_project

import labelkit as lk
from labelkit.domain.instance import Instance
from labelkit.domain.pose import Pose
from labelkit.domain.prediction import Prediction
from labelkit.domain.selection import DevDraw, QueueItem, dev_set
from labelkit.project.predictions import write_predictions
from labelkit.project.project import Project
from labelkit.project.rounds import RoundPlan, begin_round, finish_round
from labelkit.store.journal import KEYPOINTS, SKIP, VISIBILITY, Entry
from labelkit.store.label_store import LabelStore, NewInstance
from labelkit.workflows.rounds.label_snapshot import DEV_SHARE
from labelkit.workflows.rounds.queue_file import write_queue

#: In the order of paths: only the last one is in the dev set.
PATHS = ("0.png", "1.png", "2.png", "3.png", "48.png")
TICKS = {"nose": True, "left_paw": True, "right_paw": False, "tail": False}
PLACES = {
    "nose": [10.5, 20.25, 2],
    "left_paw": [30.0, 40.0, 1],
    "right_paw": [0.0, 0.0, 0],
    "tail": [50.0, 60.0, 2],
}


def entry(instance: Instance, kind: str, content: dict, **details: object) -> Entry:
    given = {"source": "label-studio", "reference": "7", "version": "2026-01-02T10:00:00Z"}
    return Entry(instance.id, kind, content, **{**given, **details})


@pytest.fixture
def project(tmp_path) -> Iterator[Project]:
    """Keypoints and ticks of 0, ticks of 1, a skip of 2, nothing of 3, keypoints of 48 (dev)."""
    made = make_project(tmp_path)
    images = [make_image(path) for path in PATHS]
    drawn = [
        image.path for image in images if dev_set([make_instance(image)], 7, DevDraw(DEV_SHARE))
    ]
    assert drawn == ["48.png"]
    with LabelStore.open(made.store_url) as store:
        store.add_images(images)
        found = store.add_instances(
            NewInstance(
                i.image, i.box, i.box_source, i.area, "cat" if i.image.path == "0.png" else ""
            )
            for i in map(make_instance, images)
        )
        ann = {"annotator": "ann", "made_at": "2026-01-02T10:00:00Z"}
        store.record(
            [
                entry(found[0], KEYPOINTS, PLACES, **ann, lead_time_s=12.5),
                entry(found[0], VISIBILITY, TICKS, source="file:ticks.csv", annotator="bob"),
                entry(found[1], VISIBILITY, TICKS, annotator="bob"),
                entry(found[2], SKIP, {}, **ann),
                entry(found[4], KEYPOINTS, PLACES, **ann),
            ]
        )
    plan = RoundPlan(0, "semi-weak", (found[0].id,), 0.2, 5, {"preset": "tiny", "epochs": 3}, 7)
    path = begin_round(made, plan)
    pose = Pose(np.arange(8.0).reshape(4, 2), [2, 2, 2, 2], [0.1, 0.2, 0.3, 0.4])
    predictions = [
        Prediction(instance.id, pose, np.array([0.9, 0.8, 0.7, 0.6]), 0.25)
        for instance in (found[0], found[3])
    ]
    write_predictions(path / "predictions.parquet", predictions, made.skeleton)
    finish_round(path, {"dev": {"located": 1, "pck@0.2": 0.5}})
    write_queue(
        made, [QueueItem(found[3].id, "unsure", True), QueueItem(found[1].id, "unsure", False)]
    )
    return made


def test_keypoints_come_one_a_row_with_the_newest_prediction_beside_them(project: Project):
    frame = lk.open(project.root).to_dataframe()
    assert list(frame.columns) == [
        "image",
        "instance",
        "category",
        "individual",
        "keypoint",
        "x",
        "y",
        "visibility",
        "present",
        "annotator",
        "made_at",
        "source",
        "split",
        "predicted_x",
        "predicted_y",
        "predicted_score",
        "predicted_presence",
    ]
    assert len(frame) == 5 * 4
    assert frame.keypoint.tolist() == ["nose", "left_paw", "right_paw", "tail"] * 5
    first = frame[frame.image == "0.png"]
    assert first.instance.unique().tolist() == [make_instance("0.png").id]
    assert frame.groupby("image").category.unique().map(list).tolist() == [["cat"], *[[""]] * 4]
    assert first.x.fillna(-1).tolist() == [10.5, 30.0, -1, 50.0]
    assert first.y.fillna(-1).tolist() == [20.25, 40.0, -1, 60.0]
    assert first.visibility.tolist() == [2, 1, 0, 2]
    assert first.predicted_x.tolist() == [0.0, 2.0, 4.0, 6.0]
    assert first.predicted_y.tolist() == [1.0, 3.0, 5.0, 7.0]
    assert first.predicted_score.tolist() == [0.1, 0.2, 0.3, 0.4]
    assert first.predicted_presence.tolist() == [0.9, 0.8, 0.7, 0.6]
    assert frame[frame.image == "1.png"].predicted_x.isna().all()


def test_newer_ticks_say_what_is_present_and_keypoints_who_placed_them(project: Project):
    frame = lk.open(project.root).to_dataframe().groupby("image")
    first, ticked = frame.get_group("0.png"), frame.get_group("1.png")
    assert first.present.tolist() == [True, True, False, False]
    assert first.annotator.unique().tolist() == ["ann"]
    assert first.source.unique().tolist() == ["label-studio"]
    assert first.made_at.unique().tolist() == [pd.Timestamp("2026-01-02T10:00:00Z")]
    assert ticked.present.tolist() == [True, True, False, False]
    assert ticked.visibility.isna().all()
    assert ticked.annotator.unique().tolist() == ["bob"]
    assert ticked.made_at.isna().all()


def test_the_split_says_what_an_instance_is_to_a_training(project: Project):
    frame = lk.open(project.root).to_dataframe()
    assert frame.groupby("image").split.first().to_dict() == {
        "0.png": "labelled",
        "1.png": "answered",
        "2.png": "skipped",
        "3.png": "unlabelled",
        "48.png": "dev",
    }
    unlabelled = frame[frame.image == "3.png"]
    assert unlabelled[["x", "visibility", "present", "made_at"]].isna().all(axis=None)
    assert unlabelled.annotator.tolist() == [""] * 4


def test_answers_come_in_the_order_of_the_journal(project: Project):
    frame = lk.open(project.root).to_dataframe("answers")
    assert frame.seq.tolist() == [1, 2, 3, 4, 5]
    assert frame.kind.tolist() == ["keypoints", "visibility", "visibility", "skip", "keypoints"]
    assert frame.image.tolist() == ["0.png", "0.png", "1.png", "2.png", "48.png"]
    assert frame.content[0] == PLACES
    assert frame.content[3] == {}
    assert frame.lead_time_s.fillna(-1).tolist() == [12.5, -1, -1, -1, -1]
    assert frame.groupby("annotator").size().to_dict() == {"ann": 3, "bob": 2}
    assert str(frame.recorded_at.dt.tz) == "UTC"


def test_history_has_a_row_a_round_and_its_scores_on_the_dev_set(project: Project):
    frame = lk.open(project.root).to_dataframe("history")
    (row,) = frame.to_dict("records")
    assert row["round"] == 0
    assert row["kind"] == "semi-weak"
    assert row["status"] == "complete"
    assert (row["labelled"], row["labelled_share"]) == (1, 0.2)
    assert (row["preset"], row["epochs"], row["seed"]) == ("tiny", 3, 7)
    assert row["dev_pck@0.2"] == 0.5
    assert row["started_at"] <= row["finished_at"]


def test_the_queue_comes_next_first(project: Project):
    frame = lk.open(project.root).to_dataframe("queue")
    assert list(frame.columns) == ["image", "instance", "reason", "control"]
    assert frame.image.tolist() == ["3.png", "1.png"]
    assert frame.control.tolist() == [True, False]


@pytest.mark.parametrize("of", ["keypoints", "answers", "history", "queue"])
def test_an_empty_project_has_the_same_columns_and_no_rows(tmp_path, project: Project, of):
    empty = make_project(tmp_path / "empty")
    nothing = lk.open(empty.root).to_dataframe(of)
    assert len(nothing) == 0
    if of != "history":
        full = lk.open(project.root).to_dataframe(of)
        assert list(nothing.columns) == list(full.columns)


def test_another_frame_is_refused_with_those_there_are(project: Project):
    with pytest.raises(lk.UsageError, match="'labels'") as caught:
        lk.open(project.root).to_dataframe("labels")
    assert "keypoints, answers, history, queue" in caught.value.next_step
