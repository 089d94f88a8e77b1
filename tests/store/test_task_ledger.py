"""The ledger of what was sent to servers, on every database a store may be in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from labelkit.store.label_store import LabelStore
from labelkit.store.task_ledger import SentProject, SentTask, TaskLedger

ONE, OTHER = "http://127.0.0.1:1", "http://127.0.0.1:2"


@pytest.fixture
def store(store_url: str) -> Iterator[LabelStore]:
    with LabelStore.open(store_url) as opened:
        yield opened


def task(number: int, *instances: str, control: str = "", version: str = "round-000") -> SentTask:
    return SentTask(number, instances, frozenset(control.split()), version)


def test_nothing_was_sent_at_first(store):
    sent = TaskLedger(store.database, ONE)
    assert sent.project("correction") is None
    assert sent.tasks("correction") == {}
    assert len(sent.uid) == 16


def test_a_project_comes_back_as_it_was_kept_and_the_last_one_counts(store, store_url):
    first = SentProject("correction", 7, "s3://bucket/Bilder ü", "2026-01-01T00:00:00.000001Z", 12)
    TaskLedger(store.database, ONE).keep_project(first)
    later = replace(first, pulled_until="2026-01-02T00:00:00Z", pulled_task=2**31 - 1)
    TaskLedger(store.database, ONE).keep_project(later)
    with LabelStore.open(store_url) as again:
        assert TaskLedger(again.database, ONE).project("correction") == later
        assert TaskLedger(again.database, ONE).project("visibility") is None
        assert TaskLedger(again.database, OTHER).project("correction") is None
        assert TaskLedger(again.database, ONE).uid == TaskLedger(store.database, OTHER).uid


def test_tasks_come_back_in_the_servers_order_and_the_last_word_counts(store):
    sent = TaskLedger(store.database, ONE)
    one, two = task(9, "a-0", "a-1", control="a-1"), task(3, "b-0", version="")
    sent.keep_tasks("correction", [one, two])
    assert list(sent.tasks("correction").values()) == [two, one]
    newer = replace(two, model_version="round-001")
    sent.keep_tasks("correction", [newer])
    assert sent.tasks("correction") == {3: newer, 9: one}
    assert sent.tasks("visibility") == {}
    sent.keep_tasks("correction", [])
    sent.forget_tasks("correction", [9, 10])
    assert sent.tasks("correction") == {3: newer}


def test_thousands_of_tasks_are_kept_and_forgotten(store):
    sent = TaskLedger(store.database, ONE)
    tasks = [task(number, f"{number}-0") for number in range(1, 1202)]
    for _ in range(2):
        sent.keep_tasks("correction", tasks)
    assert list(sent.tasks("correction").values()) == tasks
    sent.forget_tasks("correction", range(2, 1202))
    assert sent.tasks("correction") == {1: tasks[0]}


def test_another_project_takes_the_place_of_one_and_of_its_tasks(store):
    sent = TaskLedger(store.database, ONE)
    sent.keep_project(SentProject("correction", 7))
    sent.keep_tasks("correction", [task(1, "a-0")])
    sent.keep_project(SentProject("correction", 7, pulled_task=1))
    assert list(sent.tasks("correction")) == [1]
    sent.keep_project(SentProject("correction", 8))
    assert sent.tasks("correction") == {}


def test_what_is_forgotten_of_one_server_and_kind_stays_of_the_others(store):
    sent, other = TaskLedger(store.database, ONE), TaskLedger(store.database, OTHER)
    for ledger in (sent, other):
        ledger.keep_project(SentProject("visibility", 1))
        ledger.keep_project(SentProject("correction", 2))
        ledger.keep_tasks("visibility", [task(1, "a-0")])
        ledger.keep_tasks("correction", [task(2, "a-0")])
    sent.forget_project("correction")
    assert (sent.project("correction"), sent.tasks("correction")) == (None, {})
    assert list(sent.tasks("visibility")) == [1]
    assert list(other.tasks("correction")) == [2]
