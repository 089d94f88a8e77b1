"""Options that mean the same in every command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ProjectOption = Annotated[
    Path | None,
    typer.Option("--project", help="Project folder. Default: the one you stand in, or below."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result for machines.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be written.")]
OutputOption = Annotated[Path | None, typer.Option("--output", help="Where the result goes.")]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace a file that labelkit did not write, too.")
]
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

ImagesOption = Annotated[Path, typer.Option("--images", help="Folder of images; only read.")]
LabelsOption = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        help="Existing labels: COCO, DeepLabCut or Lightning Pose keypoints, visibility CSV.",
    ),
]
BoxesOption = Annotated[
    str | None,
    typer.Option(
        "--boxes",
        metavar="FILE|whole-image|detect",
        help="Where boxes come from. Default: the labels; else people are detected.",
    ),
]
SkeletonOption = Annotated[
    str | None,
    typer.Option(
        "--skeleton",
        help="coco17, crowdpose14, mpii16, lsp14, a TOML file, DeepLabCut config or COCO file.",
    ),
]
SkipUnreadableOption = Annotated[
    bool, typer.Option("--skip-unreadable", help="Leave unreadable images out.")
]
SkipDuplicatesOption = Annotated[
    bool, typer.Option("--skip-duplicates", help="Keep one of images with the same content.")
]
SkipMissingOption = Annotated[
    bool, typer.Option("--skip-missing", help="Leave out labels of images that are not there.")
]

AppOption = Annotated[
    bool, typer.Option("--app/--no-app", help="Open the App, or only bring its dataset up to date.")
]
RoundOption = Annotated[
    int | None,
    typer.Option("--round", metavar="N", help="Look into this round. Default: the newest."),
]
LimitOption = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", min=1, help="At most N instances, least sure first."),
]
ViewOption = Annotated[
    str | None, typer.Option("--view", metavar="NAME", help='A saved view, such as "control arm".')
]
InstancesOption = Annotated[
    bool, typer.Option("--instances", help="A crop for each instance, grouped with its image.")
]
MapsOption = Annotated[bool, typer.Option("--maps/--no-maps", help="Show response maps and CAMs.")]
HtmlOption = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Write one page instead; needs no FiftyOne."),
]
PortOption = Annotated[int, typer.Option("--port", help="Of the App, on this machine.")]
FromReviewOption = Annotated[
    bool,
    typer.Option("--from-review", help="Take over what was tagged and selected in FiftyOne."),
]
EvaluationImagesOption = Annotated[
    Path | None, typer.Option("--images", help="Evaluation images. Default: the dev set.")
]
EvaluationLabelsOption = Annotated[
    Path | None, typer.Option("--labels", help="Their keypoints, in any format bootstrap reads.")
]
SupervisedOption = Annotated[
    bool, typer.Option("--supervised/--no-supervised", help="Train the supervised-only rows too.")
]
FormatOption = Annotated[
    str, typer.Option("--format", help="coco, yolo or visibility (a CSV of answers).")
]
PredictionsOption = Annotated[
    bool, typer.Option("--predictions", help="Also what only the model has posed, with scores.")
]
PredictionsFileOption = Annotated[
    Path | None,
    typer.Option("--predictions", help="Score this result file, of any origin; needs no project."),
]
TruthOption = Annotated[
    Path | None, typer.Option("--truth", help="The data set's own file of labels.")
]
MetricOption = Annotated[
    str | None, typer.Option("--metric", metavar="NAME", help="coco, crowdpose, mpii or lsp.")
]
RescoreOption = Annotated[
    bool,
    typer.Option(
        "--rescore",
        help="Scores are still those of boxes: multiply them with the joints', and drop duplicates "
        "(OKS-NMS). Default: the file is scored as it is.",
    ),
]
CrowdBinsOption = Annotated[
    str | None,
    typer.Option(
        "--crowd-bins", metavar="EDGES", help="AP by Crowd Index too, such as 0,0.1,0.8,1."
    ),
]
