"""Photographs of people and faces, labelled in a real Chromium to the last keypoint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labelling import Bench, Page, bench_of, chromium_page, labelling, photographs
from mongo import chromium
from PIL import Image as Picture

from labelkit.domain.pose import Pose

pytestmark = pytest.mark.server

#: Pixels of the image: a click on the screen is that exact where a pixel of it is no larger.
EXACT = 0.6


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium_page(chromium()) as browser:
        yield browser


def gives(bench: Bench, truth: list[Pose], within: float) -> None:
    """Checks that the newest answer about each object is what people say of it."""
    poses = bench.store.poses(bench.project.skeleton)
    for id_, pose in zip(bench.ids, truth, strict=True):
        there = pose.present
        assert poses[id_].visibility.tolist() == pose.visibility.tolist()
        assert np.abs(poses[id_].xy[there] - pose.xy[there]).max() <= within


def test_people_are_labelled_with_the_mouse_alone(tmp_path: Path, browser: Any):
    bench, truth = photographs(tmp_path, "lspet", 3, control=[1], away=12.0)
    with labelling(bench) as served:
        page = Page(browser.new_page()).open(served.url)
        for number, pose in enumerate(truth):
            for k in range(len(pose.xy)):
                if number == 1:  # nothing is shown: in the skeleton's order
                    assert page.ask("desk.object.now.selected") == k
                else:
                    page.chip(k)
                if pose.present[k]:
                    page.click(pose.xy[k])
                else:
                    page.button("absent")
                if pose.visibility[k] == 1:
                    page.chip(k)
                    page.button("occluded")
            page.button("next")
        page.all_sent()
        assert page.errors == []
        page.page.close()
    gives(bench, truth, EXACT)
    efforts = [entry.shown["effort"] for entry in bench.entries()]
    assert all(effort["keys"] == effort["drags"] == 0 for effort in efforts)
    assert efforts[1]["clicks"] == len(truth[1].xy) + 1 + 2 * int((truth[1].visibility == 1).sum())


def test_people_are_labelled_with_keys_alone(tmp_path: Path, browser: Any):
    bench, truth = photographs(tmp_path, "lspet", 2, control=[1], away=12.0)
    with labelling(bench) as served:
        page = Page(browser.new_page()).open(served.url)
        for pose in truth:
            for k in range(len(pose.xy)):
                while page.ask("desk.object.now.selected") != k:
                    page.press("Tab")
                if not pose.present[k]:
                    page.press("x")
                    continue
                if page.ask(f"desk.object.now.points[{k}]") is None:
                    page.press("ArrowLeft")
                for axis, (less, more) in enumerate(
                    [("ArrowLeft", "ArrowRight"), ("ArrowUp", "ArrowDown")]
                ):
                    away = pose.xy[k, axis] - page.ask(f"desk.object.now.points[{k}]")[axis]
                    key = more if away > 0 else less
                    tens, ones = divmod(round(abs(away)), 10)
                    page.press(*[f"Shift+{key}"] * tens, *[key] * ones)
                if pose.visibility[k] == 1:
                    page.press("o")
            page.press("Enter")
        page.all_sent()
        assert page.errors == []
        page.page.close()
    gives(bench, truth, EXACT)
    efforts = [entry.shown["effort"] for entry in bench.entries()]
    assert all(effort["clicks"] == effort["drags"] == 0 for effort in efforts)


@pytest.mark.parametrize("by", ["keys", "mouse"])
def test_people_are_ticked_with_keys_or_the_mouse_alone(tmp_path: Path, browser: Any, by: str):
    bench, truth = photographs(tmp_path, "lspet", 3)
    with labelling(bench, mode="ticks") as served:
        page = Page(browser.new_page()).open(served.url)
        for pose in truth:
            absent = np.flatnonzero(~pose.present).tolist()
            if by == "keys":
                page.press(
                    "a", *[page.page.locator("#keypoints kbd").nth(k).inner_text() for k in absent]
                )
                page.press("Enter")
            else:
                page.button("all")
                for k in absent:
                    page.chip(k)
                page.button("next")
        page.all_sent()
        assert page.errors == []
        page.page.close()
    ticked = [list(entry.content.values()) for entry in bench.entries()]
    assert ticked == [pose.present.tolist() for pose in truth]


def test_undo_goes_back_over_people_to_the_first_keypoint(tmp_path: Path, browser: Any):
    bench, truth = photographs(tmp_path, "lspet", 3)
    with labelling(bench) as served:
        page = Page(browser.new_page()).open(served.url)
        for pose in truth:
            page.press("g")  # no keypoint follows: undo has one step a change
            page.drag(pose.xy[12], pose.xy[12] + [9.0, 0.0])
            page.press("Enter")
        page.all_sent()
        page.press(*["Control+z"] * 6)
        assert page.instance == bench.ids[0]
        page.press("Enter")
        page.press("Control+y", "Enter", "Enter")
        page.all_sent()
        page.page.close()
    poses = bench.store.poses(bench.project.skeleton)
    away = [
        poses[id_].xy[12, 0] - pose.xy[12, 0] for id_, pose in zip(bench.ids, truth, strict=True)
    ]
    assert np.round(away) == pytest.approx([0.0, 9.0, 0.0])
    assert [entry.instance_id for entry in bench.entries()] == [
        *bench.ids,
        bench.ids[0],
        bench.ids[2],
    ]


def test_the_68_keypoints_of_faces_are_placed_and_corrected(tmp_path: Path, browser: Any):
    bench, truth = photographs(tmp_path, "faces", 2, control=[0])
    with labelling(bench) as served:
        page = Page(browser.new_page()).open(served.url)
        for k, (xy, there) in enumerate(zip(truth[0].xy, truth[0].present, strict=True)):
            assert page.ask("desk.object.now.selected") == k
            if there:
                page.click(xy)
            else:
                page.press("x")
        page.press("Enter")
        page.drag(truth[1].xy[30], truth[1].xy[30] + [6.0, 0.0])
        page.press("Enter")
        page.all_sent()
        assert page.errors == []
        page.page.close()
    gives(Bench(bench.project, bench.store, bench.ids[:1]), truth[:1], EXACT)
    second = bench.entries()[1]
    assert [what for what in second.shown["origins"].values() if what == "changed"] == ["changed"]
    assert second.shown["effort"]["drags"] == 1


def test_a_tiff_and_a_photograph_of_24_megapixels_are_labelled(tmp_path: Path, browser: Any):
    people, truth = photographs(tmp_path, "lspet", 2)
    (tmp_path / "other" / "frames").mkdir(parents=True)
    boxes, places, expected = {}, {}, {}
    instances = people.store.instances()
    for (name, size), id_, pose in zip(
        [("a.tif", None), ("b.jpg", (6000, 4000))], people.ids, truth, strict=True
    ):
        image, box = instances[id_].image, np.array(instances[id_].box)
        with Picture.open(people.project.images_root / image.path) as picture:
            scale = np.array(size or picture.size) / picture.size
            picture.resize(size or picture.size).save(tmp_path / "other" / "frames" / name)
        boxes[name] = type(instances[id_].box)(*(box * [*scale, *scale]).tolist())
        places[name] = pose.xy * scale
        expected[name] = places[name][13] + [20.0, 10.0]
    bench = bench_of(
        tmp_path / "other",
        people.project.skeleton,
        box=boxes,
        places=places,
        confidence=np.linspace(0.9, 0.5, 14),
    )
    with labelling(bench) as served:
        page = Page(browser.new_page()).open(served.url)
        for id_ in bench.ids:
            name = bench.store.instances()[id_].image.path
            page.chip(13)
            page.click(expected[name])
            page.press("Enter")
        page.all_sent()
        assert page.errors == []
        page.page.close()
    for id_, entry in zip(bench.ids, bench.entries(), strict=True):
        name = bench.store.instances()[id_].image.path
        found = entry.content["head_top"][:2]
        # A pixel of the screen is some pixels of the large photograph.
        assert np.abs(found - expected[name]).max() <= (5 if name == "b.jpg" else EXACT)
