"""The FiftyOne App on a reviewed project, with labelkit's operators and maps."""

from __future__ import annotations

import importlib
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
from labelkit.bridges.ports import free_port, is_free
from labelkit.errors import INSTALL, MissingDependencyError, ServiceError, UsageError
from labelkit.files.atomic import write_json
from labelkit.progress import Progress
from labelkit.project.project import Project
from labelkit.project.response_pictures import MapPictures
from labelkit.store.label_store import LabelStore
from labelkit.workflows.reviewing.report import ReviewReport

APP_PORT = 5151

#: What is selected in the App, see `App.keep`.
SELECTION_FILE = "review/selection.json"

#: Seconds until the App's server listens, and from then on until it knows of our session.
START_PATIENCE = 300.0
CONNECT_PATIENCE = 60.0

#: Ids of samples, and of labels.
Selection = tuple[frozenset[str], frozenset[str]]


@contextmanager
def open_app(project: Project, report: ReviewReport, port: int = APP_PORT) -> Iterator[App]:
    """The FiftyOne App on what `review` has built, and the server of its maps, on this machine.

    Args:
        project: see `open_project`.
        report: of `review` with `serve`.
        port: of the App.

    Raises:
        ServiceError: if FiftyOne's server does not take our session.
        UsageError: if something else has the port.
    """
    if not is_free(port):
        raise UsageError(
            f"Port {port} is taken, perhaps by another FiftyOne App.",
            f"Choose another one: labelkit review --port {free_port()}",
        )
    fo = quiet_fiftyone()
    install_plugin(Path(fo.config.plugins_dir))
    with LabelStore.open(project.store_url) as store:
        known = store.instances()

    def open_round(number: int) -> MapPictures:
        path = project.rounds_root / f"{number:03d}" / "maps" / "maps.parquet"
        return MapPictures(path, known.values())

    dataset = fo.load_dataset(report.dataset)
    view = dataset.load_saved_view(report.view) if report.view else None
    with MapServer(open_round, report.map_port):
        with redirect_stdout(io.StringIO()):  # a welcome, and our stdout is for results
            _start_server(fo, port)
            session = fo.launch_app(
                dataset, view=view, port=port, address="127.0.0.1", remote=True, auto=False
            )
        origin = f"http://127.0.0.1:{port}"
        try:
            _wait_until_connected(session, origin)
            yield App(project, dataset, session, f"{origin}/datasets/{quote(dataset.name)}")
        finally:
            session.close()


def _start_server(fo: Any, port: int) -> None:
    """Have FiftyOne's server listen before there is a session.

    A session that finds no server for ten seconds tries again ten seconds later. And FiftyOne
    gives up on a server after a minute, which a busy machine or a slow disk can take.
    """
    servers = importlib.import_module("fiftyone.core.session.session")._server_services
    service: Any = importlib.import_module("fiftyone.core.service").ServerService

    class PatientService(service):
        def _wait_for_child_port(self, port: int, timeout: float = START_PATIENCE) -> Any:
            return super()._wait_for_child_port(port, timeout)

    servers[port] = PatientService(port, address="127.0.0.1", do_not_track=fo.config.do_not_track)


def _wait_until_connected(session: Any, origin: str) -> None:
    """Until the session hears what happens in the App.

    It makes the App show what it shows itself at that moment: a view that somebody opened there
    before would be left, and a selection lost.
    """
    import httpx

    heard = threading.Event()
    session._client.add_event_listener("close_session", lambda _: heard.set())
    # Browsers do not listen for this one, and only `session.wait` does something about it.
    event = {"event": "close_session", "data": {}, "subscription": ""}
    deadline = time.monotonic() + CONNECT_PATIENCE
    while not heard.is_set():
        if time.monotonic() > deadline:
            raise ServiceError(
                f"FiftyOne's App at {origin} does not answer.", "Try again: labelkit review"
            )
        with suppress(httpx.TransportError):
            httpx.post(f"{origin}/event", json=event, trust_env=False)
        heard.wait(0.3)


def show(project: Project, report: ReviewReport, progress: Progress, port: int) -> None:
    """Keep the App open until Ctrl-C or SIGTERM, and remember what is selected in it.

    Args:
        project: see `open_project`.
        report: of `review` with `serve`.
        progress: told the address.
        port: of the App.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # FiftyOne's server would outlive us otherwise
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
            progress.line("To queue what is selected or tagged: labelkit queue --from-review")


@dataclass(frozen=True, slots=True)
class App:
    """A running App.

    Attributes:
        project: that it shows.
        dataset, session: FiftyOne's.
        url: to be opened in a browser.
    """

    project: Project
    dataset: Any
    session: Any
    url: str

    def selection(self) -> Selection:
        """What is selected in the App now: ids of samples, and of labels."""
        labels = (row["label_id"] for row in self.session.selected_labels or ())
        return frozenset(self.session.selected or ()), frozenset(labels)

    def keep(self, selected: Selection) -> tuple[str, ...]:
        """Write a selection down, for `labelkit queue --from-review`.

        Returns:
            instance ids.
        """
        chosen = instances_of(self.dataset, *selected)
        write_json(self.project.root / SELECTION_FILE, {"instances": chosen})
        return tuple(chosen)


def install_plugin(plugins: Path) -> Path:
    """Put labelkit's operators where FiftyOne looks for plugins; the user's own stay.

    Returns:
        where it is.
    """
    spec = find_spec("labelkit.fiftyone_plugin")
    if spec is None or spec.origin is None:
        raise MissingDependencyError(
            "labelkit's FiftyOne plugin is not installed.",
            f"{INSTALL} --force-reinstall --no-deps .",
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
    except OSError:  # no links here, or an earlier copy is in the place
        beside.unlink(missing_ok=True)
        shutil.copytree(source, link, dirs_exist_ok=True)
    return link
