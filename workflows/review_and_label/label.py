"""`labelkit label`: a page for one job, to look, fix the least, and go on."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from labelkit.domain.text import counted
from labelkit.errors import UsageError
from labelkit.project.project import Project
from labelkit.store.label_store import LabelStore
from labelkit.workflows.labelling.keys import Keys
from labelkit.workflows.labelling.server import make_app
from labelkit.workflows.labelling.work import Mode, Work, next_mode, read_chosen
from labelkit.workflows.rounds.image_files import ImageFiles
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.next_step import next_step
from labelkit.workflows.serving.interrupts import interrupted_once
from labelkit.workflows.serving.listening import listen, server_of


@dataclass(frozen=True, slots=True, eq=False)
class Labelling:
    """A labelling page that is ready to be served.

    Attributes:
        url: its address, with the key of `annotator`.
        annotator: who labels there.
        mode: "ticks" or "keypoints".
        is_second: whether others have labelled the objects.
        left: how many objects there are to label for them.
        app: the application.
        listening: the socket, on which connections wait already.
    """

    url: str
    annotator: str
    mode: Mode
    is_second: bool
    left: int
    app: Any
    listening: socket.socket

    def text(self) -> str:
        """For people."""
        if self.is_second and not self.left:
            left = (
                f"{self.annotator} has labelled all of them. Ask another annotator to label them a "
                "second time: labelkit label --invite NAME"
            )
        else:
            left = f"{counted(self.left, 'object')} to label ({self.mode}), as {self.annotator}"
        return f"{self.url}\n{left}. Stop with Ctrl-C; nothing is lost."

    def data(self) -> dict[str, Any]:
        """For machines."""
        names = ("url", "annotator", "mode", "left")
        return {name: getattr(self, name) for name in names}

    def server(self) -> uvicorn.Server:
        """The uvicorn server, not running yet."""
        return server_of(self.app)

    def run(self) -> None:
        """Answer until Ctrl-C or SIGTERM, then raise KeyboardInterrupt."""
        self.server().run(sockets=[self.listening])


@contextmanager
def label(
    project: Project,
    store: LabelStore,
    *,
    mode: Mode | None = None,
    annotator: str = "",
    objects: Path | None = None,
    second: int | None = None,
    host: str = "127.0.0.1",
    port: int = 8095,
) -> Iterator[Labelling]:
    """Make the page ready, and listen.

    Args:
        project: see `open_project`.
        store: its label store.
        mode: "ticks" or "keypoints"; None for what the project needs next.
        annotator: whose answers are recorded; "" for the name of the user.
        objects: file with one object id or image path a line, to label instead of the queue.
        second: of how many labelled objects there shall be a second label, see `second_draw`.
        host: address to listen on.
        port: must be free.

    Raises:
        UsageError: if the port is taken, the file names unknown objects, the name is too long, or
            no label can have a second one.
    """
    if second is not None:
        example = "Type for example: labelkit label --second 60"
        if second < 1:
            raise UsageError(f"--second {second} is not a number of objects, 1 or more.", example)
        if objects is not None or mode == "ticks":
            other = "--mode ticks" if objects is None else "--objects"
            raise UsageError(
                f"{other} does not go with --second, which chooses objects and asks for keypoints.",
                example,
            )
    chosen = None
    if objects is not None:
        try:
            text = objects.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"{objects} cannot be read ({error}).", "Give a text file: --objects FILE"
            ) from error
        chosen = read_chosen(text, store.instances(), str(objects))
    keys = Keys(project)
    name = annotator or getpass.getuser()
    key = keys.key_for(name)
    with interrupted_once(), listen("labelkit label", host, port) as (listening, url):
        asked: Mode = mode or ("keypoints" if second else next_mode(project, store))
        follows = mode is None and chosen is None
        work = Work(project, store, asked, chosen, second or 0, follows)
        if second and not work.remaining(""):
            raise UsageError(
                "There is no object to label a second time.",
                "Label some of the queue first: labelkit label. If all labelled objects have a "
                f"second label, ask for more than --second {second}.",
            )

        def ended() -> str:
            project = work.project
            files = ImageFiles(project, store)
            return next_step(project, store, read_snapshot(project, store), files)

        app = make_app(work, keys, ended)
        address = f"{url}/?key={key}"
        left = work.remaining(name)
        yield Labelling(address, name, work.mode, bool(second), left, app, listening)


def invitation(project: Project, name: str, host: str, port: int) -> str:
    """The address at which another annotator opens the page of a running server.

    Args:
        project: of the server.
        name: of the annotator.
        host, port: of the server.

    Raises:
        UsageError: if the name is empty or too long.
    """
    name_of_host = socket.gethostname() if host == "0.0.0.0" else host
    return f"http://{name_of_host}:{port}/?key={Keys(project).key_for(name)}"
