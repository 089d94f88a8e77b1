"""The command that runs the tables of the paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labelkit.cli.console import Console
from labelkit.cli.options import (
    BackboneOption,
    EpochsOption,
    JsonOption,
    MirrorOption,
    PresetOption,
    PretrainedOption,
    RotationOption,
)
from labelkit.cli.report import finish

TableArgument = Annotated[
    str,
    typer.Argument(
        metavar="TABLE",
        help="location-free, semi-weak, modules, depth, response, plus, plus-location-free.",
    ),
]
FolderOption = Annotated[
    Path, typer.Option("--project", help="Folder of the benchmark; one that exists goes on.")
]
TrainImagesOption = Annotated[
    Path | None, typer.Option("--images", help="Folder of images to learn from, the first time.")
]
TrainLabelsOption = Annotated[
    Path | None, typer.Option("--labels", help="Their keypoints, the first time.")
]
TestImagesOption = Annotated[
    Path | None, typer.Option("--test-images", help="To score on. Default: the dev set.")
]
TestLabelsOption = Annotated[Path | None, typer.Option("--test-labels", help="Their keypoints.")]
PercentOption = Annotated[
    list[str] | None,
    typer.Option("--labeled", metavar="P%", help="Run rows of this percentage; may be repeated."),
]
OnlyOption = Annotated[
    str,
    typer.Option("--only", metavar="TEXT", help="Run the row of this name, or all that hold it."),
]
LargerOption = Annotated[
    str | None, typer.Option("--larger", help="The second backbone of semi-weak: a timm model.")
]
SeedsOption = Annotated[int, typer.Option("--seeds", min=1, help="How many; from 0.")]


def benchmark(
    table: TableArgument,
    project: FolderOption = Path("benchmark"),
    images: TrainImagesOption = None,
    labels: TrainLabelsOption = None,
    test_images: TestImagesOption = None,
    test_labels: TestLabelsOption = None,
    labeled: PercentOption = None,
    only: OnlyOption = "",
    larger: LargerOption = None,
    seeds: SeedsOption = 3,
    preset: PresetOption = None,
    backbone: BackboneOption = None,
    epochs: EpochsOption = None,
    pretrained: PretrainedOption = None,
    rotation: RotationOption = None,
    mirror: MirrorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train and score the rows of a table of the paper on your labelled images.

    Every row has the same split, labels, seeds and number of steps. Run again, it goes on where it
    was and trains as it did; a row that another table has trained is not trained again. The report
    has the rows that are asked for and all that have been run before.

    Example: labelkit benchmark semi-weak --images frames --labels keypoints.json --labeled 10%
    """
    from labelkit.domain.selection import parse_percent
    from labelkit.workflows.benchmark import benchmark as run
    from labelkit.workflows.rounds.settings import TrainingOptions

    options = TrainingOptions(preset, backbone, epochs, pretrained, rotation, mirror)
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
        larger=larger,
        seeds=seeds,
        options=options,
    )
    finish(report, as_json)
