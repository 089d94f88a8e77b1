"""The objects of a label file, matched with the project's images and brought into place in them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from labelkit.domain.annotation import Annotation
from labelkit.domain.instance import Image
from labelkit.domain.text import counted
from labelkit.errors import FormatError
from labelkit.workflows.intake.copies import without_copies
from labelkit.workflows.intake.image_finder import ImageFinder
from labelkit.workflows.intake.into_place import PixelsOf, Sizes, into_place


@dataclass(frozen=True, slots=True)
class Handling:
    """What to do about labels that need a decision.

    Attributes:
        skip_missing: leave out labels of images that do not exist.
        label_pixels: whose pixels labels count where a file gives another size than the picture
            has; None concludes it.
        can_choose: whether the command has options for these two, so that errors may name them.
    """

    skip_missing: bool = False
    label_pixels: PixelsOf | None = None
    can_choose: bool = True


@dataclass(frozen=True, slots=True)
class Matched:
    """The objects of a label file in the images of the project.

    Attributes:
        found: single objects with their images, in upright image pixels.
        empty: images that the file lists and in which it has no object.
        missing: paths of annotations without an image, left out at the user's request.
        notes: what the user should know, a sentence each.
    """

    found: list[tuple[Image, Annotation]]
    empty: list[Image]
    missing: list[str]
    notes: list[str]


def match_labels(
    annotations: Sequence[Annotation],
    listed: Sequence[str],
    sizes: Sizes,
    path: Path,
    finder: ImageFinder,
    images_root: Path,
    handling: Handling,
) -> Matched:
    """Match what a label file describes with the project's images.

    Args:
        annotations: of the file, as it writes them.
        listed: paths of all its images.
        sizes: what it tells about their sizes.
        path: of the file, for messages.
        finder: of the project's images.
        images_root: the folder that image paths are below.
        handling: of what needs a decision.

    Raises:
        FormatError: on the first item that cannot be used.
    """
    notes = []
    paths = [item.image_path for item in annotations]
    images = finder.find(paths, path, also=listed)
    if not images and (images := _beside([*paths, *listed], path, finder)):
        notes.append(
            f"{path} names another folder, as in {paths[0]}: its images are taken from its own."
        )
    found = []
    missing: Counter[str] = Counter()
    for item in annotations:
        image = images.get(item.image_path)
        if image is None:
            missing[item.image_path] += 1
        else:
            found.append((image, item))
    refuse_missing(missing, path, bool(found), handling)
    single = [(image, item) for image, item in found if not item.iscrowd]
    if crowds := len(found) - len(single):
        regions = counted(crowds, "crowd region")
        notes.append(f"Left out {regions} of {path.name}: not single objects.")
    placed, changes = into_place(
        single,
        sizes,
        images_root,
        str(path),
        handling.label_pixels,
        can_choose=handling.can_choose,
    )
    once, differences = without_copies(placed, str(path))
    used = {image.id for image, _ in once}
    empty = {image.id: image for image in images.values() if image.id not in used}
    return Matched(
        once, list(empty.values()), list(missing.elements()), [*notes, *changes, *differences]
    )


def _beside(paths: Sequence[str], file: Path, finder: ImageFinder) -> dict[str, Image]:
    """Images of these names in the folder of their label file, which may have been renamed."""
    inside = finder.folder_of(file)
    names = {path: PurePosixPath(path).name for path in paths}
    if inside is None or len(set(names.values())) < len(names):
        return {}
    found = finder.find((str(inside / name) for name in names.values()), file)
    return {
        path: found[str(inside / name)]
        for path, name in names.items()
        if str(inside / name) in found
    }


def _is_frame(path: str) -> bool:
    """Whether a label file names a frame of a video, and no picture."""
    return re.search(r"-f\d{6,}$", path) is not None


def refuse_missing(missing: Counter[str], path: Path, any_found: bool, handling: Handling) -> None:
    """Refuse a file that labels images which do not exist, unless the user leaves them out.

    Args:
        missing: how many annotations of each path have no image.
        path: of the file, for messages.
        any_found: whether other annotations have one.
        handling: of what needs a decision.

    Raises:
        FormatError: naming the first.
    """
    if not missing:
        return
    first = next(iter(missing))
    if not any_found:
        advice = "Give the folder that its paths start from with --images."
        if _is_frame(first):
            advice += f"\nFrames of a video: labelkit frames VIDEO --from-labels {path}"
        raise FormatError(
            f"{path} labels {first}, but none of its images is in the images folder.", advice
        )
    if not handling.skip_missing:
        raise FormatError(
            f"{path} labels {first}, which is not among the images "
            f"({counted(len(missing), 'missing image')}).",
            "Import the rest: add to the command --skip-missing"
            if handling.can_choose
            else "Add the images, or remove their labels from the file.",
        )
