"""Labelling in the real Label Studio with mouse and keys, and what `labelkit pull` makes of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

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
from labelkit.domain.pose import Pose, human_pose
from labelkit.domain.prediction import Prediction
from labelkit.domain.selection import QueueItem
from labelkit.domain.skeleton import load_skeleton
from labelkit.formats.label_studio.config import OCCLUDED_CHOICE, VISIBILITY_HOTKEYS
from labelkit.project.images import scan_images
from labelkit.project.predictions import write_predictions
from labelkit.project.project import create_project
from labelkit.project.rounds import RoundPlan, begin_round, finish_round, next_round_number
from labelkit.store.journal import KEYPOINTS
from labelkit.store.label_store import LabelStore, NewInstance
from labelkit.workflows.rounds.queue_file import write_queue
from labelkit.workflows.synthetic.figures import Figure, figure

SKELETON = load_skeleton("lsp14")
COLOURS = dict(zip(SKELETON.keypoints, map(rgb_of, keypoint_colours(SKELETON)), strict=True))

#: Pixels of one figure's square; two of them side by side make an image.
SIDE = 320
SIZE_WH = np.array([2 * SIDE, SIDE])
IMAGES = 3

Region = Mapping[str, Any]


# A project of two persons an image


@dataclass
class Pairs:
    """A project whose images show two persons each, and the truth about them by instance."""

    synced: Synced
    truth: Mapping[str, Pose]
    project_id: int = 0

    def finish_round(self, seed: int) -> None:
        """A round whose predictions are a few pixels off the truth, each seed in its own way."""
        project, store = self.synced.trained.project, self.synced.trained.store
        number = next_round_number(project)
        plan = RoundPlan(number, "location-free", (), 0.0, store.head(), {}, seed)
        path = begin_round(project, plan)
        rng = np.random.default_rng(seed)
        rows = []
        for id_, pose in self.truth.items():
            xy = np.abs(pose.xy + rng.normal(0, 4, pose.xy.shape))
            everywhere = np.full(len(SKELETON), 2)
            near = Pose(xy, everywhere, rng.uniform(0.3, 0.9, len(SKELETON)))
            rows.append(Prediction(id_, near, pose.present.astype(float), 0.5))
        write_predictions(path / "predictions.parquet", rows, SKELETON)
        finish_round(path, {})
        write_queue(project, [QueueItem(id_, "unsure", False) for id_ in self.truth])

    def push(self, **changes: Any) -> str:
        """Push, with images that the server really serves, and return the address for labelling."""
        report = self.synced.push(base=None, **changes)
        assert report.project_id is not None
        self.project_id = report.project_id
        return report.url

    def tasks(self) -> list[dict[str, Any]]:
        """Everything on the server, by id."""
        query = {"project": self.project_id, "fields": "all"}
        tasks = self.synced.live.get("/api/tasks/", params=query).json()["tasks"]
        return sorted(tasks, key=lambda task: task["id"])

    def key(self, value: str) -> str:
        """The hotkey that Label Studio has for a label or choice."""
        config = self.synced.api.project(self.project_id)["label_config"]
        found = (e for e in ElementTree.fromstring(config).iter() if e.get("value") == value)
        return str(next(found).get("hotkey"))

    def pose(self, id_: str) -> Pose:
        """The latest human keypoints."""
        return self.synced.trained.store.poses(SKELETON)[id_]


@pytest.fixture(scope="session")
def program() -> Path:
    return chromium()


@pytest.fixture(scope="module")
def figures() -> list[tuple[Figure, Figure]]:
    """Figures with many visible keypoints, two for each image."""
    drawn = (figure(np.random.default_rng((7, i)), SIDE) for i in range(1000))
    good = (item for item in drawn if item.pose.present.sum() >= 10)
    return [(next(good), next(good)) for _ in range(IMAGES)]


@pytest.fixture(scope="module")
def server(program: Path, live_once: Live, figures: list[tuple[Figure, Figure]]) -> Iterator[Live]:
    """The server, which also serves our images while these tests run."""
    folder = live_once.trained.images / "pairs"
    with pytest.MonkeyPatch.context() as patch:
        point_home_at(live_once.folder / "home", patch)
        folder.mkdir()
        try:
            for number, pair in enumerate(figures):
                image = Pictures.new("RGB", (2 * SIDE, SIDE))
                for place, drawn in enumerate(pair):
                    image.paste(drawn.image, (place * SIDE, 0))
                image.save(folder / f"{number}.png")
            yield live_once
        finally:
            shutil.rmtree(folder)


@pytest.fixture
def pairs(server: Live, figures: list[tuple[Figure, Figure]], tmp_path: Path) -> Iterator[Pairs]:
    """A project without answers, rounds and pushes."""
    images_root = server.trained.images
    project = create_project(tmp_path / "project", images_root, SKELETON)
    images = [i for i in scan_images(images_root).images if i.path.startswith("pairs/")]
    truth: dict[str, Pose] = {}
    with (
        LabelStore.open(project.store_url) as store,
        StudioApi(server.url, server.log_in.api_key) as api,
    ):
        store.add_images(images)
        for image, pair in zip(images, figures, strict=True):
            boxes = [_beside(drawn.box, place) for place, drawn in enumerate(pair)]
            made = store.add_instances(NewInstance(image, b, "given", b.w * b.h) for b in boxes)
            for place, (instance, drawn) in enumerate(zip(made, pair, strict=True)):
                xy = drawn.pose.xy + np.array([place * SIDE, 0])
                truth[instance.id] = human_pose(xy, drawn.pose.visibility)
        yield Pairs(Synced(Trained(tmp_path, project, store), server, api), truth)


def _beside(box: Box, place: int) -> Box:
    return Box(box.x + place * SIDE, *box[1:])


@pytest.fixture
def predicted(pairs: Pairs) -> Pairs:
    """The same project with a complete first round and a full queue; nothing is pushed."""
    pairs.finish_round(0)
    return pairs


@pytest.fixture(scope="module")
def desk(program: Path, server: Live, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The desk of one annotator, for all tests."""
    with browser(program, tmp_path_factory.mktemp("chromium")) as page:
        desk = Desk(page)
        desk.log_in(server)
        yield desk


