"""A push, pull or server killed at any moment loses no label and doubles no task.

Commands die by SIGKILL as in `test_kill`; the server is the real one.
"""

from __future__ import annotations

import copy
import json
import os
import random
import re
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from label_studio import point_home_at
from live_studio import (
    DATABASE,
    ELSEWHERE,
    Live,
    Synced,
    copied_database,
    rename,
    studio_command,
)
from trained import Trained, copy_trained
from warm import KILLED, Warm

from labelkit.bridges.label_studio.api import StudioApi
from labelkit.bridges.ports import free_port
from labelkit.domain.instance import Box
from labelkit.domain.selection import QueueItem
from labelkit.store.journal import KEYPOINTS
from labelkit.store.label_store import NewInstance
from labelkit.workflows.rounds.queue_file import write_queue
from labelkit.workflows.sync.push_server import CHUNK

pytestmark = pytest.mark.slow

#: How often each command is killed, and the seed of the moments.
KILLS, SEED = 30, 20261121
#: Objects in each of the 24 pictures: several requests a push, several pages a pull.
OBJECTS = 22
#: What commands import when they sync.
ALSO = (
    "httpx",
    "label_studio_sdk.core.client_wrapper",
    "label_studio_sdk.label_interface",
    "labelkit.workflows.sync.pull_server",
    "labelkit.workflows.sync.push_server",
)


