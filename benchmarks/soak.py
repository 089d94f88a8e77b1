"""Label Studio on PostgreSQL under load, killed at random: is any label lost or doubled?

Annotators submit and correct annotations over HTTP and keep a journal of what the server accepted.
Meanwhile pushers and pullers, each with a copy of the project, share a label store on the same
PostgreSQL; the queue grows and newer predictions come in. Label Studio, a process of PostgreSQL
(which then recovers from the crash) and commands are killed with SIGKILL at random moments. At the
end an undisturbed push and pull bring everything up to date, and the journal is compared with the
label store.

    python benchmarks/soak.py [--tasks 5000] [--minutes 10] [--pushers 2] [--pullers 3] [--seed 0]
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from machine import machine
from psycopg import OperationalError
from sync import BASE, SIDE, add_round, make_project

from labelkit.bridges.label_studio.api import StudioApi
from labelkit.bridges.label_studio.environment import find_or_install
from labelkit.bridges.label_studio.server import read_log_in, running_server
from labelkit.bridges.ports import free_port
from labelkit.domain.selection import QueueItem
from labelkit.errors import LabelkitError
from labelkit.metrics.table import markdown
from labelkit.project.project import Project, open_project
from labelkit.store.conflicts import find_conflicts
from labelkit.store.journal import KEYPOINTS
from labelkit.store.ownership import open_store
from labelkit.store.task_ledger import TaskLedger
from labelkit.workflows.rounds.queue_file import write_queue
from labelkit.workflows.sync.recorder import SOURCE

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
from postgres import Postgres, running_postgres

KIND = "correction"
#: Rounds in the whole time; each brings newer predictions and a further part of the queue.
ROUNDS = 4
#: Mean seconds between two kills of Label Studio, and of PostgreSQL.
STUDIO_EVERY, POSTGRES_EVERY = 100.0, 150.0
#: Share of commands that are killed, and of annotators' actions that correct an earlier one.
KILLED, CORRECTED = 0.3, 0.2
ANNOTATORS = 2
COMMAND = "from labelkit.cli.app import main; main()"


@dataclass
class Submitted:
    """What an annotator saved last in one annotation.

    Attributes:
        instance_id: of the object.
        keypoint: that was moved.
        places: where to, in pixels: the last place that the server accepted, then those of which
            no answer came, so they may count or not.
    """

    instance_id: str
    keypoint: str
    places: list[tuple[float, float]]


@dataclass
class Soak:
    """What all threads share; `lock` guards it.

    Attributes:
        url, key: of Label Studio.
        projects: one for each command that runs at the same time.
        stop: set when the time is over.
        submitted: by annotation id.
        counts: of what happened.
        problems: what must not happen.
    """

    url: str
    key: str
    projects: list[Project]
    seed: int
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    submitted: dict[str, Submitted] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def count(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--pushers", type=int, default=2)
    parser.add_argument("--pullers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="labelkit-soak-"))
    folder.chmod(0o755)  # PostgreSQL runs as a user of its own
    (folder / "postgres").mkdir()
    print(machine(), "\n", flush=True)
    try:
        with running_postgres(folder / "postgres") as postgres:
            # A commit that was acknowledged has to survive the crash of a process.
            postgres.say("ALTER ROLE labelkit SET synchronous_commit = on")
            print(soak(folder, postgres, options))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def soak(folder: Path, postgres: Postgres, options: argparse.Namespace) -> str:
    """The table."""
    os.environ |= {f"XDG_{kind}_HOME": str(folder / kind) for kind in ("CONFIG", "DATA")}
    os.environ["LABELKIT_DB"] = postgres.new_url()
    studio = {"NAME": postgres.new_url().rpartition("/")[2], "PORT": str(postgres.port)}
    studio |= {"USER": "labelkit", "PASSWORD": postgres.password, "HOST": "127.0.0.1"}
    os.environ |= {f"POSTGRE_{name}": value for name, value in studio.items()}
    os.environ["DJANGO_DB"] = "default"
    projects = make_copies(folder, options.tasks, options.pushers + options.pullers)
    random_ = random.Random(options.seed)
    executable, port, log_in = find_or_install(None, print), free_port(), read_log_in()

    start = partial(
        running_server,
        executable,
        folder / "studio",
        log_in,
        host="127.0.0.1",
        port=port,
        on_line=lambda line: None,
    )
    with ExitStack() as stack:
        server = stack.enter_context(start())
        shared = Soak(server.url, log_in.api_key, projects, options.seed)
        os.environ |= {"LABEL_STUDIO_URL": server.url, "LABEL_STUDIO_API_KEY": log_in.api_key}
        commands = ["push"] * options.pushers + ["pull"] * options.pullers
        threads = [
            threading.Thread(target=repeat, args=(shared, command, number), daemon=True)
            for number, command in enumerate(commands)
        ]
        threads += [
            threading.Thread(target=annotate, args=(shared, number), daemon=True)
            for number in range(ANNOTATORS)
        ]
        for thread in threads:
            thread.start()
        begun = time.monotonic()
        end = begun + 60 * options.minutes
        studio_at = begun + random_.expovariate(1 / STUDIO_EVERY)
        postgres_at = begun + random_.expovariate(1 / POSTGRES_EVERY)
        round_at, number = begun + (end - begun) / ROUNDS, 1
        while (now := time.monotonic()) < end:
            if now >= studio_at:
                os.killpg(server.process.pid, signal.SIGKILL)
                shared.count("Label Studio killed")
                stack.close()
                server = stack.enter_context(start())
                studio_at = time.monotonic() + random_.expovariate(1 / STUDIO_EVERY)
            if now >= postgres_at:
                if kill_a_backend(postgres, random_):
                    shared.count("PostgreSQL process killed")
                postgres_at = time.monotonic() + random_.expovariate(1 / POSTGRES_EVERY)
            if now >= round_at and number < ROUNDS:
                begin(projects, number)
                round_at, number = round_at + (end - begun) / ROUNDS, number + 1
            time.sleep(0.2)
        shared.stop.set()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - begun
        for command in ("push", "pull", "pull"):
            code, _, text = run(projects[0], command, None)
            print(text, file=sys.stderr, flush=True)
            if code:
                shared.problems.append(f"the last {command}: {text}")
        return compare(shared, options.tasks, seconds)


def make_copies(folder: Path, tasks: int, count: int) -> list[Project]:
    """A project with one store, in several folders, as on several machines."""
    (folder / "frames").mkdir()
    first = make_project(folder / "copies" / "0", folder / "frames", tasks)
    for number in range(1, count):
        shutil.copytree(first.root, first.root.with_name(str(number)))
    projects = [open_project(first.root.with_name(str(number))) for number in range(count)]
    with open_store(first) as store:
        ids = list(store.instances())
    for project in projects:
        queue(project, ids, 1)
    return projects


def begin(projects: list[Project], number: int) -> None:
    """A round with other predictions, and a longer queue, in every copy."""
    with open_store(projects[0]) as store:
        ids = list(store.instances())
    for project in projects:
        add_round(project, number)
        queue(project, ids, number + 1)


def queue(project: Project, ids: list[str], parts: int) -> None:
    chosen = ids[: len(ids) * parts // ROUNDS]
    write_queue(project, (QueueItem(id_, "unsure", False) for id_ in chosen))


def kill_a_backend(postgres: Postgres, random_: random.Random) -> bool:
    """Kill the process of one connection, and wait: PostgreSQL ends all others and recovers.

    Returns:
        whether there was a connection.
    """
    with postgres.connect() as connection:
        query = "SELECT pid FROM pg_stat_activity WHERE datname LIKE 'test%' ORDER BY pid"
        pids = [row[0] for row in connection.execute(query)]
    if not pids:
        return False
    with suppress(ProcessLookupError):  # it has ended meanwhile
        os.kill(random_.choice(pids), signal.SIGKILL)
    time.sleep(1.0)
    while True:
        with suppress(OperationalError):
            postgres.connect().close()
            return True
        time.sleep(0.2)


# Commands


def repeat(shared: Soak, command: str, number: int) -> None:
    """Push or pull again and again from one copy; some runs are killed."""
    random_ = random.Random(f"{shared.seed} {number}")
    usual = 5.0
    while not shared.stop.is_set():
        kill_after = random_.uniform(0.2, 1.0) * usual if random_.random() < KILLED else None
        code, seconds, text = run(shared.projects[number], command, kill_after)
        problem = re.search(r"error: .*", text)
        if code == 0:
            usual = seconds
            shared.count(f"{command}: finished")
        elif code == -signal.SIGKILL:
            shared.count(f"{command}: killed")
        elif problem and "Traceback" not in text:
            refused = "Another labelkit command" in text
            shared.count(f"{command}: {'refused beside another' if refused else 'stopped'}")
        else:
            shared.problems.append(f"{command} ended with {code}: {text[-3000:]}")
        shared.stop.wait(random_.uniform(0.5, 5.0))


def run(project: Project, command: str, kill_after: float | None) -> tuple[int, float, str]:
    """Exit code, seconds and output of a command, perhaps killed after so many seconds."""
    more = ["--per-image", "--image-url", BASE] if command == "push" else []
    arguments = [sys.executable, "-c", COMMAND, command, *more, "--project", str(project.root)]
    begun = time.perf_counter()
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        timer = threading.Timer(kill_after, process.kill) if kill_after is not None else None
        if timer is not None:
            timer.start()
        text, _ = process.communicate()
        if timer is not None:
            timer.cancel()
    return process.returncode, time.perf_counter() - begun, text


# Annotators


def annotate(shared: Soak, number: int) -> None:
    """Submit tasks and correct some of them, as browsers do; annotators share no task."""
    random_ = random.Random(f"{shared.seed} annotator {number}")
    mine: list[str] = []
    left: list[int] = []
    tried: set[int] = set()
    headers = {"Authorization": f"Token {shared.key}"}
    with httpx.Client(base_url=shared.url, headers=headers, timeout=60) as client:
        while not shared.stop.is_set():
            try:
                if mine and random_.random() < CORRECTED:
                    correct(shared, client, random_.choice(mine), random_)
                elif left:
                    tried.add(left[-1])
                    mine.append(submit(shared, client, left.pop(), random_))
                else:
                    known = [id_ for id_ in tasks_of(shared) if id_ % ANNOTATORS == number]
                    left = [id_ for id_ in known if id_ not in tried]
                    left = random_.sample(left, min(20, len(left)))
                    shared.stop.wait(0.0 if left else 2.0)
            except (httpx.HTTPError, LabelkitError, Down):
                shared.count("annotator: refused or no answer")
                shared.stop.wait(2.0)


class Down(Exception):
    """Label Studio answers, but its database does not."""


def answer(got: httpx.Response) -> Any:
    if got.status_code >= 500:
        raise Down
    got.raise_for_status()
    return got.json()


def tasks_of(shared: Soak) -> list[int]:
    """The tasks that are on the server as far as the ledger knows."""
    with open_store(shared.projects[0]) as store:
        return list(TaskLedger(store.database, shared.url).tasks(KIND))


def submit(shared: Soak, client: httpx.Client, task_id: int, random_: random.Random) -> str:
    """Open a task, drag a keypoint of its newest prediction and submit; the annotation's id."""
    task = answer(client.get(f"/api/tasks/{task_id}/"))
    prediction = max(task["predictions"], key=lambda item: item["id"])
    result, keypoint, place = dragged(prediction["result"], random_)
    fields = {"result": result, "lead_time": 5.0, "parent_prediction": prediction["id"]}
    id_ = str(answer(client.post(f"/api/tasks/{task_id}/annotations/", json=fields))["id"])
    (instance_id,) = task["data"]["labelkit"]["instances"]
    shared.count("annotator: submitted")
    with shared.lock:
        shared.submitted[id_] = Submitted(instance_id, keypoint, [place])
    return id_


