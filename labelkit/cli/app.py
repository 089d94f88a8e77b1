"""The command line: each command parses, calls one workflow, and prints its report."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from labelkit import __version__
from labelkit.cli.console import Console
from labelkit.cli.measure import benchmark
from labelkit.cli.options import (
    AppOption,
    BackboneOption,
    BoxesOption,
    CrowdBinsOption,
    DevicesOption,
    DryRunOption,
    EpochsOption,
    EvaluationImagesOption,
    EvaluationLabelsOption,
    FormatOption,
    FromReviewOption,
    HtmlOption,
    ImagesOption,
    InstancesOption,
    JsonOption,
    LabeledOption,
    LabelsOption,
    LimitOption,
    MapsOption,
    MetricOption,
    MirrorOption,
    OutputOption,
    OverwriteOption,
    PortOption,
    PredictionsFileOption,
    PredictionsOption,
    PresetOption,
    PretrainedOption,
    ProjectOption,
    RescoreOption,
    RotationOption,
    RoundOption,
    SeedOption,
    SkeletonOption,
    SkipDuplicatesOption,
    SkipMissingOption,
    SkipUnreadableOption,
    SupervisedOption,
    TruthOption,
    ViewOption,
)
from labelkit.cli.report import fail as _fail
from labelkit.cli.report import finish as _finish
from labelkit.cli.report import open_both as _open
from labelkit.cli.servers import serve, studio
from labelkit.cli.sync import pull, push
from labelkit.errors import LabelkitError, UsageError

#: Exit code of a command that was ended with Ctrl-C, as shells have it.
INTERRUPTED = 130

app = typer.Typer(
    name="labelkit",
    help="""Keypoint labels for a fraction of the clicks.

    Start with: labelkit bootstrap --images DIR""",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; end the process with 0, 1 error, 2 usage or 3 waiting for labels."""
    # Threads that spin for long while they wait bring a training to a standstill where other
    # programs want the cores; this many turns cost nothing where they do not.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        app(args=arguments)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            print("Interrupted. The same command goes on where it was.", file=sys.stderr)
        raise
    except LabelkitError as error:
        _fail(error.problem, error.next_step, error.exit_code)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" at {error.filename}" if error.filename else ""
        _fail(f"The disk is full{where}.", "Make room, then run the same command again.", 1)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"labelkit {__version__}")
        raise typer.Exit


