"""The Label Studio server that labelkit starts: its log-in, its folders, its start and its end.

One server is for all projects of a user. It is bound to one address and serves the images of these
projects and nothing else. It gets its secrets from the environment, because every user of a machine
can list the arguments of processes.
"""

from __future__ import annotations

import getpass
import hashlib
import http.client
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from labelkit.bridges.environment import held
from labelkit.bridges.home import home_path
from labelkit.bridges.ports import check_port
from labelkit.errors import LabelkitError, MissingDependencyError, ProjectError
from labelkit.files.atomic import write_json
from labelkit.project.project import Project

#: The folder of data that all projects share; the others are of earlier versions, one a project.
SHARED = "shared"

#: Its database, unless the environment names another one.
DATABASE = "label_studio.sqlite3"

#: The first start makes a database, which takes 48 s on two busy cores.
START_SECONDS = 300.0
STOP_SECONDS = 15.0

#: The networks that Label Studio sends no requests to, as in its own list, but without this
#: machine, where labelkit serve is. ML_BLOCK_LOCAL_IP would allow backends, but not the webhook
#: that each backend comes with.
_BANNED_NETWORKS = (
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 "
    "192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 "
    "233.252.0.0/24 240.0.0.0/4 255.255.255.255/32 ::/128 ::ffff:0:0/96 ::ffff:0:0:0/96 "
    "64:ff9b::/96 64:ff9b:1::/48 100::/64 2001::/32 2001:20::/28 2001:db8::/32 2002::/16 "
    "fc00::/7 fe80::/10 ff00::/8"
)

#: labelkit's settings, which the user's own environment may override.
_DEFAULTS = {
    "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
    "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
    "LABEL_STUDIO_SENTRY_DSN": "",
    "LABEL_STUDIO_FRONTEND_SENTRY_DSN": "",
    "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
    "LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS": "false",
    "LABEL_STUDIO_USER_ADDITIONAL_BANNED_SUBNETS": _BANNED_NETWORKS.replace(" ", ","),
    # Label Studio also reads DEBUG and CI, which may be set for another program.
    "LABEL_STUDIO_DEBUG": "false",
    "LABEL_STUDIO_CI": "false",
    # Importing predictions counts those of their tasks again, and not those of the whole project.
    "fflag_fix_back_4620_memory_efficient_predictions_import_08012025_short": "true",
}

#: Not passed on: they would make the server import the wrong packages.
_NOT_PASSED_ON = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "DJANGO_SETTINGS_MODULE")
_SECRETS_OF_OTHERS = ("LABEL_STUDIO_API_KEY", "LABELKIT_SERVE_PASSWORD", "LABELKIT_DB")


@dataclass(frozen=True, slots=True)
class LogIn:
    """The first user of the servers that labelkit starts.

    Attributes:
        folder: holds `username`, `password` and `api-key`, one file each, that only the owner can
            read.
        username: in the form of an e-mail address.
        password: for the browser.
        api_key: for `LABEL_STUDIO_API_KEY`.
    """

    folder: Path
    username: str
    password: str = field(repr=False)
    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class StudioServer:
    """A running server.

    Attributes:
        url: for browsers and for `LABEL_STUDIO_URL`.
        log_in: its first user.
        data: folder of its database and its log.
        process: of the server.
    """

    url: str
    log_in: LogIn
    data: Path
    process: subprocess.Popen[bytes]

    def failure(self) -> LabelkitError:
        """The error for a server that ended by itself."""
        log = _log(self.data)
        lines = log.read_text("utf-8", errors="replace").strip().splitlines()
        last = lines[-1] if lines else "(empty)"
        for secret in (self.log_in.password, self.log_in.api_key):
            last = last.replace(secret, "***")
        code = self.process.poll()
        how = f"ended with exit code {code}"
        if code and code < 0:
            how = f"was ended by signal {-code}"
        return MissingDependencyError(
            f"Label Studio {how}. The last line of its log: {last[:300]}",
            f"See the log: {log}",
        )


def read_log_in() -> LogIn:
    """The user's log-in; the first call makes it.

    Raises:
        ProjectError: if others can read its files, or they cannot be written.
    """
    folder = home_path("config", "label-studio", "api-key").parent
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return LogIn(
            folder,
            _kept(folder / "username", f"{_user_name()}@localhost"),
            _kept(folder / "password", secrets.token_urlsafe(18)),
            _kept(folder / "api-key", secrets.token_hex(20)),
        )
    except OSError as error:
        raise ProjectError(
            f"{error.filename or folder} cannot be used ({error.strerror}).",
            "Make it writable for you, or set XDG_CONFIG_HOME to another folder.",
        ) from error


