"""The real Label Studio, started once by `labelkit studio`, and a project synced with it."""

from __future__ import annotations

import json
import secrets
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import pytest
from label_studio import label_studio_python, point_home_at
from sqlalchemy import delete, insert
from trained import Trained, copy_trained

from labelkit.bridges.label_studio.api import StudioApi
from labelkit.bridges.label_studio.server import LogIn, read_log_in
from labelkit.bridges.ports import free_port
from labelkit.progress import Silent
from labelkit.project.project import change_project
from labelkit.store.schema import meta
from labelkit.store.task_ledger import TaskLedger
from labelkit.workflows.sync.pull_report import PullReport
from labelkit.workflows.sync.pull_server import pull_server
from labelkit.workflows.sync.push_server import ServerPushReport, push_server

#: Address of the images in tests that never show one.
ELSEWHERE = "http://127.0.0.1:9/frames"

DATABASE = "label_studio.sqlite3"


@dataclass
class Live:
    """A real server, started by the command."""

    process: subprocess.Popen[str]
    trained: Trained
    folder: Path
    port: int
    report: dict[str, str]
    python: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log_in(self) -> LogIn:
        return read_log_in()

    def get(self, path: str, **how: object) -> httpx.Response:
        headers = {"Authorization": f"Token {self.log_in.api_key}"}
        return httpx.get(self.url + path, headers=headers, timeout=60, **how)  # type: ignore[arg-type]

    @cached_property
    def personal_token(self) -> str:
        """Label Studio has one for each user."""
        return str(self.post("/api/token/", {}).json()["token"])

    def post(self, path: str, fields: object) -> httpx.Response:
        headers = {"Authorization": f"Token {self.log_in.api_key}"}
        return httpx.post(self.url + path, headers=headers, json=fields, timeout=60)


@contextmanager
def studio_command(
    python: Path, project: Path, folder: Path, port: int, *options: str | Path
) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """`labelkit studio` in its own process, and the report that it prints when it is ready."""
    command = [
        sys.executable,
        "-c",
        "from labelkit.cli.app import main; main()",
        "studio",
        "--json",
    ]
    command += ["--python", str(python), "--project", str(project), "--port", str(port)]
    command += map(str, options)
    with (
        (folder / "err").open("w") as err,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            lines: list[str] = []
            while not lines or lines[-1] != "}\n":
                line = process.stdout.readline()
                assert line, (folder / "err").read_text()
                lines.append(line)
            yield process, json.loads("".join(lines))
        finally:
            process.terminate()


def copied_database(live: Live, to: Path) -> Path:
    """A data folder with a copy of the server's database: making one takes a minute."""
    to.mkdir()
    with (
        closing(sqlite3.connect(Path(live.report["data"]) / DATABASE)) as source,
        closing(sqlite3.connect(to / DATABASE)) as target,
    ):
        source.backup(target)
    return to


@pytest.fixture(scope="session")
def live_once(trained_once: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The server; the first start makes its database, which takes about a minute."""
    python = label_studio_python()
    folder = tmp_path_factory.mktemp("live")
    trained = copy_trained(trained_once, folder / "work")
    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        point_home_at(folder / "home", patch)
        with studio_command(python, trained.project.root, folder, port) as (process, report):
            patch.undo()  # other tests keep their home; see `live`
            yield Live(process, trained, folder, port, report, python)
    trained.store.close()


@pytest.fixture
def live(live_once: Live, monkeypatch: pytest.MonkeyPatch) -> Live:
    point_home_at(live_once.folder / "home", monkeypatch)
    return live_once


@dataclass
class Synced:
    """A project of one test, and its Label Studio project on the real server."""

    trained: Trained
    live: Live
    api: StudioApi

    @property
    def sent(self) -> TaskLedger:
        return TaskLedger(self.trained.store.database, self.live.url)

    @property
    def project_id(self) -> int:
        kinds = (kind + form for kind in ("correction", "visibility") for form in ("/one", ""))
        found = (self.sent.project(kind) for kind in kinds)
        return next(target.project_id for target in found if target is not None)

    def push(self, api: StudioApi | None = None, **changes: Any) -> ServerPushReport:
        options = {"per_instance": False, "base": ELSEWHERE, "dry_run": False} | changes
        project, store = self.trained.project, self.trained.store
        return push_server(project, store, api or self.api, Silent(), **options)

    def pull(self, api: StudioApi | None = None) -> PullReport:
        project, store = self.trained.project, self.trained.store
        return pull_server(project, store, api or self.api, Silent())

    def tasks(self) -> list[dict[str, Any]]:
        """Everything on the server, by id."""
        path = "/api/tasks/"
        query = {"project": self.project_id, "fields": "all", "page_size": 1000}
        tasks = self.live.get(path, params=query).json()["tasks"]
        return sorted(tasks, key=lambda task: task["id"])

    def send(self, method: str, path: str, fields: Any = None) -> Any:
        """A change that a person makes in Label Studio."""
        headers = {"Authorization": f"Token {self.live.log_in.api_key}"}
        answer = httpx.request(
            method, self.live.url + path, headers=headers, json=fields, timeout=60
        )
        assert answer.status_code < 300, answer.text[:300]
        return answer.json() if answer.content else None

    def submit(self, task: dict[str, Any], result: list[dict[str, Any]], **more: Any) -> Any:
        """Do what the browser does when an annotator presses Submit."""
        fields = {
            "result": result,
            "lead_time": 5.0,
            "parent_prediction": task["predictions"][-1]["id"] if task["predictions"] else None,
        }
        return self.send("POST", f"/api/tasks/{task['id']}/annotations/", fields | more)

    def uncount(self, task_id: int) -> None:
        """Do what Label Studio does to a task that is submitted while predictions are imported."""
        self._set(task_id, "total_annotations", 0)

    def leave_unchanged(self, task_id: int) -> None:
        """Leave a task as a server does that is killed once it has stored an annotation."""
        self._set(task_id, "updated_at", "2026-01-01 00:00:00")

    def _set(self, task_id: int, column: str, value: Any) -> None:
        database = Path(self.live.report["data"]) / DATABASE
        with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
            connection.execute(f"UPDATE task SET {column} = ? WHERE id = ?", (value, task_id))


def rename(trained: Trained) -> None:
    """Give a copied project its own id, so that servers tell it from the original."""
    id_ = secrets.token_hex(8)
    change_project(trained.project, id=id_)
    with trained.store.database.writing() as connection:
        values = {"key": "project_uid", "value": id_}
        connection.execute(delete(meta).where(meta.c.key == "project_uid"))
        connection.execute(insert(meta).values(values))


@pytest.fixture
def synced(trained: Trained, live: Live) -> Iterator[Synced]:
    """A project that has pushed nothing yet."""
    rename(trained)
    with StudioApi(live.url, live.log_in.api_key) as api:
        yield Synced(trained, live, api)
