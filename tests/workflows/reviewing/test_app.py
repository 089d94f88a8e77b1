"""The FiftyOne App itself: labelkit's operators, and what a browser shows."""

from __future__ import annotations

import importlib
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from annotator import browser
from command_line import labelkit
from mongo import chromium
from PIL import Image as Pictures
from trained import Trained

from labelkit.bridges.fiftyone.dataset import quiet_fiftyone
from labelkit.bridges.fiftyone.map_server import MapServer
from labelkit.bridges.ports import free_port
from labelkit.errors import UsageError
from labelkit.progress import Silent
from labelkit.project.rounds import COMPLETE, rounds
from labelkit.workflows.review_and_label.queue import queue
from labelkit.workflows.review_and_label.review import review
from labelkit.workflows.reviewing.app import App, install_plugin, open_app
from labelkit.workflows.rounds.queue_file import read_choices, read_queue

PLUGIN = "@labelkit/labelkit"
VIEW = "queued"


@pytest.fixture
def reviewed(trained: Trained, fiftyone_database: None) -> Iterator[Trained]:
    fo = quiet_fiftyone()
    install_plugin(Path(fo.config.plugins_dir))
    yield trained
    for name in fo.list_datasets():
        fo.delete_dataset(name)


def operate(name: str, dataset: Any, selected: list[str] | None = None, **params: Any) -> Any:
    """Run an operator on a dataset, as the App's server does."""
    operators = importlib.import_module("fiftyone.operators")
    context = {"dataset": dataset, "selected": selected or [], "params": params}
    return operators.execute_operator(f"{PLUGIN}/{name}", context).result


def built(trained: Trained) -> Any:
    report = review(trained.project, trained.store, Silent())
    return quiet_fiftyone().load_dataset(report.dataset)


def test_the_plugin_is_found_and_leaves_those_of_the_user_alone(reviewed: Trained, tmp_path: Path):
    operators = importlib.import_module("fiftyone.operators")
    names = {uri for uri in operators.list_operators() if PLUGIN in str(uri.uri)}
    assert {operator.name for operator in names} == {
        "queue_for_labelling",
        "exclude",
        "retrain",
        "push",
    }
    mine = tmp_path / "plugins" / "mine"
    mine.mkdir(parents=True)
    for _ in range(2):
        assert (install_plugin(mine.parent) / "fiftyone.yml").is_file()
    assert sorted(path.name for path in mine.parent.iterdir()) == ["labelkit", "mine"]


def test_selected_samples_go_to_the_front_of_the_queue_or_out_of_it(reviewed: Trained):
    dataset = built(reviewed)
    waiting = [item.instance_id for item in read_queue(reviewed.project)]
    by_instance = {s.boxes.detections[0].labelkit_id: s.id for s in dataset}
    fresh = next(id_ for id_ in by_instance if id_ not in waiting)
    done = operate("queue_for_labelling", dataset, [by_instance[fresh]])
    assert (done["first"], done["labelled"], done["queued"]) == (1, 0, len(waiting) + 1)
    assert read_queue(reviewed.project)[0].instance_id == fresh
    done = operate("exclude", dataset, [by_instance[waiting[0]]])
    assert (done["excluded"], done["queued"]) == (1, len(waiting))
    dataset.reload()
    assert dataset.match_tags("label-next").values("id") == [by_instance[fresh]]
    assert dataset.match_tags("exclude").values("id") == [by_instance[waiting[0]]]


