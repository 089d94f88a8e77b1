"""`labelkit studio`: a Label Studio server for one person or a small team, in one command."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelkit.bridges.label_studio.environment import OWN, find_or_install
from labelkit.bridges.label_studio.server import (
    StudioServer,
    check_not_running,
    data_folder,
    images_below,
    read_log_in,
    running_server,
    serve_images,
)
from labelkit.bridges.ports import check_port
from labelkit.errors import MissingDependencyError
from labelkit.progress import Progress
from labelkit.project.project import Project
from labelkit.workflows.serving.interrupts import interrupted_once


@dataclass(frozen=True, slots=True)
class Studio:
    """A server that is ready.

    Attributes:
        server: the server.
        project: that it was started for; None for no project in particular.
        host: address that it listens on.
    """

    server: StudioServer
    project: Project | None
    host: str

    def wait(self) -> None:
        """Wait for Ctrl-C or SIGTERM, which raise KeyboardInterrupt.

        Raises:
            MissingDependencyError: if the server ends by itself.
        """
        self.server.process.wait()
        raise self.server.failure()

    def text(self) -> str:
        """For people; it names the files of the secrets, never their contents."""
        url, log_in = self.server.url, self.server.log_in
        lines = [
            f"Label Studio runs at {url}",
            f"  log-in    {log_in.username}",
            f"  password  in {log_in.folder / 'password'}",
            f"  data      {self.server.data}",
        ]
        if self.host not in ("127.0.0.1", "localhost"):
            lines.append(
                "Anyone who can reach this address sees the log-in page, and traffic is not "
                "encrypted:\noutside a network that you trust, put a proxy with TLS in front of it."
            )
        return "\n".join(
            [
                *lines,
                "It is for all your projects. In another terminal:",
                f"  export LABEL_STUDIO_URL={url}",
                f'  export LABEL_STUDIO_API_KEY="$(cat {shlex.quote(str(log_in.folder))}/api-key)"',
                "  labelkit push",
                "Stop it with Ctrl-C.",
            ]
        )

    def data(self) -> dict[str, Any]:
        """For machines."""
        log_in = self.server.log_in
        return {
            "url": self.server.url,
            "username": log_in.username,
            "password_file": str(log_in.folder / "password"),
            "api_key_file": str(log_in.folder / "api-key"),
            "images": "" if self.project is None else str(self.project.images_root),
            "data": str(self.server.data),
        }


@contextmanager
def studio(
    project: Project | None,
    progress: Progress,
    *,
    python: Path | None,
    host: str,
    port: int,
    data: Path | None,
) -> Iterator[Studio]:
    """Start the server for all projects; it is stopped when the block ends, also by an error.

    Args:
        project: its images are served at once, those of others when they push. For a project of an
            earlier version that had a server of its own, this starts that one. None serves no
            images yet.
        progress: receives lines of progress.
        python: interpreter of an environment that has Label Studio; None for labelkit's own.
        host: address to listen on.
        port: must be free.
        data: folder of its database; None for the one in the user's data folder.

    Raises:
        UsageError: if the port is taken.
        LabelkitError: if Label Studio cannot be installed or started.
    """
    _check_system()
    with interrupted_once():
        folder = data.resolve() if data else data_folder(project)
        check_not_running(folder)  # before the steps that take minutes
        check_port("Label Studio", host, port)
        log_in = read_log_in()
        executable = find_or_install(python, progress.line)
        if project is not None:
            serve_images(project.images_root, images_below(folder, project))
        with running_server(
            executable,
            folder,
            log_in,
            host=host,
            port=port,
            on_line=progress.line,
        ) as server:
            yield Studio(server, project, host)


def install(progress: Progress) -> Path:
    """Make labelkit's environment for Label Studio if it does not exist, and return its folder."""
    _check_system()
    find_or_install(None, progress.line)
    return OWN.folder


def _check_system() -> None:
    if os.name == "nt":
        raise MissingDependencyError(
            "labelkit studio runs on Linux and macOS only.",
            "Start Label Studio by hand, and set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY.",
        )
