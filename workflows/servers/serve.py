"""`labelkit serve`: the newest round behind Label Studio's ML backend protocol.

Label Studio asks it for a prediction when a task without one is opened.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn

from labelkit.progress import Progress
from labelkit.project.project import Project
from labelkit.store.label_store import LabelStore
from labelkit.workflows.serving.guard import PASSWORD_VARIABLE, USER, read_secret
from labelkit.workflows.serving.interrupts import interrupted_once
from labelkit.workflows.serving.listening import listen, server_of
from labelkit.workflows.serving.ml_backend import make_app
from labelkit.workflows.serving.task_predictor import TaskPredictor


@dataclass(frozen=True, slots=True, eq=False)
class Serving:
    """A server that is ready to run.

    Attributes:
        url: where it answers.
        version: the round that it answers with.
        app: the application.
        listening: the socket, on which connections wait already.
    """

    url: str
    version: str
    app: Any
    listening: socket.socket

    def text(self) -> str:
        """For people."""
        return "\n".join(
            [
                f"labelkit serves {self.version} at {self.url}",
                f"  user      {USER}",
                f"  password  the one in {PASSWORD_VARIABLE}",
                f"  metrics   {self.url}/metrics",
                "In Label Studio: Settings > Model > Connect Model, with this URL and basic "
                "authentication.",
                "A server other than labelkit studio connects to its own machine only if it was "
                "started with LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS=false.",
                "Stop it with Ctrl-C.",
            ]
        )

    def data(self) -> dict[str, Any]:
        """For machines."""
        return {"url": self.url, "model_version": self.version, "user": USER}

    def server(self) -> uvicorn.Server:
        """The uvicorn server, not running yet."""
        return server_of(self.app)

    def run(self) -> None:
        """Answer until Ctrl-C or SIGTERM, then raise KeyboardInterrupt."""
        self.server().run(sockets=[self.listening])


@contextmanager
def serve(
    project: Project, store: LabelStore, progress: Progress, *, host: str, port: int
) -> Iterator[Serving]:
    """Load the newest round and listen.

    Args:
        project: whose tasks are answered.
        store: its label store.
        progress: gets a line when another round is served.
        host: address to listen on.
        port: must be free.

    Raises:
        UsageError: if there is no secret in the environment, or the port is taken.
        ProjectError: if no round is complete.
    """
    password = read_secret()
    with interrupted_once(), listen("labelkit serve", host, port) as (listening, url):
        predictor = TaskPredictor(project, store, progress)
        app = make_app(predictor, password)
        yield Serving(url, predictor.version(), app, listening)