def test_push_writes_the_queue(reviewed: Trained, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("LABEL_STUDIO_URL", raising=False)
    done = operate("push", built(reviewed))
    assert done["instances"] == len(read_queue(reviewed.project))
    assert all(Path(file).is_file() for file in done["files"])


@pytest.mark.slow
def test_retrain_runs_in_fiftyones_background_service(reviewed: Trained):
    operators = importlib.import_module("fiftyone.operators")
    delegated = importlib.import_module("fiftyone.operators.delegated")
    dataset = built(reviewed)
    reviewed.store.close()
    export = reviewed.corrections()
    assert labelkit("pull", "--file", export, "--project", reviewed.project.root).code == 0
    context = {"dataset": dataset, "params": {"labeled": "100%", "now": True}}
    operators.execute_operator(f"{PLUGIN}/retrain", context, request_delegation=True)
    assert len(rounds(reviewed.project)) == 1
    service = delegated.DelegatedOperationService()
    service.execute_queued_operations(log=False)
    (operation,) = service.list_operations(operator=f"{PLUGIN}/retrain")
    assert str(operation.run_state) == "completed"
    assert operation.result.result["round"] == 1
    assert [item.status for item in rounds(reviewed.project)] == [COMPLETE, COMPLETE]


def test_a_dataset_that_is_not_labelkits_is_left_alone(reviewed: Trained):
    fo = quiet_fiftyone()
    dataset = fo.Dataset("another dataset")
    with pytest.raises(Exception, match="another dataset"):
        operate("push", dataset)


@pytest.fixture
def app(reviewed: Trained) -> Iterator[tuple[App, Trained]]:
    report = review(reviewed.project, reviewed.store, Silent(), view=VIEW, serve=True)
    with open_app(reviewed.project, report, free_port()) as running:
        yield running, reviewed


# FiftyOne waits for its server with a method that psutil has renamed.
@pytest.mark.filterwarnings("ignore:connections.. is deprecated:DeprecationWarning")
def test_the_app_has_the_view_as_soon_as_it_is_open(app: tuple[App, Trained]):
    running, _ = app
    events = running.url.replace(f"/datasets/{running.dataset.name}", "/events")
    tab = {"initializer": {}, "events": [], "subscription": "a tab of a browser"}
    with httpx.stream("POST", events, json=tab, trust_env=False) as answer:
        told = next(line for line in answer.iter_lines() if line.startswith("data:"))
    assert json.loads(told.removeprefix("data:"))["state"].get("view_name") == VIEW


@pytest.fixture
def program() -> Path:
    return chromium()


def until_sent(page: Any, act: Callable[[], None], expected: Callable[[Any], bool]) -> None:
    """Act until the App sends such a request: actions while it redraws are lost."""
    too_late = importlib.import_module("playwright.sync_api").TimeoutError
    for _ in range(6):
        try:
            with page.expect_request(expected, timeout=8000) as sent:
                act()
        except too_late:
            continue
        assert sent.value.response().ok
        return
    pytest.fail("The App did not send the request.")


def asks(address: str, what: str = "") -> Callable[[Any], bool]:
    return lambda request: address in request.url and what in (request.post_data or "")


def picture(element: Any) -> np.ndarray:
    """(H, W, 3) screenshot of an element."""
    shown = Pictures.open(io.BytesIO(element.screenshot())).convert("RGB")
    return np.asarray(shown, dtype=float)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.filterwarnings("ignore:connections.. is deprecated:DeprecationWarning")
def test_a_browser_shows_grid_maps_and_views_and_runs_an_operator(
    program: Path, app: tuple[App, Trained], tmp_path: Path
):
    running, trained = app
    queued = [item.instance_id for item in read_queue(trained.project)]
    with browser(program, tmp_path / "chromium") as page:
        # Otherwise an advertisement covers the App soon after it opens.
        page.add_init_script("localStorage.setItem('fiftyone-enterprise-tooltip-seen', 'true')")
        page.goto(running.url)
        page.get_by_text(f"{len(queued)} samples", exact=True).wait_for()
        assert VIEW in page.locator("[data-cy=saved-views-selection-container]").inner_text()

        corner = {"x": 12, "y": 12}  # the tick; elsewhere a click opens the sample
        sample = page.locator("[data-cy=looker]").first
        until_sent(page, lambda: sample.click(position=corner), asks("/graphql", "setSelected"))
        page.keyboard.press("`")
        page.locator("input[placeholder*='earch']").last.fill("labelkit")
        # The App's button does nothing until it knows how to run the operator.
        with page.expect_response("**/operators/resolve-execution-options"):
            page.get_by_text("labelkit: Exclude").last.click()
        page.get_by_text("1 instances leave the queue").wait_for()
        execute = page.get_by_role("button", name="Execute").first
        until_sent(page, execute.click, asks("/operators/execute", f"{PLUGIN}/exclude"))
        (excluded,) = read_choices(trained.project).excluded
        left = [item.instance_id for item in read_queue(trained.project)]
        assert left == [id_ for id_ in queued if id_ != excluded]

        running.session.clear_view()
        page.get_by_text("24 samples", exact=True).wait_for()

        asked: set[tuple[int, str]] = set()
        page.on(
            "response",
            lambda r: asked.add((r.status, r.url.split("/")[-2])) if "/maps/000/" in r.url else 0,
        )
        page.goto(f"{running.url}?id={running.dataset.first().id}")
        modal = page.locator("[data-cy=modal]")
        canvas = modal.locator('canvas[canvas-loaded="true"]').first
        canvas.wait_for()
        modal.locator('[data-cy="sidebar-group-RESPONSE MAPS"]').click()
        for name in ("left_knee", "head_top"):
            before = picture(canvas)
            tick = modal.locator(f'[data-cy="checkbox-map_{name}"]')
            until_sent(page, tick.click, asks("/maps/000/"))
            deadline = time.monotonic() + 60
            while np.abs(picture(canvas) - before).mean() < 5:  # of 255
                assert time.monotonic() < deadline, f"the map of {name} is not drawn"
        index = trained.project.skeleton.index
        assert asked == {(200, str(index(name))) for name in ("left_knee", "head_top")}


def test_the_selection_in_the_app_is_saved_for_the_queue(reviewed: Trained):
    dataset = built(reviewed)

    label = dataset.last().boxes.detections[0].id
    session = SimpleNamespace(selected=[dataset.first().id], selected_labels=[{"label_id": label}])
    running = App(reviewed.project, dataset, session, "")
    kept = running.keep(running.selection())
    ends = [s.boxes.detections[0].labelkit_id for s in (dataset.first(), dataset.last())]
    assert sorted(kept) == sorted(ends)
    queue(reviewed.project, reviewed.store, from_review=True)
    assert sorted(read_choices(reviewed.project).first) == sorted(ends)


def test_a_taken_port_is_named_with_a_free_one(reviewed: Trained):
    report = review(reviewed.project, reviewed.store, Silent())
    with (
        MapServer(lambda number: pytest.fail("no map was requested"), 0) as taken,
        pytest.raises(UsageError, match=str(taken.port)) as caught,
        open_app(reviewed.project, report, taken.port),
    ):
        pytest.fail("it opened")
    assert "labelkit review --port" in caught.value.next_step
