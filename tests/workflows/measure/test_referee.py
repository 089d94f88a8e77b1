"""`labelkit referee`: rounds beside each other on the dev set."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from command_line import labelkit
from foreign import Foreign, make_foreign

from labelkit.errors import ProjectError, UsageError, WaitingForLabels
from labelkit.store.journal import KEYPOINTS, Entry, keypoints_content
from labelkit.workflows.measure.referee import BY_SCORE, RefereeReport, referee

OURS = ("nose", "left_paw", "right_paw", "tail")


@pytest.fixture
def foreign(tmp_path) -> Iterator[Foreign]:
    made = make_foreign(tmp_path, dev_pictures=6)
    with made.store:
        yield made


def run(foreign: Foreign, **options) -> RefereeReport:
    return referee(foreign.project, foreign.store, **options)


def means(report: RefereeReport) -> dict[str, float]:
    return {row["name"]: row["actions"].mean for row in report.rows}


@pytest.fixture
def two(foreign) -> Foreign:
    """One model knows one keypoint of four, the other all of them."""
    foreign.label(foreign.dev)
    foreign.add(foreign.file("nose.json", names=["nose", "ear"]), name="nose-net")
    foreign.label(foreign.trainable[:12])
    foreign.add(name="good-net")
    return foreign


def test_the_model_that_leaves_least_to_do_is_the_cheapest(two):
    report = run(two)
    assert (report.objects, report.images) == (12, 6)
    assert means(report) == {
        "Round 001 (predictions of good-net)": 0,
        BY_SCORE: 0,
        "Round 000 (predictions of nose-net)": 3,
    }
    assert report.rows[-1]["more"] == (3, 3, 3)
    assert "good-net) is the cheapest to correct" in report.text()


def test_models_that_cost_the_same_are_not_told_apart(two):
    two.add(two.file("more.json", score=0.8), name="other-net")
    text = run(two).text()
    assert "labelkit retrain --dev" in text


def test_rounds_can_be_named(two):
    assert len(run(two, numbers=[0]).rows) == 1
    with pytest.raises(UsageError, match="7"):
        run(two, numbers=[7])


def test_where_people_left_what_a_round_had_placed_that_is_said(two):
    assert "round 001" in run(two).note


def test_seconds_come_from_the_labelling_page(two):
    assert run(two).seconds_an_action is None
    id_ = two.trainable[-1]
    content = keypoints_content(two.project.skeleton, two.truth(id_))
    spent = {"clicks": 1, "drags": 2, "keys": 1, "undos": 0, "attention_s": 10.0}
    shown = {"arm": "prediction", "effort": spent}
    two.store.record([Entry(id_, KEYPOINTS, content, "labelling-page", id_, "1", shown=shown)])
    assert run(two).seconds_an_action == 2.5


def test_it_waits_for_labels_of_the_dev_set(foreign):
    with pytest.raises(ProjectError):
        run(foreign)
    foreign.add()
    with pytest.raises(WaitingForLabels, match="0 images"):
        run(foreign)


def test_a_tolerance_that_is_no_share_is_refused(two):
    with pytest.raises(UsageError, match="--tolerance"):
        run(two, tolerance=1.5)


def test_the_command_prints_rows_for_machines_and_people(two):
    root = two.project.root
    document = json.loads(labelkit("referee", "--project", root, "--json").out)
    assert document["rows"][0]["actions"] == [0, 0, 0]
    assert "actions an object" in labelkit("referee", "--project", root).out
