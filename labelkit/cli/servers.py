"""Commands that run until they are stopped: the servers that annotators work with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from labelkit.cli.console import Console
from labelkit.cli.options import JsonOption, ProjectOption
from labelkit.cli.report import open_both

HostOption = Annotated[
    str, typer.Option("--host", help="Address to listen on; others than this one are public.")
]
StudioPortOption = Annotated[int, typer.Option("--port", help="Of the Label Studio server.")]
PythonOption = Annotated[
    Path | None,
    typer.Option(
        "--python", help="Of an environment with Label Studio. Default: one that is made once."
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="Folder of its database. Default: in your home, one a project."),
]
InstallOnlyOption = Annotated[
    bool, typer.Option("--install-only", help="Make that environment, print its path, and end.")
]
ServePortOption = Annotated[int, typer.Option("--port", help="Of the prediction server.")]


def studio(
    host: HostOption = "127.0.0.1",
    port: StudioPortOption = 8080,
    python: PythonOption = None,
    data: DataOption = None,
    install_only: InstallOnlyOption = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a Label Studio server for this project, until Ctrl-C.

    It listens on this machine only, and serves this project's images and no other file.

    Example: labelkit studio --port 8081
    """
    from labelkit.workflows.studio import install
    from labelkit.workflows.studio import studio as run

    if install_only:
        print(install(Console()))
        return
    found, store = open_both(project)
    store.close()
    try:
        with run(found, Console(), python=python, host=host, port=port, data=data) as running:
            _announce(running, as_json)
            running.wait()
    except KeyboardInterrupt:
        Console().line("Stopped.")


def serve(
    host: HostOption = "127.0.0.1",
    port: ServePortOption = 9090,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer Label Studio with the newest round's predictions, until Ctrl-C.

    Callers need the user "labelkit" and the password in LABELKIT_SERVE_PASSWORD.

    Example: labelkit serve --port 9090
    """
    from labelkit.workflows.serve import serve as run

    found, store = open_both(project)
    try:
        with store, run(found, store, Console(), host=host, port=port) as serving:
            _announce(serving, as_json)
            serving.run()
    except KeyboardInterrupt:
        Console().line("Stopped.")


def _announce(running: Any, as_json: bool) -> None:
    """Print where a server is, at once also where stdout is a pipe."""
    text = json.dumps(running.data(), indent=2) if as_json else running.text()
    print(text, flush=True)
