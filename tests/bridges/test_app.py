"""The FiftyOne App itself: labelkit's operators, and what a browser shows."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from command_line import labelkit
from mongo import chromium, start_mongod
from trained import Trained

from labelkit.bridges.fiftyone_dataset import quiet_fiftyone
from labelkit.bridges.map_server import MapServer, free_port
from labelkit.errors import UsageError
from labelkit.rounds import COMPLETE, rounds
from labelkit.workflows.progress import Silent
from labelkit.workflows.queue import queue
from labelkit.workflows.queueing import read_choices, read_queue
from labelkit.workflows.review import review
from labelkit.workflows.review_app import App, install_plugin, open_app

PLUGIN = "@labelkit/labelkit"
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def reviewed(trained: Trained) -> Iterator[Trained]:
    start_mongod()
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


def test_the_plugin_is_found_and_stays_beside_those_of_the_user(reviewed: Trained, tmp_path: Path):
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


def test_what_is_selected_goes_to_the_front_or_out_of_the_queue(reviewed: Trained):
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


def test_a_dataset_of_somebody_else_is_left_alone(reviewed: Trained):
    fo = quiet_fiftyone()
    dataset = fo.Dataset("of somebody else")
    with pytest.raises(Exception, match="not of a labelkit project"):
        operate("push", dataset)


@pytest.fixture
def app(reviewed: Trained) -> Iterator[tuple[App, Trained]]:
    chromium()
    report = review(reviewed.project, reviewed.store, Silent(), serve=True)
    with open_app(reviewed.project, report, free_port()) as running:
        yield running, reviewed


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(
    os.environ.get("LABELKIT_TEST_APP") != "1",
    reason="drives the App in a browser, not reliable yet; set LABELKIT_TEST_APP=1",
)
# FiftyOne waits for its server with a method that psutil has renamed.
@pytest.mark.filterwarnings("ignore:connections.. is deprecated:DeprecationWarning")
def test_a_browser_shows_grid_maps_and_views_and_runs_an_operator(
    app: tuple[App, Trained], tmp_path: Path
):
    sync_playwright = importlib.import_module("playwright.sync_api").sync_playwright
    running, trained = app
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            tmp_path / "chromium",
            executable_path=chromium(),
            args=CHROMIUM_OPTIONS,
            headless=True,
            viewport={"width": 1400, "height": 850},
        )
        browser.set_default_timeout(90_000)
        page = browser.new_page()
        maps: list[tuple[int, str]] = []
        page.on(
            "response",
            lambda r: maps.append((r.status, r.url)) if "/maps/000/" in r.url else None,
        )

        def visit(query: str) -> None:
            page.goto(f"{running.url}{query}")
            page.wait_for_selector("[data-cy=looker]")
            page.wait_for_timeout(1500)
            if page.get_by_text("Dismiss", exact=True).count():
                page.get_by_text("Dismiss", exact=True).first.click()

        visit("")
        assert page.get_by_text("24 samples").count() == 1
        visit("?view=queued")
        queued = [item.instance_id for item in read_queue(trained.project)]
        assert page.get_by_text(f"{len(queued)} samples").count() == 1

        page.locator("[data-cy=looker]").first.hover()
        page.locator("[data-cy=looker]").first.click(position={"x": 12, "y": 12})
        page.wait_for_timeout(1000)
        says = page.get_by_text("1 instances leave the queue")
        page.keyboard.press("`")
        page.locator("input[placeholder*='earch']").last.fill("labelkit")
        page.get_by_text("labelkit: Exclude").last.click()
        says.wait_for()
        page.wait_for_timeout(2000)  # the form is asked for once more before it takes a click
        execute = page.get_by_role("button", name="Execute")
        for _ in range(20):  # a click while the form is asked for once more is lost
            if execute.count() and execute.first.is_enabled():
                execute.first.click(timeout=5000, no_wait_after=True)
            page.wait_for_timeout(3000)
            if read_choices(trained.project).excluded:
                break
        (excluded,) = read_choices(trained.project).excluded
        left = [item.instance_id for item in read_queue(trained.project)]
        assert left == [id_ for id_ in queued if id_ != excluded]

        sample = running.dataset.first().id
        visit(f"?id={sample}")
        modal = page.locator("[data-cy=modal]")
        modal.locator('canvas[canvas-loaded="true"]').first.wait_for()
        modal.locator('[data-cy="sidebar-group-RESPONSE MAPS"]').click()
        for name in ("map_left_knee", "map_head_top"):
            modal.locator(f'[data-cy="checkbox-{name}"]').click()
            page.wait_for_timeout(1500)
        skeleton = trained.project.skeleton
        asked = {(status, url.split("/")[-2]) for status, url in maps}
        wanted = {str(skeleton.index(name)) for name in ("left_knee", "head_top")}
        assert asked == {(200, index) for index in wanted}
        browser.close()


def test_what_is_selected_in_the_app_is_kept_for_the_queue(reviewed: Trained):
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
        MapServer(lambda number: pytest.fail("not asked"), 0) as taken,
        pytest.raises(UsageError, match=f"Port {taken.port} is taken") as caught,
        open_app(reviewed.project, report, taken.port),
    ):
        pytest.fail("it opened")
    assert "labelkit review --port" in caught.value.next_step
