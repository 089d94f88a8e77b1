"""Labelling in a real Chromium, with keys or the mouse alone, and what the journal then says."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import stick_skeleton
from labelling import (
    BOX,
    PLACES,
    Bench,
    Page,
    Process,
    bench_of,
    chromium_page,
    labelling,
    make_bench,
    with_tree,
)
from mongo import chromium
from PIL import Image as Picture

from labelkit.bridges.ports import free_port
from labelkit.domain.instance import Box
from labelkit.domain.selection import QueueItem
from labelkit.domain.skeleton import make_skeleton
from labelkit.store.conflicts import find_conflicts
from labelkit.workflows.review_and_label.label import invitation
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.queue_file import write_queue
from labelkit.workflows.upkeep.skeleton import edit_skeleton

pytestmark = pytest.mark.server

#: LABELKIT_LONG=1 kills more often.
KILLS = 100 if os.environ.get("LABELKIT_LONG") else 30

NOSE, LEFT, RIGHT, TAIL = stick_skeleton().keypoints
AS_SHOWN = {
    name: [x, y, 2] for name, (x, y) in zip(stick_skeleton().keypoints, PLACES, strict=True)
}

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium_page(chromium()) as browser:
        yield browser


@pytest.fixture
def person(browser: Any) -> Iterator[Callable[[], Page]]:
    """Makes the browser of a new person; at the end none of them has seen an error."""
    with ExitStack() as stack:
        pages = []

        def make() -> Page:
            context = browser.new_context(viewport={"width": 1280, "height": 800})
            stack.callback(context.close)
            pages.append(Page(context.new_page()))
            return pages[-1]

        yield make
        assert [error for page in pages for error in page.errors] == []


@pytest.fixture
def open_page(person: Callable[[], Page]) -> Iterator[Open]:
    """Serves a bench and opens its page."""
    with ExitStack() as stack:

        def run(bench: Bench, **options: Any) -> Page:
            served = stack.enter_context(labelling(bench, **options))
            return person().open(served.url)

        yield run


def contents(bench: Bench) -> list[tuple[str, dict[str, Any]]]:
    """What the journal says, in order: which object, and what of it."""
    return [(entry.instance_id, dict(entry.content)) for entry in bench.entries()]


def near(found: list[float], xy: tuple[float, float]) -> bool:
    return bool(np.hypot(found[0] - xy[0], found[1] - xy[1]) < 0.6)


# Ticks


def test_ticks_are_given_with_keys_alone(tmp_path: Path, open_page: Open):
    bench = make_bench(tmp_path, predicted=False)
    page = open_page(bench)
    assert page.ask("document.body.dataset.mode") == "ticks"
    page.press("1", "3", "Enter")  # nose and right paw
    page.press("s", "2", "Enter")  # the same, and the left paw
    page.press("a", "1", "1", "4", "Enter")  # all without the tail
    page.all_sent()
    by_name = [[name for name, there in content.items() if there] for _, content in contents(bench)]
    assert by_name == [[NOSE, RIGHT], [NOSE, LEFT, RIGHT], [NOSE, LEFT, RIGHT]]
    assert [id_ for id_, _ in contents(bench)] == list(page.ask("desk.session.held()"))
    first = bench.entries()[0]
    assert first.kind == "visibility"
    assert {name: first.shown["effort"][name] for name in ("clicks", "drags", "keys", "undos")} == {
        "clicks": 0,
        "drags": 0,
        "keys": 3,
        "undos": 0,
    }


def test_ticks_are_given_with_the_mouse_alone_on_chips_and_marks(tmp_path: Path, open_page: Open):
    bench = make_bench(tmp_path)
    page = open_page(bench, mode="ticks")
    page.chip(3)  # the prediction had ticked it
    page.click(PLACES[1])
    page.button("next")
    page.button("none")
    page.button("next")
    page.all_sent()
    assert [content for _, content in contents(bench)] == [
        {NOSE: True, LEFT: False, RIGHT: True, TAIL: False},
        dict.fromkeys(AS_SHOWN, False),
    ]
    assert bench.entries()[0].shown["effort"]["clicks"] == 3
    assert bench.entries()[0].shown["origins"][LEFT] == "changed"


def test_a_wrong_tick_is_taken_back_on_the_object_before(tmp_path: Path, open_page: Open):
    bench = make_bench(tmp_path, predicted=False)
    page = open_page(bench)
    page.press("1", "2", "Enter", "3")
    page.press("Backspace", "Backspace", "Backspace", "Enter")  # 3, back, 2
    page.all_sent()
    ids = [id_ for id_, _ in contents(bench)]
    assert ids[0] == ids[1]
    assert contents(bench)[1][1] == {NOSE: True, LEFT: False, RIGHT: False, TAIL: False}
    assert page.ask("desk.object.now.ticks[2]") is None
    assert bench.entries()[1].shown["effort"]["undos"] == 1


def test_an_empty_answer_is_asked_about_once(tmp_path: Path, open_page: Open):
    bench = make_bench(tmp_path, predicted=False)
    page = open_page(bench)
    before = page.instance
    page.press("Enter")
    assert page.instance == before
    page.press("Enter")
    page.all_sent()
    assert [any(content.values()) for _, content in contents(bench)] == [False]


def test_once_all_is_labelled_the_page_names_what_to_type_next(tmp_path: Path, open_page: Open):
    page = open_page(make_bench(tmp_path, pictures=1))
    page.press("Enter")
    where = page.page.locator("#where", has_text="labelkit")
    where.wait_for()
    page.press("?")
    assert page.page.locator("#help").is_visible()


# Keypoints


def test_keypoints_are_corrected_with_keys_alone(tmp_path: Path, open_page: Open):
    bench = make_bench(tmp_path)
    page = open_page(bench)
    assert page.ask("desk.object.now.selected") == 1  # the least sure
    page.press("ArrowRight", "Shift+ArrowDown", " ")
    assert page.ask("desk.object.now.selected") == 2
    page.press("o", " ", "x", "Enter")
    page.all_sent()
    ((_, content),) = contents(bench)
    assert content == {
        NOSE: [200, 90, 2],
        LEFT: [151, 160, 2],
        RIGHT: [250, 150, 1],
        TAIL: [0, 0, 0],
    }
    (entry,) = bench.entries()
    assert entry.shown["origins"] == {
        NOSE: "untouched",
        LEFT: "changed",
        RIGHT: "untouched",
        TAIL: "removed",
    }
    assert (entry.annotator, entry.shown["model_version"]) == ("anna", "round-000")
    assert entry.shown["effort"]["keys"] == 7
    assert 0 < entry.lead_time_s < 60


def test_keypoints_are_corrected_with_the_mouse_alone(tmp_path: Path, open_page: Open):
    bench = make_bench(tmp_path)
    page = open_page(bench)
    page.click((120.0, 140.0))  # the least sure one goes there
    page.drag(PLACES[0], (210.0, 100.0))
    page.click(PLACES[3], button="right")
    page.button("occluded")
    page.button("next")
    page.all_sent()
    ((_, content),) = contents(bench)
    assert near(content[LEFT], (120, 140))
    assert near(content[NOSE], (210, 100))
    assert content[RIGHT] == [250, 150, 2]
    assert content[TAIL] == [200, 210, 1]
    effort = bench.entries()[0].shown["effort"]
    assert (effort["clicks"], effort["drags"], effort["keys"]) == (4, 1, 0)


def test_undo_and_redo_cross_the_boundary_of_an_object(tmp_path: Path, open_page: Open):
    bench = make_bench(tmp_path)
    page = open_page(bench)
    page.press("x", "Enter", "s")
    page.press("Control+z", "Control+z", "Control+z")  # the swap, the boundary, the absence
    assert page.instance == bench.ids[0]
    assert page.ask("desk.object.now.points[1]") == [150, 150, 2]
    page.press("Control+Shift+Z", "Control+Shift+Z")  # the absence, the boundary
    page.all_sent()
    assert page.instance == bench.ids[1]
    assert len(contents(bench)) == 1  # nothing new was answered
    page.press("Control+z", "Control+z", "Enter")
    page.all_sent()
    assert [content[LEFT] for _, content in contents(bench)] == [[0, 0, 0], [150, 150, 2]]
    assert find_conflicts(bench.store) == []


def test_letters_work_with_caps_lock_and_in_other_alphabets(tmp_path: Path, open_page: Open):
    bench = make_bench(tmp_path)
    page = open_page(bench)
    for key, code in (("X", "KeyX"), ("щ", "KeyO"), ("ы", "KeyS")):
        page.ask(f"dispatchEvent(new KeyboardEvent('keydown', {{key: '{key}', code: '{code}'}}))")
    page.press("Enter")
    page.all_sent()
    ((_, content),) = contents(bench)
    assert content == AS_SHOWN | {LEFT: [250, 150, 1], RIGHT: [0, 0, 0]}


def test_left_and_right_are_swapped(tmp_path: Path, open_page: Open):
    bench = make_bench(tmp_path)
    page = open_page(bench)
    page.press("Shift+S", "Enter")
    page.all_sent()
    ((_, content),) = contents(bench)
    assert content == AS_SHOWN | {LEFT: [250, 150, 2], RIGHT: [150, 150, 2]}


def test_in_the_control_arm_points_are_placed_one_click_each(tmp_path: Path, open_page: Open):
    bench = make_bench(tmp_path, control=[0])
    page = open_page(bench)
    page.click((200.0, 100.0))
    page.press("x")
    page.click((220.0, 150.0))
    page.press("Enter")  # asks about the tail
    page.press("Enter")
    page.all_sent()
    ((_, content),) = contents(bench)
    assert near(content[NOSE], (200, 100))
    assert near(content[RIGHT], (220, 150))
    assert (content[LEFT], content[TAIL]) == ([0, 0, 0], [0, 0, 0])
    shown = bench.entries()[0].shown
    assert (shown["arm"], shown["model_version"]) == ("control", "")
    assert shown["origins"] == {NOSE: "new", RIGHT: "new"}


def test_a_pose_that_is_mostly_wrong_is_taken_away_and_placed_click_by_click(
    tmp_path: Path, open_page: Open
):
    bench = make_bench(tmp_path)
    page = open_page(bench)
    page.press("c")
    assert page.ask("desk.object.now.points") == [None] * 4
    page.press("Control+z")
    assert page.ask("desk.object.now.points[1]") == [150, 150, 2]
    page.button("clear")
    spots = [(180.0, 100.0), (140.0, 150.0), (220.0, 150.0), (190.0, 210.0)]
    for spot in spots:  # in the skeleton's order, though the left paw is the least sure
        page.click(spot)
    page.press("Enter")
    page.all_sent()
    ((_, content),) = contents(bench)
    for name, spot in zip((NOSE, LEFT, RIGHT, TAIL), spots, strict=True):
        assert near(content[name], spot)
    assert set(bench.entries()[0].shown["origins"].values()) == {"changed"}


def test_a_new_object_is_drawn_and_a_wrong_box_is_moved_and_deleted(
    tmp_path: Path, open_page: Open
):
    bench = make_bench(tmp_path)
    page = open_page(bench)
    page.press("d")
    page.drag((110.0, 80.0), (180.0, 160.0))
    assert page.instance is None
    for xy in ((120, 90), (125, 120), (150, 120), (150, 150)):
        page.click(xy)
    page.press("Enter")
    assert page.instance == bench.ids[0]
    page.press("b")
    page.drag((300.0, 225.0), (310.0, 235.0))  # a corner
    page.drag((200.0, 180.0), (195.0, 175.0))  # the inside
    page.press("Enter")
    page.press("Delete", "Enter")
    page.all_sent()
    drawn, moved, deleted = bench.entries()
    instances = bench.store.instances()
    assert np.abs(np.array(instances[drawn.instance_id].box) - (110, 80, 70, 80)).max() < 1
    assert instances[drawn.instance_id].box_source == "human"
    assert near(list(drawn.content[NOSE]), (120, 90))
    assert np.abs(np.array(instances[moved.instance_id].box) - (95, 70, 210, 160)).max() < 1
    assert (deleted.instance_id, deleted.kind) == (bench.ids[1], "skip")
    assert len(instances) == 4


def test_the_picture_is_zoomed_and_moved_and_marks_keep_their_size(tmp_path: Path, open_page: Open):
    page = open_page(make_bench(tmp_path))
    size = "document.querySelector('.dot .ring').getAttribute('r')"
    before, ring = page.ask("desk.stage.zoom"), page.ask(size)
    page.page.mouse.move(*page.at(PLACES[0]))
    page.page.mouse.wheel(0, -500)
    page.wait(f"desk.stage.zoom > 2 * {before}")
    assert page.ask(size) == ring
    page.press("f")
    assert page.ask("desk.stage.toScreen([0, 0]).every((v) => v >= -1)")
    page.press("f")
    assert page.ask("desk.stage.zoom") == pytest.approx(before)


def test_names_with_html_in_them_are_text(tmp_path: Path, open_page: Open):
    evil = "<img src=x onerror='document.title=1'>"
    folder = tmp_path / "frames"
    folder.mkdir()
    Picture.new("RGB", (400, 300)).save(folder / "<b>a<b>.png")
    skeleton = make_skeleton("evil", [evil, "<script>1</script>"])
    bench = bench_of(
        tmp_path, skeleton, places=np.array([[150.0, 90.0], [200.0, 150.0]]), confidence=(0.5, 0.6)
    )
    page = open_page(bench, annotator="<i>anna</i>")
    assert page.page.locator("#keypoints span").all_inner_texts() == list(skeleton.keypoints)
    assert page.page.locator("#annotator").inner_text() == "<i>anna</i>"
    assert "<b>a<b>.png" in page.page.locator("#where").inner_text()
    assert page.page.locator("#panel img, #stage b, #panel i i").count() == 0
    page.press("Enter")
    page.all_sent()
    assert bench.entries()[0].annotator == "<i>anna</i>"


def test_a_drawn_object_that_is_deleted_or_undone_leaves_nothing(tmp_path: Path, open_page: Open):
    bench = make_bench(tmp_path)
    page = open_page(bench)
    page.press("d")
    page.drag((110.0, 80.0), (180.0, 160.0))
    page.press("Delete", "Enter")
    assert page.instance == bench.ids[0]
    page.press("d")
    page.drag((110.0, 80.0), (111.0, 81.0))  # too small
    page.press("d")
    page.drag((110.0, 80.0), (180.0, 160.0))
    page.press("Control+z")
    page.press("b")
    page.drag((300.0, 225.0), (310.0, 235.0))
    page.drag((310.0, 235.0), (100.0, 75.0))  # nothing would be left of it
    assert min(page.ask("desk.object.now.box")[2:]) >= 4
    page.press("Control+z", "Control+z")
    assert page.ask("desk.object.now.box") == list(BOX)
    page.press("Enter")
    page.all_sent()
    assert contents(bench) == [(bench.ids[0], AS_SHOWN)]
    assert len(bench.store.instances()) == 3


def test_with_keys_alone_a_keypoint_without_a_place_starts_in_the_middle(
    tmp_path: Path, open_page: Open
):
    bench = make_bench(tmp_path, control=[0])
    page = open_page(bench)
    page.press("Shift+ArrowLeft", "ArrowDown", " ", "x", "x", "Enter", "Enter")
    page.all_sent()
    ((_, content),) = contents(bench)
    assert content == {NOSE: [190, 151, 2], LEFT: [0, 0, 0], RIGHT: [0, 0, 0], TAIL: [0, 0, 0]}


def test_a_pinch_zooms_and_moves_no_keypoint(tmp_path: Path, browser: Any):
    bench = make_bench(tmp_path)
    with labelling(bench) as served:
        context = browser.new_context(has_touch=True, viewport={"width": 1280, "height": 800})
        page = Page(context.new_page()).open(served.url)
        fingers = context.new_cdp_session(page.page)

        def touch(kind: str, *places: tuple[float, float]) -> None:
            points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(places)]
            fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        x, y = page.at(PLACES[0])
        before = page.ask("desk.stage.zoom")
        touch("touchStart", (x, y))
        touch("touchMove", (x + 20, y))  # the first finger is on the nose
        touch("touchStart", (x + 20, y), (x + 120, y))
        touch("touchMove", (x + 20, y), (x + 220, y))
        touch("touchEnd")
        assert page.ask("desk.stage.zoom") == pytest.approx(2 * before, rel=0.01)
        assert page.ask("desk.object.now.points[0]") == [*PLACES[0], 2]
        (x, y), (to_x, to_y) = page.at(PLACES[0]), page.at((190.0, 95.0))
        touch("touchStart", (x, y))
        touch("touchMove", (to_x, to_y))
        touch("touchEnd")
        page.button("next")
        page.all_sent()
        context.close()
    ((_, content),) = contents(bench)
    assert near(content[NOSE], (190, 95))
    assert content | {NOSE: AS_SHOWN[NOSE]} == AS_SHOWN


@pytest.mark.parametrize("count", [30, 68])
def test_many_keypoints_are_all_listed_and_drawn(tmp_path: Path, open_page: Open, count: int):
    skeleton = make_skeleton("many", [f"point {k}" for k in range(count)])
    rng = np.random.default_rng(0)
    places = rng.uniform((110, 80), (290, 215), (count, 2))
    (tmp_path / "frames").mkdir()
    Picture.new("RGB", (400, 300)).save(tmp_path / "frames" / "a.png")
    bench = bench_of(tmp_path, skeleton, places=places, confidence=np.linspace(0.9, 0.1, count))
    page = open_page(bench)
    assert page.ask("desk.object.now.selected") == count - 1
    assert page.page.locator(".dot:not([hidden])").count() == count
    assert page.page.locator("#keypoints button").count() == count
    page.press(*[" "] * count, "Enter")
    page.all_sent()
    assert len(bench.entries()[0].content) == count


def test_a_tiff_and_a_photograph_of_24_megapixels_are_shown(tmp_path: Path, open_page: Open):
    folder = tmp_path / "frames"
    folder.mkdir()
    Picture.new("RGB", (400, 300), "red").save(folder / "a.tif")
    Picture.new("RGB", (6000, 4000), "green").save(folder / "b.jpg")
    bench = bench_of(tmp_path, stick_skeleton(), box=Box(*BOX))
    page = open_page(bench)
    loaded = """Promise.all([...document.querySelectorAll('#world image')].map((it) => {
        const image = new Image(); image.src = it.getAttribute('href');
        return image.decode().then(() => [image.naturalWidth, image.naturalHeight]);
    }))"""
    sizes = page.ask(loaded)
    page.press("Enter")
    page.all_sent()
    sizes += page.ask(loaded)
    assert sorted(map(tuple, sizes)) == [(400, 300), (401, 326), (2560, 1707)]


def test_the_page_is_small_names_its_controls_and_asks_no_other_machine(
    tmp_path: Path, person: Callable[[], Page]
):
    with labelling(with_tree(make_bench(tmp_path))) as served:
        page, asked = person(), dict[str, int]()
        page.page.on("response", lambda it: asked.update({it.url: len(it.body())}))
        page.open(served.url)
        page.press("h", "x", "Enter", "?")
        page.all_sent()
        page.press("Escape")
        base = served.url.partition("?")[0]
        assert all(url.startswith(base) for url in asked)
        parts = [size for url, size in asked.items() if url == base or f"{base}page/" in url]
        assert len(parts) >= 7
        assert sum(parts) < 200_000
        buttons = page.page.get_by_role("button")
        named = page.page.get_by_role("button", name=re.compile(r"\w"))
        assert buttons.count() == named.count() > 15


# A skeleton that changes


def test_an_open_page_follows_an_edit_of_the_skeleton(tmp_path: Path, open_page: Open):
    bench = make_bench(tmp_path, pictures=6)  # of which the edit queues one with pre-annotation
    page = open_page(bench)
    edit_skeleton(bench.project, bench.store, add=["navel"])
    page.press("Enter")
    page.wait("desk.info.keypoints.length === 5 && desk.object")
    page.all_sent()
    assert page.page.locator("#keypoints button").count() == 5
    page.click((200.0, 140.0))  # the keypoint without a place is selected
    page.press("Enter")
    page.all_sent()
    (_, before), (_, after) = contents(bench)
    assert before == AS_SHOWN
    assert near(after["navel"][:2], (200.0, 140.0))


# Persons, tabs, and a server that is gone


def test_two_annotators_get_different_objects_and_a_stale_answer_becomes_a_conflict(
    tmp_path: Path, person: Callable[[], Page]
):
    bench = make_bench(tmp_path, pictures=6)
    port = free_port()
    with Process(bench.project, port) as server:
        anna, bert = person().open(server.url), person()
        bert.open(invitation(bench.project, "bert", "127.0.0.1", port))
        assert anna.ask("desk.session.held()") == bench.ids[:3]
        assert bert.ask("desk.session.held()") == bench.ids[3:]
        server.kill()
        server.start()  # it has forgotten who had what
        other = person().open(invitation(bench.project, "carl", "127.0.0.1", port))
        assert other.instance == bench.ids[0]
        anna.ask("(desk.last -= 120_000)")  # she was away for two minutes
        anna.page.mouse.move(300, 300)
        anna.page.locator("#message", has_text="Another annotator").wait_for()
        other.press("x", "Enter")
        other.all_sent()
        anna.press("ArrowLeft", "Enter")
        anna.all_sent()
        assert "carl" in anna.page.locator("#message").inner_text()
    (conflict,) = find_conflicts(bench.store)
    assert (conflict.ours.annotator, conflict.theirs.annotator) == ("carl", "anna")


def test_a_second_tab_gets_other_objects(tmp_path: Path, browser: Any):
    bench = make_bench(tmp_path, pictures=6)
    with labelling(bench) as served:
        context = browser.new_context()
        one = Page(context.new_page()).open(served.url)
        two = Page(context.new_page()).open(served.url)
        assert one.ask("desk.session.held()") == bench.ids[:3]
        assert two.ask("desk.session.held()") == bench.ids[3:]
        context.close()


def test_while_the_server_is_gone_answers_are_kept_and_sent_once_it_is_back(
    tmp_path: Path, person: Callable[[], Page]
):
    bench = make_bench(tmp_path, pictures=4)
    with Process(bench.project, free_port()) as server:
        page = person().open(server.url)
        server.kill()
        page.press("Enter", "x", "Enter")
        page.page.locator("#connection:not([hidden])").wait_for()
        with pytest.raises(Exception, match="ERR_CONNECTION_REFUSED"):
            page.page.reload()  # not even the page is there: what was done is in the browser
        server.start()
        page.page.goto(server.url)
        page.all_sent()
    assert [id_ for id_, _ in contents(bench)] == bench.ids[:2]


def test_a_server_killed_between_any_two_actions_loses_and_doubles_nothing(
    tmp_path: Path, person: Callable[[], Page]
):
    bench = make_bench(tmp_path, pictures=KILLS // 2)
    dev = read_snapshot(bench.project, bench.store).dev  # comes without prediction
    ids = [id_ for id_ in bench.ids if id_ not in dev]
    write_queue(bench.project, [QueueItem(id_, "unsure", False) for id_ in ids])
    rng = np.random.default_rng(0)
    actions = [("ArrowLeft",), ("x",), ("Enter",)]
    killed = sorted(rng.choice(len(ids) * len(actions), KILLS, replace=False).tolist())
    with Process(bench.project, free_port()) as server:
        page = person().open(server.url)
        for number in range(len(ids) * len(actions)):
            id_, key = page.instance, actions[number % 3]
            if number in killed:
                server.kill()
            if number in killed[::2]:
                server.start()
            page.press(*key)
            if number in killed[1::2]:
                server.start()
            if key == ("Enter",):
                page.ask("desk.outbox.flush()")
                page.wait(f"desk.object?.item.instance !== {id_!r}")
                page.wait("desk.object || desk.leftThere === 0")
        page.all_sent()
    expected = AS_SHOWN | {LEFT: [0, 0, 0]}
    assert contents(bench) == [(id_, expected) for id_ in ids]


def test_a_second_person_places_every_keypoint_and_sees_none(tmp_path: Path, open_page: Open):
    bench = make_bench(tmp_path, 1)
    page = open_page(bench)
    page.press("Enter")
    page.all_sent()
    page = open_page(bench, annotator="bert", second=1)
    assert page.ask("desk.object.now.points") == [None] * 4
    for x, y in PLACES:
        page.click((x + 10, y))
    page.press("Enter")
    page.all_sent()
    label, second = bench.entries()
    assert (label.kind, label.annotator) == ("keypoints", "anna")
    assert (second.kind, second.annotator) == ("second", "bert")
    assert all(near(second.content[name], (x + 10, y)) for name, (x, y, _) in AS_SHOWN.items())
    xy = bench.store.poses(bench.project.skeleton)[bench.ids[0]].xy
    assert np.allclose(xy, PLACES)
