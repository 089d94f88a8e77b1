"""Means of actions and seconds, worked by hand."""

from __future__ import annotations

from typing import Any

from labelkit.metrics.effort import effort
from labelkit.store.journal import Entry


def entry(id_: str, arm: str, clicks: int, seconds: float, **changes: Any) -> Entry:
    counts = {"clicks": clicks, "drags": 1, "keys": 2, "undos": 0, "attention_s": seconds}
    shown = {"arm": arm, "effort": counts}
    given = {"kind": "keypoints", "content": {}, "shown": shown} | changes
    return Entry(id_, source="label", reference=id_, version=f"{clicks}", **given)


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
