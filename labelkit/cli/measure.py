"""Measure a project's rounds, any result file, or the tables of the paper."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from labelkit.cli.options import (
    BackboneOption,
    EpochsOption,
    InputSizeOption,
    JsonOption,
    MirrorOption,
    OutputOption,
    OverwriteOption,
    PrecisionOption,
    PresetOption,
    PretrainedOption,
    ProjectOption,
    RotationOption,
    WeightsOption,
)
from labelkit.cli.report import finish, open_both
from labelkit.errors import UsageError
from labelkit.progress import Console

#: Options of `labelkit evaluate` before `labelkit score` was a command of its own.
SCORE_OPTIONS = {"--predictions", "--truth", "--metric", "--rescore", "--crowd-bins"}

EvaluationImagesOption = Annotated[
    Path | None,
    typer.Option(
        "--images", metavar="DIR", help="Folder of evaluation images. Default: the dev set."
    ),
]
EvaluationLabelsOption = Annotated[
    Path | None,
    typer.Option("--labels", metavar="FILE|DIR", help="Keypoints of the evaluation images."),
]
SupervisedOption = Annotated[
    bool, typer.Option("--supervised/--no-supervised", help="Also train the supervised-only rows.")
]

PredictionsOption = Annotated[
    Path, typer.Option("--predictions", metavar="FILE", help="Result file of any method.")
]
TruthOption = Annotated[
    Path, typer.Option("--truth", metavar="FILE", help="The data set's own label file.")
]
MetricOption = Annotated[
    Literal["coco", "crowdpose", "mpii", "lsp", "oks"],
    typer.Option(
        "--metric",
        help="Data set whose official metric is computed; oks is COCO's for any keypoints.",
    ),
]
SigmasOption = Annotated[
    str | None,
    typer.Option(
        "--skeleton",
        metavar="NAME|FILE",
        help="Skeleton whose sigmas are used (oks only). Default: those of the truth, else equal.",
    ),
]
RescoreOption = Annotated[
    bool,
    typer.Option(
        "--rescore",
        help="If scores are still the box's: multiply them by the mean joint score, then drop "
        "duplicates (OKS-NMS).",
    ),
]
CrowdBinsOption = Annotated[
    str | None,
    typer.Option(
        "--crowd-bins",
        metavar="EDGES",
        help="Also print AP by Crowd Index, for example 0,0.1,0.8,1 (crowdpose only).",
    ),
]

RoundsOption = Annotated[
    list[int] | None,
    typer.Option(
        "--round",
        metavar="N",
        help="Round to compare; may be repeated. Default: the newest network, and the newest round "
        "of each other model.",
    ),
]
ToleranceOption = Annotated[
    float,
    typer.Option(
        "--tolerance",
        metavar="SHARE",
        help="A keypoint within this share of the box's long side needs no correction.",
    ),
]

TableArgument = Annotated[
    Literal[
        "location-free",
        "semi-weak",
        "modules",
        "depth",
        "response",
        "plus",
        "plus-location-free",
        "detector-free",
    ],
    typer.Argument(metavar="TABLE", show_choices=False, help="One of the tables above."),
]
BenchmarkOption = Annotated[
    Path,
    typer.Option(
        "--project", metavar="DIR", help="Project folder of the benchmark, made the first time."
    ),
]
TrainImagesOption = Annotated[
    Path | None,
    typer.Option(
        "--images", metavar="DIR", help="Folder of training images; needed the first time."
    ),
]
TrainLabelsOption = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        metavar="FILE|DIR",
        help="Keypoints of the training images; needed the first time.",
    ),
]
TestImagesOption = Annotated[
    Path | None,
    typer.Option("--test-images", metavar="DIR", help="Folder of test images. Default: a dev set."),
]
TestLabelsOption = Annotated[
    Path | None,
    typer.Option("--test-labels", metavar="FILE", help="Keypoints of the test images."),
]
PercentOption = Annotated[
    list[str] | None,
    typer.Option(
        "--labeled",
        metavar="P%",
        help="Run only the rows of this percentage; may be repeated.",
    ),
]
OnlyOption = Annotated[
    str,
    typer.Option(
        "--only", metavar="TEXT", help="Run the row of this name, or all rows that contain it."
    ),
]
SeedsOption = Annotated[
    int, typer.Option("--seeds", metavar="N", min=1, help="Number of seeds: 0 to N - 1.")
]

HourlyRateOption = Annotated[
    float | None,
    typer.Option(
        "--hourly-rate", metavar="PRICE", help="What an hour of labelling costs, in any currency."
    ),
]

DataImagesArgument = Annotated[
    Path, typer.Argument(metavar="IMAGES", help="Folder of the images.", show_default=False)
]
DataLabelsArgument = Annotated[
    Path,
    typer.Argument(
        metavar="LABELS", help="Their label file, or a folder of such files.", show_default=False
    ),
]
SimulationOption = Annotated[
    Path,
    typer.Option("--project", metavar="DIR", help="Folder of the simulation, made the first time."),
]
ArmsOption = Annotated[
    list[str] | None,
    typer.Option("--arm", metavar="NAME", help="Play this arm; may be repeated. Default: all."),
]
TrainedAtOption = Annotated[
    list[str] | None,
    typer.Option(
        "--labeled",
        metavar="P%",
        help="Train at this percentage; may be repeated. Default: 10%, 25% and 50%.",
    ),
]
ForeignOption = Annotated[
    Path | None,
    typer.Option(
        "--predictions",
        metavar="FILE",
        help="Predictions of another model, which two more arms begin with.",
    ),
]
AcceptedOption = Annotated[
    float,
    typer.Option(
        "--tolerance",
        metavar="SHARE",
        min=0.0,
        max=1.0,
        help="A shown keypoint this near is accepted, as a share of the box's long side.",
    ),
]
NoiseOption = Annotated[
    float,
    typer.Option(
        "--noise",
        metavar="SHARE",
        min=0.0,
        max=1.0,
        help="Standard deviation of placed keypoints, as a share of the box's long side.",
    ),
]
FollowOption = Annotated[
    bool, typer.Option("--follow/--no-follow", help="Other keypoints move after each one set.")
]
SecondsOption = Annotated[
    str,
    typer.Option(
        "--seconds",
        metavar="NAME=S,...",
        help="What actions take. Default: object=1.35,look=0.23,click=1.3,drag=2.4,key=0.28.",
    ),
]


def evaluate(
    images: EvaluationImagesOption = None,
    labels: EvaluationLabelsOption = None,
    supervised: SupervisedOption = True,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score every round beside the baselines.

    The baselines are the skeleton in the box, the mean pose, and a network trained on the same
    locations alone (supervised-only). Result files of other methods: labelkit score.

    \b
    Example:
      labelkit evaluate
      labelkit evaluate --images val/images --labels val/keypoints.json
    """
    from labelkit.project.project import lock_project
    from labelkit.workflows.measure.evaluate import evaluate as run

    found, store = open_both(project)
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
    finish(report, as_json)


