"""Labelling in the real Label Studio with mouse and keys, and what `labelkit pull` makes of it."""

from __future__ import annotations

import importlib
import io
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from label_studio import point_home_at
from live_studio import Live, Synced
from mongo import chromium
from PIL import Image as Pictures
from trained import Trained

from labelkit.bridges.studio_api import StudioApi
from labelkit.colours import keypoint_colours, rgb_of
from labelkit.formats.label_studio_config import OCCLUDED_CHOICE, VISIBILITY_HOTKEYS
from labelkit.images import scan_images
from labelkit.instance import Box
from labelkit.journal import KEYPOINTS
from labelkit.pose import Pose, human_pose
from labelkit.predictions import Prediction, write_predictions
from labelkit.project import create_project
from labelkit.rounds import RoundPlan, begin_round, finish_round, next_round_number
from labelkit.selection import QueueItem
from labelkit.skeleton import load_skeleton
from labelkit.store import LabelStore, NewInstance
from labelkit.workflows.figures import Figure, figure
from labelkit.workflows.queueing import write_queue

pytestmark = [
    pytest.mark.slow,
    # Label Studio's server does not close all of its sockets before Python does.
    pytest.mark.timeout(600),
]

SKELETON = load_skeleton("lsp14")
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

#: Pixels of one figure's square; two of them side by side make an image.
SIDE = 320
IMAGES = 3

#: What the browser holds of the task on the screen: id, label, x, y of each keypoint.
POINTS = """() => {
  const annotation = window.Htx?.annotationStore?.selected;
  const image = document.querySelector('img[alt=image]');
  if (!annotation || !image?.complete || !image.naturalWidth) return null;
  const dots = annotation.regions.filter((region) => region.type === 'keypointregion');
  return dots.map((region) => [region.cleanId, region.labels[0], region.x, region.y]);
}"""


@dataclass
class Pairs:
    """A project whose images show two persons each, and its images' truth."""

    synced: Synced
    figures: Sequence[tuple[Figure, Figure]]
    ids: Sequence[tuple[str, str]]
    truth: Mapping[str, Pose]

    def finish_round(self, seed: int) -> None:
        """A round whose predictions are a few pixels off the truth, each seed in its own way."""
        project, store = self.synced.trained.project, self.synced.trained.store
        number = next_round_number(project)
        plan = RoundPlan(number, "location-free", (), 0.0, store.head(), {}, seed)
        path = begin_round(project, plan)
        write_predictions(path / "predictions.parquet", self.predictions(seed).values(), SKELETON)
        finish_round(path, {})

    def predictions(self, seed: int) -> dict[str, Prediction]:
        rng = np.random.default_rng(seed)
        found = {}
        for id_, pose in self.truth.items():
            xy = pose.xy + rng.normal(0, 4, pose.xy.shape)
            score = rng.uniform(0.3, 0.9, len(SKELETON))
            found[id_] = Prediction(
                id_,
                Pose(np.abs(xy), np.full(len(SKELETON), 2), score),
                pose.present.astype(float),
                float(score.mean()),
            )
        return found

    def push(self) -> str:
        """Push the queue with images that the server really serves, and return where to label."""
        return self.synced.push(base=None).url

    def tasks(self) -> list[dict[str, Any]]:
        return self.synced.tasks()


@pytest.fixture(scope="module")
def figures() -> list[tuple[Figure, Figure]]:
    """Two figures an image, each with at least ten keypoints that can be seen."""
    drawn = (figure(np.random.default_rng((7, i)), SIDE) for i in range(1000))
    good = (item for item in drawn if item.pose.present.sum() >= 10)
    return [(next(good), next(good)) for _ in range(IMAGES)]


@pytest.fixture(scope="module")
def server(live_once: Live, figures: list[tuple[Figure, Figure]]) -> Iterator[Live]:
    """The server, which serves our images too as long as these tests last."""
    folder = live_once.trained.images / "pairs"
    with pytest.MonkeyPatch.context() as patch:
        point_home_at(live_once.folder / "home", patch)
        folder.mkdir()
        for number, pair in enumerate(figures):
            image = Pictures.new("RGB", (2 * SIDE, SIDE))
            for place, drawn in enumerate(pair):
                image.paste(drawn.image, (place * SIDE, 0))
            image.save(folder / f"{number}.png")
        yield live_once
        shutil.rmtree(folder)


