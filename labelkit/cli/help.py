"""Help to get started: a demo, and a check of the installation."""

from __future__ import annotations

from dataclasses import replace
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

FullOption = Annotated[
    bool,
    typer.Option("--full", help="More robots, 5% and 10% corrected, longer trainings."),
]


def demo(
    folder: FolderOption = Path("demo"),
    seed: SeedOption = 0,
    full: FullOption = False,
    epochs: EpochsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the whole loop on generated pictures of toy robots.

    A simulated annotator corrects them. It takes about three minutes on two CPU cores, and needs no
    data, GPU, internet or server. Each stage leaves a picture in demo/pictures.

    \b
    Example:
      labelkit demo
    """
    from labelkit.workflows.help.demo import FULL, QUICK
    from labelkit.workflows.help.demo import demo as run

    size = FULL if full else QUICK
    if epochs is not None:
        size = replace(size, epochs_on_ticks=epochs, epochs=epochs)
    finish(run(folder, Console(), seed=seed or 0, size=size), as_json)


def doctor(project: ProjectOption = None, as_json: JsonOption = False) -> None:
    """Check the installation and the project.

    Exits with code 1 if something will fail.

    \b
    Example:
      labelkit doctor
    """
    from labelkit.workflows.help.doctor import doctor as run

    finish(run(project), as_json)
