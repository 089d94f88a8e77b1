"""Predictions that other tools write: COCO results, DeepLabCut's tables, YOLO text, SLEAP files.

Every keypoint has a score, 0 lost ... 1 certain. Tools differ in the score from which on they show
a keypoint: see `Predicted.shown_from`.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from labelkit.domain.annotation import Annotation, image_path_from
from labelkit.domain.instance import Box
from labelkit.domain.pose import ABSENT, VISIBLE, Pose
from labelkit.errors import DISTRIBUTION, INSTALL, FormatError, MissingDependencyError
from labelkit.formats.coco import numbers

#: Scores from which on the tools show a keypoint: DeepLabCut's `pcutoff`, Ultralytics'
#: `kpt_thres`, MMPose's `kpt_thr`, SLEAP's `peak_threshold`; and presence, which is calibrated.
DEEPLABCUT, YOLO, RESULTS, SLEAP, PRESENCE = 0.6, 0.5, 0.3, 0.2, 0.5

_RESULTS = "COCO results are a list of {image_id, category_id, keypoints: [x, y, score, ...]}."
_TABLE = "Give the table as DeepLabCut or Lightning Pose wrote it: x, y and likelihood columns."


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """Poses of one file.

    Attributes:
        keypoints: F names; none where the file does not tell.
        annotations: each with a pose of F keypoints, whose scores are the file's; absent keypoints
            are those that it does not locate. A box only where the file has one.
        shown_from: score from which on the tool shows a keypoint.
        are_shares: coordinates are shares (0..1) of the image, not pixels.
    """

    keypoints: tuple[str, ...]
    annotations: list[Annotation]
    shown_from: float
    are_shares: bool = False


def _pose(rows: ArrayLike) -> Pose:
    """A pose from (F, 3) x, y, score; NaN, or zeros alone, for a keypoint without a place."""
    table = np.asarray(rows, dtype=np.float64).reshape(-1, 3)
    there = np.asarray(np.isfinite(table[:, :2]).all(axis=1) & table.any(axis=1))
    xy = np.where(there[:, None], table[:, :2], 0.0)
    score = np.where(there, np.clip(np.nan_to_num(table[:, 2]), 0.0, 1.0), 0.0)
    return Pose(xy, np.where(there, VISIBLE, ABSENT), score)


def is_results(document: Any) -> bool:
    """Whether parsed JSON is COCO results: a list of poses."""
    return isinstance(document, Sequence) and all(
        isinstance(row, Mapping) and {"image_id", "keypoints"} <= row.keys() for row in document
    )


def read_results(
    document: Sequence[Mapping[str, Any]],
    origin: str,
    paths: Mapping[Any, str],
    keypoints: tuple[str, ...],
) -> Predicted:
    """Read parsed COCO results.

    Args:
        document: see `is_results`.
        origin: name of the file, for messages.
        paths: image path by the id that the file uses; an id without one is a path itself.
        keypoints: names, from the file that has the ids; or none.

    Raises:
        FormatError: on the first result that lacks something or belongs to no image.
    """
    annotations: list[Annotation] = []
    for number, row in enumerate(document, start=1):
        item = f"{origin}: result {number}"
        id_ = row["image_id"]
        path = paths.get(id_, id_) if isinstance(id_, str | int) else None
        if not isinstance(path, str):
            raise FormatError(
                f"{item} is for image {id_!r}, whose file name is unknown.",
                "Give the COCO file of the images that were predicted: --ids FILE",
            )
        values = numbers(row["keypoints"], "keypoints", item, _RESULTS)
        if len(values) % 3 or (annotations and len(values) != 3 * len(annotations[0].pose)):
            raise FormatError(f"{item} has {len(values)} keypoint numbers.", _RESULTS)
        box = numbers(row["bbox"], "bbox", item, _RESULTS) if row.get("bbox") else []
        if len(box) not in (0, 4):
            raise FormatError(f"{item} has a bbox of {len(box)} numbers, not 4.", _RESULTS)
        annotations.append(
            _annotation(path, str(number), _pose(values), Box(*box) if box else None)
        )
    return Predicted(keypoints, annotations, RESULTS)


def _annotation(path: str, reference: str, pose: Pose, box: Box | None = None) -> Annotation:
    return Annotation(image_path_from(path), reference, box, None, pose, False)


def read_table(text: str, origin: str) -> Predicted:
    """Read a CSV of DeepLabCut or Lightning Pose with x, y and likelihood columns.

    Further columns, as Lightning Pose writes them, are ignored. An individual without any location
    in an image is left out of it.

    Args:
        text: the content of the file.
        origin: name of the file, for messages.

    Raises:
        FormatError: if it is another table, or a cell is not a number.
    """
    rows = [row for row in csv.reader(io.StringIO(text, newline="")) if any(row)]
    last = next((at for at, row in enumerate(rows[:4]) if row[0].strip() == "coords"), -1)
    header = {row[0].strip(): row for row in rows[: last + 1]}
    if not {"bodyparts", "coords"} <= header.keys() or "likelihood" not in header["coords"]:
        raise FormatError(f"{origin} is not a table of predictions.", _TABLE)
    coords = [cell.strip() for cell in header["coords"]]
    who = header.get("individuals", [""] * len(coords))
    places: dict[str, dict[str, dict[str, int]]] = {}  # individual -> keypoint -> coord -> column
    for column, coord in enumerate(coords):
        if coord in ("x", "y", "likelihood"):
            mine = places.setdefault(who[column].strip(), {})
            mine.setdefault(header["bodyparts"][column].strip(), {})[coord] = column
    first, keypoints = next((name, tuple(parts)) for name, parts in places.items())
    for name, parts in places.items():
        if tuple(parts) != keypoints or any(len(each) != 3 for each in parts.values()):
            raise FormatError(
                f"{origin}: {name!r} lacks x, y or likelihood of a keypoint that {first!r} has.",
                _TABLE,
            )
    annotations = []
    width = coords.index("x")
    for number, row in enumerate(rows[len(header) :], start=len(header) + 1):
        path = "/".join(image_path_from(cell.strip()) for cell in row[:width])
        if path.isdecimal():
            raise FormatError(
                f"{origin}, row {number}: {path} is the number of a frame, not an image.",
                "Predict the image files themselves, such as those of labelkit frames.",
            )
        for name, parts in places.items():
            try:
                pose = _pose(
                    [
                        float(row[part[coord]] or "nan")
                        for part in parts.values()
                        for coord in ("x", "y", "likelihood")
                    ]
                )
            except (ValueError, IndexError) as error:
                raise FormatError(f"{origin}, row {number}: {error}.", _TABLE) from error
            if pose.present.any():
                annotations.append(_annotation(path, f"{path}#{name}", pose))
    return Predicted(keypoints, annotations, DEEPLABCUT)


def read_texts(texts: Mapping[str, str], origin: str) -> Predicted:
    """Read the text files that Ultralytics writes of predicted poses.

    A line is class, box centre and size, x y confidence of every keypoint, then the confidence of
    the box and a track number, if they were asked for: `save_txt=True save_conf=True`.

    Args:
        texts: content of each file by the path of its image.
        origin: name of their folder, for messages.

    Raises:
        FormatError: on the first line that is something else.
    """
    annotations: list[Annotation] = []
    for path, text in texts.items():
        for number, line in enumerate(text.splitlines(), start=1):
            cells = line.split()
            if not cells:
                continue
            try:
                values = [float(cell) for cell in cells]
            except ValueError:
                values = []
            count = 3 * ((len(values) - 5) // 3)
            same = not annotations or count == 3 * len(annotations[0].pose)
            if count <= 0 or not same or not all(map(math.isfinite, values)):
                raise FormatError(
                    f"{origin}, {path}, line {number} is not a pose: {line[:60]!r}.",
                    "Predict with: yolo pose predict save_txt=True save_conf=True",
                )
            _, x, y, w, h, *rest = values
            pose = _pose(rest[:count])
            box = Box(x - w / 2, y - h / 2, w, h)
            annotations.append(_annotation(path, f"{path}:{number}", pose, box))
    return Predicted((), annotations, YOLO, are_shares=True)


def read_slp(path: Path) -> Predicted:
    """Read the predicted instances of a SLEAP file of images.

    Raises:
        MissingDependencyError: without sleap-io.
        FormatError: if it cannot be read, has no predicted instance, or is of videos.
    """
    try:
        import sleap_io
    except ImportError as error:
        raise MissingDependencyError(
            f"{path} is a SLEAP file, and sleap-io is not installed.",
            f'{INSTALL} "{DISTRIBUTION}[sleap]"',
        ) from error
    try:
        labels = sleap_io.load_slp(str(path), open_videos=False)
    except Exception as error:  # h5py and sleap-io raise many kinds
        raise FormatError(f"{path} is not a readable SLEAP file ({error}).") from error
    annotations = []
    for frame in labels:
        for number, instance in enumerate(frame.predicted_instances):
            files = frame.video.filename
            if isinstance(files, str):
                raise FormatError(
                    f"{path} predicts frames of the video {files}, not images.",
                    "Predict the image files themselves, such as those of labelkit frames.",
                )
            image = str(files[frame.frame_idx])
            pose = _pose(instance.numpy(scores=True))
            annotations.append(_annotation(image, f"{image}#{number}", pose))
    if not annotations:
        raise FormatError(f"{path} has no predicted instances.", "Give it as --labels FILE.")
    return Predicted(tuple(labels.skeleton.node_names), annotations, SLEAP)