def data_folder(project: Project | None = None) -> Path:
    """The folder of the server's data, which is outside all projects because it holds keys.

    Projects share it. One for which an earlier version made a server of its own keeps that; the
    project has the name of the folder, and so finds it after a move.

    Raises:
        ProjectError: if the file with the name is damaged.
    """
    path = project.root / "label_studio" / "studio.json" if project else Path(os.devnull)
    if path.is_file():
        try:
            name = json.loads(path.read_text(encoding="utf-8"))["data"]
        except (OSError, ValueError, KeyError, TypeError):
            name = ""
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,60}", name):
            raise ProjectError(
                f"{path} is damaged.",
                "It names the project's own server of an earlier version. Write "
                f'{{"data": "NAME"}} into it, where NAME is its folder below {_servers()}, or '
                "delete it to share the server of your other projects.",
            )
        own = home_path("data", "label-studio", name)
        if (own / DATABASE).exists():
            return own
    return home_path("data", "label-studio", SHARED)


def check_not_running(data: Path) -> None:
    """Make sure that no server is running with this data.

    Raises:
        ProjectError: if one is; the message has its address.
    """
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    with held(data / "lock") as lock:
        if lock is None:
            raise _runs_already(data)


def served_images(project: Project, url: str) -> Path | None:
    """The path by which the server at `url` can serve a project's images, see `serve_images`.

    A local storage of the server has to name it. None means that `labelkit studio` did not start
    that server.
    """
    for data in _known_data(project):
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            running = json.loads(_running(data).read_text(encoding="utf-8"))
            if running["url"].rstrip("/") == url.rstrip("/"):
                return images_below(data, project)
    return None


def images_below(data: Path, project: Project) -> Path:
    """The path by which the server with this data serves a project's images.

    It has the id of the project, so that two projects may have images folders of the same name,
    and so that tasks find their images after a move.
    """
    is_own = data == data_folder(project) and data.name != SHARED
    return _documents(data) / (project.images_root.name if is_own or not project.id else project.id)


def serve_images(images_root: Path, below: Path) -> None:
    """Let a server serve an images folder, also if it is running.

    Label Studio accepts storages below its document root, but not the root itself. With a parent of
    the images as root, its users could reach every other folder in there. So the root holds links
    to images folders, and nothing else.

    Args:
        images_root: the images folder, wherever it is now.
        below: the path for it, see `served_images`.
    """
    if below.is_symlink() and below.readlink() == images_root:
        return
    below.parent.mkdir(parents=True, exist_ok=True)
    fresh = below.with_name(f"{below.name}.{secrets.token_hex(4)}")
    fresh.symlink_to(images_root, target_is_directory=True)
    fresh.replace(below)


def start_command(executable: Path, host: str, port: int) -> list[str]:
    """The command that starts the server; it holds no secret."""
    address = ["--internal-host", host, "--port", str(port)]
    return [str(executable), "start", "--no-browser", *address]


def start_environment(
    base: Mapping[str, str], log_in: LogIn, url: str, data: Path, documents: Path
) -> dict[str, str]:
    """The environment of the server.

    Args:
        base: environment of this process; Label Studio's own settings in it are passed on.
        log_in: the first user, created at the first start.
        url: for browsers.
        data: folder of its database.
        documents: folder below which images may be served.
    """
    left_out = {*_NOT_PASSED_ON, *_SECRETS_OF_OTHERS}
    passed_on = {name: value for name, value in base.items() if name not in left_out}
    database = {"LABEL_STUDIO_DATABASE_NAME": str(data / DATABASE)}
    ours = {
        "LABEL_STUDIO_HOST": url,
        "LABEL_STUDIO_BASE_DATA_DIR": str(data),
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(documents),
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_USERNAME": log_in.username,
        "LABEL_STUDIO_PASSWORD": log_in.password,
        "LABEL_STUDIO_USER_TOKEN": log_in.api_key,
        "PYTHONUNBUFFERED": "1",
    }
    return {**_DEFAULTS, **database, **passed_on, **ours}


