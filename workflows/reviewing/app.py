"""The FiftyOne App on a reviewed project, with labelkit's operators and response maps."""

from __future__ import annotations

import io
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from labelkit.bridges.fiftyone.dataset import instances_of, quiet_fiftyone
from labelkit.bridges.fiftyone.map_server import MapServer
from labelkit.bridges.fiftyone.private import on_event, start_server
from labelkit.bridges.ports import free_port, is_free
from labelkit.errors import MissingDependencyError, ServiceError, UsageError
from labelkit.files.atomic import write_json
from labelkit.progress import Progress
from labelkit.project.project import Project
from labelkit.project.response_pictures import MapPictures
from labelkit.store.ownership import open_store
from labelkit.workflows.reviewing.report import ReviewReport

APP_PORT = 5151

#: The selection in the App, see `App.keep`.
SELECTION_FILE = "review/selection.json"

#: Seconds until the App's server listens, and then until it knows our session.
START_PATIENCE = 300.0
CONNECT_PATIENCE = 60.0

#: Ids of samples, and of labels.
Selection = tuple[frozenset[str], frozenset[str]]


@contextmanager
def open_app(project: Project, report: ReviewReport, port: int = APP_PORT) -> Iterator[App]:
    """The FiftyOne App on the dataset that `review` built, and the server of its maps.

    Both listen on this machine only.

    Args:
        project: see `open_project`.
        report: of `review` with `serve`.
        port: of the App.

    Raises:
        ServiceError: if FiftyOne's server does not accept our session.
        UsageError: if the port is taken.
    """
    if not is_free(port):
        raise UsageError(
            f"Port {port} is taken, perhaps by another FiftyOne App.",
            f"Choose another: labelkit review --port {free_port()}",
        )
    fo = quiet_fiftyone()
    install_plugin(Path(fo.config.plugins_dir))
    with open_store(project) as store:
        known = dict(store.instances())

    def open_round(number: int) -> MapPictures:
        path = project.rounds_root / f"{number:03d}" / "maps" / "maps.parquet"
        return MapPictures(path, known.values(), skeleton=project.skeleton)

    dataset = fo.load_dataset(report.dataset)
    view = dataset.load_saved_view(report.view) if report.view else None
    with MapServer(open_round, report.map_port):
        with redirect_stdout(io.StringIO()):  # FiftyOne prints a welcome; our stdout is for results
            start_server(port, "127.0.0.1", START_PATIENCE)
            session = fo.launch_app(
                dataset, view=view, port=port, address="127.0.0.1", remote=True, auto=False
            )
        origin = f"http://127.0.0.1:{port}"
        try:
            _wait_until_connected(session, origin)
            yield App(project, dataset, session, f"{origin}/datasets/{quote(dataset.name)}")
        finally:
            session.close()


def _wait_until_connected(session: Any, origin: str) -> None:
    """Wait until the session receives events of the App.

    On connecting, the App is reset to the session's state: a view opened there before would be
    closed, and a selection lost.
    """
    import httpx

    heard = threading.Event()
    on_event(session, "close_session", lambda _: heard.set())
    # Browsers ignore this event, and only `session.wait` acts on it.
    event = {"event": "close_session", "data": {}, "subscription": ""}
    deadline = time.monotonic() + CONNECT_PATIENCE
    while not heard.is_set():
        if time.monotonic() > deadline:
            raise ServiceError(
                f"FiftyOne's App at {origin} does not respond.", "Try again: labelkit review"
            )
        with suppress(httpx.TransportError):
            httpx.post(f"{origin}/event", json=event, trust_env=False)
        heard.wait(0.3)


def show(project: Project, report: ReviewReport, progress: Progress, port: int) -> None:
    """Keep the App open until Ctrl-C or SIGTERM, and save what is selected in it.

    Args:
        project: see `open_project`.
        report: of `review` with `serve`.
        progress: gets a line with the address.
        port: of the App.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # else FiftyOne's server would outlive us
        signal.signal(number, signal.default_int_handler)
    with open_app(project, report, port) as running:
        progress.line(f"The App is at {running.url} (this machine only). Ctrl-C ends it.")
        if report.map_port:
            progress.line(
                f"From another machine: ssh -L {port}:127.0.0.1:{port} "
                f"-L {report.map_port}:127.0.0.1:{report.map_port} HOST"
            )
        known = running.selection()
        try:
            while True:
                time.sleep(1.0)
                now = running.selection()
                if now != known:
                    running.keep(now)
                    known = now
        except KeyboardInterrupt:
            progress.line("Queue what is selected or tagged: labelkit queue --from-review")


@dataclass(frozen=True, slots=True)
class App:
    """A running App.

    Attributes:
        project: that it shows.
        dataset, session: FiftyOne's.
        url: for a browser.
    """

    project: Project
    dataset: Any
    session: Any
    url: str

    def selection(self) -> Selection:
        """The current selection in the App: ids of samples, and of labels."""
        labels = (row["label_id"] for row in self.session.selected_labels or ())
        return frozenset(self.session.selected or ()), frozenset(labels)

    def keep(self, selected: Selection) -> tuple[str, ...]:
        """Save a selection for `labelkit queue --from-review`.

        Returns:
            instance ids.
        """
        chosen = instances_of(self.dataset, *selected)
        write_json(self.project.root / SELECTION_FILE, {"instances": chosen})
        return tuple(chosen)


def install_plugin(plugins: Path) -> Path:
    """Install labelkit's operators into FiftyOne's plugin folder, beside the user's own.

    Returns:
        the plugin's folder.
    """
    spec = find_spec("labelkit.fiftyone_plugin")
    if spec is None or spec.origin is None:
        raise MissingDependencyError(
            "labelkit's FiftyOne plugin is not installed.",
            "In labelkit's source folder type: pip install --force-reinstall --no-deps .",
        )
    source = Path(spec.origin).resolve().parent
    link = plugins / "labelkit"
    if link.is_symlink() and link.resolve() == source.resolve():
        return link
    plugins.mkdir(parents=True, exist_ok=True)
    beside = plugins / f".labelkit-{os.getpid()}"
    beside.unlink(missing_ok=True)
    try:
        beside.symlink_to(source, target_is_directory=True)
        beside.replace(link)
    except OSError:  # links are not possible, or an earlier copy is there
        beside.unlink(missing_ok=True)
        shutil.copytree(source, link, dirs_exist_ok=True)
    return link
