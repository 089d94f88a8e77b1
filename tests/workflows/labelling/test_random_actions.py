"""Random actions in a real Chromium leave in the journal what a plain model of the page says."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import stick_skeleton
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from labelling import (
    CONFIDENCE,
    PLACES,
    SIZE_WH,
    Bench,
    Page,
    bench_of,
    chromium_page,
    labelling,
)
from mongo import chromium
from PIL import Image as Picture

pytestmark = [pytest.mark.server, pytest.mark.slow]

NAMES = stick_skeleton().keypoints
PAIR = (1, 2)
#: Least sure first.
ORDER = sorted(range(4), key=lambda k: CONFIDENCE[k])
#: LABELKIT_LONG=1 tries more sequences.
SEQUENCES = 500 if os.environ.get("LABELKIT_LONG") else 100
#: Pixels of the screen within which a drag takes a keypoint, and by which the selected one is
#: preferred: GRAB and TOGETHER in stage.js.
GRAB, TOGETHER = 26, 6
STEPS = {"ArrowLeft": (-1, 0), "ArrowDown": (0, 1), "Shift+ArrowRight": (10, 0)}
KEYS = (*STEPS, " ", "x", "o", "s", "Shift+S", "Tab", "Delete", "Enter", "Control+z", "Control+y")

#: Does all actions in the page, and returns the objects that were on the screen, first seen first.
PERFORM = """async (actions) => {
  const pause = () => new Promise((done) => setTimeout(done, 2));
  const view = document.getElementById("view"), seen = [];
  view.setPointerCapture = () => {};
  const settled = async () => {
    while (!desk.object || desk.fetching || desk.outbox.keys().length) await pause();
  };
  const press = (name) => {
    const keys = name.split("+"), key = keys.pop();
    const [ctrlKey, shiftKey] = ["Control", "Shift"].map((it) => keys.includes(it));
    dispatchEvent(new KeyboardEvent("keydown", { key, ctrlKey, shiftKey, cancelable: true }));
  };
  const point = (kind, xy) => {
    const [x, y] = desk.stage.toScreen(xy), frame = view.getBoundingClientRect();
    const place = { clientX: frame.left + x, clientY: frame.top + y };
    const event = { pointerId: 1, button: 0, ...place, bubbles: true };
    view.dispatchEvent(new PointerEvent(kind, event));
  };
  const look = () => {
    const id = desk.object?.item.instance;
    if (!seen.includes(id)) seen.push(id);
  };
  desk.session.upcoming = []; // another sequence may have begun them
  press("Enter");
  await settled();
  desk.session.visited = [];
  look();
  for (const action of actions) {
    if (typeof action === "string") press(action);
    else {
      point("pointerdown", action[0]);
      for (const xy of action.slice(1)) point("pointermove", xy);
      point("pointerup", action.at(-1));
    }
    if (!desk.object) await settled();
    look();
  }
  await settled();
  return seen;
}"""


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

    def put(self, k: int, point: Any) -> None:
        points, sure, _, _ = self.now
        self.change(
            (*points[:k], point, *points[k + 1 :]), (*sure[:k], True, *sure[k + 1 :]), False
        )

    def select(self, k: int) -> None:
        self.now = (*self.now[:3], k)

    def advance(self) -> None:
        points, sure, _, k = self.now
        at = ORDER.index(k)
        later = [i for i in ORDER[at + 1 :] + ORDER[:at] if not sure[i] and points[i][2]]
        if later:
            self.select(later[0])


class Model:
    """The page without a page."""

    def __init__(self, zoom: float) -> None:
        self.zoom = zoom
        self.items = [Item()]
        self.at = 0
        self.journal: list[tuple[int, Any]] = []

    def act(self, action: str | Sequence[tuple[int, int]]) -> None:
        item = self.items[self.at]
        if not isinstance(action, str):
            self.point(item, action[0], action[-1])
        elif action == "Control+z":
            if item.past:
                item.future.append(item.now)
                item.now = item.past.pop()
            elif self.at:
                self.at -= 1
        elif action == "Control+y":
            if item.future:
                item.past.append(item.now)
                item.now = item.future.pop()
            elif item.sent == (item.now[0], item.now[2]):
                self.go_on()
        elif action == "Enter":
            told = (item.now[0], item.now[2])
            if item.sent != told:
                item.sent = told
                self.journal.append((self.at, None if told[1] else told[0]))
            self.go_on()
        else:
            self.edit(item, action)

    def go_on(self) -> None:
        self.at += 1
        if self.at == len(self.items):
            self.items.append(Item())

    def point(self, item: Item, start: tuple[int, int], end: tuple[int, int]) -> None:
        points, _, _, selected = item.now
        if start == end:
            was_there = points[selected][2]
            item.put(selected, (*start, was_there or 2))
            if not was_there:
                item.advance()
            return
        taken, least = None, float(GRAB)
        for k, (x, y, v) in enumerate(points):
            away = self.zoom * np.hypot(x - start[0], y - start[1])
            away -= TOGETHER * (k == selected)
            if v and away <= least:
                taken, least = k, away
        if taken is not None:
            x, y, v = points[taken]
            x, y = x + end[0] - start[0], y + end[1] - start[1]
            item.put(taken, (min(max(x, 0), SIZE_WH[0]), min(max(y, 0), SIZE_WH[1]), v))
            item.select(taken)

    def edit(self, item: Item, key: str) -> None:
        points, sure, _, k = item.now
        point = points[k]
        if key in STEPS and point[2]:
            x, y = point[0] + STEPS[key][0], point[1] + STEPS[key][1]
            item.put(k, (min(max(x, 0), SIZE_WH[0]), min(max(y, 0), SIZE_WH[1]), point[2]))
        elif key == " ":
            item.change(sure=(*sure[:k], True, *sure[k + 1 :]))
            item.advance()
        elif key == "x":
            if point[2]:
                item.put(k, (0, 0, 0))
                item.advance()
            else:
                item.put(k, (*PLACES[k], 2))
        elif key == "o" and point[2]:
            item.put(k, (*point[:2], 3 - point[2]))
        elif key == "Shift+S" or (key == "s" and k in PAIR):
            item.change(
                (points[0], points[2], points[1], points[3]), (sure[0], sure[2], sure[1], sure[3])
            )
        elif key == "Tab":
            item.select((k + 1) % 4)
        elif key == "Delete":
            item.change(gone=not item.now[2])


def many_objects(folder: Path) -> Bench:
    """A bench of enough objects for all sequences, ten an image."""
    (folder / "frames").mkdir()
    for number in range(SEQUENCES):
        colour = number % 256, number // 256, 99
        Picture.new("RGB", SIZE_WH, colour).save(folder / "frames" / f"{number:03d}.png")
    return bench_of(folder, stick_skeleton(), objects=10)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, Page]]:
    bench = many_objects(tmp_path_factory.mktemp("random"))
    with chromium_page(chromium()) as browser, labelling(bench) as served:
        page = Page(browser.new_page()).open(served.url)
        yield bench, page
        assert page.errors == []


places = st.tuples(st.integers(60, 340), st.integers(40, 260))
on_a_keypoint = st.sampled_from([(round(x), round(y)) for x, y in PLACES])
clicks = places.map(lambda xy: [xy, xy])
drags = st.tuples(on_a_keypoint | places, places, places).filter(
    lambda it: np.hypot(it[0][0] - it[2][0], it[0][1] - it[2][1]) > 3
)
actions = st.lists(st.sampled_from(KEYS) | clicks | drags.map(list), min_size=5, max_size=40)


@settings(max_examples=SEQUENCES, deadline=None, suppress_health_check=list(HealthCheck))
@given(actions=actions)
def test_any_actions_give_the_journal_of_a_plain_model(
    opened: tuple[Bench, Page], actions: list[Any]
):
    bench, page = opened
    model = Model(page.ask("desk.stage.zoom"))
    for action in actions:
        model.act(action)
    seen = page.page.evaluate(PERFORM, actions)
    found = [
        (
            seen.index(entry.instance_id),
            tuple(tuple(entry.content[name]) for name in NAMES) if entry.content else None,
        )
        for entry in bench.entries()
        if entry.instance_id in seen
    ]
    assert found == model.journal