# The task on the screen


def keypoints(task: dict[str, Any]) -> list[Region]:
    """The pre-annotated keypoints, those that are farthest from any other first."""
    result = task["predictions"][-1]["result"]
    dots = [region for region in result if region["type"] == "keypointlabels"]
    xy = np.array([place(dot) for dot in dots]) * SIZE_WH
    apart = np.linalg.norm(xy[:, None] - xy[None], axis=-1) + 1e9 * np.eye(len(xy))
    return [dots[i] for i in np.argsort(-apart.min(axis=1))]


def place(region: Region) -> tuple[float, float]:
    return region["value"]["x"], region["value"]["y"]


def name_of(dot: Region) -> str:
    return str(dot["value"]["keypointlabels"][0])


def inside(task: dict[str, Any], id_: str) -> tuple[float, float]:
    """A corner of a box, away from its keypoints."""
    box = next(region for region in task["predictions"][0]["result"] if region["id"] == id_)
    return box["value"]["x"] + 0.5, box["value"]["y"] + 1.0


def pixels(percent: Sequence[float]) -> np.ndarray:
    """(2,) x and y in the image."""
    return np.array(percent) * SIZE_WH / 100


# Correcting


def test_one_keypoint_is_dragged_and_one_marked_and_nothing_else_changes(
    predicted: Pairs, desk: Desk
):
    instructions = desk.begin(predicted.push())
    assert "Ctrl+click" in instructions
    task = predicted.tasks()[0]
    _, second = task["data"]["labelkit"]["instances"]
    dots = keypoints(task)
    on_screen = desk.regions(task)
    assert {dot["id"]: place(dot) for dot in dots}.items() <= on_screen.items()
    assert len(on_screen) == len(dots) + 2
    dragged, occluded, *_ = [dot for dot in dots if dot["parentID"] == second]
    desk.wait_for_colour(COLOURS[name_of(dragged)], place(dragged))
    to = (place(dragged)[0] + 3.0, place(dragged)[1] - 5.0)
    desk.drag(place(dragged), to)
    desk.click(place(occluded))
    desk.press(VISIBILITY_HOTKEYS[OCCLUDED_CHOICE])
    desk.submit()

    report = predicted.synced.pull()
    assert (report.problems, report.annotations, report.poses) == ([], 1, 2)
    assert report.origins == {"untouched": len(dots) - 1, "changed": 1}
    assert report.lead_time_s > 0
    for dot in dots:
        pose, k = predicted.pose(dot["parentID"]), SKELETON.index(name_of(dot))
        wanted, slack = (to, 2.0) if dot is dragged else (place(dot), 1e-9)
        assert np.abs(pose.xy[k] - pixels(wanted)).max() < slack
        assert pose.visibility[k] == (1 if dot is occluded else 2)
    shown = sum(predicted.pose(id_).present.sum() for id_ in task["data"]["labelkit"]["served"])
    assert shown == len(dots)
    entries = predicted.synced.trained.store.history([second])
    (entry,) = [recorded.entry for recorded in entries if recorded.entry.kind == KEYPOINTS]
    assert entry.shown["model_version"] == "round-000"
    (annotation,) = predicted.tasks()[0]["annotations"]
    assert annotation["parent_prediction"] == task["predictions"][0]["id"]


