"""A data set of Lightning Pose: one table of all images, with a column `visible`."""

from __future__ import annotations

import csv
import io
from pathlib import PurePosixPath

from labelkit.domain.pose import ABSENT
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import FormatError
from labelkit.formats.deeplabcut.project import HEADING, MARK, Items, video_of
from labelkit.formats.folder_export import FolderExport

TABLE = "CollectedData.csv"


def write_lightning_pose(
    items: Items, skeleton: Skeleton, scorer: str, images_folder: str
) -> FolderExport:
    """CollectedData.csv, and the images in labeled-data/VIDEO; a folder of images is a video.

    A keypoint is x, y and visible: 0 with empty cells where it is absent or unknown, 1 occluded,
    2 visible.

    Args:
        items: instances with their poses, in image pixels.
        skeleton: of all poses.
        scorer: who labelled.
        images_folder: name of the images folder, for images that lie right in it.

    Raises:
        FormatError: if an image holds several objects, or two images would have one name.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    columns = [(name, value) for name in skeleton.keypoints for value in ("x", "y", "visible")]
    writer.writerow(["scorer", *[scorer] * len(columns)])
    writer.writerow(["bodyparts", *(name for name, _ in columns)])
    writer.writerow(["coords", *(value for _, value in columns)])
    pictures: dict[str, str] = {}
    for instance, pose in items:
        path = PurePosixPath(instance.image.path)
        place = f"labeled-data/{video_of(path.parent, images_folder)}/{path.name}"
        if (other := pictures.setdefault(place, str(path))) != str(path):
            raise FormatError(
                f"{other} and {path} would both be {place}.", "Rename one of their folders."
            )
        row: list[str] = [place]
        for (x, y), v in zip(pose.xy.tolist(), pose.visibility.tolist(), strict=True):
            row += [repr(x), repr(y), str(v)] if v > ABSENT else ["", "", "0"]
        writer.writerow(row)
    if len(pictures) < len(items):
        raise FormatError(
            "Lightning Pose has one animal in an image, and some of these images have several.",
            "Type: labelkit export --format dlc",
        )
    return FolderExport({MARK: f"{HEADING}\n", TABLE: text.getvalue()}, pictures)
