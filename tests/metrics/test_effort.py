"""Means of actions and seconds, worked by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from builders import stick_skeleton

from labelkit.metrics.effort import BLANK, SHOWN, arm_of, costs, effort, fates, seconds_until
from labelkit.store.journal import Entry, Recorded


def entry(id_: str, arm: str, clicks: int, seconds: float, **changes: Any) -> Entry:
    counts = {"clicks": clicks, "drags": 1, "keys": 2, "undos": 0, "attention_s": seconds}
    shown = {"arm": arm, "effort": counts}
    given = {"kind": "keypoints", "content": {}, "shown": shown, "source": "label"}
    return Entry(id_, **{"reference": id_, "version": f"{clicks}", **given, **changes})


def test_the_newest_answer_about_each_object_counts():
    rows = effort(
        [
            entry("a", "prediction", 100, 100.0),
            entry("a", "prediction", 1, 4.0),
            entry("b", "prediction", 3, 8.0),
            entry("c", "control", 14, 30.0),
        ]
    )
    assert rows == [
        {
            "kind": "keypoints",
            "arm": "control",
            "objects": 1,
            "actions": 17.0,
            "clicks": 14.0,
            "drags": 1.0,
            "keys": 2.0,
            "undos": 0.0,
            "attention_s": 30.0,
        },
        {
            "kind": "keypoints",
            "arm": "prediction",
            "objects": 2,
            "actions": 5.0,
            "clicks": 2.0,
            "drags": 1.0,
            "keys": 2.0,
            "undos": 0.0,
            "attention_s": 6.0,
        },
    ]


def test_answers_that_came_another_way_and_skips_do_not_count():
    assert effort([]) == []
    assert effort([entry("a", "prediction", 1, 1.0, kind="skip")]) == []
    assert effort([entry("a", "prediction", 1, 1.0, shown={"task": "3"})]) == []


def test_an_answer_belongs_to_the_arm_that_it_names_or_by_its_object_where_it_names_none():
    from_round = {"model_version": "round-003"}
    answers = [
        entry("a", "prediction", 1, 1.0),
        entry("a", "label", 1, 1.0),
        entry("a", "", 1, 1.0, shown=from_round),
        entry("b", "", 1, 1.0, shown=from_round),
        entry("c", "", 1, 1.0, shown=from_round | {"arm": "control"}),
        entry("b", "", 1, 1.0, shown={"model_version": "boxes"}),
    ]
    assert [arm_of(it, {"b"}) for it in answers] == [SHOWN, "", SHOWN, BLANK, BLANK, ""]


def test_the_first_answer_about_an_object_counts_by_annotator_and_not_of_the_dev_set():
    def timed(id_: str, arm: str, clicks: int, seconds: float, **changes: Any) -> Entry:
        return entry(id_, arm, clicks, seconds, lead_time_s=seconds, **changes)

    found = costs(
        [
            timed("a", "prediction", 1, 5.0, annotator="anna"),
            timed("a", "prediction", 9, 90.0, annotator="bert"),
            timed("b", "control", 4, 8.0, annotator="bert"),
            timed("dev", "control", 7, 7.0, annotator="bert"),
            # A task of two objects, whose time is of both.
            *(timed(id_, "control", 2, 6.0, reference="both") for id_ in ("c", "d")),
        ],
        control=(),
        dev={"dev"},
    )
    assert {name: (it.seconds, it.actions) for name, it in found.items()} == {
        "anna": ({SHOWN: [5.0], BLANK: []}, {SHOWN: [4.0], BLANK: []}),
        "bert": ({SHOWN: [], BLANK: [8.0]}, {SHOWN: [], BLANK: [7.0]}),
    }


def test_what_became_of_keypoints_is_counted_under_their_present_names():
    skeleton = replace(stick_skeleton(), renamed=(("snout", "nose"),))
    origins = {"snout": "untouched", "tail": "changed", "horn": "removed", "left_paw": ""}
    shown = {"arm": "prediction", "model_version": "round-001", "origins": origins}
    blank = shown | {"arm": "control"}
    found = fates([entry("a", "", 0, 0, shown=it) for it in (shown, shown, blank)], (), skeleton)
    assert found == {("round-001", "nose"): {"untouched": 2}, ("round-001", "tail"): {"moved": 2}}


def test_an_edit_in_label_studio_has_all_time_until_then_and_other_answers_their_own():
    def recorded(seq: int, seconds: float, **changes: Any) -> Recorded:
        made = entry("a", "control", seq, seconds, lead_time_s=seconds, **changes)
        return Recorded(seq, "2026-11-30T10:00:00Z", made)

    studio = {"source": "label-studio", "shown": {}}
    entries = [
        recorded(1, 10.0, **studio),
        recorded(2, 25.0, **studio),
        recorded(3, 4.0),
        recorded(4, 3.0),
        recorded(5, 100.0),
    ]
    assert seconds_until(entries, {0, 4}) == {0: 0, 4: 25.0 + 4.0 + 3.0}
