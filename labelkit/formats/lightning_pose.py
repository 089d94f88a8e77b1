"""Lightning Pose labels: DeepLabCut's table of one animal, with the path in one column."""

from __future__ import annotations

from labelkit.annotation import Annotation
from labelkit.errors import FormatError
from labelkit.formats.deeplabcut import annotation_from_points
from labelkit.formats.tracking_csv import parse_tracking_csv


def read_lightning_pose_csv(text: str, origin: str) -> tuple[tuple[str, ...], list[Annotation]]:
    """Read labels; the annotations have no box.

    Returns:
        The keypoint names in the order of the poses, and one annotation an image.

    Raises:
        FormatError: see `parse_tracking_csv`; also on several animals or index columns.
    """
    table = parse_tracking_csv(text, origin)
    if table.multi_animal or table.index_columns != 1:
        raise FormatError(
            f"{origin} is not a Lightning Pose file: "
            f"it has {'individuals' if table.multi_animal else 'a path in several columns'}.",
            "Read it as a DeepLabCut file.",
        )
    annotations = [annotation_from_points(path, path, points[""]) for _, path, points in table.rows]
    return table.keypoints[""], annotations
