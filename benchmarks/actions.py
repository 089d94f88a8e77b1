"""How many actions an object needs in Label Studio, and in `labelkit label`.

Objects of a project that gave its round no location, and are not of its dev set, are labelled in
both pages by the same script in a real Chromium. Both show the round's predictions of what ticks
say is present. The script drags the worst keypoint to where the truth has it, and again, until each
is within the tolerance, a share of the box's long side; then it goes on. It reads the screen after
each drag: in `labelkit label` the others follow. *Control arm*: no prediction is shown, and each
keypoint is placed. An action is a click, a drag, or a key, Shift included. In the end all labels
are read out of both and checked.

The round is that of `clicks_until_right.py`, with its options. Needs Chromium and playwright.

    python benchmarks/actions.py [--set lspet] [--folder scratch/clicks] [--people 50]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from clicks_until_right import add_options, trained_round
from machine import machine
from numpy.typing import NDArray
from sets import DATA, open_set

from labelkit.bridges.label_studio.api import StudioApi
from labelkit.bridges.label_studio.environment import find_or_install
from labelkit.bridges.label_studio.server import StudioServer, read_log_in, running_server
from labelkit.bridges.ports import free_port
from labelkit.domain.pose import Pose
from labelkit.domain.selection import QueueItem, stable_order
from labelkit.formats.label_studio.config import HOTKEYS, sides
from labelkit.metrics.table import markdown
from labelkit.progress import Silent
from labelkit.project.predictions import read_predictions, write_predictions
from labelkit.project.project import Project, create_project
from labelkit.project.rounds import Round, RoundPlan, begin_round, finish_round
from labelkit.store.journal import (
    KEYPOINTS,
    VISIBILITY,
    Entry,
    keypoints_content,
    visibility_content,
)
from labelkit.store.label_store import LabelStore, NewInstance
from labelkit.store.ownership import open_store
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot, read_snapshot
from labelkit.workflows.rounds.queue_file import write_queue
from labelkit.workflows.sync.pull_server import pull_server
from labelkit.workflows.sync.push_server import push_server

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from annotator import Desk, browser
from labelling import Bench, Page, labelling

CHROMIUM = Path("/usr/bin/chromium")
#: Whether nothing is shown, and the tolerance.
TASKS = ((False, 0.05), (True, 0.05), (False, 0.1))
FILE = "file:labels.json"

Floats = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    parser.add_argument("--people", type=int, default=50, help="objects to label")
    options = parser.parse_args()
    parts = open_set(options.set, options.folder, options.objects)
    if parts is None:
        print(f"Not run: {DATA / options.set} does not exist. Set LABELKIT_DATA.")
        return
    trained = Trained.of(*trained_round(parts[0], options), options.people)
    print(f"{machine()}; {len(trained.ids)} objects of {parts[0].images}\n", flush=True)
    data = options.folder.resolve() / "studio"
    with tempfile.TemporaryDirectory() as name, studio(data) as server:
        print(table(trained, Path(name), server))


@dataclass
class Trained:
    """A project with a round, the objects in it that have keypoints, and those labelled here."""

    project: Project
    round: Round
    snapshot: LabelSnapshot
    known: set[str]
    ids: list[str]

    @classmethod
    def of(cls, project: Project, found: Round, count: int) -> Trained:
        with open_store(project) as store:
            snapshot = read_snapshot(project, store)
        known = {*found.plan.labelled, *snapshot.dev} & snapshot.poses.keys()
        others = stable_order(snapshot.poses.keys() - known, project.seed)
        return cls(project, found, snapshot, known, list(others[:count]))

    def copy(self, folder: Path, *, control: bool) -> Bench:
        """A project of the objects that have keypoints, and of these, which have ticks."""
        source, skeleton = self.project, self.project.skeleton
        project = create_project(folder, source.images_root, skeleton, seed=1)
        store = LabelStore.open(project.store_url)
        poses = {id_: self.snapshot.poses[id_] for id_ in (*self.known, *self.ids)}
        instances = [self.snapshot.instances[id_] for id_ in poses]
        store.add_images({item.image.id: item.image for item in instances}.values())
        made = store.add_instances(
            NewInstance(item.image, item.box, "given", item.area) for item in instances
        )
        assert {item.id for item in made} == poses.keys()
        store.record(
            Entry(id_, VISIBILITY, visibility_content(skeleton, pose.present), FILE, id_, "1")
            for id_, pose in poses.items()
        )
        store.record(
            Entry(id_, KEYPOINTS, keypoints_content(skeleton, poses[id_]), FILE, id_, "1")
            for id_ in self.known
        )
        path = begin_round(project, RoundPlan(0, "semi-weak", (), 0.0, store.head(), {}, 0))
        shown = read_predictions(self.round.path / "predictions.parquet", skeleton)
        write_predictions(path / "predictions.parquet", [shown[i] for i in self.ids], skeleton)
        shutil.copy(self.round.path / "model.safetensors", path)
        shutil.copytree(self.round.path / "maps", path / "maps")
        finish_round(path, self.round.facts)
        write_queue(project, [QueueItem(id_, "unsure", control) for id_ in self.ids])
        return Bench(project, store, self.ids)


@dataclass(frozen=True)
class Task:
    """What is to be reached."""

    trained: Trained
    tolerance: float
    control: bool

    def worst(self, id_: str, xy: Floats) -> int | None:
        """The keypoint that is farthest off, None if all are within the tolerance."""
        truth = self.truth(id_)
        off = np.where(truth.present, np.linalg.norm(xy - truth.xy, axis=1), 0.0)
        off[np.isnan(off)] = np.inf
        long_side = self.trained.snapshot.instances[id_].box.long_side
        return int(off.argmax()) if off.max() > self.tolerance * long_side else None

    def truth(self, id_: str) -> Pose:
        return self.trained.snapshot.poses[id_]

    def check(self, store: LabelStore) -> None:
        """All labels in a store are what was to be reached."""
        skeleton = self.trained.project.skeleton
        poses = store.poses(skeleton)
        for id_ in self.trained.ids:
            pose = poses[id_]
            assert pose.present.tolist() == self.truth(id_).present.tolist(), id_
            wrong = self.worst(id_, pose.xy)
            assert wrong is None, (id_, skeleton.keypoints[wrong])


class Hands:
    """What an annotator does, counted.

    Args:
        on: a browser that has `press`, `click` and `drag`, see tests/support.
    """

    def __init__(self, on: Any) -> None:
        self.on, self.done = on, Counter[str]()

    def press(self, key: str) -> None:
        self.on.press(key)
        self.done["keys"] += 1

    def click(self, place: Sequence[float]) -> None:
        self.on.click(place)
        self.done["clicks"] += 1

    def drag(self, start: Sequence[float], end: Sequence[float]) -> None:
        self.on.drag(start, end)
        self.done["drags"] += 1


def table(trained: Trained, folder: Path, server: StudioServer) -> str:
    """Actions an object, mean and standard deviation, by what is shown and by the page."""
    rows = [("shown", "right within", "page", "actions an object", "share", "of these")]
    for control, tolerance in TASKS:
        task = Task(trained, tolerance, control)
        of_both = {
            "Label Studio": in_label_studio(task, folder / f"studio {len(rows)}", server),
            "labelkit label": in_label(task, folder / f"label {len(rows)}"),
        }
        first = np.mean([done.total() for done in of_both["Label Studio"]])
        for page, each in of_both.items():
            actions, kinds = [done.total() for done in each], sum(each, Counter[str]())
            rows.append(
                (
                    "nothing: control arm" if control else "the prediction",
                    "-" if control else f"{tolerance}",
                    page,
                    f"{np.mean(actions):.2f} ± {np.std(actions):.2f}",
                    f"{np.mean(actions) / first:.0%}",
                    ", ".join(f"{kinds[k] / len(each):.2f} {k}" for k in sorted(kinds)),
                )
            )
            print(rows[-1], file=sys.stderr, flush=True)
    return markdown(rows)


# Label Studio


@contextmanager
def studio(folder: Path) -> Iterator[StudioServer]:
    """The real one, with a database of its own, whose making takes minutes."""
    os.environ |= {f"XDG_{kind}_HOME": str(folder / kind) for kind in ("CONFIG", "DATA")}
    executable = find_or_install(None, print)
    with running_server(
        executable,
        folder,
        read_log_in(),
        host="127.0.0.1",
        port=free_port(),
        on_line=lambda line: None,
    ) as server:
        yield server


def in_label_studio(task: Task, folder: Path, server: StudioServer) -> list[Counter[str]]:
    """Label all objects there; the actions of each."""
    bench = task.trained.copy(folder, control=task.control)
    keypoints = bench.project.skeleton.keypoints
    in_panel = [keypoints[k] for _, members in sides(bench.project.skeleton) for k in members]
    hotkeys = {
        name: key.replace("⇧", "Shift") for name, key in zip(in_panel, HOTKEYS, strict=False)
    }
    done: dict[str, Counter[str]] = {}
    with (
        bench.store as store,
        StudioApi(server.url, server.log_in.api_key) as api,
        browser(CHROMIUM, folder / "chromium") as page,
    ):
        report = push_server(
            bench.project, store, api, Silent(), per_instance=None, base=None, dry_run=False
        )
        tasks = {str(item["id"]): item for item in tasks_of(server, report.project_id)}
        desk = Desk(page)
        desk.log_in(server)  # type: ignore[arg-type]
        desk.begin(report.url)
        last = ""
        while len(done) < len(task.trained.ids):
            page.wait_for_function(f"() => window.Htx?.task && String(Htx.task.id) !== '{last}'")
            last = page.evaluate("() => String(Htx.task.id)")
            shown = tasks[last]
            (id_,) = shown["data"]["labelkit"]["instances"]
            hands = Hands(desk)
            if task.control:
                place_in_label_studio(task, id_, shown, hands, hotkeys)
            else:
                correct_in_label_studio(task, id_, shown, hands)
            desk.submit()
            hands.done["clicks"] += 1
            done[id_] = hands.done
        assert pull_server(bench.project, store, api, Silent()).problems == []
        task.check(store)
    return list(done.values())


def tasks_of(server: StudioServer, project_id: int | None) -> list[dict[str, Any]]:
    """All tasks of a project."""
    answer = httpx.get(
        f"{server.url}/api/tasks/",
        params={"project": project_id, "fields": "all", "page_size": 1000},
        headers={"Authorization": f"Token {server.log_in.api_key}"},
        timeout=60,
    )
    tasks: list[dict[str, Any]] = answer.json()["tasks"]
    return tasks


def part_of(shown: dict[str, Any], task: Task, id_: str) -> tuple[Floats, Floats]:
    """(2,) corner and size of what a task shows of its image, in pixels."""
    image = task.trained.snapshot.instances[id_].image
    x, y, w, h = shown["data"]["labelkit"].get("crop", (0, 0, image.width, image.height))
    return np.array([x, y], dtype=float), np.array([w, h], dtype=float)


def correct_in_label_studio(task: Task, id_: str, shown: dict[str, Any], hands: Hands) -> None:
    """Drag keypoints. Where one lies under another, that one moves: undo, and it goes first."""
    corner, size = part_of(shown, task, id_)
    keypoints = task.trained.project.skeleton.keypoints
    column = {
        region["id"]: keypoints.index(region["value"]["keypointlabels"][0])
        for region in shown["predictions"][-1]["result"]
    }
    target = 100 * (task.truth(id_).xy - corner) / size

    def look() -> Floats:
        """(K, 2) percent; NaN for those that are not shown."""
        hands.on.page.wait_for_timeout(50)
        found = np.full((len(keypoints), 2), np.nan)
        for region, place in hands.on.on_screen().items():
            found[column[region]] = place
        return found

    def drag(k: int) -> int:
        """Drag one; which one has moved."""
        before = look()
        hands.drag(before[k], target[k])
        return int(np.nan_to_num(np.linalg.norm(look() - before, axis=1)).argmax())

    hands.on.regions(shown)
    hands.on.page.wait_for_timeout(300)  # the canvas is drawn a little later
    while (worst := task.worst(id_, corner + look() * size / 100)) is not None:
        moved = drag(worst)
        if moved != worst:
            hands.press("Control+z")
            drag(moved)
        if hands.done.total() > 4 * len(keypoints):
            raise RuntimeError(f"{keypoints[worst]} of {id_} cannot be dragged.")


def place_in_label_studio(
    task: Task, id_: str, shown: dict[str, Any], hands: Hands, hotkeys: dict[str, str]
) -> None:
    """Place each present keypoint: its key, and a click."""
    corner, size = part_of(shown, task, id_)
    truth = task.truth(id_)
    hands.on.page.wait_for_function(
        "() => { const image = document.querySelector('img[alt=image]');"
        " return image?.complete && image.naturalWidth > 0; }"
    )
    hands.on.page.wait_for_timeout(300)
    for k in np.flatnonzero(truth.present):
        hands.press(hotkeys[task.trained.project.skeleton.keypoints[k]])
        hands.click(100 * (truth.xy[k] - corner) / size)
        hands.on.page.wait_for_timeout(50)


# labelkit label


def in_label(task: Task, folder: Path) -> list[Counter[str]]:
    """Label all objects there; the actions of each, of which the journal has as many."""
    bench = task.trained.copy(folder, control=task.control)
    done = []
    with bench.store as store, labelling(bench) as served, browser(CHROMIUM, folder / "b") as page:
        desk = Page(page)
        following = Following(page)
        desk.open(served.url)
        while (id_ := desk.instance) is not None:
            hands = Hands(desk)
            label_one(task, id_, desk, hands, following)
            hands.press("Enter")
            desk.wait(f"desk.object?.item.instance !== {id_!r}")
            done.append(hands.done)
        desk.all_sent()
        assert desk.errors == []
        task.check(store)
        counted = Counter[str]()
        for entry in bench.entries():
            if "effort" in entry.shown:
                counted.update({k: entry.shown["effort"][k] for k in ("clicks", "drags", "keys")})
        assert +counted == sum(done, Counter[str]()), (counted, sum(done, Counter[str]()))
    return done


class Following:
    """Knows whether the page waits for keypoints to be read again."""

    def __init__(self, page: Any) -> None:
        self._page, self._open = page, 0
        page.on("request", lambda request: self._count(request, 1))
        page.on("requestfinished", lambda request: self._count(request, -1))
        page.on("requestfailed", lambda request: self._count(request, -1))

    def _count(self, request: Any, by: int) -> None:
        self._open += by if request.url.endswith("/api/follow") else 0

    def settle(self) -> None:
        """Wait until nothing is asked, and what was answered is on the screen."""
        self._page.wait_for_timeout(30)
        while self._open:
            self._page.wait_for_timeout(10)
        self._page.wait_for_timeout(30)


def label_one(task: Task, id_: str, desk: Page, hands: Hands, following: Following) -> None:
    """Place all keypoints in their order, or the worst first."""
    truth = task.truth(id_)
    if task.control:
        for k in range(len(truth)):
            assert desk.ask("desk.object.now.selected") == k
            if truth.present[k]:
                hands.click(truth.xy[k])
            else:
                hands.press("x")
        return
    while True:
        points = desk.ask("desk.object.now.points")
        xy = np.array([(np.nan, np.nan) if row is None else row[:2] for row in points])
        k = task.worst(id_, xy)
        if k is None:
            return
        hands.drag(xy[k], truth.xy[k])
        following.settle()


if __name__ == "__main__":
    main()
