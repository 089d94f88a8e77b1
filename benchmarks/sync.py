"""Syncing with a real Label Studio: compared with a bare bulk import, and with few or no changes.

Tasks of one object with 14 keypoints. The bare import sends the same tasks, ready in memory,
through the SDK; both go to the same server, in turns. Commands run in processes of their own, so
that their start-up and memory count. Seconds of CPU are those of command and server together.

    python benchmarks/sync.py [--tasks 10000] [--turns 2]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from clock import HEADER, Clock
from machine import machine

from labelkit.bridges.label_studio.api import StudioApi
from labelkit.bridges.label_studio.environment import find_or_install
from labelkit.bridges.label_studio.server import StudioServer, read_log_in, running_server
from labelkit.bridges.ports import free_port
from labelkit.domain.instance import Box, Image
from labelkit.domain.pose import Pose
from labelkit.domain.prediction import Prediction
from labelkit.domain.selection import QueueItem
from labelkit.domain.skeleton import load_skeleton
from labelkit.metrics.table import markdown
from labelkit.project.predictions import write_predictions
from labelkit.project.project import Project, create_project
from labelkit.project.rounds import RoundPlan, begin_round, finish_round
from labelkit.store.journal import VISIBILITY, Entry, visibility_content
from labelkit.store.label_store import NewInstance
from labelkit.store.ownership import open_store
from labelkit.store.task_ledger import TaskLedger
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.queue_file import write_queue
from labelkit.workflows.sync.questions import next_questions

SIDE, CHANGED, SMALL = 200, 5, 1000
#: Address of the made-up pictures, which are never opened.
BASE = "http://127.0.0.1:9/frames"
#: Tasks per request of the bare import, and its row.
BARE_CHUNK = 1000
BARE = f"bare import, {BARE_CHUNK:,} tasks a request"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ |= {f"XDG_{kind}_HOME": str(folder / kind) for kind in ("CONFIG", "DATA")}
        executable = find_or_install(None, print)
        (folder / "frames").mkdir()
        with running_server(
            executable,
            folder / "studio",
            read_log_in(),
            host="127.0.0.1",
            port=free_port(),
            on_line=lambda line: None,
        ) as server:
            print(machine(), "\n")
            print(measure(folder, server, options.tasks, options.turns))


def measure(folder: Path, server: StudioServer, count: int, turns: int) -> str:
    """The table."""
    os.environ |= {
        "LABEL_STUDIO_URL": server.url,
        "LABEL_STUDIO_API_KEY": server.log_in.api_key,
    }
    small = make_project(folder / "small", folder / "frames", min(SMALL, count))
    # Tasks of whole images, because the images are not there.
    small_rss = command(small, "push", "--per-image", "--image-url", BASE)
    project = make_project(folder / "large", folder / "frames", count)
    clock = Clock()
    bare_import(project, server, clock)
    with clock.timed("labelkit push"):
        rss = command(project, "push", "--per-image", "--image-url", BASE)
    for what in ("push", "pull"):
        with clock.timed(f"labelkit {what}, nothing new"):
            command(project, what)
    label(project, server, CHANGED)
    with clock.timed(f"labelkit pull, {CHANGED} tasks labelled"):
        command(project, "pull")
    with clock.timed("labelkit pull --help"):
        command(project, "pull", "--help")
    for turn in range(1, turns + 1):
        add_round(project, turn)
        with clock.timed("labelkit push, newer predictions for all"):
            renewed_rss = command(project, "push")
        bare_import(project, server, clock)
    memory = (
        f"Peak memory of push: {small_rss:,.0f} MB for {min(SMALL, count):,} tasks, "
        f"{rss:,.0f} MB for {count:,}, {renewed_rss:,.0f} MB with newer predictions."
    )
    return f"{markdown(((f'{count:,} tasks', *HEADER), *clock.rows(BARE)))}\n\n{memory}"


def make_project(root: Path, frames: Path, count: int) -> Project:
    """A project with a round and everything queued; its pictures do not exist."""
    project = create_project(root, frames, load_skeleton("lsp14"))
    images = [
        Image(f"{n:05d}.jpg", sha256(b"%d" % n).hexdigest(), SIDE, SIDE) for n in range(count)
    ]
    k = len(project.skeleton)
    with open_store(project) as store:
        store.add_images(images)
        box = Box(10.0, 10.0, 180.0, 180.0)
        instances = store.add_instances(NewInstance(i, box, "given", 180.0**2) for i in images)
        answer = visibility_content(project.skeleton, [True] * k)
        store.record(Entry(i.id, VISIBILITY, answer, "file:seen.csv", i.id, "1") for i in instances)
    add_round(project, 0)
    write_queue(project, (QueueItem(item.id, "unsure", False) for item in instances))
    return project


def add_round(project: Project, number: int) -> None:
    """A round with random keypoints."""
    random, k = np.random.default_rng(number), len(project.skeleton)
    with open_store(project) as store:
        instances = list(store.instances())
        plan = RoundPlan(number, "location-free", (), 0.0, store.head(), {}, 0)
    path = begin_round(project, plan)
    write_predictions(
        path / "predictions.parquet",
        (
            Prediction(
                id_,
                Pose(random.uniform(0, SIDE, (k, 2)), np.full(k, 2), random.uniform(0, 1, k)),
                np.ones(k),
                0.5,
            )
            for id_ in instances
        ),
        project.skeleton,
    )
    finish_round(path, {})


def bare_import(project: Project, server: StudioServer, clock: Clock) -> None:
    """Import the same tasks through the SDK alone."""
    from label_studio_sdk import LabelStudio

    with open_store(project) as store:
        asked = replace(next_questions(project, read_snapshot(project, store)), per_instance=False)
    tasks: list[Any] = [
        asked.task(ids, (), asked.url(ids[0], BASE)) for ids in asked.groups(asked.ids)
    ]
    client = LabelStudio(base_url=server.url, api_key=server.log_in.api_key)
    target = client.projects.create(title="bare import", label_config=asked.interface)
    with clock.timed(BARE):
        for start in range(0, len(tasks), BARE_CHUNK):
            client.projects.import_tasks(target.id, request=tasks[start : start + BARE_CHUNK])


def label(project: Project, server: StudioServer, count: int) -> None:
    """Accept a few pre-annotations, as an annotator would."""
    with (
        open_store(project) as store,
        StudioApi(server.url, server.log_in.api_key) as api,
    ):
        target = TaskLedger(store.database, server.url).project("correction")
        assert target is not None
        facts = list(api.task_facts(target.project_id, "id"))
    headers = {"Authorization": f"Token {server.log_in.api_key}"}
    for fact in facts[:: len(facts) // count][:count]:
        task = httpx.get(f"{server.url}/api/tasks/{fact['id']}/", headers=headers).json()
        (prediction,) = task["predictions"]
        annotation = {"result": prediction["result"], "parent_prediction": prediction["id"]}
        where = f"{server.url}/api/tasks/{fact['id']}/annotations/"
        httpx.post(where, headers=headers, json=annotation).raise_for_status()


def command(project: Project, *arguments: str) -> float:
    """Peak memory (MB) of a command in a process of its own."""
    place = [] if "--help" in arguments else ["--project", str(project.root)]
    script = (
        "import re, sys\n"
        "from labelkit.cli.app import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "finally:\n"
        "    peak = re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())\n"
        "    print(peak[1], file=sys.stderr)"
    )
    # Compiled modules are kept, as in an ordinary installation.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments, *place], capture_output=True, text=True, env=kept
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return int(done.stderr.splitlines()[-1]) / 1024


if __name__ == "__main__":
    main()
