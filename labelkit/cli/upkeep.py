"""Upkeep: what to do when the images or the skeleton of a project change."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from labelkit.cli.options import DryRunOption, JsonOption, ProjectOption
from labelkit.cli.report import finish, open_both
from labelkit.progress import Console

ImagesAction = Annotated[
    Literal["list", "remove", "restore", "relocate"],
    typer.Argument(help="What to do.", show_default=False),
]
ImagePaths = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[PATH]...", help="Images; for relocate, the new images folder."),
]


def images(
    action: ImagesAction,
    paths: ImagePaths = None,
    dry_run: DryRunOption = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Follow images that were deleted, renamed or moved.

    \b
    list      show which images are gone, changed, new or removed
    remove    take images out of the project, by default those that are gone
              or changed; their labels stay in the journal
    restore   take removed images back, by default all of them
    relocate  find renamed and moved images by their content; with a folder,
              that is the images folder from now on

    New images are registered by labelkit bootstrap. Tasks on a Label Studio server follow at the
    next labelkit push.

    \b
    Example:
      labelkit images list
      labelkit images remove blurred/017.jpg
      labelkit images relocate photographs
    """
    from labelkit.project.project import lock_project
    from labelkit.workflows.upkeep.images import images as run

    found, store = open_both(project)
    with lock_project(found), store:
        report = run(found, store, Console(), action, paths or [], dry_run=dry_run)
    finish(report, as_json)
