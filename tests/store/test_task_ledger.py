"""The ledger of tasks on servers, on every database a store may be in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from labelkit.store.label_store import LabelStore
from labelkit.store.task_ledger import LedgerProject, LedgerTask, TaskLedger

ONE, OTHER = "http://127.0.0.1:1", "http://127.0.0.1:2"


@pytest.fixture
def store(store_url: str) -> Iterator[LabelStore]:
    with LabelStore.open(store_url) as opened:
        yield opened


def task(number: int, *instances: str, control: str = "", version: str = "round-000") -> LedgerTask:
    return LedgerTask(number, instances, frozenset(control.split()), version)


def test_the_ledger_is_empty_at_first(store):
    ledger = TaskLedger(store.database, ONE)
    assert ledger.project("correction") is None
    assert ledger.tasks("correction") == {}
    assert len(ledger.uid) == 16


def test_a_project_comes_back_as_it_was_kept_and_the_last_one_counts(store, store_url):
    first = LedgerProject(
        "correction", 7, "s3://bucket/Bilder ü", "2026-01-01T00:00:00.000001Z", 12
    )
    TaskLedger(store.database, ONE).keep_project(first)
    later = replace(first, pulled_until="2026-01-02T00:00:00Z", pulled_task=2**31 - 1)
    TaskLedger(store.database, ONE).keep_project(later)
    with LabelStore.open(store_url) as again:
        assert TaskLedger(again.database, ONE).project("correction") == later
        assert TaskLedger(again.database, ONE).project("visibility") is None
        assert TaskLedger(again.database, OTHER).project("correction") is None
        assert TaskLedger(again.database, ONE).uid == TaskLedger(store.database, OTHER).uid


def test_tasks_come_back_in_the_servers_order_and_the_latest_record_counts(store):
    ledger = TaskLedger(store.database, ONE)
    one, two = task(9, "a-0", "a-1", control="a-1"), task(3, "b-0", version="")
    ledger.keep_tasks("correction", [one, two])
    assert list(ledger.tasks("correction").values()) == [two, one]
    newer = replace(two, model_version="round-001")
    ledger.keep_tasks("correction", [newer])
    assert ledger.tasks("correction") == {3: newer, 9: one}
    assert ledger.tasks("visibility") == {}
    ledger.keep_tasks("correction", [])
    ledger.forget_tasks("correction", [9, 10])
    assert ledger.tasks("correction") == {3: newer}


def test_thousands_of_tasks_are_kept_and_dropped(store):
    ledger = TaskLedger(store.database, ONE)
    tasks = [task(number, f"{number}-0") for number in range(1, 1202)]
    for _ in range(2):
        ledger.keep_tasks("correction", tasks)
    assert list(ledger.tasks("correction").values()) == tasks
    ledger.forget_tasks("correction", range(2, 1202))
    assert ledger.tasks("correction") == {1: tasks[0]}


def test_another_project_replaces_one_and_its_tasks(store):
    ledger = TaskLedger(store.database, ONE)
    ledger.keep_project(LedgerProject("correction", 7))
    ledger.keep_tasks("correction", [task(1, "a-0")])
    ledger.keep_project(LedgerProject("correction", 7, pulled_task=1))
    assert list(ledger.tasks("correction")) == [1]
    ledger.keep_project(LedgerProject("correction", 8))
    assert ledger.tasks("correction") == {}


def test_other_servers_and_kinds_keep_what_is_dropped_of_one(store):
    ledger, other = TaskLedger(store.database, ONE), TaskLedger(store.database, OTHER)
    for each in (ledger, other):
        each.keep_project(LedgerProject("visibility", 1))
        each.keep_project(LedgerProject("correction", 2))
        each.keep_tasks("visibility", [task(1, "a-0")])
        each.keep_tasks("correction", [task(2, "a-0")])
    ledger.forget_project("correction")
    assert (ledger.project("correction"), ledger.tasks("correction")) == (None, {})
    assert list(ledger.tasks("visibility")) == [1]
    assert list(other.tasks("correction")) == [2]
