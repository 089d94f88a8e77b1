"""Options that several commands share, and mean the same thing in each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

# Where the project is, and what comes out.

ProjectOption = Annotated[
    Path | None,
    typer.Option(
        "--project", metavar="DIR", help="Project folder. Default: found from the current folder."
    ),
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", metavar="FILE", help="Write the result to this file.")
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Also replace a file that labelkit did not write.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would be written.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

PairsOption = Annotated[
    str | None,
    typer.Option(
        "--pairs",
        metavar="LEFT:RIGHT,...|none",
        help="Left/right pairs, which a mirror image swaps. Default: the skeleton's, else by name.",
    ),
]

# Existing labels.

LabelPixelsOption = Annotated[
    Literal["file", "picture"] | None,
    typer.Option(
        "--label-pixels",
        help="Where the labels give another image size than the picture has: whose pixels they "
        "count.",
    ),
]
GroupOption = Annotated[
    Literal["parent", "box", "image"] | None,
    typer.Option(
        "--group",
        help="What decides to which object a keypoint of a Label Studio export belongs: its parent "
        "or relation, the smallest box around it, or the image. Default: all that is clear.",
    ),
]
SkipMissingOption = Annotated[
    bool, typer.Option("--skip-missing", help="Leave out labels whose image is missing.")
]
SkipUnreadableOption = Annotated[
    bool, typer.Option("--skip-unreadable", help="Leave out unreadable images.")
]

# Servers and the FiftyOne App.

HostOption = Annotated[
    str,
    typer.Option(
        "--host",
        metavar="ADDRESS",
        help="Address to listen on; the default is reachable from this machine only.",
    ),
]
PortOption = Annotated[int, typer.Option("--port", metavar="N", help="Port to listen on.")]

# Training.

Preset = Literal["paper", "plus", "tiny"]

LabeledOption = Annotated[
    str | None,
    typer.Option(
        "--labeled",
        metavar="P%",
        help="Percentage of instances whose keypoints give locations, for example 10%.",
    ),
]
PresetOption = Annotated[
    Preset | None,
    typer.Option(
        "--preset",
        help="Network and training. Default: as before; at first plus with a GPU, else tiny.",
    ),
]
ModelOption = Annotated[
    Literal["lofr", "single-stage", "bottom-up"] | None,
    typer.Option(
        "--model",
        help="lofr predicts objects in boxes; the others find the objects of whole images. "
        "Default: as before; at first lofr.",
    ),
]
BackboneOption = Annotated[
    str | None,
    typer.Option("--backbone", metavar="NAME", help="timm model instead of the preset's."),
]
EpochsOption = Annotated[
    int | None,
    typer.Option(
        "--epochs",
        metavar="N",
        help="Passes over the project. Default: the preset's, and as many more as a small project "
        "needs.",
    ),
]
MinutesOption = Annotated[
    float | None,
    typer.Option(
        "--minutes",
        metavar="N",
        help="Minutes after which a training ends, if its epochs have not; 0 for no limit.",
    ),
]
PretrainedOption = Annotated[
    bool | None,
    typer.Option(
        "--pretrained/--no-pretrained",
        help="Start from pretrained weights (timm), or from random ones. Default: pretrained where "
        "they can be had.",
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option(
        "--weights", metavar="FILE", help="Start from these weights: safetensors, timm's names."
    ),
]
InputSizeOption = Annotated[
    str | None,
    typer.Option(
        "--input-size",
        metavar="N|WxH",
        help="Pixels of a crop, such as 160 or 192x256. Default: the preset's, in the shape of the "
        "objects.",
    ),
]
RotationOption = Annotated[
    float | None,
    typer.Option(
        "--rotation", metavar="DEG", help="Largest rotation of a training crop, either way."
    ),
]
MirrorOption = Annotated[
    bool | None,
    typer.Option(
        "--mirror/--no-mirror",
        help="Also train on mirror images. Turn it off if left and right look different.",
    ),
]
PrecisionOption = Annotated[
    Literal["full", "bf16"] | None,
    typer.Option(
        "--precision", help="Number format. Default: as before; at first the fastest here."
    ),
]
SeedOption = Annotated[int | None, typer.Option("--seed", metavar="N", help="Random seed.")]
DevicesOption = Annotated[
    int | None,
    typer.Option("--devices", metavar="N", help="GPUs, or processes, on this machine."),
]