def test_a_keypoint_is_added_to_the_person_around_it_and_no_other_gets_its_name(
    predicted: Pairs, desk: Desk
):
    desk.begin(predicted.push())
    task = predicted.tasks()[0]
    _, second = task["data"]["labelkit"]["instances"]
    desk.regions(task)
    dots = keypoints(task)
    removed, occluded, *_ = [dot for dot in dots if dot["parentID"] == second]
    desk.click(place(removed))
    desk.press("Backspace")
    desk.click(place(occluded))
    desk.press(VISIBILITY_HOTKEYS[OCCLUDED_CHOICE])
    desk.press("Escape")
    desk.press(predicted.key(name_of(removed)))
    to = (place(removed)[0] - 1.0, place(removed)[1] + 1.0)
    desk.page.keyboard.down("Control")
    desk.click(to)
    desk.page.keyboard.up("Control")
    desk.submit()
    report = predicted.synced.pull()
    assert report.problems == []
    assert report.origins == {"untouched": len(dots) - 1, "changed": 1}
    pose = predicted.pose(second)
    assert np.abs(pose.xy[SKELETON.index(name_of(removed))] - pixels(to)).max() < 2
    assert pose.visibility[SKELETON.index(name_of(occluded))] == 1


def delete_second_box(predicted: Pairs, desk: Desk) -> dict[str, Any]:
    """Begin to label, and delete the second person's box; the task."""
    desk.begin(predicted.push())
    task = predicted.tasks()[0]
    desk.regions(task)
    desk.click(inside(task, task["data"]["labelkit"]["instances"][1]))
    desk.press("Backspace")
    return task


def test_a_box_without_an_object_is_deleted_and_never_asked_again(predicted: Pairs, desk: Desk):
    first, second = delete_second_box(predicted, desk)["data"]["labelkit"]["instances"]
    desk.submit()
    report = predicted.synced.pull()
    assert (report.problems, report.poses, report.skips) == ([], 1, 1)
    assert predicted.synced.trained.store.skipped() == {second}
    assert predicted.pose(first)


def test_a_box_drawn_instead_of_a_deleted_one_gets_its_keypoints(predicted: Pairs, desk: Desk):
    task = delete_second_box(predicted, desk)
    desk.press(predicted.key("object"))
    desk.drag((50.5, 0.5), (99.5, 99.5))
    desk.submit()
    report = predicted.synced.pull()
    assert (report.problems, report.poses, report.skips) == ([], 2, 1)
    assert report.new_instances == 1
    assert report.origins == {"untouched": len(keypoints(task))}


