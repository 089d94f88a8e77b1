"""Review what the rounds predicted, choose what is labelled next, and check labels."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

import typer

from labelkit.cli.options import (
    HostOption,
    JsonOption,
    OverwriteOption,
    PortOption,
    ProjectOption,
)
from labelkit.cli.report import announce, finish, open_both
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
StrategyOption = Annotated[
    Literal["mixed", "uncertain", "diverse", "random", "manual"] | None,
    typer.Option("--strategy", help="Draw the queue this way, now and after each round."),
]
UnshownOption = Annotated[
    str | None,
    typer.Option(
        "--unshown",
        metavar="NAME,...",
        help='Serve these keypoints without pre-annotation from now on; "" serves all with it.',
    ),
]
WhyOption = Annotated[
    str | None, typer.Option("--why", metavar="ID", help="Explain where this object stands.")
]
PromiseOption = Annotated[
    float,
    typer.Option(
        "--promise", metavar="SHARE", help="Share of suspicions of each kind that should be right."
    ),
]
FoldsOption = Annotated[
    int,
    typer.Option(
        "--folds",
        metavar="N",
        help="Split the labels into N parts and train N networks, each of which predicts the part "
        "that it did not learn from. Later checks use these predictions too.",
    ),
]
AllMinutesOption = Annotated[
    float | None,
    typer.Option("--minutes", metavar="N", help="Minutes that all folds together may train."),
]
ModeOption = Annotated[
    Literal["ticks", "keypoints"] | None,
    typer.Option("--mode", help="Question to ask. Default: what the project needs next."),
]
NameOption = Annotated[
    str, typer.Option("--as", metavar="NAME", help="Who labels. Default: your user name.")
]
ListOption = Annotated[
    Path | None,
    typer.Option(
        "--objects",
        metavar="FILE",
        help="Label these instead of the queue: an object id or image path a line.",
    ),
]
SecondOption = Annotated[
    int | None,
    typer.Option(
        "--second",
        metavar="COUNT",
        help="Have this many objects labelled again by people who cannot see the first label.",
    ),
]
InviteOption = Annotated[
    str | None,
    typer.Option(
        "--invite",
        metavar="NAME",
        help="Print the address for another annotator of a running server, and exit.",
    ),
]
OpenOption = Annotated[bool, typer.Option("--open", help="Open the page in the browser.")]


def label(
    mode: ModeOption = None,
    annotator: NameOption = "",
    host: HostOption = "127.0.0.1",
    port: PortOption = 8095,
    objects: ListOption = None,
    second: SecondOption = None,
    invite: InviteOption = None,
    open_browser: OpenOption = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tick or correct keypoints on the labelling page.

    It serves what labelkit queue says, writes into the journal, and runs until Ctrl-C. Only those
    who know the printed address get in.

    \b
    Example:
      labelkit label --open
      labelkit label --invite anna
      labelkit label --second 60 --as anna
    """
    import webbrowser

    from labelkit.workflows.review_and_label.label import invitation
    from labelkit.workflows.review_and_label.label import label as run

    found, store = open_both(project)
    if invite is not None:
        store.close()
        print(invitation(found, invite, host, port))
        return
    try:
        with (
            store,
            run(
                found,
                store,
                mode=mode,
                annotator=annotator,
                objects=objects,
                second=second,
                host=host,
                port=port,
            ) as labelling,
        ):
            announce(labelling, as_json)
            if open_browser:
                webbrowser.open(labelling.url)
            labelling.run()
    except KeyboardInterrupt:
        Console().line("Stopped.")


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
    strategy: StrategyOption = None,
    unshown: UnshownOption = None,
    why: WhyOption = None,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what to correct next, or choose how it is drawn.

    With --from-review, instances chosen in FiftyOne come first and excluded ones are left out. A
    strategy holds until another is chosen. About a fifth of the draws is random under any but
    manual, and each draw's probability is kept.

    \b
    Example:
      labelkit queue --from-review
      labelkit queue --strategy uncertain
      labelkit queue --unshown left_wrist,right_wrist
    """
    from labelkit.project.project import lock_project
    from labelkit.workflows.review_and_label.queue import queue as run

    names = None if unshown is None else [name for name in unshown.split(",") if name]
    found, store = open_both(project)
    with lock_project(found), store:
        report = run(
            found, store, from_review=from_review, strategy=strategy, unshown=names, why=why
        )
    finish(report, as_json)


def check(
    promise: PromiseOption = 0.8,
    folds: FoldsOption = 0,
    minutes: AllMinutesOption = None,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Name labels that are probably wrong; change none.

    Exchanged sides, exchanged parts and misplaced keypoints, judged by the other labels and by
    predictions and maps of networks that did not learn from them; keypoints outside their box,
    duplicates, copies, and keypoints that contradict a visibility answer. Where two annotators
    labelled an object, also how far apart they are, and who is systematically off.

    \b
    Example:
      labelkit check
      labelkit check --promise 0.95
      labelkit check --folds 3 --minutes 30
    """
    from labelkit.project.project import lock_project
    from labelkit.workflows.review_and_label.check import check as run

    found, store = open_both(project)
    with lock_project(found) if folds else nullcontext(), store:
        report = run(found, store, Console(), promise=promise, folds=folds, minutes=minutes)
    finish(report, as_json)
