"""Random actions in a real Chromium leave in the journal what a plain model of the page says."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import stick_skeleton
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from labelling import CONFIDENCE, PLACES, Page, chromium_page, labelling, make_bench
from mongo import chromium

pytestmark = [pytest.mark.server, pytest.mark.slow]

NAMES = stick_skeleton().keypoints
PAIR = (1, 2)
#: Least sure first.
ORDER = sorted(range(4), key=lambda k: CONFIDENCE[k])
PICTURES = 3
STEPS = {"ArrowLeft": (-1, 0), "ArrowDown": (0, 1), "Shift+ArrowRight": (10, 0)}
KEYS = (*STEPS, " ", "x", "o", "s", "Shift+S", "Tab", "Delete", "Enter", "Control+z", "Control+y")


class Item:
    """One object: its states, each (points, sure, gone, selected)."""

    def __init__(self) -> None:
        shown = tuple((x, y, 2) for x, y in PLACES)
        self.now = (shown, (False,) * 4, False, ORDER[0])
        self.past: list[Any] = []
        self.future: list[Any] = []
        self.sent: Any = None

    def change(self, points: Any = None, sure: Any = None, gone: bool | None = None) -> None:
        self.past.append(self.now)
        self.future = []
        before = self.now
        self.now = (
            points or before[0],
            sure or before[1],
            before[2] if gone is None else gone,
            before[3],
        )

    def put(self, point: Any, sure: bool = True) -> None:
        points, flags, _, k = self.now
        self.change(
            (*points[:k], point, *points[k + 1 :]), (*flags[:k], sure, *flags[k + 1 :]), False
        )

    def advance(self) -> None:
        points, sure, gone, k = self.now
        at = ORDER.index(k)
        open_ = [
            i
            for i in ORDER[at + 1 :] + ORDER[:at]
            if not sure[i] and (not points[i] or points[i][2])
        ]
        unplaced = [i for i in open_ if not points[i]]
        if open_:
            self.now = (points, sure, gone, (unplaced or open_)[0])


class Model:
    """The page without a page."""

    def __init__(self) -> None:
        self.items = [Item() for _ in range(PICTURES)]
        self.at = 0
        self.journal: list[tuple[int, Any]] = []

    def press(self, key: str) -> None:
        item = self.items[self.at] if self.at < PICTURES else None
        if key == "Control+z":
            if item and item.past:
                item.future.append(item.now)
                item.now = item.past.pop()
            elif self.at:
                self.at -= 1
        elif item is None:
            pass
        elif key == "Control+y":
            if item.future:
                item.past.append(item.now)
                item.now = item.future.pop()
            elif item.sent == (item.now[0], item.now[2]):
                self.at += 1
        elif key == "Enter":
            told = (item.now[0], item.now[2])
            if item.sent != told:
                item.sent = told
                self.journal.append((self.at, None if told[1] else told[0]))
            self.at += 1
        else:
            self.edit(item, key)

    def edit(self, item: Item, key: str) -> None:
        points, sure, gone, k = item.now
        point = points[k]
        if key in STEPS and point[2]:
            x, y = point[0] + STEPS[key][0], point[1] + STEPS[key][1]
            item.put((min(max(x, 0), 400), min(max(y, 0), 300), point[2]))
        elif key == " ":
            item.change(sure=(*sure[:k], True, *sure[k + 1 :]))
            item.advance()
        elif key == "x":
            if point[2]:
                item.put((0, 0, 0))
                item.advance()
            else:
                item.put((*PLACES[k], 2))
        elif key == "o" and point[2]:
            item.put((*point[:2], 3 - point[2]))
        elif key == "Shift+S" or (key == "s" and k in PAIR):
            item.change(
                (points[0], points[2], points[1], points[3]), (sure[0], sure[2], sure[1], sure[3])
            )
        elif key == "Tab":
            item.now = (points, sure, gone, (k + 1) % 4)
        elif key == "Delete":
            item.change(gone=not gone)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium_page(chromium()) as browser:
        yield browser


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(keys=st.lists(st.sampled_from(KEYS), min_size=5, max_size=40))
def test_any_actions_give_the_journal_of_a_plain_model(browser: Any, keys: list[str]):
    model = Model()
    context = browser.new_context()
    with tempfile.TemporaryDirectory() as folder:
        bench = make_bench(Path(folder), PICTURES)
        try:
            with labelling(bench) as served:
                page = Page(context.new_page()).open(served.url)
                for key in keys:
                    model.press(key)
                    page.press(key)
                page.all_sent()
                assert page.errors == []
        finally:
            context.close()
            entries = bench.entries()
            bench.store.close()
    found = [
        (
            bench.ids.index(entry.instance_id),
            tuple(tuple(entry.content[name]) for name in NAMES) if entry.content else None,
        )
        for entry in entries
    ]
    assert found == model.journal
