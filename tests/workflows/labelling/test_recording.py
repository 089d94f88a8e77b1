"""Answers of the page in the journal: once each, complete, and over nothing unseen."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from builders import stick_skeleton
from labelling import BOX, Bench, make_bench

from labelkit.domain.instance import Box
from labelkit.errors import ProjectError
from labelkit.project.project import lock_project
from labelkit.store.conflicts import find_conflicts
from labelkit.store.journal import Entry
from labelkit.store.objects import FOUND, NewInstance
from labelkit.workflows.labelling.recording import Receipt, Recording, read_answer
from labelkit.workflows.labelling.work import Work
from labelkit.workflows.serving.requests import RequestError

EFFORT = {"clicks": 1, "drags": 2, "keys": 3, "undos": 4, "attention_s": 5.54}
POINTS = {
    "nose": [200.0, 90.0, 2],
    "left_paw": [151.5, 150.0, 2],
    "right_paw": [250.0, 150.0, 1],
    "tail": [0, 0, 0],
}
ORIGINS = {"nose": "untouched", "left_paw": "changed", "right_paw": "untouched", "tail": "removed"}


def document(instance: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": str(uuid4()),
        "instance": instance,
        "kind": "keypoints",
        "content": POINTS,
        "box": list(BOX),
        "seen": 0,
        "age_s": 0.0,
        "shown": {"round": "round-000", "arm": "prediction", "origins": ORIGINS, "effort": EFFORT},
    } | changes


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return make_bench(tmp_path)


@pytest.fixture
def recording(bench: Bench) -> Recording:
    return Recording(Work(bench.project, bench.store, "keypoints"))


def record(recording: Recording, answer: dict[str, Any], annotator: str = "anna") -> Receipt:
    return recording.record(read_answer(answer, stick_skeleton()), annotator)


def test_the_journal_keeps_who_when_how_and_what_was_shown(bench: Bench, recording: Recording):
    given = document(bench.ids[0])
    assert record(recording, given) == Receipt(bench.ids[0], False, "")
    (entry,) = bench.entries()
    assert entry.made_at
    assert entry == Entry(
        instance_id=bench.ids[0],
        kind="keypoints",
        content={**POINTS, "tail": [0, 0, 0]},
        source="label",
        reference=bench.ids[0],
        version=given["id"],
        annotator="anna",
        made_at=entry.made_at,
        lead_time_s=5.5,
        shown={
            "model_version": "round-000",
            "arm": "prediction",
            "origins": ORIGINS,
            "effort": {**EFFORT, "attention_s": 5.5},
            "box": list(BOX),
        },
    )


def test_an_answer_that_arrives_twice_is_recorded_once_also_by_the_next_server(
    bench: Bench, recording: Recording
):
    given = document(bench.ids[0])
    first = record(recording, given)
    assert record(recording, given) == first
    again = Recording(Work(bench.project, bench.store, "keypoints"))
    assert record(again, given | {"age_s": 1000.0}) == first
    assert len(bench.entries()) == 1


@pytest.mark.parametrize("age_s", [0.0, 5.0])
def test_a_correction_of_ones_own_answer_counts_also_if_that_was_long_on_its_way(
    bench: Bench, recording: Recording, age_s: float
):
    first = document(bench.ids[0])
    changed = POINTS | {"nose": [1.0, 2.0, 2]}
    second = document(bench.ids[0], content=changed, seen=first["id"], age_s=age_s)
    record(recording, first)
    assert record(recording, second) == Receipt(bench.ids[0], False, "")
    assert bench.store.poses(stick_skeleton())[bench.ids[0]].xy[0].tolist() == [1.0, 2.0]


def test_an_answer_to_what_was_not_shown_becomes_a_conflict(bench: Bench, recording: Recording):
    record(recording, document(bench.ids[0]), "bert")
    other = document(bench.ids[0], content=POINTS | {"nose": [1.0, 2.0, 2]})
    assert record(recording, other) == Receipt(bench.ids[0], True, "bert")
    assert record(recording, other) == Receipt(bench.ids[0], True, "bert")
    (conflict,) = find_conflicts(bench.store)
    assert conflict.keypoints == ("nose",)
    assert (conflict.ours.annotator, conflict.theirs.annotator) == ("bert", "anna")
    assert bench.store.poses(stick_skeleton())[bench.ids[0]].xy[0].tolist() == [200.0, 90.0]


def test_ticks_that_came_meanwhile_do_not_make_a_known_label_a_conflict(
    bench: Bench, recording: Recording
):
    record(recording, document(bench.ids[0]))
    seen = bench.store.head()
    ticks = dict.fromkeys(POINTS, True)
    record(recording, document(bench.ids[0], kind="visibility", content=ticks, seen=seen), "bert")
    changed = document(bench.ids[0], content=POINTS | {"nose": [1.0, 2.0, 2]}, seen=seen)
    assert not record(recording, changed).conflict


def test_a_moved_box_is_kept_and_a_deleted_one_is_a_skip(bench: Bench, recording: Recording):
    moved = document(bench.ids[0], box=[90.0, 75.0, 210.0, 150.0])
    record(recording, moved)
    instance = bench.store.instances()[bench.ids[0]]
    assert (instance.box, instance.box_source) == (Box(90.0, 75.0, 210.0, 150.0), "human")
    assert instance.area == 210 * 150
    gone = document(bench.ids[1], kind="skip", content={}, box=[1.0, 1.0, 5.0, 5.0])
    record(recording, gone)
    assert bench.store.skipped() == {bench.ids[1]}
    assert bench.store.instances()[bench.ids[1]].box == BOX


def test_a_drawn_object_is_one_object_however_often_it_is_answered(
    bench: Bench, recording: Recording
):
    image, drawn = bench.store.instances()[bench.ids[0]].image.id, str(uuid4())
    about = {"drawn": drawn, "image": image, "box": [10.0, 10.0, 390.0, 280.0]}
    first = document("", **about)
    made = record(recording, first)
    assert record(recording, first) == made
    again = Recording(Work(bench.project, bench.store, "keypoints"))
    smaller = document("", **about | {"box": [20.0, 10.0, 300.0, 280.0], "seen": first["id"]})
    assert record(again, smaller).instance == made.instance
    assert len(bench.store.instances()) == 4
    instance = bench.store.instances()[made.instance]
    assert (instance.box, instance.image.id) == (Box(20.0, 10.0, 300.0, 280.0), image)


def test_an_answer_takes_back_an_object_that_a_new_round_did_not_find_again(
    bench: Bench, recording: Recording
):
    image = bench.store.instances()[bench.ids[0]].image
    (found,) = bench.store.replace_found([image], {}, [NewInstance(image, BOX, FOUND, 3e4)])
    moved = Box(120.0, 80.0, 200.0, 150.0)
    (found,) = bench.store.replace_found([image], {}, [NewInstance(image, moved, FOUND, 3e4)])
    bench.store.replace_found([image], {}, [])
    assert found.id not in bench.store.instances()
    assert record(recording, document(found.id)).instance == found.id
    assert found.id in bench.store.instances()


def test_while_another_command_records_answers_nothing_is_written(
    bench: Bench, recording: Recording
):
    with lock_project(bench.project, "sync"), pytest.raises(ProjectError):
        record(recording, document(bench.ids[0]))
    assert bench.entries() == []


@pytest.mark.parametrize(
    "change",
    [
        {"id": "1"},
        {"id": 7},
        {"kind": "withdrawn"},
        {"kind": "visibility"},
        {"content": {}},
        {"content": POINTS | {"nose": [1.0, float("nan"), 2]}},
        {"content": POINTS | {"nose": [1.0, 2.0, 3]}},
        {"content": POINTS | {"nose": [401.0, 2.0, 2]}},
        {"content": POINTS | {"nose": ["1", 2.0, 2]}},
        {"box": [0, 0, 0, 0]},
        {"box": [300, 200, 200, 200]},
        {"box": [1e400, 0, 1, 1]},
        {"box": [1, 2, 3]},
        {"seen": None},
        {"seen": True},
        {"age_s": "now"},
        {"shown": {}},
        {"shown": {"round": "", "arm": "", "origins": {"nose": "dreamt"}, "effort": EFFORT}},
        {"instance": ""},
        {"instance": "0" * 16 + "-9"},
        {"drawn": str(uuid4())},
    ],
)
def test_a_malformed_answer_is_refused_and_nothing_is_written(
    bench: Bench, recording: Recording, change: dict[str, Any]
):
    with pytest.raises(RequestError):
        record(recording, document(bench.ids[0]) | change)
    assert bench.entries() == []
    assert len(bench.store.instances()) == 3
