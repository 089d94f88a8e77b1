"""Syncing with a real Label Studio: compared with a bare bulk import, and with few or no changes.

Tasks of one object with 14 keypoints. The bare import sends the same tasks, ready in memory,
through the SDK; both go to the same server, one after the other. Commands run in processes of their
own, so that their start-up and memory count.

    python benchmarks/sync.py [--tasks 10000]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import numpy as np
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
from labelkit.store.label_store import LabelStore, NewInstance
from labelkit.store.task_ledger import TaskLedger
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.queue_file import write_queue
from labelkit.workflows.sync.questions import next_questions

SIDE, CHANGED, SMALL = 200, 5, 1000
#: Address of the made-up pictures, which are never opened.
BASE = "http://127.0.0.1:9/frames"
#: Tasks per request of the bare import.
BARE_CHUNK = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=10_000)
    count = parser.parse_args().tasks
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
            print(measure(folder, server, count))


def measure(folder: Path, server: StudioServer, count: int) -> str:
    """The table."""
    os.environ |= {
        "LABEL_STUDIO_URL": server.url,
        "LABEL_STUDIO_API_KEY": server.log_in.api_key,
    }
    small = make_project(folder / "small", folder / "frames", min(SMALL, count))
    # Tasks of whole images, because the images are not there.
    _, small_rss = command(small, "push", "--per-image", "--image-url", BASE)
    project = make_project(folder / "large", folder / "frames", count)
    bare = bare_import(project, server)
    pushed, rss = command(project, "push", "--per-image", "--image-url", BASE)
    again, _ = command(project, "push")
    nothing, _ = command(project, "pull")
    label(project, server, CHANGED)
    changed, _ = command(project, "pull")
    start, _ = command(project, "pull", "--help")
    add_round(project, 1)
    renewed, _ = command(project, "push")
    rows = [
        (f"bare import, {BARE_CHUNK:,} tasks a request", f"{bare:.1f}", "1.00"),
        ("labelkit push", f"{pushed:.1f}", f"{pushed / bare:.2f}"),
        ("labelkit push, nothing new", f"{again:.1f}", ""),
        ("labelkit push, newer predictions for all", f"{renewed:.1f}", f"{renewed / bare:.2f}"),
        ("labelkit pull, nothing new", f"{nothing:.2f}", ""),
        (f"labelkit pull, {CHANGED} tasks labelled", f"{changed:.2f}", ""),
        ("labelkit pull --help", f"{start:.2f}", ""),
    ]
    memory = (
        f"Peak memory of push: {small_rss:,.0f} MB for {min(SMALL, count):,} tasks, "
        f"{rss:,.0f} MB for {count:,}."
    )
    return f"{markdown(((f'{count:,} tasks', 's', 'times bare'), *rows))}\n\n{memory}"


def make_project(root: Path, frames: Path, count: int) -> Project:
    """A project with a round and everything queued; its pictures do not exist."""
    project = create_project(root, frames, load_skeleton("lsp14"))
    images = [
        Image(f"{n:05d}.jpg", sha256(b"%d" % n).hexdigest(), SIDE, SIDE) for n in range(count)
    ]
    k = len(project.skeleton)
    with LabelStore.open(project.store_url) as store:
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
    with LabelStore.open(project.store_url) as store:
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


def bare_import(project: Project, server: StudioServer) -> float:
    """Seconds to import the same tasks through the SDK alone."""
    from label_studio_sdk import LabelStudio

    with LabelStore.open(project.store_url) as store:
        asked = replace(next_questions(project, read_snapshot(project, store)), per_instance=False)
    tasks: list[Any] = [
        asked.task(ids, (), asked.url(ids[0], BASE)) for ids in asked.groups(asked.ids)
    ]
    client = LabelStudio(base_url=server.url, api_key=server.log_in.api_key)
    target = client.projects.create(title="bare import", label_config=asked.interface)
    started = time.perf_counter()
    for start in range(0, len(tasks), BARE_CHUNK):
        client.projects.import_tasks(target.id, request=tasks[start : start + BARE_CHUNK])
    return time.perf_counter() - started


def label(project: Project, server: StudioServer, count: int) -> None:
    """Accept a few pre-annotations, as an annotator would."""
    with (
        LabelStore.open(project.store_url) as store,
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


def command(project: Project, *arguments: str) -> tuple[float, float]:
    """Seconds and peak memory (MB) of a command in a process of its own."""
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
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments, *place], capture_output=True, text=True, env=kept
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(done.stderr)
    return seconds, int(done.stderr.splitlines()[-1]) / 1024


if __name__ == "__main__":
    main()