@contextmanager
def running_server(
    executable: Path,
    data: Path,
    log_in: LogIn,
    *,
    host: str,
    port: int,
    on_line: Callable[[str], None],
) -> Iterator[StudioServer]:
    """A server that is ready; it and its child processes are stopped when the block ends.

    Args:
        executable: the label-studio program.
        data: folder of its database; made if needed.
        log_in: its first user.
        host: address to listen on.
        port: must be free.
        on_line: receives lines of progress.

    Raises:
        UsageError: if the port is taken.
        ProjectError: if a server with this data is already running, or has another log-in.
        MissingDependencyError: if the server does not start.
    """
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    with held(data / "lock") as lock:
        if lock is None:
            raise _runs_already(data)
        check_port("Label Studio", host, port)
        url = f"http://{socket.gethostname() if host == '0.0.0.0' else host}:{port}"
        _documents(data).mkdir(exist_ok=True)
        if not (data / DATABASE).exists():
            on_line("Making the database of Label Studio (once; about a minute) ...")
        descriptor = os.open(_log(data), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            process = subprocess.Popen(
                start_command(executable, host, port),
                env=start_environment(os.environ, log_in, url, data, _documents(data)),
                cwd=data,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                pass_fds=(lock,),  # the lock lasts as long as the server, even if we are killed
                start_new_session=True,  # Ctrl-C is for us; we stop the server properly
                umask=0o077,  # its database holds keys
            )
        finally:
            os.close(descriptor)
        server = StudioServer(url, log_in, data, process)
        try:
            note_data(data)
            write_json(_running(data), {"url": url, "pid": process.pid})
            _wait_until_ready(server, host, port)
            yield server
        finally:
            _stop(process)
            _running(data).unlink(missing_ok=True)


def _wait_until_ready(server: StudioServer, host: str, port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while _status(host, port, "/health", {}) != 200:
        if server.process.poll() is not None:
            raise server.failure()
        if time.monotonic() > deadline:
            raise MissingDependencyError(
                f"Label Studio did not answer within {START_SECONDS:.0f} s.",
                f"See the log: {_log(server.data)}",
            )
        time.sleep(0.2)
    # If another program took the port in between, Label Studio moved to another port: a stranger
    # answers on this one and must not get the key.
    if "Trying to start at" in _log(server.data).read_text("utf-8", errors="replace"):
        check_port("Label Studio", host, port)
    key = {"Authorization": f"Token {server.log_in.api_key}"}
    if _status(host, port, "/api/current-user/whoami", key) != 200:
        raise ProjectError(
            f"The server's data in {server.data} belongs to another log-in than the one in "
            f"{server.log_in.folder}.",
            "Restore the former log-in, or start with empty data: labelkit studio --data DIR",
        )


def _status(host: str, port: int, path: str, headers: Mapping[str, str]) -> int:
    """HTTP status of a GET without a proxy; 0 without an answer."""
    address = "127.0.0.1" if host == "0.0.0.0" else host
    with closing(http.client.HTTPConnection(address, port, timeout=10)) as connection:
        try:
            connection.request("GET", path, headers=dict(headers))
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and its child processes, which form a process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)


def _runs_already(data: Path) -> ProjectError:
    try:
        running = json.loads(_running(data).read_text(encoding="utf-8"))
        where = f" at {running['url']}"
        end_it = (
            f"It is for all your projects. Type: export LABEL_STUDIO_URL={running['url']}\n"
            f"Or stop it: kill {running['pid']}"
        )
    except (OSError, ValueError, KeyError, TypeError):
        where, end_it = "", "Wait until it is up, or stop it."
    return ProjectError(f"Label Studio is already running{where}.", end_it)


def _kept(path: Path, fresh: str) -> str:
    """The content of a private file; `fresh` is written if it does not exist."""
    with suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as stream:
            stream.write(fresh + "\n")
    if path.stat().st_mode & 0o077:
        raise ProjectError(f"Others can read {path}.", f"Type: chmod 600 {path}")
    text = path.read_text(encoding="utf-8").strip()
    if not text:
        raise ProjectError(f"{path} is empty.", "Delete it; the next start makes a new one.")
    return text


def _user_name() -> str:
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in containers
        name = ""
    return re.sub(r"[^a-z0-9_.-]+", "-", name.lower()).strip("-.") or "labelkit"


def _log(data: Path) -> Path:
    return data / "label-studio.log"


def _running(data: Path) -> Path:
    return data / "running.json"


def _documents(data: Path) -> Path:
    return data / "served"


def _servers() -> Path:
    """The folder of the data of all servers that have no folder of their own."""
    return home_path("data", "label-studio", SHARED).parent


def note_data(data: Path) -> None:
    """Note a folder of data that is elsewhere, so that `served_images` finds its server."""
    if data.parent != _servers():
        folder = _servers() / "elsewhere"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
        write_json(folder / f"{name}.json", {"data": str(data)})


def _known_data(project: Project) -> Iterator[Path]:
    """The folders of data that servers were started with."""
    yield data_folder(project)
    for running in _servers().glob("*/running.json"):
        yield running.parent
    for note in (_servers() / "elsewhere").glob("*.json"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            yield Path(json.loads(note.read_text(encoding="utf-8"))["data"])