def correct(shared: Soak, client: httpx.Client, id_: str, random_: random.Random) -> None:
    """Drag the same keypoint again and press Update."""
    known = shared.submitted[id_]
    found = answer(client.get(f"/api/annotations/{id_}/"))
    result, _, place = dragged(found["result"], random_)
    with shared.lock:
        known.places.append(place)  # it may arrive although no answer does
    answer(client.patch(f"/api/annotations/{id_}/", json={"result": result}))
    shared.count("annotator: corrected")
    with shared.lock:
        known.places = [place]


def dragged(
    result: list[dict[str, Any]], random_: random.Random
) -> tuple[list[dict[str, Any]], str, tuple[float, float]]:
    """The regions with the first keypoint elsewhere, its name, and its place in pixels."""
    region = next(item for item in result if item["type"] == "keypointlabels")
    x, y = (round(random_.uniform(5, 95), 3) for _ in range(2))
    region["value"] |= {"x": x, "y": y}
    return result, region["value"]["keypointlabels"][0], (x * SIDE / 100, y * SIDE / 100)


# The end


def compare(shared: Soak, count: int, seconds: float) -> str:
    """What was submitted, beside what the label store and the server have."""
    project = shared.projects[0]
    versions: dict[str, list[Any]] = defaultdict(list)
    with open_store(project) as store, StudioApi(shared.url, shared.key) as api:
        recorded = [item.entry for item in store.entries()]
        ledger = TaskLedger(store.database, shared.url)
        target = ledger.project(KIND)
        assert target is not None
        conflicts = len(find_conflicts(store))
        facts = list(api.task_facts(target.project_id, "id,data"))
        whole = {task["id"]: task for task in api.changed_tasks(target.project_id, "")}.values()
    entries = [e for e in recorded if e.source == SOURCE and e.kind == KEYPOINTS]
    for entry in entries:
        versions[entry.reference].append(entry)
    on_server = {str(a["id"]) for task in whole for a in task["annotations"]}
    lost = [id_ for id_, mine in shared.submitted.items() if not is_kept(mine, versions[id_])]
    gone = [id_ for id_ in shared.submitted if id_ not in on_server]
    unseen = on_server - versions.keys()
    doubled = [e for e, n in Counter(map(_identity, entries)).items() if n > 1]
    asked = Counter(id_ for task in facts for id_ in task["data"]["labelkit"]["instances"])
    shown = Counter(
        (task["id"], prediction["model_version"])
        for task in whole
        for prediction in task["predictions"]
    )
    uncounted = sum(bool(task["annotations"]) > task["total_annotations"] for task in whole)
    rows: list[tuple[str, Any]] = [
        ("objects", f"{count:,}"),
        ("minutes", f"{seconds / 60:.1f}"),
        *sorted(shared.counts.items()),
        ("annotations that the server accepted", len(shared.submitted)),
        ("**of these lost by labelkit**", len(lost)),
        ("of these no longer on the server", len(gone)),
        ("annotations on the server that labelkit lacks", len(unseen)),
        ("**labels doubled**", len(doubled)),
        ("**objects with two tasks**", sum(n > 1 for n in asked.values())),
        ("**predictions doubled**", sum(n > 1 for n in shown.values())),
        ("objects without a task", count - len(asked)),
        ("tasks whose annotation the server does not count", uncounted),
        ("conflicts", conflicts),
        ("problems", len(shared.problems)),
    ]
    for what, ids in (("lost", lost), ("gone", gone), ("unseen", sorted(unseen))):
        print(what, ids[:20], file=sys.stderr)
    print("\n".join(shared.problems[:5]), file=sys.stderr)
    return markdown((("what", "number"), *((what, str(value)) for what, value in rows)))


def is_kept(mine: Submitted, entries: list[Any]) -> bool:
    """Whether the newest entry of an annotation has its keypoint where it was dragged last."""
    if not entries:
        return False
    newest = max(entries, key=lambda entry: entry.version)
    x, y, _ = newest.content.get(mine.keypoint, (-1, -1, 0))
    return newest.instance_id == mine.instance_id and any(
        abs(place[0] - x) < 0.01 and abs(place[1] - y) < 0.01 for place in mine.places
    )


def _identity(entry: Any) -> tuple[str, str, str]:
    return entry.instance_id, entry.reference, entry.version


if __name__ == "__main__":
    main()
