"""Servers that annotators work with; each runs until it is stopped."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from labelkit.cli.options import HostOption, JsonOption, PortOption, ProjectOption
from labelkit.cli.report import announce, open_both
from labelkit.progress import Console

PythonOption = Annotated[
    Path | None,
    typer.Option(
        "--python",
        metavar="FILE",
        help="Python of an environment that has Label Studio. Default: labelkit makes one.",
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Folder of the server's database. Default: one for all projects, in your home folder.",
    ),
]
InstallOnlyOption = Annotated[
    bool,
    typer.Option("--install-only", help="Make the environment, print its folder, and exit."),
]


def studio(
    host: HostOption = "127.0.0.1",
    port: PortOption = 8080,
    python: PythonOption = None,
    data: DataOption = None,
    install_only: InstallOnlyOption = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a Label Studio server for all your projects.

    It serves their images and no other file, until Ctrl-C.

    \b
    Example:
      labelkit studio --port 8081
    """
    from labelkit.errors import ProjectError
    from labelkit.project.project import find_project, open_project
    from labelkit.workflows.servers.studio import install
    from labelkit.workflows.servers.studio import studio as run

    if install_only:
        print(install(Console()))
        return
    found = None if project is None else open_project(project)
    with suppress(ProjectError):
        found = found or find_project(Path.cwd())
    try:
        with run(found, Console(), python=python, host=host, port=port, data=data) as running:
            announce(running, as_json)
            running.wait()
    except KeyboardInterrupt:
        Console().line("Stopped.")


def serve(
    host: HostOption = "127.0.0.1",
    port: PortOption = 9090,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve predictions of the newest round to Label Studio.

    Label Studio calls it with the user "labelkit" and the password in LABELKIT_SERVE_PASSWORD. It
    runs until Ctrl-C.

    \b
    Example:
      labelkit serve --port 9090
    """
    from labelkit.workflows.servers.serve import serve as run

    found, store = open_both(project)
    try:
        with store, run(found, store, Console(), host=host, port=port) as serving:
            announce(serving, as_json)
            serving.run()
    except KeyboardInterrupt:
        Console().line("Stopped.")
