"""Commands that bring questions to annotators and their answers back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labelkit.cli.console import Console
from labelkit.cli.options import DryRunOption, JsonOption, ProjectOption
from labelkit.cli.report import finish, open_both

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
    from labelkit.workflows.push import push as run

    found, store = open_both(project)
    with store:
        report = run(
            found,
            store,
            Console(),
            files=files,
            per_instance=per_instance,
            image_url=image_url,
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
    from labelkit.workflows.pull import pull as run

    found, store = open_both(project)
    with store:
        report = run(found, store, Console(), file=file, take=take)
    finish(report, as_json)
