"""A PostgreSQL server of the suite's own, and the reasons why there may be none."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from mongo import missing

from labelkit.bridges.ports import free_port

#: Where distributions put the programs; Debian keeps them out of PATH.
FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")
USER = "labelkit"
START_SECONDS = 60.0

#: Nothing here has to survive a power cut.
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")

#: Runs the server until nobody holds the other end of stdin any more, come what may.
_UNTIL_WE_ARE_GONE = '"$@" & read -r _; kill -QUIT $!; wait'


@dataclass
class Postgres:
    """A server that runs, and new databases on it."""

    port: int
    password: str

    def __post_init__(self) -> None:
        self._numbers = count()

    def url(self, name: str, *, user: str = USER, password: str = "") -> str:
        """SQLAlchemy URL of a database."""
        who = f"{user}:{password or self.password}"
        return f"postgresql+psycopg://{who}@127.0.0.1:{self.port}/{name}"

    def new_url(self) -> str:
        """SQLAlchemy URL of a new and empty database."""
        name = f"test{next(self._numbers)}"
        self.say(f"CREATE DATABASE {name}")
        return self.url(name)

    def say(self, statement: str, name: str = "postgres") -> None:
        """Run SQL outside of any transaction, as the administrator."""
        with closing(self.connect(name)) as connection:
            connection.execute(statement)

    def connect(self, name: str = "postgres") -> Any:
        """A plain connection, which the caller closes."""
        import psycopg

        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=self.password,
            dbname=name,
            autocommit=True,
        )


def programs() -> Path:
    """Folder of initdb and postgres, or skip the test that asks with the reason."""
    if find_spec("psycopg") is None:
        missing("psycopg is not installed; type: pip install 'labelkit-keypoints[postgresql]'")
    found = [path for pattern in FOLDERS for path in Path("/").glob(f"{pattern[1:]}/initdb")]
    if on_path := shutil.which("initdb"):
        found.append(Path(on_path))
    if not found:
        missing("PostgreSQL is not installed; type: apt-get install postgresql")
    return found[0].parent


def _as_postgres() -> tuple[str, ...]:
    """What stands in front of its programs: they refuse to run as root."""
    if os.geteuid() != 0:
        return ()
    import pwd

    if shutil.which("runuser") is None or "postgres" not in {
        user.pw_name for user in pwd.getpwall()
    }:
        missing("PostgreSQL does not run as root, and there is no user postgres or no runuser")
    return ("runuser", "-u", "postgres", "--")


@contextmanager
def running_postgres(folder: Path) -> Iterator[Postgres]:
    """A server with an empty cluster in a folder, stopped when the block or this process ends."""
    binaries, as_postgres = programs(), _as_postgres()
    password, port = secrets.token_urlsafe(12), free_port()
    (folder / "password").write_text(password)
    if as_postgres:
        for path in (folder, folder / "password"):
            shutil.chown(path, "postgres")
    data, log = folder / "data", folder / "log"
    make = [binaries / "initdb", "--pgdata", data, "--username", USER, "--encoding", "UTF8"]
    make += ["--auth", "scram-sha-256", "--pwfile", folder / "password", "--no-locale", "--no-sync"]
    made = subprocess.run([*as_postgres, *make], capture_output=True, text=True, cwd=folder)
    assert made.returncode == 0, made.stdout + made.stderr
    start = [binaries / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", ""]
    start += [part for setting in FAST for part in ("-c", setting)]
    shell = ["sh", "-c", _UNTIL_WE_ARE_GONE, "sh", *map(str, start)]
    with (
        log.open("w") as said,
        subprocess.Popen(
            [*as_postgres, *shell], stdin=subprocess.PIPE, stdout=said, stderr=said, cwd=folder
        ) as process,
    ):
        server = Postgres(port, password)
        try:
            _wait_until_ready(server, process, log)
            yield server
        finally:
            process.communicate(timeout=START_SECONDS)  # closes its stdin


def _wait_until_ready(server: Postgres, process: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            server.connect().close()
            return
        except psycopg.OperationalError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The server; it starts in about two seconds."""
    folder = Path(mkdtemp(prefix="labelkit-postgres-"))  # where its user can get, unlike tmp_path
    try:
        with running_postgres(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.server)])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new label store may be made: once a file, once a database on a server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'labels.db'}"
    url: str = request.getfixturevalue("postgres").new_url()
    return url
