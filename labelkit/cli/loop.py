"""The loop: register, ask, bring answers back, train, and take the labels out."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

import typer

from labelkit.cli.options import (
    BackboneOption,
    DevicesOption,
    DryRunOption,
    EpochsOption,
    GroupOption,
    InputSizeOption,
    JsonOption,
    LabeledOption,
    LabelPixelsOption,
    MinutesOption,
    MirrorOption,
    ModelOption,
    OutputOption,
    OverwriteOption,
    PairsOption,
    PrecisionOption,
    PresetOption,
    PretrainedOption,
    ProjectOption,
    RotationOption,
    SeedOption,
    SkipMissingOption,
    SkipUnreadableOption,
    WeightsOption,
)
from labelkit.cli.report import finish, open_both
from labelkit.progress import Console, Progress, Silent

ImagesOption = Annotated[
    Path, typer.Option("--images", metavar="DIR", help="Folder of images; only read.")
]
LabelsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--labels",
        metavar="FILE|DIR",
        help="Existing labels: COCO, YOLO (data.yaml), CVAT, SLEAP, Label Studio (JSON), "
        "DeepLabCut or Lightning Pose, visibility CSV, or a folder of them; may be repeated.",
    ),
]
BoxesOption = Annotated[
    str | None,
    typer.Option(
        "--boxes",
        metavar="FILE|whole-image|detect|none",
        help="Source of the boxes; none for a --model that finds the objects. Default: the labels; "
        "without boxes there, detect for built-in skeletons, else whole-image.",
        autocompletion=lambda: ["whole-image", "detect", "none"],
    ),
]
SkeletonOption = Annotated[
    str | None,
    typer.Option(
        "--skeleton",
        metavar="NAME|FILE",
        help="coco17, crowdpose14, mpii16, lsp14, or a file: TOML, config.yaml of DeepLabCut, "
        "data.yaml of YOLO, COCO.",
        autocompletion=lambda: ["coco17", "crowdpose14", "mpii16", "lsp14"],
    ),
]
SkipDuplicatesOption = Annotated[
    bool, typer.Option("--skip-duplicates", hidden=True, help="Former option: copies never stop.")
]
BootstrapProjectOption = Annotated[
    Path | None,
    typer.Option(
        "--project", metavar="DIR", help="Project folder. Default: beside the images folder."
    ),
]
StartOption = Annotated[
    Literal["ticks", "keypoints"] | None,
    typer.Option(
        "--start",
        help="What people give first. Default: ticks of 30 objects, and keypoints if those show "
        "that ticks cannot teach.",
    ),
]
DevOption = Annotated[
    str | None,
    typer.Option(
        "--dev",
        metavar="P%",
        help="Percentage of instances in the dev set, which compares rounds. It can grow later. "
        "Default: 5%, and at least 20 instances of 200 or more.",
    ),
]
NowOption = Annotated[bool, typer.Option("--now", help="Train on the labels that are there.")]
FilesOption = Annotated[
    bool, typer.Option("--files", help="Write files to import by hand; contact no server.")
]
PerInstanceOption = Annotated[
    bool | None,
    typer.Option(
        "--per-instance/--per-image",
        help="Ask about one zoomed object a task, or about all objects of an image with their "
        "boxes; remembered. Default: one object, zoomed unless it is large and alone.",
    ),
]
ImageUrlOption = Annotated[
    str | None,
    typer.Option(
        "--image-url",
        metavar="URL",
        help="Where the server finds the images folder: https://..., s3://... Kept for next time.",
    ),
]
FileOption = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", help="JSON export of a Label Studio project."),
]
TakeOption = Annotated[
    Literal["theirs", "ours"] | None,
    typer.Option(
        "--take", help="Settle all conflicts: theirs is what came in, ours what counts now."
    ),
]
FormatOption = Annotated[
    Literal["coco", "yolo", "dlc", "lightning-pose", "cvat", "sleap", "visibility", "onnx"],
    typer.Option(
        "--format",
        metavar="NAME",
        help="coco, yolo, dlc (a DeepLabCut project), lightning-pose, cvat (for a task of CVAT), "
        "sleap (a SLEAP project), visibility (a CSV of visibility answers), or onnx (the network, "
        "for other programs). Default: coco.",
        show_default=False,
    ),
]
PredictBoxesOption = Annotated[
    str | None,
    typer.Option(
        "--boxes",
        metavar="FILE|whole-image|detect|none",
        help="Source of the boxes. Default: as the project got its own; for --with, whole-image.",
        autocompletion=lambda: ["whole-image", "detect", "none"],
    ),
]
RoundOption = Annotated[
    int | None,
    typer.Option("--round", metavar="N", help="Round whose network predicts. Default: the newest."),
]
PredictOutputOption = Annotated[
    Path | None,
    typer.Option("--output", metavar="FILE", help="Write the predictions to this file."),
]
PredictImagesOption = Annotated[
    Path | None, typer.Option("--images", metavar="DIR", help="Folder of images; only read.")
]
PredictWithOption = Annotated[
    Literal["mediapipe-pose", "mediapipe-face", "mediapipe-hands"] | None,
    typer.Option("--with", help="A public network for people, faces or hands, not a round's."),
]
PredictShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Predict the I-th of N shares; N machines with one folder write one file.",
    ),
]
PredictFormatOption = Annotated[
    Literal["coco", "csv", "dlc"] | None,
    typer.Option(
        "--format",
        metavar="NAME",
        help="coco, csv (a row for each keypoint) or dlc (the columns of DeepLabCut). Default: by "
        "the ending of --output.",
    ),
]
WithPredictionsOption = Annotated[
    bool,
    typer.Option(
        "--with-predictions",
        help="Also write predictions, with scores, where there is no human label.",
    ),
]
FormerPredictionsOption = Annotated[
    bool, typer.Option("--predictions", hidden=True, help="Former name of --with-predictions.")
]

VideoFiles = Annotated[
    list[Path], typer.Argument(metavar="VIDEO...", help="Video files.", show_default=False)
]
FramesOption = Annotated[
    Path, typer.Option("--folder", metavar="DIR", help="Folder for the folders of the videos.")
]
CountOption = Annotated[
    int,
    typer.Option(
        "--count",
        min=1,
        metavar="N",
        help="Frames in total, as many from each video; with --around, new ones.",
    ),
]
ChooseOption = Annotated[
    Literal["kmeans", "even"],
    typer.Option(help="Frames that look different, or evenly spaced ones."),
]


AroundOption = Annotated[
    bool,
    typer.Option(
        "--around", help="Take frames near those of which the newest round is least sure."
    ),
]

FromLabelsOption = Annotated[
    Path | None,
    typer.Option(
        "--from-labels",
        metavar="FILE",
        help="Take the frames that this SLEAP project labels instead.",
    ),
]


def frames(
    videos: VideoFiles,
    folder: FramesOption = Path("frames"),
    count: CountOption = 200,
    choose: ChooseOption = "kmeans",
    around: AroundOption = False,
    from_labels: FromLabelsOption = None,
    seed: SeedOption = None,
    project: ProjectOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take pictures to label from videos.

    Each video gets a folder below DIR, with frames.csv: file, frame number and seconds. The dev set
    of a project is drawn by such folders, never by frame. A second run with a larger --count adds
    frames to those that are there.

    \b
    Example:
      labelkit frames cage1.mp4 cage2.mp4 --count 200
      labelkit frames cage1.mp4 cage2.mp4 --around --count 20
      labelkit frames cage1.mp4 --from-labels labels.slp
    """
    from labelkit.project.project import find_project, open_project
    from labelkit.workflows.loop.frames import frames as run

    found = None
    if around:
        found = open_project(project) if project else find_project(Path.cwd())
    report = run(
        videos,
        folder,
        Console(),
        count=count,
        how=choose,
        seed=seed or 0,
        dry_run=dry_run,
        around=found,
        labelled=from_labels,
    )
    finish(report, as_json)


