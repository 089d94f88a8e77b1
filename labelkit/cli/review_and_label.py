"""Review what the rounds predicted, and choose what is labelled next."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labelkit.cli.options import JsonOption, OverwriteOption, PortOption, ProjectOption
from labelkit.cli.report import finish, open_both
from labelkit.progress import Console

HtmlOption = Annotated[
    Path | None,
    typer.Option(
        "--html", metavar="FILE", help="Write one HTML page instead; FiftyOne is not needed."
    ),
]
AppOption = Annotated[
    bool, typer.Option("--app/--no-app", help="Open the App, or only update its dataset.")
]
RoundOption = Annotated[
    int | None,
    typer.Option("--round", metavar="N", help="Round to review. Default: the newest."),
]
LimitOption = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", min=1, help="At most N instances, most uncertain first."),
]
ViewOption = Annotated[
    str | None,
    typer.Option("--view", metavar="NAME", help='Saved view to open, for example "control arm".'),
]
InstancesOption = Annotated[
    bool, typer.Option("--instances", help="Show a crop of each instance, grouped by image.")
]
MapsOption = Annotated[
    bool,
    typer.Option("--maps/--no-maps", help="Show response maps and class activation maps."),
]
FromReviewOption = Annotated[
    bool,
    typer.Option("--from-review", help="Apply the tags and the selection made in FiftyOne."),
]


def review(
    html: HtmlOption = None,
    overwrite: OverwriteOption = False,
    show: AppOption = True,
    round_number: RoundOption = None,
    limit: LimitOption = None,
    view: ViewOption = None,
    instances: InstancesOption = False,
    maps: MapsOption = True,
    port: PortOption = 5151,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Browse labels, predictions and response maps.

    It opens FiftyOne, with a saved view for each kind of doubt, and runs until Ctrl-C; or it
    writes one HTML page.

    \b
    Example:
      labelkit review --view "most uncertain"
      labelkit review --html review.html
    """
    from labelkit.project.project import lock_project
    from labelkit.workflows.review_and_label.review import review as run
    from labelkit.workflows.reviewing.app import show as show_app
    from labelkit.workflows.reviewing.page import review_html

    found, store = open_both(project)
    if html is not None:
        with store:
            page = review_html(
                found, store, Console(), html, number=round_number, limit=limit, overwrite=overwrite
            )
        finish(page, as_json)
    with lock_project(found), store:
        report = run(
            found,
            store,
            Console(),
            number=round_number,
            limit=limit,
            instances=instances,
            view=view,
            with_maps=maps,
            serve=show,
        )
    if show:
        show_app(found, report, Console(), port)
    finish(report, as_json)


def queue(
    from_review: FromReviewOption = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what to correct next, or take choices from the review.

    With --from-review, instances chosen in FiftyOne come first and excluded ones are left out.

    \b
    Example:
      labelkit queue --from-review
    """
    from labelkit.project.project import lock_project
    from labelkit.workflows.review_and_label.queue import queue as run

    found, store = open_both(project)
    with lock_project(found), store:
        report = run(found, store, from_review=from_review)
    finish(report, as_json)
