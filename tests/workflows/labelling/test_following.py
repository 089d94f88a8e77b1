"""Fix one, the rest follows: on the page, in the journal, and remembered when switched off."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import stick_skeleton
from labelling import (
    MAP_SIZE,
    PLACES,
    Bench,
    Page,
    chromium_page,
    labelling,
    make_bench,
    with_tree,
)
from mongo import chromium
from PIL import Image as Picture

from labelkit.domain.pose import UNKNOWN, VISIBLE, human_pose
from labelkit.project.project import open_project
from labelkit.workflows.labelling.following import Following, read_placed
from labelkit.workflows.labelling.work import Work
from labelkit.workflows.serving.requests import RequestError

SKELETON = stick_skeleton()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return with_tree(make_bench(tmp_path))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium_page(chromium()) as browser:
        yield browser


def test_a_placed_keypoint_stays_exactly_and_the_others_follow_it(bench: Bench):
    work = Work(bench.project, bench.store, "keypoints")
    placed = human_pose([(240.0, 100.0), *[(0, 0)] * 3], np.array([VISIBLE, *[UNKNOWN] * 3]))
    found = Following(work).follow(work.instances[bench.ids[0]], placed)
    assert found is not None
    assert found[0] == [240.0, 100.0]
    moved = np.array(found[1:]) - PLACES[1:]
    assert (moved[:, 0] > 10).all()  # by 40 without maps; theirs hold them back


def test_without_a_tree_nothing_follows(tmp_path: Path):
    bench = make_bench(tmp_path)
    work = Work(bench.project, bench.store, "keypoints")
    placed = human_pose(np.zeros((4, 2)), np.full(4, UNKNOWN))
    assert Following(work).follow(work.instances[bench.ids[0]], placed) is None


@pytest.mark.parametrize(
    "rows", [None, 3, [], [None] * 5, [[1, 2]] * 4, [[1, 2, 9]] * 4, ["abc"] * 4]
)
def test_a_malformed_pose_is_refused(rows: Any):
    with pytest.raises(RequestError):
        read_placed(rows, SKELETON)


@pytest.mark.server
def test_on_the_page_h_shows_the_response_map_then_the_heatmap_of_the_keypoint(
    bench: Bench, browser: Any
):
    with labelling(bench) as served:
        page = Page(browser.new_page()).open(served.url)
        maps = f"/map/{bench.ids[0]}"

        def shows(*hrefs: str) -> bool:
            shown = (
                "[...document.querySelectorAll('.map image')].map((it) => it.getAttribute('href'))"
            )
            page.wait(f"JSON.stringify({shown}) === JSON.stringify({list(hrefs)})")
            return True

        page.press("h")
        assert shows(f"{maps}/response/1")
        page.press("Tab")
        assert shows(f"{maps}/response/2")
        page.press("h")
        assert shows(f"{maps}/heatmap/2")
        page.press("h")
        assert shows()
        answer = page.page.request.get(served.url.partition("?")[0] + f"{maps[1:]}/heatmap/2")
        with Picture.open(io.BytesIO(answer.body())) as picture:
            assert (picture.format, picture.size) == ("PNG", MAP_SIZE)
        assert page.errors == []
        page.page.close()


@pytest.mark.server
def test_on_the_page_the_others_follow_can_be_put_back_and_switched_off(bench: Bench, browser: Any):
    with labelling(bench) as served:
        page = Page(browser.new_page()).open(served.url)
        page.drag(PLACES[0], (240.0, 100.0))
        page.wait("desk.object.now.followed.filter(Boolean).length === 3")
        assert page.page.locator(".trail:not([hidden])").count() == 3
        page.press("r")
        assert page.ask("desk.object.now.points[3]") == [*PLACES[3], 2]
        page.press("Control+z")
        assert page.ask("desk.object.now.followed") == [False, True, True, True]
        page.press("Enter")
        page.press("g")
        page.drag(PLACES[0], (240.0, 100.0))
        page.press("Enter")
        page.all_sent()
        page.page.wait_for_function(
            "() => fetch('/api/start').then((it) => it.json()).then((it) => !it.follow)"
        )
        assert page.errors == []
        page.page.close()
    followed, alone = bench.entries()
    names = SKELETON.keypoints
    assert [followed.shown["origins"][name] for name in names] == ["changed", *["followed"] * 3]
    assert [alone.shown["origins"][name] for name in names] == ["changed", *["untouched"] * 3]
    assert open_project(bench.project.root).options["follow"] is False