@pytest.fixture(scope="module")
def crowded(trained_once: Trained, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Hundreds of instances to correct; not to be changed."""
    trained = copy_trained(trained_once, tmp_path_factory.mktemp("crowded"))
    trained.store.add_instances(
        NewInstance(image, Box(number, number, 9.0, 9.0), "given", 81.0)
        for image in trained.store.images()
        for number in range(1, OBJECTS)
    )
    ids = list(trained.store.instances())
    assert len(ids) > CHUNK
    write_queue(trained.project, [QueueItem(id_, "unsure", False) for id_ in ids])
    trained.store.close()
    return trained


class Site(NamedTuple):
    """A running server, and what starts the commands that use it."""

    live: Live
    warm: Warm
    other: Warm


@pytest.fixture(scope="module")
def site(live_once: Live, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folders = [tmp_path_factory.mktemp("warm") for _ in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        point_home_at(live_once.folder / "home", patch)
        patch.setenv("LABEL_STUDIO_URL", live_once.url)
        patch.setenv("LABEL_STUDIO_API_KEY", live_once.log_in.api_key)
        one, other = (Warm(folder, ALSO) for folder in folders)
        yield Site(live_once, one, other)
        one.close()
        other.close()


class Copies:
    """Copies of projects, in folders of their own."""

    def __init__(self, folder: Path, live: Live) -> None:
        self._folder, self._live = folder, live
        self._made: list[Synced] = []

    def of(self, trained: Trained, live: Live | None = None) -> Synced:
        """A copy that servers take for the same project."""
        live = live or self._live
        copied = copy_trained(trained, self._folder / str(len(self._made)))
        self._made.append(Synced(copied, live, StudioApi(live.url, live.log_in.api_key)))
        return self._made[-1]

    def renamed(self, trained: Trained, live: Live | None = None) -> Synced:
        """A copy that is another project, unknown to servers."""
        synced = self.of(trained, live)
        rename(synced.trained)
        return synced

    def close(self) -> None:
        for synced in self._made:
            synced.api.__exit__()
            synced.trained.store.close()


@pytest.fixture(scope="module")
def copies(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copies]:
    made = Copies(tmp_path_factory.mktemp("copies"), site.live)
    yield made
    made.close()


def push(synced: Synced) -> list[str | Path]:
    command: list[str | Path] = ["push", "--per-instance", "--image-url", ELSEWHERE]
    return [*command, "--project", synced.trained.project.root]


def pull(synced: Synced) -> list[str | Path]:
    return ["pull", "--project", synced.trained.project.root]


def check_server(synced: Synced, when: str) -> None:
    """Every instance is in one task, every task has one prediction, and there is one project."""
    query = {
        "project": synced.project_id,
        "include": "id,data,total_predictions",
        "page_size": 10_000,
    }
    tasks = synced.live.get("/api/tasks/", params={**query, "fields": "task_only"}).json()["tasks"]
    asked = Counter(id_ for task in tasks for id_ in task["data"]["labelkit"]["instances"])
    assert asked == dict.fromkeys(synced.trained.store.instances(), 1), when
    shown = Counter(task["total_predictions"] for task in tasks)
    assert shown == {1: len(tasks)}, when
    assert synced.api.projects_marked(synced.sent.uid) == [synced.project_id], when
    assert synced.sent.tasks("correction/one").keys() == {task["id"] for task in tasks}, when


def check_labels(synced: Synced, when: str) -> None:
    """Every instance has exactly one label."""
    store = synced.trained.store
    placed = Counter(r.entry.instance_id for r in store.entries() if r.entry.kind == KEYPOINTS)
    assert placed == dict.fromkeys(store.instances(), 1), when


def journal(synced: Synced) -> list[tuple[Any, ...]]:
    """Every row of the journal in the database file, which must be intact."""
    with closing(sqlite3.connect(synced.trained.project.root / "labels.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute("SELECT * FROM journal ORDER BY seq").fetchall()


def kill_repeatedly(
    site: Site,
    new: Callable[[], Synced],
    command: Callable[[Synced], list[str | Path]],
    check: Callable[[Synced, str], None],
) -> None:
    """Kill a command repeatedly in one project; once it finishes, in a new one.

    The moments cover the time that the undisturbed command takes: one in each thirtieth of it.
    """
    undisturbed = new()
    ended = site.warm.run(command(undisturbed))
    assert ended.code == 0, ended.text
    check(undisturbed, "undisturbed")
    chance = random.Random(f"{SEED} {command.__name__}")
    parts: list[int] = []
    killed, synced = 0, new()
    kept = journal(synced)
    for attempt in range(1, 4 * KILLS):
        parts = parts or chance.sample(range(KILLS), KILLS)
        moment = (parts.pop() + chance.random()) / KILLS * ended.seconds
        running = site.warm.start(command(synced))
        time.sleep(moment)
        running.kill()
        stopped = running.wait()
        when = f"seed {SEED}, attempt {attempt}, killed after {moment:.3f} s: {stopped.text}"
        rows = journal(synced)
        assert rows[: len(kept)] == kept, when
        kept = rows
        killed += stopped.code == KILLED
        if killed == KILLS:
            break
        if stopped.code != KILLED:  # it was faster
            assert stopped.code == 0, when
            check(synced, when)
            synced = new()
            kept = journal(synced)
    assert killed == KILLS, f"seed {SEED}"
    finished = site.warm.run(command(synced))
    assert finished.code == 0, f"seed {SEED}: {finished.text}"
    assert journal(synced)[: len(kept)] == kept, f"seed {SEED}"
    check(synced, f"seed {SEED}: {finished.text}")


def test_a_push_killed_at_30_random_moments_sends_every_instance_once(site, copies, crowded):
    kill_repeatedly(site, lambda: copies.renamed(crowded), push, check_server)


@pytest.fixture(scope="module")
def labelled(site: Site, copies: Copies, crowded: Trained) -> Synced:
    """Every instance has one corrected keypoint on the server; nothing is pulled yet."""
    synced = copies.renamed(crowded)
    ended = site.warm.run(push(synced))
    assert ended.code == 0, ended.text
    tasks = synced.tasks()
    shape = next(
        region
        for task in tasks
        for region in task["predictions"][0]["result"]
        if region["type"] == "keypointlabels"
    )
    done = []
    for task in tasks:
        ours = task["data"]["labelkit"]
        dot = copy.deepcopy(shape) | {"id": f"{ours['instances'][0]}-dot"}
        dot |= {f"original_{side}": ours[side] for side in ("width", "height")}
        dot["value"] |= {"x": 50.0, "y": 50.0}
        predictions = [{key: task["predictions"][0][key] for key in ("model_version", "result")}]
        annotations = [{"result": [dot], "lead_time": 2.0}]
        done.append({"data": task["data"], "predictions": predictions, "annotations": annotations})
    for start in range(0, len(tasks), CHUNK):  # as if they had been submitted one by one
        synced.api.delete_untouched(
            synced.project_id, [task["id"] for task in tasks[start : start + CHUNK]]
        )
        synced.api.import_tasks(synced.project_id, done[start : start + CHUNK])
    ended = site.warm.run(push(synced))
    assert ended.code == 0, ended.text
    synced.trained.store.close()
    return synced


def test_a_pull_killed_at_30_random_moments_brings_every_label_once(site, copies, labelled):
    kill_repeatedly(site, lambda: copies.of(labelled.trained), pull, check_labels)


@pytest.mark.parametrize("command", [push, pull])
def test_of_two_at_the_same_time_one_finishes_and_the_other_is_refused_or_finishes_too(
    site, copies, crowded, labelled, command
):
    if command is push:
        synced, check = copies.renamed(crowded), check_server
    else:
        synced, check = copies.of(labelled.trained), check_labels
    running = [warm.start(command(synced)) for warm in (site.warm, site.other)]
    ended = [one.wait() for one in running]
    codes = sorted(one.code for one in ended)
    assert codes in ([0, 0], [0, 1]), ended
    for one in ended:
        assert one.code == 0 or "Another labelkit command is at work" in one.text, one.text
    check(synced, str(ended))


# The server dies


def wait_until(data: Path, query: str, number: int) -> None:
    """Wait until the server's database answers a query with more than a number."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with closing(sqlite3.connect(f"file:{data / DATABASE}?mode=ro", uri=True)) as connection:
            if connection.execute(query).fetchone()[0] > number:
                return
        time.sleep(0.01)
    pytest.fail(f"{query} is still {number}")


def test_a_server_killed_during_a_push_costs_an_error_and_a_second_push(
    site, copies, crowded, tmp_path
):
    data, port = copied_database(site.live, tmp_path / "data"), free_port()
    served, mortal = copies.of(crowded).trained.project.root, replace(site.live, port=port)
    there = {"LABEL_STUDIO_URL": mortal.url}
    interrupted = None
    # Killed when the project is made, while the first tasks are imported, when they are there.
    for query, later in (
        ("SELECT coalesce(max(id), 0) FROM project", 0.0),
        ("SELECT coalesce(max(id), 0) FROM project", 0.5),
        ("SELECT coalesce(max(id), 0) FROM task", 0.0),
        (None, 0.0),
    ):
        with studio_command(site.live.python, served, tmp_path, port, "--data", data) as (
            studio,
            _,
        ):
            if interrupted is not None:
                ended = site.warm.run(push(interrupted), environment=there)
                assert ended.code == 0, ended.text
                check_server(interrupted, ended.text)
            if query is None:
                break
            with closing(sqlite3.connect(data / DATABASE)) as connection:
                (number,) = connection.execute(query).fetchone()
            interrupted = copies.renamed(crowded, mortal)
            running = site.warm.start(push(interrupted), environment=there)
            wait_until(data, query, number)
            time.sleep(later)
            os.killpg(json.loads((data / "running.json").read_text("utf-8"))["pid"], signal.SIGKILL)
            stopped = running.wait()
            assert stopped.code == 1, stopped.text
            problem = stopped.text.partition("error: ")[2]
            assert len(re.findall(r"http://127.0.0.1:\d+", problem)) == 1, stopped.text
            assert "same command again" in stopped.text
            assert "Traceback" not in stopped.text
            assert studio.wait(60) == 1
            assert "signal 9" in (tmp_path / "err").read_text()