def test_a_newer_round_is_on_the_screen_without_being_chosen(predicted: Pairs, desk: Desk):
    desk.begin(predicted.push())
    old = predicted.tasks()
    desk.regions(old[0])
    desk.submit()
    predicted.finish_round(1)
    desk.begin(predicted.push())
    finished, new, _ = predicted.tasks()
    assert finished["predictions"][0]["model_version"] == "round-000"
    assert new["predictions"][-1]["model_version"] == "round-001"
    on_screen = desk.regions(new)
    before = {dot["id"]: place(dot) for dot in keypoints(old[1])}
    for dot in keypoints(new):
        assert on_screen[dot["id"]] == place(dot) != before[dot["id"]]


def test_a_task_of_one_object_shows_its_crop_and_returns_places_in_the_whole_image(
    predicted: Pairs, desk: Desk
):
    desk.begin(predicted.push(per_instance=True))
    task = predicted.tasks()[0]
    assert task["data"]["image"].startswith("data:image/jpeg;base64,")
    x, y, *size_wh = task["data"]["labelkit"]["crop"]
    dots = keypoints(task)
    assert {dot["id"]: place(dot) for dot in dots}.items() <= desk.regions(task).items()
    dragged = dots[0]
    desk.wait_for_colour(COLOURS[name_of(dragged)], place(dragged))
    to = (place(dragged)[0] + 2.0, place(dragged)[1] - 3.0)
    desk.drag(place(dragged), to)
    desk.submit()
    report = predicted.synced.pull()
    assert (report.problems, report.poses) == ([], 1)
    assert report.origins == {"untouched": len(dots) - 1, "changed": 1}
    for dot in dots:
        wanted, slack = (to, 2.0) if dot is dragged else (place(dot), 1e-9)
        found = predicted.pose(dot["id"].partition(".")[0]).xy[SKELETON.index(name_of(dot))]
        assert np.abs(found - (x, y) - np.array(wanted) * size_wh / 100).max() < slack


def test_a_task_that_is_open_in_a_browser_can_be_submitted_after_a_newer_push(
    predicted: Pairs, desk: Desk
):
    desk.begin(predicted.push())
    task = predicted.tasks()[0]
    dots = keypoints(task)
    desk.regions(task)
    predicted.finish_round(1)
    predicted.push()
    dragged = dots[0]
    desk.wait_for_colour(COLOURS[name_of(dragged)], place(dragged))
    desk.drag(place(dragged), (place(dragged)[0] + 3.0, place(dragged)[1] - 5.0))
    desk.submit()
    report = predicted.synced.pull()
    assert (report.problems, report.poses) == ([], 2)
    assert report.origins == {"untouched": len(dots) - 1, "changed": 1}
    entries = predicted.synced.trained.store.history([dragged["parentID"]])
    assert {item.entry.shown["model_version"] for item in entries} == {"round-000"}


# Ticking visible keypoints


def test_boxes_are_ticked_with_keys_and_mouse_and_none_may_be_left_out(pairs: Pairs, desk: Desk):
    desk.begin(pairs.push())
    task = pairs.tasks()[0]
    desk.regions(task)
    first, second = task["predictions"][0]["result"]
    present = {
        box["id"]: [SKELETON.keypoints[k] for k in np.flatnonzero(pairs.truth[box["id"]].present)]
        for box in (first, second)
    }
    assert not desk.page.locator('input[name="neck"]').is_visible()
    desk.click(middle(first))
    for name in present[first["id"]]:
        desk.press(pairs.key(name))
    desk.page.get_by_test_id("bottombar-submit-button").click()
    desk.page.get_by_text("Answer for every box").wait_for()
    desk.page.get_by_role("button", name="OK").click()
    desk.page.get_by_text("Answer for every box").wait_for(state="detached")
    # The box that was left out is selected now.
    for name in present[second["id"]]:
        desk.page.locator(f'input[name="{name}"]').check()
    desk.submit()
    report = pairs.synced.pull()
    assert (report.problems, report.answers) == ([], 2)
    answers = pairs.synced.trained.store.presences(SKELETON)
    assert {id_: answer.tolist() for id_, answer in answers.items()} == {
        id_: pairs.truth[id_].present.tolist() for id_ in present
    }


def middle(box: Region) -> tuple[float, float]:
    value = box["value"]
    return value["x"] + value["width"] / 2, value["y"] + value["height"] / 2
