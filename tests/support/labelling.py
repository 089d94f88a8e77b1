"""A project of plain pictures, the labelling page on it, and an annotator's browser."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from builders import stick_skeleton, write_picture

from labelkit.domain.instance import Box
from labelkit.domain.pose import Pose
from labelkit.domain.prediction import Prediction
from labelkit.domain.selection import QueueItem
from labelkit.domain.skeleton import Skeleton
from labelkit.project.images import scan_images
from labelkit.project.predictions import write_predictions
from labelkit.project.project import Project, create_project
from labelkit.project.rounds import RoundPlan, begin_round, finish_round
from labelkit.store.journal import Entry
from labelkit.store.label_store import LabelStore, NewInstance
from labelkit.store.ownership import open_store
from labelkit.workflows.review_and_label.label import Labelling, label
from labelkit.workflows.rounds.queue_file import write_queue

SIZE_WH = (400, 300)
BOX = Box(100.0, 75.0, 200.0, 150.0)

#: Predicted places of the stick skeleton: nose, left paw, right paw, tail; and their confidence.
PLACES = ((200.0, 90.0), (150.0, 150.0), (250.0, 150.0), (200.0, 210.0))
CONFIDENCE = (0.9, 0.3, 0.6, 0.8)


@dataclass
class Bench:
    """A project, its store, and the ids of its objects in the order of the queue."""

    project: Project
    store: LabelStore
    ids: list[str]

    def entries(self) -> list[Entry]:
        return [recorded.entry for recorded in self.store.entries()]


def make_bench(
    folder: Path,
    pictures: int = 3,
    *,
    skeleton: Skeleton | None = None,
    predicted: bool = True,
    control: Sequence[int] = (),
    size_wh: tuple[int, int] = SIZE_WH,
    box: Box = BOX,
) -> Bench:
    """A project of one object an image, and, if predicted, a complete round with its queue."""
    skeleton = skeleton or stick_skeleton()
    for number in range(pictures):
        write_picture(folder / "frames" / f"{number}.png", size_wh, seed=number)
    return bench_of(folder, skeleton, predicted=predicted, control=control, box=box)


def bench_of(
    folder: Path,
    skeleton: Skeleton,
    *,
    predicted: bool = True,
    control: Sequence[int] = (),
    box: Box = BOX,
    places: np.ndarray | None = None,
    confidence: Sequence[float] | None = None,
) -> Bench:
    """The same of the images in folder/frames."""
    project = create_project(folder / "project", folder / "frames", skeleton, seed=7)
    store = open_store(project)
    images = scan_images(folder / "frames").images
    store.add_images(images)
    ids = [
        made.id
        for image in images
        for made in store.add_instances([NewInstance(image, box, "given", box.w * box.h)])
    ]
    if predicted:
        path = begin_round(project, RoundPlan(0, "location-free", (), 0.0, store.head(), {}, 0))
        count = len(skeleton)
        xy = np.array(PLACES) if places is None else places
        scores = CONFIDENCE if confidence is None else confidence
        pose = Pose(xy, np.full(count, 2), np.array(scores))
        rows = [Prediction(id_, pose, np.full(count, 0.9), 0.5) for id_ in ids]
        write_predictions(path / "predictions.parquet", rows, skeleton)
        finish_round(path, {})
        write_queue(project, [QueueItem(id_, "unsure", i in control) for i, id_ in enumerate(ids)])
    return Bench(project, store, ids)


@contextmanager
def labelling(bench: Bench, **options: Any) -> Iterator[Labelling]:
    """The page of a bench, from a server in a thread of its own."""
    options = {"annotator": "anna", "port": 0} | options
    with label(bench.project, bench.store, **options) as ready:
        server = ready.server()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [ready.listening]})
        thread.start()
        try:
            yield ready
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


class Process:
    """`labelkit label` in a process of its own, which can be killed at any moment."""

    def __init__(self, project: Project, port: int, *options: str) -> None:
        self._command = [
            *(sys.executable, "-c", "from labelkit.cli.app import main; main()", "label"),
            *("--project", str(project.root)),
            *("--port", str(port), "--as", "anna", "--json", *options),
        ]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        lines = []
        for line in self._process.stdout:
            lines.append(line)
            if line.rstrip() == "}":
                break
        assert lines, self._process.stderr.read() if self._process.stderr else ""
        self.url: str = json.loads("".join(lines))["url"]

    def kill(self) -> None:
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.communicate()


class Page:
    """An annotator's browser with the labelling page; places are in pixels of the image."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self, url: str) -> Page:
        self.page.goto(url)
        self.wait("!desk.fetching && desk.leftThere !== undefined")
        return self

    def wait(self, condition: str) -> None:
        self.page.wait_for_function(f"() => window.desk && ({condition})")

    def ask(self, expression: str) -> Any:
        return self.page.evaluate(f"() => {expression}")

    @property
    def instance(self) -> str | None:
        """The object on the screen."""
        return self.ask("desk.object && desk.object.item.instance")

    def all_sent(self) -> None:
        self.wait("desk.outbox.keys().length === 0")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def at(self, xy: Sequence[float]) -> tuple[float, float]:
        x, y = self.ask(f"desk.stage.toScreen({list(map(float, xy))})")
        frame = self.page.locator("#view").bounding_box()
        return frame["x"] + x, frame["y"] + y

    def click(self, xy: Sequence[float], **options: Any) -> None:
        self.page.mouse.click(*self.at(xy), **options)

    def drag(self, start: Sequence[float], end: Sequence[float]) -> None:
        begin, finish = self.at(start), self.at(end)
        self.page.mouse.move(*begin)
        self.page.mouse.down()
        self.page.mouse.move(*finish, steps=4)
        self.page.mouse.up()

    def button(self, name: str) -> None:
        self.page.locator(f"#tools button[data-do={name}]").click()

    def chip(self, k: int) -> None:
        self.page.locator(f"#keypoints button[data-k='{k}']").click()


@contextmanager
def chromium_page(program: Path, **options: Any) -> Iterator[Any]:
    """Chromium; yields what makes a page of a new person."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"], **options
        )
        yield browser
        browser.close()