@pytest.fixture
def pairs(server: Live, figures: list[tuple[Figure, Figure]], tmp_path: Path) -> Iterator[Pairs]:
    """Its first round is complete, everything is queued, nothing is pushed."""
    images_root = server.trained.images
    project = create_project(tmp_path / "project", images_root, SKELETON)
    # What `labelkit studio` wrote for the project that it was started for.
    shutil.copytree(server.trained.project.root / "label_studio", project.root / "label_studio")
    with ExitStack() as stack:
        store = stack.enter_context(LabelStore.open(project.store_url))
        api = stack.enter_context(StudioApi(server.url, server.log_in.api_key))
        images = [i for i in scan_images(images_root).images if i.path.startswith("pairs/")]
        store.add_images(images)
        truth: dict[str, Pose] = {}
        ids = []
        for image, pair in zip(images, figures, strict=True):
            boxes = [_shifted(drawn, place) for place, drawn in enumerate(pair)]
            made = store.add_instances(
                NewInstance(image, box, "given", box.w * box.h) for box, _ in boxes
            )
            truth |= {item.id: pose for item, (_, pose) in zip(made, boxes, strict=True)}
            ids.append((made[0].id, made[1].id))
        synced = Synced(Trained(tmp_path, project, store), server, api)
        pairs = Pairs(synced, figures, ids, truth)
        pairs.finish_round(0)
        write_queue(project, [QueueItem(id_, "unsure", False) for id_ in truth])
        yield pairs


def _shifted(drawn: Figure, place: int) -> tuple[Box, Pose]:
    x, y, w, h = drawn.box
    xy = drawn.pose.xy + (place * SIDE, 0)
    return Box(x + place * SIDE, y, w, h), human_pose(xy, drawn.pose.visibility)


@dataclass
class Desk:
    """An annotator's browser, logged in."""

    page: Any

    def begin(self, url: str) -> str:
        """Press "Label All Tasks", read the instructions and put them away."""
        self.page.goto(url)
        self.page.get_by_role("button", name="Label All Tasks").click()
        self.page.get_by_text("Labeling Instructions").wait_for()
        text = str(self.page.locator("[class*=modal-ls__body]").inner_text())
        self.page.get_by_role("button", name="Close modal").click()
        self.page.get_by_text("Labeling Instructions").wait_for(state="detached")
        return text

    def points(self, task: dict[str, Any]) -> list[tuple[str, str, float, float]]:
        """The keypoints on the screen, as soon as they are those of a task."""
        (prediction,) = task["predictions"]
        wanted = {region["id"] for region in prediction["result"]}
        deadline = time.monotonic() + 60
        while True:
            found = self.page.evaluate(POINTS)
            if found and {point[0] for point in found} <= wanted:
                self.page.wait_for_timeout(300)  # for the canvas to be drawn
                return [tuple(point) for point in found]
            assert time.monotonic() < deadline, f"the task {task['id']} was not opened: {found}"
            self.page.wait_for_timeout(100)

    def at(self, percent: Sequence[float]) -> tuple[float, float]:
        """Pixels of the screen."""
        image = self.page.locator("img[alt=image]").bounding_box()
        x, y = percent
        return image["x"] + x * image["width"] / 100, image["y"] + y * image["height"] / 100

    def drag(self, start: Sequence[float], end: Sequence[float]) -> None:
        self.page.mouse.move(*self.at(start))
        self.page.mouse.down()
        self.page.mouse.move(*self.at(end), steps=8)
        self.page.mouse.up()

    def click(self, percent: Sequence[float]) -> None:
        self.page.mouse.click(*self.at(percent))

    def submit(self) -> None:
        with self.page.expect_response(_is_submission) as answer:
            self.page.get_by_test_id("bottombar-submit-button").click()
        assert answer.value.status == 201

    def colour_at(self, percent: Sequence[float]) -> np.ndarray:
        """(3,) RGB in the middle of the screen's pixel there."""
        x, y = self.at(percent)
        picture = Pictures.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        return np.array(picture.getpixel((round(x), round(y))))


def _is_submission(response: Any) -> bool:
    return response.request.method == "POST" and "/annotations" in response.url


@pytest.fixture(scope="module")
def desk(server: Live, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    program = chromium()
    sync_playwright = importlib.import_module("playwright.sync_api").sync_playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("chromium"),
            executable_path=program,
            args=CHROMIUM_OPTIONS,
            headless=True,
            viewport={"width": 1280, "height": 800},
        )
        browser.set_default_timeout(15_000)
        page = browser.new_page()
        page.goto(f"{server.url}/user/login/")
        page.fill("input[name=email]", server.log_in.username)
        page.fill("input[name=password]", server.log_in.password)
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "login" not in url)
        yield Desk(page)
        browser.close()


def key_of(pairs: Pairs, tag: str, value: str) -> str:
    """The hotkey that Label Studio has for a label or choice."""
    config = pairs.synced.api.project(pairs.synced.project_id)["label_config"]
    found = ElementTree.fromstring(config).iter(tag)
    return next(str(item.get("hotkey")) for item in found if item.get("value") == value)


def lonely(regions: list[dict[str, Any]], of: str) -> list[dict[str, Any]]:
    """Keypoints of one person, those farthest from every other dot first."""
    dots = [region for region in regions if region["type"] == "keypointlabels"]
    xy = np.array([[2 * dot["value"]["x"], dot["value"]["y"]] for dot in dots])
    apart = np.linalg.norm(xy[:, None] - xy[None], axis=-1) + 1e9 * np.eye(len(xy))
    order = np.argsort(-apart.min(axis=1))
    return [dots[i] for i in order if dots[i]["parentID"] == of]


