"""Tasks about one object in the real Label Studio, with mouse and keys, and then a pull."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotator import Desk, browser
from label_studio import point_home_at
from live_studio import Live, Synced
from mongo import chromium
from PIL import Image as Pictures
from trained import Trained

from labelkit.bridges.label_studio.api import StudioApi
from labelkit.domain.colours import keypoint_colours, rgb_of
from labelkit.domain.instance import Box
from labelkit.domain.pose import Pose
from labelkit.domain.prediction import Prediction
from labelkit.domain.selection import QueueItem
from labelkit.domain.skeleton import Skeleton, make_skeleton
from labelkit.formats.label_studio.config import HOTKEYS
from labelkit.project.images import scan_images
from labelkit.project.predictions import write_predictions
from labelkit.project.project import create_project
from labelkit.project.rounds import RoundPlan, begin_round, finish_round
from labelkit.store.label_store import LabelStore
from labelkit.store.objects import NewInstance
from labelkit.workflows.rounds.queue_file import write_queue

#: Thirty keypoints without sides, one of them described, in a grid of six columns.
GRID = make_skeleton(
    "grid", [f"part {n}" for n in range(30)], pairs=[], descriptions={"part 0": "the first corner"}
)
SIZE_WH = np.array([600, 500])
XY = np.array([[50 + 100 * (n % 6), 50 + 100 * (n // 6)] for n in range(30)], dtype=float)

#: The object fills most of its image.
LARGE = Box(10, 10, 580, 480)


@pytest.fixture(scope="session")
def program() -> Path:
    return chromium()


@pytest.fixture(scope="module")
def server(program: Path, live_once: Live) -> Iterator[Live]:
    """The server, which also serves our two images while these tests run."""
    folder = live_once.trained.images / "grids"
    with pytest.MonkeyPatch.context() as patch:
        point_home_at(live_once.folder / "home", patch)
        folder.mkdir()
        try:
            for number, colour in enumerate(("#777", "#394a2c")):
                Pictures.new("RGB", tuple(SIZE_WH), colour).save(folder / f"{number}.png")
            yield live_once
        finally:
            shutil.rmtree(folder)


@pytest.fixture(scope="module")
def desk(program: Path, server: Live, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with browser(program, tmp_path_factory.mktemp("chromium")) as page:
        desk = Desk(page)
        desk.log_in(server)
        yield desk


@dataclass
class Grids:
    """A project with an object in each of the two images, nothing pushed."""

    synced: Synced
    ids: tuple[str, ...]
    project_id: int = 0

    def predict(self, xy: np.ndarray, *, control: bool = False) -> None:
        """A round whose predictions are there, and a full queue."""
        project, store = self.synced.trained.project, self.synced.trained.store
        path = begin_round(project, RoundPlan(0, "location-free", (), 0.0, store.head(), {}, 0))
        pose = Pose(xy, np.full(len(xy), 2), np.full(len(xy), 0.5))
        rows = [Prediction(id_, pose, np.ones(len(xy)), 0.5) for id_ in self.ids]
        write_predictions(path / "predictions.parquet", rows, project.skeleton)
        finish_round(path, {})
        write_queue(project, [QueueItem(id_, "unsure", control) for id_ in self.ids])

    def push(self, **changes: Any) -> str:
        report = self.synced.push(base=None, per_instance=None, **changes)
        assert report.project_id is not None
        self.project_id = report.project_id
        return report.url

    def tasks(self) -> list[dict[str, Any]]:
        query = {"project": self.project_id, "fields": "all"}
        tasks = self.synced.live.get("/api/tasks/", params=query).json()["tasks"]
        return sorted(tasks, key=lambda task: task["id"])

    def poses(self) -> dict[str, Pose]:
        return self.synced.trained.store.poses(self.synced.trained.project.skeleton)


@pytest.fixture
def make_grids(server: Live, tmp_path: Path) -> Iterator[Any]:
    """Makes the project, with boxes that fill the image or are small."""
    opened: list[Any] = []

    def make(skeleton: Skeleton = GRID, box: Box = LARGE) -> Grids:
        project = create_project(tmp_path / "project", server.trained.images, skeleton)
        store = LabelStore.open(project.store_url)
        api = StudioApi(server.url, server.log_in.api_key)
        opened.extend((store, api))
        images = [i for i in scan_images(project.images_root).images if i.path[:6] == "grids/"]
        store.add_images(images)
        made = store.add_instances(NewInstance(i, box, "given", box.w * box.h) for i in images)
        trained = Trained(tmp_path, project, store)
        return Grids(Synced(trained, server, api), tuple(item.id for item in made))

    yield make
    for item in opened:
        item.__exit__(None, None, None)


def percent(xy: np.ndarray) -> tuple[float, float]:
    x, y = 100 * xy / SIZE_WH
    return float(x), float(y)


SELECTED = "() => window.Htx.annotationStore.selected.selectedRegions.map((r) => r.cleanId)"


def wait_for_regions(desk: Desk, count: int) -> dict[str, tuple[float, float]]:
    """Id and place of each region, as soon as there are so many."""
    for _ in range(100):
        found = desk.on_screen()
        if found is not None and len(found) == count:
            return found
        desk.page.wait_for_timeout(100)
    raise AssertionError(f"{count} regions expected: {found}")


def test_a_drawn_keypoint_is_selected_by_a_click_and_backspace_deletes_it_alone(make_grids, desk):
    grids = make_grids()
    grids.predict(XY)
    desk.begin(grids.push())
    task = grids.tasks()[0]
    assert "crop" not in task["data"]["labelkit"]  # it is large, and alone in its image
    shown = desk.regions(task)
    assert len(shown) == 30
    (first, place), *_ = shown.items()
    desk.wait_for_colour(rgb_of(keypoint_colours(GRID)[0]), place)
    desk.click(place)
    assert desk.page.evaluate(SELECTED) == [first]
    desk.press("Backspace")
    wait_for_regions(desk, 29)
    # Its key, and a plain click at another place, in the middle of the object.
    to = (place[0] + 4.0, place[1] + 5.0)
    desk.press(HOTKEYS[0])
    desk.click(to)
    found = wait_for_regions(desk, 30)
    (drawn,) = set(found) - set(shown)
    desk.click(to)
    assert desk.page.evaluate(SELECTED) == [drawn]
    desk.press("Backspace")
    assert set(wait_for_regions(desk, 29)) == set(shown) - {first}
    desk.press(HOTKEYS[0])
    desk.click(to)
    wait_for_regions(desk, 30)
    desk.submit()
    report = grids.synced.pull()
    assert (report.problems, report.poses, report.skips) == ([], 1, 0)
    pose = grids.poses()[task["data"]["labelkit"]["instances"][0]]
    assert np.abs(pose.xy[0] - np.array(to) * SIZE_WH / 100).max() < 2
    assert np.abs(pose.xy[1:] - XY[1:]).max() < 1e-6


def test_thirty_keypoints_are_placed_with_their_keys_in_colours_that_differ(make_grids, desk):
    grids = make_grids()
    grids.predict(XY, control=True)
    instructions = desk.begin(grids.push())
    assert "the first corner" in instructions
    task = grids.tasks()[0]
    wait_for_regions(desk, 0)
    for key, xy in zip(HOTKEYS, XY, strict=False):
        desk.press(key.replace("⇧", "Shift"))
        desk.click(percent(xy))
    wait_for_regions(desk, 30)
    places = [percent(xy) for xy in XY]
    desk.wait_for_colour(rgb_of(keypoint_colours(GRID)[29]), places[29])
    colours = desk.colours(places)
    apart = [np.abs(one - other).max() for one, other in combinations(colours, 2)]
    assert min(apart) > 20
    desk.submit()
    report = grids.synced.pull()
    assert (report.problems, report.poses, report.origins) == ([], 1, {"new": 30})
    (entry,) = (recorded.entry for recorded in grids.synced.trained.store.entries())
    assert entry.shown["arm"] == "control"
    pose = grids.poses()[task["data"]["labelkit"]["instances"][0]]
    assert np.abs(pose.xy - XY).max() < 2


def test_the_instructions_show_the_skeleton(make_grids, desk):
    layout = (XY - 50) / (500, 400)
    grids = make_grids(make_skeleton("grid", GRID.keypoints, pairs=[], layout=layout.tolist()))
    grids.predict(XY)
    desk.page.goto(grids.push())
    desk.page.get_by_role("button", name="Label All Tasks").click()
    picture = desk.page.locator(".labelkit-skeleton")
    picture.wait_for()
    box = picture.bounding_box()
    assert box["width"] > 300 < box["height"] + 100
    assert "data:image/svg+xml" in picture.evaluate("e => getComputedStyle(e).backgroundImage")
    desk.page.get_by_role("button", name="Close modal").click()


def test_a_small_object_is_zoomed_and_its_points_return_to_their_place_in_the_image(
    make_grids, desk
):
    grids = make_grids(box=Box(230, 230, 40, 40))
    near = 250 + (XY - 250) / 20
    grids.predict(near)
    desk.begin(grids.push())
    task = grids.tasks()[0]
    *_, w, h = task["data"]["labelkit"]["crop"]
    assert w < 100 > h
    shown = desk.regions(task)
    desk.submit()
    report = grids.synced.pull()
    assert (report.problems, report.origins) == ([], {"untouched": 30})
    assert len(shown) == 30
    pose = grids.poses()[task["data"]["labelkit"]["instances"][0]]
    assert np.abs(pose.xy - near).max() < 1e-6


def test_ticks_need_no_click_on_a_box_and_all_and_none_have_a_key(make_grids, desk):
    grids = make_grids()
    desk.begin(grids.push())
    wait_for_regions(desk, 0)
    desk.page.locator('input[name="part 3"]').wait_for()
    desk.page.get_by_test_id("bottombar-submit-button").click()
    desk.page.get_by_text("tick what you could point at, or").wait_for()
    desk.page.get_by_role("button", name="OK").click()
    desk.press("a")
    desk.submit()
    desk.page.locator('input[name="(all of them)"]:not(:checked)').wait_for()
    wait_for_regions(desk, 0)
    desk.press("n")
    desk.submit()
    report = grids.synced.pull()
    assert (report.problems, report.answers) == ([], 2)
    answers = grids.synced.trained.store.presences(GRID)
    assert [answers[id_].tolist() for id_ in grids.ids] == [[1] * 30, [0] * 30]


def test_an_object_that_is_none_is_skipped_and_not_asked_about_again(make_grids, desk):
    grids = make_grids()
    grids.predict(XY)
    desk.begin(grids.push())
    desk.regions(grids.tasks()[0])
    with desk.page.expect_response(lambda r: "/annotations" in r.url and r.status == 201):
        desk.page.get_by_role("button", name="Skip").click()
    report = grids.synced.pull()
    assert (report.skips, report.poses) == (1, 0)
    assert grids.synced.trained.store.skipped() == {grids.ids[0]}


def test_the_address_in_a_message_opens_the_task(make_grids, desk):
    grids = make_grids()
    grids.predict(XY)
    grids.push()
    _, task = grids.tasks()
    twice = [{**region, "origin": "prediction"} for region in task["predictions"][0]["result"]]
    twice[1] = {**twice[0], "id": "again", "origin": "manual"}
    grids.synced.submit(task, twice)
    (problem,) = grids.synced.pull().problems
    assert "'part 0' twice" in problem
    desk.page.goto(problem.partition(",")[0])
    assert len(wait_for_regions(desk, 30)) == 30
    assert desk.page.evaluate("() => String(window.Htx.task.id)") == str(task["id"])
