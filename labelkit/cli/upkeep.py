"""Upkeep: images, labels and the skeleton of a project change; weights to train from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from labelkit.cli.options import (
    DryRunOption,
    GroupOption,
    JsonOption,
    LabelPixelsOption,
    PairsOption,
    ProjectOption,
    SkipMissingOption,
    SkipUnreadableOption,
)
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

LabelsAction = Annotated[Literal["add"], typer.Argument(help="What to do.", show_default=False)]
LabelFiles = Annotated[
    list[Path],
    typer.Argument(metavar="FILE...", help="Label files, or folders of them."),
]

SkeletonAction = Annotated[
    Literal["show", "edit"], typer.Argument(help="What to do.", show_default=False)
]
SkeletonFile = Annotated[
    Path | None,
    typer.Argument(metavar="[FILE]", help="Skeleton file; what it leaves out stays as it is."),
]
AddOption = Annotated[
    list[str] | None, typer.Option("--add", metavar="NAME", help="Add a keypoint. Repeatable.")
]
RemoveOption = Annotated[
    list[str] | None,
    typer.Option("--remove", metavar="NAME", help="Remove a keypoint. Repeatable."),
]
RenameOption = Annotated[
    list[str] | None,
    typer.Option("--rename", metavar="OLD=NEW", help="Rename a keypoint. Repeatable."),
]

WeightsAction = Annotated[
    Literal["list", "fetch"], typer.Argument(help="What to do.", show_default=False)
]
BackboneNames = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]...", help="Backbones to fetch weights of.")
]
ToOption = Annotated[
    Path | None,
    typer.Option("--to", metavar="DIR", help="Fetch into this folder, for another machine."),
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


def labels(
    action: LabelsAction,
    files: LabelFiles,
    label_pixels: LabelPixelsOption = None,
    group: GroupOption = None,
    skip_missing: SkipMissingOption = False,
    skip_unreadable: SkipUnreadableOption = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add labels that exist elsewhere, at any time.

    Takes what labelkit bootstrap --labels takes, and trains nothing. Several files are one import.
    Labels that came before stay in the journal; where a file contradicts a later answer, the answer
    counts, and labelkit status shows both.

    \b
    Example:
      labelkit labels add corrected.json
      labelkit labels add labeled-data data.yaml
    """
    from labelkit.project.project import lock_project
    from labelkit.workflows.upkeep.labels import add_labels

    found, store = open_both(project)
    with lock_project(found), store:
        report = add_labels(
            found,
            store,
            Console(),
            files,
            skip={"unreadable": skip_unreadable, "missing": skip_missing},
            label_pixels=label_pixels,
            group=group,
        )
    finish(report, as_json)


def skeleton(
    action: SkeletonAction,
    file: SkeletonFile = None,
    add: AddOption = None,
    remove: RemoveOption = None,
    rename: RenameOption = None,
    pairs: PairsOption = None,
    dry_run: DryRunOption = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the skeleton, or change its keypoints, links and pairs.

    Labels stay as they are: a new keypoint is unknown in them until it is labelled, and a removed
    one comes back with its labels if it is added again. labelkit push asks for what is unknown.

    \b
    Example:
      labelkit skeleton show > skeleton.toml
      labelkit skeleton edit skeleton.toml
      labelkit skeleton edit --add tail_tip --rename snout=nose
    """
    from labelkit.errors import UsageError
    from labelkit.project.project import lock_project
    from labelkit.workflows.upkeep.skeleton import edit_skeleton, renames, show_skeleton

    found, store = open_both(project)
    with store:
        if action == "show":
            if file or add or remove or rename or pairs:
                raise UsageError("labelkit skeleton show changes nothing.", "Type edit, not show.")
            finish(show_skeleton(found, store), as_json)
        with lock_project(found):
            report = edit_skeleton(
                found,
                store,
                file=file,
                add=add or (),
                remove=remove or (),
                rename=renames(rename or ()),
                pairs=pairs,
                dry_run=dry_run,
            )
    finish(report, as_json)


def weights(
    action: WeightsAction,
    names: BackboneNames = None,
    to: ToOption = None,
    as_json: JsonOption = False,
) -> None:
    """List pretrained weights, or fetch them.

    They are kept in the cache of the Hugging Face hub (HF_HUB_CACHE, HF_HOME). A folder named with
    --to is such a cache: copy it, and set HF_HUB_CACHE to its place on the other machine.

    \b
    Example:
      labelkit weights list
      labelkit weights fetch resnet50 vit_small_patch14_dinov2
      labelkit weights fetch tf_efficientnet_lite0 --to /media/stick/weights
    """
    from labelkit.workflows.upkeep.weights import weights as run

    finish(run(Console(), action, names or (), to), as_json)
