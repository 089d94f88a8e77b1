"""Commands that bring questions to annotators and their answers back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labelkit.cli_options import DryRunOption, JsonOption, ProjectOption
from labelkit.cli_reports import finish, open_both
from labelkit.console import Console

FilesOption = Annotated[
    bool, typer.Option("--files", help="Write import files, for a server you import to by hand.")
]
PerInstanceOption = Annotated[
    bool, typer.Option("--per-instance", help="A task for each instance, not for each image.")
]
ImageUrlOption = Annotated[
    str | None,
    typer.Option(
        "--image-url",
        metavar="URL",
        help="Where the server finds the images folder: https://..., s3://... Kept for next time.",
    ),
]
FileOption = Annotated[
    Path | None, typer.Option("--file", help="JSON export of a Label Studio project.")
]
TakeOption = Annotated[
    str | None,
    typer.Option(
        "--take", metavar="theirs|ours", help="Settle every conflict that labelkit status lists."
    ),
]


def push(
    files: FilesOption = False,
    per_instance: PerInstanceOption = False,
    image_url: ImageUrlOption = None,
    project: ProjectOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Send the queue to Label Studio: what can be seen first, corrections later.

    The server is the one in LABEL_STUDIO_URL, with the key in LABEL_STUDIO_API_KEY.

    Example: labelkit push
    """
    from labelkit.project import lock_project
    from labelkit.workflows.push import push_files

    found, store = open_both(project)
    if files:
        with store:
            finish(push_files(found, store, dry_run=dry_run), as_json)
    from labelkit.bridges.studio_api import connect
    from labelkit.workflows.push_server import push_server

    with store, lock_project(found, "sync"), connect() as api:
        report = push_server(
            found,
            store,
            api,
            Console(),
            per_instance=per_instance,
            base=image_url,
            dry_run=dry_run,
        )
    finish(report, as_json)


def pull(
    file: FileOption = None,
    take: TakeOption = None,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take answers and corrections into the label store; each of them once, none ever replaced.

    From the server in LABEL_STUDIO_URL, or from a file that was exported from it.

    Example: labelkit pull
    """
    import os

    from labelkit.bridges.studio_api import connect
    from labelkit.conflicts import settle
    from labelkit.errors import UsageError
    from labelkit.project import lock_project
    from labelkit.workflows.pull import pull_file
    from labelkit.workflows.pull_report import PullReport
    from labelkit.workflows.pull_server import pull_server
    from labelkit.workflows.status import status

    if take not in (None, "theirs", "ours"):
        raise UsageError(
            f"--take {take}: there is theirs and ours.",
            "theirs: what Label Studio says now. ours: what counts here, as labelkit status shows.",
        )
    found, store = open_both(project)
    with store, lock_project(found, "sync"):
        if file is not None:
            report = pull_file(found, store, file)
        elif take is None or os.environ.get("LABEL_STUDIO_URL"):
            with connect() as api:
                report = pull_server(found, store, api, Console())
        else:
            report = PullReport()  # there is no server, only something to settle
        if take is not None:
            report.settled = settle(store, take)
        report.next_step = status(found, store).next_step
    finish(report, as_json)