TeacherOption = Annotated[
    str | None,
    typer.Option(
        "--teacher",
        metavar="NAME",
        help="Also learn from the predictions of this model (labelkit predictions add).",
    ),
]
PredictionsAction = Annotated[
    Literal["add"], typer.Argument(help="What to do.", show_default=False)
]
PredictedFile = Annotated[
    Path, typer.Argument(metavar="FILE|DIR", help="Predictions.", show_default=False)
]
ModelNameOption = Annotated[
    str, typer.Option("--name", metavar="NAME", help="What the model is called here.")
]
IdsOption = Annotated[
    Path | None,
    typer.Option("--ids", metavar="FILE", help="COCO file whose image ids COCO results use."),
]
TheirSkeletonOption = Annotated[
    str | None,
    typer.Option(
        "--skeleton", metavar="NAME|FILE", help="Names the keypoints of a file that does not."
    ),
]


def _console() -> Progress:
    """Where a training tells how far it is: its further processes are silent."""
    from labelkit.project.project import is_main_process

    return Console() if is_main_process() else Silent()


def bootstrap(
    images: ImagesOption,
    labels: LabelsOption = None,
    label_pixels: LabelPixelsOption = None,
    group: GroupOption = None,
    boxes: BoxesOption = None,
    skeleton: SkeletonOption = None,
    pairs: PairsOption = None,
    start: StartOption = None,
    labeled: LabeledOption = None,
    dev: DevOption = None,
    now: NowOption = False,
    skip_unreadable: SkipUnreadableOption = False,
    skip_duplicates: SkipDuplicatesOption = False,
    skip_missing: SkipMissingOption = False,
    project: BootstrapProjectOption = None,
    model: ModelOption = None,
    preset: PresetOption = None,
    backbone: BackboneOption = None,
    epochs: EpochsOption = None,
    minutes: MinutesOption = None,
    pretrained: PretrainedOption = None,
    weights: WeightsOption = None,
    input_size: InputSizeOption = None,
    rotation: RotationOption = None,
    mirror: MirrorOption = None,
    precision: PrecisionOption = None,
    seed: SeedOption = None,
    devices: DevicesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register images and labels, train, and pre-annotate.

    Without answers, it prepares the tasks that ask for them, says what to do, and exits with code
    3. Options that decide the project are remembered: run it again without them.

    \b
    Example:
      labelkit bootstrap --images frames --skeleton lsp14 --boxes whole-image
      labelkit bootstrap --images frames --labels keypoints.json --labeled 0%
      labelkit bootstrap --images frames --model single-stage --boxes none
    """
    from labelkit.domain.selection import parse_percent
    from labelkit.workflows.loop.bootstrap import bootstrap as run
    from labelkit.workflows.rounds.settings import TrainingOptions

    options = TrainingOptions(
        preset,
        backbone,
        epochs,
        pretrained,
        rotation,
        mirror,
        precision,
        seed,
        devices,
        weights=str(weights.resolve()) if weights else None,
        input_size=input_size,
        minutes=minutes,
        model=model,
    )
    report = run(
        images,
        _console(),
        project_root=project,
        skeleton=skeleton,
        labels=labels or (),
        boxes=boxes,
        percent=parse_percent(labeled) if labeled else None,
        skip={"unreadable": skip_unreadable, "missing": skip_missing},
        options=options,
        pairs=pairs,
        label_pixels=label_pixels,
        group=group,
        start=start,
        dev_percent=parse_percent(dev) if dev else None,
        now=now,
    )
    finish(report, as_json)


def push(
    files: FilesOption = False,
    per_instance: PerInstanceOption = None,
    image_url: ImageUrlOption = None,
    project: ProjectOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Send the next questions to Label Studio.

    First it asks which keypoints are visible; after the first training it asks for corrections.
    The server is the one in LABEL_STUDIO_URL, with the key in LABEL_STUDIO_API_KEY.

    \b
    Example:
      labelkit push
      labelkit push --files
    """
    from labelkit.workflows.loop.push import push as run

    found, store = open_both(project)
    with store:
        report = run(
            found,
            store,
            Console(),
            files=files,
            per_instance=per_instance,
            image_url=image_url,
            dry_run=dry_run,
        )
    finish(report, as_json)


def pull(
    file: FileOption = None,
    take: TakeOption = None,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring answers and corrections from Label Studio.

    They come from the server in LABEL_STUDIO_URL, or from a file exported from it. Each is stored
    once; none is ever replaced.

    \b
    Example:
      labelkit pull
      labelkit pull --file export.json
    """
    from labelkit.workflows.loop.pull import pull as run

    found, store = open_both(project)
    with store:
        report = run(found, store, Console(), file=file, take=take)
    finish(report, as_json)


def retrain(
    labeled: LabeledOption = None,
    dev: DevOption = None,
    now: NowOption = False,
    teacher: TeacherOption = None,
    project: ProjectOption = None,
    model: ModelOption = None,
    preset: PresetOption = None,
    backbone: BackboneOption = None,
    epochs: EpochsOption = None,
    minutes: MinutesOption = None,
    pretrained: PretrainedOption = None,
    weights: WeightsOption = None,
    input_size: InputSizeOption = None,
    rotation: RotationOption = None,
    mirror: MirrorOption = None,
    precision: PrecisionOption = None,
    seed: SeedOption = None,
    devices: DevicesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train on the corrected keypoints and pre-annotate again.

    All other instances contribute their visibility answers. With fewer labels than --labeled asks
    for, it queues what is missing and exits with code 3.

    \b
    Example:
      labelkit retrain --labeled 10%
    """
    from labelkit.domain.selection import parse_percent
    from labelkit.project.project import lock_project
    from labelkit.workflows.loop.retrain import retrain as run
    from labelkit.workflows.rounds.settings import TrainingOptions

    percent = parse_percent(labeled) if labeled else None
    options = TrainingOptions(
        preset,
        backbone,
        epochs,
        pretrained,
        rotation,
        mirror,
        precision,
        seed,
        devices,
        weights=str(weights.resolve()) if weights else None,
        input_size=input_size,
        minutes=minutes,
        teacher=teacher,
        model=model,
    )
    found, store = open_both(project)
    with lock_project(found), store:
        report = run(
            found,
            store,
            _console(),
            percent=percent,
            now=now,
            options=options,
            dev_percent=parse_percent(dev) if dev else None,
        )
    finish(report, as_json)


def status(project: ProjectOption = None, as_json: JsonOption = False) -> None:
    """Show where the project stands and what to do next.

    \b
    Example:
      labelkit status
    """
    from labelkit.workflows.loop.status import status as run

    found, store = open_both(project)
    with store:
        report = run(found, store)
    finish(report, as_json)


def predict(
    images: PredictImagesOption = None,
    output: PredictOutputOption = None,
    network: PredictWithOption = None,
    boxes: PredictBoxesOption = None,
    round_number: RoundOption = None,
    form: PredictFormatOption = None,
    shard: PredictShardOption = None,
    overwrite: OverwriteOption = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Predict pictures that are in no project.

    Takes the network of a round; neither the pictures nor the project change. The ending of
    --output chooses COCO (.json) or a CSV of one row a keypoint (.csv). Unreadable pictures are
    named and left out.

    --with takes a network of MediaPipe, which is installed at the first call, for the objects of
    the project, which get a round as by labelkit predictions add, or for the pictures of --images
    without any project. It writes COCO with the network's own keypoints.

    \b
    Example:
      labelkit predict --images new --output new.json
      labelkit predict --images new --boxes boxes.json --output new.csv
      labelkit predict --images new --output new.json --shard 2/4
      labelkit predict --with mediapipe-pose
    """
    from labelkit.errors import UsageError
    from labelkit.workflows.loop.predict import predict as run
    from labelkit.workflows.loop.predict import predict_with
    from labelkit.workflows.network.shards import parse_shard

    if network is not None:
        if any(option is not None for option in (form, round_number, shard)):
            raise UsageError(
                "--with goes with none of --format, --round and --shard.", "Leave them out."
            )
        found, store = (None, None) if images else open_both(project)
        with store or nullcontext():
            poses = predict_with(
                network,
                found,
                store,
                Console(),
                images=images,
                boxes=boxes,
                output=output,
                overwrite=overwrite,
            )
        finish(poses, as_json)
    if images is None or output is None:
        raise UsageError(
            "labelkit predict needs pictures and a file to write.",
            "Type: labelkit predict --images DIR --output FILE",
        )
    found, store = open_both(project)
    with store:
        report = run(
            found,
            store,
            Console(),
            images=images,
            boxes=boxes,
            number=round_number,
            output=output,
            form=form,
            overwrite=overwrite,
            shard=None if shard is None else parse_shard(shard),
            keep=False,
        )
    finish(report, as_json)


def export(
    form: FormatOption = "coco",
    with_predictions: WithPredictionsOption = False,
    former_predictions: FormerPredictionsOption = False,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the labels in a format that training code reads.

    They go to exports/ in the project folder, or to --output (a folder for yolo, dlc and
    lightning-pose, which also hold copies of the labelled images). In yolo, the dev set is val.
    With onnx, the network of the newest round is written for other programs.

    \b
    Example:
      labelkit export --format coco --output corrected.json
      labelkit export --format onnx
    """
    from labelkit.workflows.loop.export import export as run

    found, store = open_both(project)
    with store:
        report = run(
            found,
            store,
            Console(),
            form=form,
            predictions=with_predictions or former_predictions,
            output=output,
            dry_run=dry_run,
            overwrite=overwrite,
        )
    finish(report, as_json)


def predictions(
    action: PredictionsAction,
    file: PredictedFile,
    name: ModelNameOption,
    ids: IdsOption = None,
    skeleton: TheirSkeletonOption = None,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Correct what another model predicts.

    Takes COCO results, COCO with scores, the CSV of DeepLabCut or Lightning Pose, a folder of YOLO
    text files with confidences, or a SLEAP file. They become a round: reviewed, pushed, corrected
    and scored like those of labelkit's own networks.

    A model need not have your keypoints. Where names differ, labelkit learns from your labelled
    objects where yours are, again at each labelkit pull and each time you repeat this command.

    \b
    Example:
      labelkit predictions add results.json --name rtmpose --ids keypoints.json
      labelkit predictions add runs/pose/predict/labels --name yolo
    """
    from labelkit.project.project import lock_project
    from labelkit.workflows.loop.predictions import add_predictions

    found, store = open_both(project)
    with lock_project(found), store:
        report = add_predictions(found, store, file, name=name, ids=ids, skeleton=skeleton)
    finish(report, as_json)