def place(region: Mapping[str, Any]) -> tuple[float, float]:
    return region["value"]["x"], region["value"]["y"]


def sent_xy(region: Mapping[str, Any]) -> np.ndarray:
    """(2,) pixels of the image."""
    return np.array(place(region)) * (2 * SIDE, SIDE) / 100


def pose_of(pairs: Pairs, id_: str) -> Pose:
    return pairs.synced.trained.store.poses(SKELETON)[id_]


def test_a_dragged_and_an_occluded_keypoint_of_the_second_person_come_back_and_nothing_else(
    pairs: Pairs, desk: Desk
):
    instructions = desk.begin(pairs.push())
    assert "Left and right are the object's own" in instructions
    task = pairs.tasks()[0]
    (prediction,) = task["predictions"]
    first, second = task["data"]["labelkit"]["instances"]
    assert (first, second) == tuple(pairs.ids[0])
    dots = [region for region in prediction["result"] if region["type"] == "keypointlabels"]
    assert sorted(desk.points(task)) == sorted(
        (dot["id"], dot["value"]["keypointlabels"][0], *place(dot)) for dot in dots
    )
    dragged, occluded, *_ = lonely(prediction["result"], second)
    colour = keypoint_colours(SKELETON)[SKELETON.index(dragged["value"]["keypointlabels"][0])]
    assert np.abs(desk.colour_at(place(dragged)) - rgb_of(colour)).max() < 60
    to = (place(dragged)[0] + 3.0, place(dragged)[1] - 5.0)
    desk.drag(place(dragged), to)
    desk.page.keyboard.press("Escape")
    desk.click(place(occluded))
    desk.page.keyboard.press(VISIBILITY_HOTKEYS[OCCLUDED_CHOICE])
    desk.submit()

    report = pairs.synced.pull()
    assert (report.problems, report.annotations, report.poses) == ([], 1, 2)
    assert report.origins == {"untouched": len(dots) - 1, "changed": 1}
    assert report.lead_time_s > 0
    for dot in dots:
        pose, k = pose_of(pairs, dot["parentID"]), int(dot["id"].rpartition(".")[2])
        assert pose.visibility[k] == (1 if dot is occluded else 2)
        if dot is dragged:
            screen = desk.page.locator("img[alt=image]").bounding_box()
            assert np.abs(pose.xy[k] - np.array(to) * (2 * SIDE, SIDE) / 100).max() < (
                1.5 * 2 * SIDE / screen["width"]
            )
        else:
            assert np.abs(pose.xy[k] - sent_xy(dot)).max() < 1e-9
    shown = {dot["id"] for dot in dots}
    for id_ in (first, second):
        present = {f"{id_}.{k}" for k in np.flatnonzero(pose_of(pairs, id_).present)}
        assert present == {name for name in shown if name.rpartition(".")[0] == id_}
    entries = pairs.synced.trained.store.history([second])
    (entry,) = [recorded.entry for recorded in entries if recorded.entry.kind == KEYPOINTS]
    assert entry.shown["model_version"] == "round-000"
    (annotation,) = pairs.tasks()[0]["annotations"]
    assert annotation["parent_prediction"] == prediction["id"]


def test_a_newer_round_is_on_the_screen_without_anybody_choosing_it(pairs: Pairs, desk: Desk):
    desk.begin(pairs.push())
    old = pairs.tasks()
    desk.points(old[0])
    desk.submit()
    pairs.finish_round(1)
    pairs.push()
    new = pairs.tasks()
    desk.begin(pairs.push())
    shown = {point[0]: point[2:] for point in desk.points(new[1])}
    (prediction,) = new[1]["predictions"]
    assert prediction["model_version"] == "round-001"
    sent = {r["id"]: place(r) for r in prediction["result"] if r["type"] == "keypointlabels"}
    assert shown == sent
    before = {r["id"]: place(r) for r in old[1]["predictions"][0]["result"]}
    assert all(sent[id_] != before[id_] for id_ in sent)


def test_a_missing_keypoint_is_added_to_the_person_around_it(pairs: Pairs, desk: Desk):
    desk.begin(pairs.push())
    task = pairs.tasks()[0]
    _, second = task["data"]["labelkit"]["instances"]
    desk.points(task)
    removed, *_ = lonely(task["predictions"][0]["result"], second)
    name = removed["value"]["keypointlabels"][0]
    desk.click(place(removed))
    desk.page.keyboard.press("Backspace")
    desk.page.keyboard.press(key_of(pairs, "Label", name))
    desk.page.keyboard.down("Control")
    desk.click(place(removed))
    desk.page.keyboard.up("Control")
    desk.submit()
    report = pairs.synced.pull()
    assert report.problems == []
    assert report.origins["changed"] == 1
    drawn = pose_of(pairs, second).xy[SKELETON.index(name)]
    assert np.abs(drawn - sent_xy(removed)).max() < 2


def _unused(_: Callable[..., None]) -> None: ...