def refuse_score_options(arguments: Sequence[str]) -> None:
    """Name the `labelkit score` command for what `labelkit evaluate` used to do.

    Args:
        arguments: of `labelkit evaluate`.

    Raises:
        UsageError: if one of them has moved to `labelkit score`.
    """
    if SCORE_OPTIONS & {argument.partition("=")[0] for argument in arguments}:
        raise UsageError(
            "Result files are now scored by labelkit score, not by labelkit evaluate.",
            f"Type: {shlex.join(['labelkit', 'score', *arguments])}",
        )


def score(
    predictions: PredictionsOption,
    truth: TruthOption,
    metric: MetricOption,
    rescore: RescoreOption = False,
    crowd_bins: CrowdBinsOption = None,
    skeleton: SigmasOption = None,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score a result file with the official metric of a data set.

    It needs no project. Results are COCO results for coco, oks and crowdpose, and a MATLAB or JSON
    list of poses for mpii and lsp.

    \b
    Example:
      labelkit score --predictions results.json \\
        --truth crowdpose_test.json --metric crowdpose
      labelkit score --predictions results.json \\
        --truth keypoints.json --metric oks --skeleton mouse.toml
    """
    from labelkit.workflows.measure.score import score as run

    report = run(
        predictions,
        truth,
        metric,
        Console(),
        rescore=rescore,
        crowd_bins=crowd_bins,
        skeleton=skeleton,
        output=output,
        overwrite=overwrite,
    )
    finish(report, as_json)


def referee(
    round_numbers: RoundsOption = None,
    tolerance: ToleranceOption = 0.1,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the pre-annotations that are the cheapest to correct.

    It counts the drags, clicks and keys that each round would have cost on the labelled objects of
    the dev set, which is random, with an interval.

    \b
    Example:
      labelkit referee
      labelkit referee --round 0 --round 2 --tolerance 0.05
    """
    from labelkit.workflows.measure.referee import referee as run

    found, store = open_both(project)
    with store:
        report = run(found, store, numbers=round_numbers or (), tolerance=tolerance)
    finish(report, as_json)


def report(
    output: OutputOption = None,
    hourly_rate: HourlyRateOption = None,
    overwrite: OverwriteOption = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what pre-annotation saves, and whether to go on.

    Savings are measured on the objects that chance serves without pre-annotation. With --output,
    it is also an HTML page, in one file.

    \b
    Example:
      labelkit report
      labelkit report --output report.html --hourly-rate 30
    """
    from labelkit.workflows.measure.report import report as run

    found, store = open_both(project)
    with store:
        made = run(found, store, output=output, hourly_rate=hourly_rate, overwrite=overwrite)
    finish(made, as_json)


def benchmark(
    table: TableArgument,
    images: TrainImagesOption = None,
    labels: TrainLabelsOption = None,
    test_images: TestImagesOption = None,
    test_labels: TestLabelsOption = None,
    labeled: PercentOption = None,
    only: OnlyOption = "",
    seeds: SeedsOption = 3,
    project: BenchmarkOption = Path("benchmark"),
    preset: PresetOption = None,
    backbone: BackboneOption = None,
    epochs: EpochsOption = None,
    pretrained: PretrainedOption = None,
    weights: WeightsOption = None,
    input_size: InputSizeOption = None,
    rotation: RotationOption = None,
    mirror: MirrorOption = None,
    precision: PrecisionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a table of the paper on your labelled images.

    All rows share the split, the labels, the seeds and the number of steps. Run again, it continues
    with the same settings and trains no row twice. The report shows every row that has been run.

    \b
    Tables:
      location-free       visibility answers alone (Tables 1-3 of the paper)
      semi-weak           answers and a part of the locations (Table 4)
      modules             what each module contributes (Table 5)
      depth               layers of encoder and decoder (Table 6)
      response            response at the true keypoint (Table 7)
      plus                labelkit's departures from the paper, at 10 %
      plus-location-free  the same with visibility answers alone
      detector-free       whole images without boxes: two networks, four ways
                          to use unlabelled images

    \b
    Example:
      labelkit benchmark semi-weak --images frames \\
        --labels keypoints.json --labeled 10%
      labelkit benchmark detector-free --project coco \\
        --images train2017 --labels person_keypoints_train2017.json \\
        --test-images val2017 --test-labels person_keypoints_val2017.json
    """
    from labelkit.domain.selection import parse_percent
    from labelkit.workflows.measure.benchmark import benchmark as run
    from labelkit.workflows.rounds.settings import TrainingOptions

    options = TrainingOptions(
        preset,
        backbone,
        epochs,
        pretrained,
        rotation,
        mirror,
        precision,
        weights=str(weights.resolve()) if weights else None,
        input_size=input_size,
    )
    report = run(
        table,
        Console(),
        root=project,
        images=images,
        labels=labels,
        test_images=test_images,
        test_labels=test_labels,
        percent=[parse_percent(text) for text in labeled or ()],
        only=only,
        seeds=seeds,
        options=options,
    )
    finish(report, as_json)


def simulate(
    images: DataImagesArgument,
    labels: DataLabelsArgument,
    arm: ArmsOption = None,
    labeled: TrainedAtOption = None,
    predictions: ForeignOption = None,
    seeds: SeedsOption = 1,
    tolerance: AcceptedOption = 0.05,
    noise: NoiseOption = 0.01,
    follow: FollowOption = True,
    seconds: SecondsOption = "",
    project: SimulationOption = Path("simulation"),
    preset: PresetOption = None,
    backbone: BackboneOption = None,
    epochs: EpochsOption = None,
    pretrained: PretrainedOption = None,
    weights: WeightsOption = None,
    input_size: InputSizeOption = None,
    precision: PrecisionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what labelling a data set would have cost.

    A simulated annotator labels it from nothing on, and in projects that differ in one thing:
    the network, the queue, visibility answers. Run again, it continues.

    \b
    Arms:
      from scratch            no network; always played
      supervised-only         the simple baseline, objects at random
      ours, random            visibility answers of all first, then at random
      ours, queued            the same by labelkit queue
      ours, queued, no ticks  the same without visibility answers
      foreign start           another model's predictions, by labelkit queue
      foreign start, then ours  the same, and then labelkit's network

    \b
    Example:
      labelkit simulate frames keypoints.json --preset tiny
    """
    from labelkit.domain.selection import parse_percent
    from labelkit.workflows.measure.simulate import simulate as run
    from labelkit.workflows.rounds.settings import TrainingOptions
    from labelkit.workflows.simulation.hands import Habits, read_seconds

    report = run(
        images,
        labels,
        Console(),
        root=project,
        arms=arm or (),
        percents=[parse_percent(text) for text in labeled or ()],
        seeds=seeds,
        habits=Habits(tolerance, noise, follow, **read_seconds(seconds)),
        options=TrainingOptions(
            preset,
            backbone,
            epochs,
            pretrained,
            precision=precision,
            weights=str(weights.resolve()) if weights else None,
            input_size=input_size,
        ),
        predictions=predictions,
    )
    finish(report, as_json)
