"""Help to get started: a demo, and a check of the installation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labelkit.cli.options import EpochsOption, JsonOption, ProjectOption, SeedOption
from labelkit.cli.report import finish
from labelkit.progress import Console

FolderOption = Annotated[
    Path,
    typer.Option("--folder", metavar="DIR", help="Folder for images, project and results."),
]


def demo(
    folder: FolderOption = Path("demo"),
    seed: SeedOption = 0,
    epochs: EpochsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the whole loop on generated figures.

    A simulated annotator corrects them. It takes 5 to 15 minutes on two CPU cores, and needs no
    data, GPU or server.

    \b
    Example:
      labelkit demo
    """
    from labelkit.workflows.help.demo import demo as run

    finish(run(folder, Console(), seed=seed or 0, epochs=epochs), as_json)


def doctor(project: ProjectOption = None, as_json: JsonOption = False) -> None:
    """Check the installation and the project.

    Exits with code 1 if something will fail.

    \b
    Example:
      labelkit doctor
    """
    from labelkit.workflows.help.doctor import doctor as run

    finish(run(project), as_json)