@app.command()
def bootstrap(
    images: ImagesOption,
    labels: LabelsOption = None,
    boxes: BoxesOption = None,
    skeleton: SkeletonOption = None,
    labeled: LabeledOption = None,
    skip_unreadable: SkipUnreadableOption = False,
    skip_duplicates: SkipDuplicatesOption = False,
    skip_missing: SkipMissingOption = False,
    project: ProjectOption = None,
    preset: PresetOption = None,
    backbone: BackboneOption = None,
    epochs: EpochsOption = None,
    pretrained: PretrainedOption = None,
    rotation: RotationOption = None,
    mirror: MirrorOption = None,
    seed: SeedOption = None,
    devices: DevicesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register images and labels, train from visibility answers, pre-annotate.

    Without any answers it writes the Label Studio files that ask for them.

    Example: labelkit bootstrap --images frames --labels keypoints.json --labeled 0%
    """
    from labelkit.domain.selection import parse_percent
    from labelkit.workflows.bootstrap import bootstrap as run
    from labelkit.workflows.rounds.settings import TrainingOptions

    options = TrainingOptions(preset, backbone, epochs, pretrained, rotation, mirror, seed, devices)
    report = run(
        images,
        Console(),
        project_root=project,
        skeleton=skeleton,
        labels=labels,
        boxes=boxes,
        percent=parse_percent(labeled) if labeled else None,
        skip={
            "unreadable": skip_unreadable,
            "duplicates": skip_duplicates,
            "missing": skip_missing,
        },
        options=options,
    )
    _finish(report, as_json)


@app.command()
def retrain(
    labeled: LabeledOption = None,
    now: Annotated[bool, typer.Option("--now", help="Train on what there is.")] = False,
    project: ProjectOption = None,
    preset: PresetOption = None,
    backbone: BackboneOption = None,
    epochs: EpochsOption = None,
    pretrained: PretrainedOption = None,
    rotation: RotationOption = None,
    mirror: MirrorOption = None,
    seed: SeedOption = None,
    devices: DevicesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train on the corrected keypoints and everybody's visibility answers; pre-annotate again.

    With fewer labels than asked for it queues what is missing and leaves with exit code 3.

    Example: labelkit retrain --labeled 10%
    """
    from labelkit.domain.selection import parse_percent
    from labelkit.project.project import lock_project
    from labelkit.workflows.retrain import retrain as run
    from labelkit.workflows.rounds.settings import TrainingOptions

    percent = parse_percent(labeled) if labeled else None
    options = TrainingOptions(preset, backbone, epochs, pretrained, rotation, mirror, seed, devices)
    found, store = _open(project)
    with lock_project(found), store:
        report = run(found, store, Console(), percent=percent, now=now, options=options)
    _finish(report, as_json)


@app.command()
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
    """See what the model saw: boxes, keypoints, response maps, and views of what is doubtful.

    In FiftyOne, until Ctrl-C; or on one page without it.

    Example: labelkit review --view "most uncertain"
    """
    from labelkit.project.project import lock_project
    from labelkit.workflows.review import review as run
    from labelkit.workflows.reviewing.app import show as show_app
    from labelkit.workflows.reviewing.page import review_html

    found, store = _open(project)
    if html is not None:
        with store:
            page = review_html(
                found, store, Console(), html, number=round_number, limit=limit, overwrite=overwrite
            )
        _finish(page, as_json)
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
    _finish(report, as_json)


@app.command()
def queue(
    from_review: FromReviewOption = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what is corrected next; take over what was picked out or excluded in the review.

    Example: labelkit queue --from-review
    """
    from labelkit.project.project import lock_project
    from labelkit.workflows.queue import queue as run

    found, store = _open(project)
    with lock_project(found), store:
        report = run(found, store, from_review=from_review)
    _finish(report, as_json)


@app.command()
def status(project: ProjectOption = None, as_json: JsonOption = False) -> None:
    """Say where the project stands and what to do next.

    Example: labelkit status
    """
    from labelkit.workflows.status import status as run

    found, store = _open(project)
    with store:
        report = run(found, store)
    _finish(report, as_json)


@app.command()
def evaluate(
    images: EvaluationImagesOption = None,
    labels: EvaluationLabelsOption = None,
    supervised: SupervisedOption = True,
    predictions: PredictionsFileOption = None,
    truth: TruthOption = None,
    metric: MetricOption = None,
    rescore: RescoreOption = False,
    crowd_bins: CrowdBinsOption = None,
    project: ProjectOption = None,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Print the table: every round beside the skeleton in the box, the mean pose, supervised-only.

    Example: labelkit evaluate --images val/images --labels val/keypoints.json

    Or score a result file, of any origin, as the data set's official code does.

    Example: labelkit evaluate --predictions FILE --truth FILE --metric crowdpose
    """
    if any((predictions, truth, metric, rescore, crowd_bins is not None)):
        from labelkit.workflows.score import evaluate_files

        if images or labels or project or not supervised:
            raise UsageError(
                "A result file is scored on its own, without a project, images or labels.",
                "Type: labelkit evaluate --predictions FILE --truth FILE --metric NAME",
            )
        scores = evaluate_files(
            predictions,
            truth,
            metric,
            Console(),
            rescore=rescore,
            crowd_bins=crowd_bins,
            output=output,
            overwrite=overwrite,
        )
        _finish(scores, as_json)
    from labelkit.project.project import lock_project
    from labelkit.workflows.evaluate import evaluate as run

    found, store = _open(project)
    with lock_project(found), store:
        report = run(
            found,
            store,
            Console(),
            images=images,
            labels=labels,
            supervised=supervised,
            output=output,
            overwrite=overwrite,
        )
    _finish(report, as_json)


@app.command()
def export(
    form: FormatOption = "coco",
    predictions: PredictionsOption = False,
    project: ProjectOption = None,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write the labels in the format that training code reads.

    Example: labelkit export --format coco --output corrected.json
    """
    from labelkit.workflows.export import export as run

    found, store = _open(project)
    with store:
        report = run(
            found,
            store,
            form=form,
            predictions=predictions,
            output=output,
            dry_run=dry_run,
            overwrite=overwrite,
        )
    _finish(report, as_json)


@app.command()
def doctor(project: ProjectOption = None, as_json: JsonOption = False) -> None:
    """Check the installation and the project; exit code 1 if something will fail.

    Example: labelkit doctor
    """
    from labelkit.workflows.doctor import doctor as run

    _finish(run(project), as_json)


@app.command()
def demo(
    project: Annotated[
        Path, typer.Option("--project", help="Folder for images, project and results.")
    ] = Path("demo"),
    seed: Annotated[int, typer.Option("--seed", help="Of the figures and the trainings.")] = 0,
    epochs: EpochsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the whole loop on generated figures, corrected by a simulated annotator.

    Example: labelkit demo
    """
    from labelkit.workflows.demo import demo as run

    _finish(run(project, Console(), seed=seed, epochs=epochs), as_json)


app.command()(benchmark)
app.command()(push)
app.command()(pull)
app.command()(studio)
app.command()(serve)
