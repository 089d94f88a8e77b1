"""The command line: each command parses, calls one workflow, and prints its report."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from labelkit import __version__
from labelkit.console import Console
from labelkit.errors import LabelkitError

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

ProjectOption = Annotated[
    Path | None,
    typer.Option("--project", help="Project folder. Default: the one you stand in, or below."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result for machines.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be written.")]
OutputOption = Annotated[Path | None, typer.Option("--output", help="Where the result goes.")]
LabeledOption = Annotated[
    str | None,
    typer.Option(
        "--labeled", metavar="P%", help="Instances whose keypoints give locations, such as 10%."
    ),
]
PresetOption = Annotated[
    str | None,
    typer.Option("--preset", help="paper, plus (GPUs) or tiny (CPUs). Default: by machine."),
]
BackboneOption = Annotated[
    str | None, typer.Option("--backbone", help="A timm model instead of the preset's.")
]
EpochsOption = Annotated[int | None, typer.Option("--epochs", help="Passes over the project.")]
PretrainedOption = Annotated[
    bool | None,
    typer.Option("--pretrained/--no-pretrained", help="Start from ImageNet weights (timm)."),
]
RotationOption = Annotated[
    float | None,
    typer.Option("--rotation", metavar="DEG", help="How far training crops turn, either way."),
]
MirrorOption = Annotated[
    bool | None,
    typer.Option(
        "--mirror/--no-mirror",
        help="Also train on mirror images. Off where left and right look different.",
    ),
]
SeedOption = Annotated[int | None, typer.Option("--seed", help="Of every random choice.")]
DevicesOption = Annotated[
    int | None, typer.Option("--devices", help="GPUs or processes on this machine.")
]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; end the process with 0, 1 error, 2 usage or 3 waiting for labels."""
    try:
        app(args=arguments)
    except LabelkitError as error:
        _fail(error.problem, error.next_step, error.exit_code)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" at {error.filename}" if error.filename else ""
        _fail(f"The disk is full{where}.", "Make room, then run the same command again.", 1)


def _fail(problem: str, next_step: str, code: int) -> None:
    print(f"error: {problem}", file=sys.stderr)
    if next_step:
        print(next_step, file=sys.stderr)
    raise SystemExit(code)


def _finish(report: Any, as_json: bool) -> None:
    """Print a report for people or machines; leave with its exit code."""
    if as_json:
        data = report.data() if hasattr(report, "data") else asdict(report)
        print(json.dumps(data, indent=2, ensure_ascii=False, default=str))
    else:
        print(report.text())
    raise typer.Exit(report.exit_code)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"labelkit {__version__}")
        raise typer.Exit


@app.command()
def bootstrap(
    images: Annotated[Path, typer.Option("--images", help="Folder of images; only read.")],
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            help="Existing labels: COCO, DeepLabCut or Lightning Pose keypoints, visibility CSV.",
        ),
    ] = None,
    boxes: Annotated[
        str | None,
        typer.Option(
            "--boxes",
            metavar="FILE|whole-image|detect",
            help="Where boxes come from. Default: the labels; else people are detected.",
        ),
    ] = None,
    skeleton: Annotated[
        str | None,
        typer.Option(
            "--skeleton",
            help="coco17, crowdpose14, mpii16, lsp14, a TOML file, DeepLabCut config or COCO file.",
        ),
    ] = None,
    labeled: LabeledOption = None,
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Leave unreadable images out.")
    ] = False,
    skip_duplicates: Annotated[
        bool, typer.Option("--skip-duplicates", help="Keep one of images with the same content.")
    ] = False,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out labels of images that are not there.")
    ] = False,
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
    from labelkit.selection import parse_percent
    from labelkit.workflows.bootstrap import bootstrap as run

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
        options=_training(preset, backbone, epochs, pretrained, rotation, mirror, seed, devices),
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
    from labelkit.project import lock_project
    from labelkit.selection import parse_percent
    from labelkit.workflows.retrain import retrain as run

    percent = parse_percent(labeled) if labeled else None
    options = _training(preset, backbone, epochs, pretrained, rotation, mirror, seed, devices)
    found, store = _open(project)
    with lock_project(found), store:
        report = run(found, store, Console(), percent=percent, now=now, options=options)
    _finish(report, as_json)


@app.command()
def push(
    files: Annotated[
        bool,
        typer.Option("--files", help="Write import files, for a server you import to by hand."),
    ] = False,
    project: ProjectOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Send the queue to Label Studio: what can be seen first, corrections later.

    Example: labelkit push --files
    """
    from labelkit.errors import UsageError
    from labelkit.workflows.push import push_files

    if not files:
        raise UsageError(
            "labelkit push writes import files; it does not talk to a server yet.",
            "Type: labelkit push --files",
        )
    found, store = _open(project)
    with store:
        report = push_files(found, store, dry_run=dry_run)
    _finish(report, as_json)


@app.command()
def pull(
    file: Annotated[Path, typer.Option("--file", help="JSON export of a Label Studio project.")],
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take answers and corrections into the label store; each of them once, none ever replaced.

    Example: labelkit pull --file export.json
    """
    from labelkit.project import lock_project
    from labelkit.workflows.pull import pull_file

    found, store = _open(project)
    with lock_project(found), store:
        report = pull_file(found, store, file)
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
    images: Annotated[
        Path | None, typer.Option("--images", help="Evaluation images. Default: the dev set.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", help="Their keypoints, in any format bootstrap reads."),
    ] = None,
    supervised: Annotated[
        bool,
        typer.Option("--supervised/--no-supervised", help="Train the supervised-only rows too."),
    ] = True,
    project: ProjectOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the table: every round beside the skeleton in the box, the mean pose, supervised-only.

    Example: labelkit evaluate --images val/images --labels val/keypoints.json
    """
    from labelkit.project import lock_project
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
        )
    _finish(report, as_json)


@app.command()
def export(
    form: Annotated[
        str, typer.Option("--format", help="coco, yolo or visibility (a CSV of answers).")
    ] = "coco",
    predictions: Annotated[
        bool, typer.Option("--predictions", help="Also what only the model has posed, with scores.")
    ] = False,
    project: ProjectOption = None,
    output: OutputOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write the labels in the format that training code reads.

    Example: labelkit export --format coco --output keypoints.json
    """
    from labelkit.workflows.export import export as run

    found, store = _open(project)
    with store:
        report = run(
            found, store, form=form, predictions=predictions, output=output, dry_run=dry_run
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


def _training(*said: Any) -> Any:
    from labelkit.workflows.settings import TrainingOptions

    return TrainingOptions(*said)


def _open(root: Path | None) -> tuple[Any, Any]:
    """The project that was named or that one stands in, and its label store."""
    from labelkit.project import find_project, open_project
    from labelkit.store import LabelStore

    project = open_project(root) if root else find_project(Path.cwd())
    return project, LabelStore.open(project.store_url)
