"""Visibility answers as CSV: one row for each object, one column for each keypoint, by name."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Sequence

import numpy as np

from labelkit.domain.annotation import VisibilityAnswer, image_path_from
from labelkit.domain.pose import UNKNOWN
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import FormatError

IMAGE, INSTANCE = "image", "instance"
ANSWERS = {"1": 1, "yes": 1, "true": 1, "0": 0, "no": 0, "false": 0, "unknown": UNKNOWN}

_COLUMNS = "image, instance (optional), and one for each keypoint"


def read_visibility_csv(text: str, skeleton: Skeleton, origin: str) -> list[VisibilityAnswer]:
    """Read answers; columns may come in any order, and `instance` is optional.

    Args:
        text: the content of the file.
        skeleton: of the project. A keypoint without a column is unknown in every answer.
        origin: name of the file, for messages.

    Raises:
        FormatError: on an unknown, missing or duplicate column, a cell that is not an answer, an
            object that is answered twice, or a file without rows.
    """
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(rows, None)
        if not header:
            raise FormatError(
                f"{origin} is empty.", f"The first line names the columns: {_COLUMNS}."
            )
        columns = _columns(header, skeleton, origin)
        answers: dict[tuple[str, str], VisibilityAnswer] = {}
        for row in rows:
            if not row:
                continue
            where = f"{origin}, line {rows.line_num}"
            answer = _answer(row, columns, header, len(skeleton), where)
            if answers.setdefault((answer.image_path, answer.reference), answer) is not answer:
                raise FormatError(
                    f"{where}: {answer.image_path} {answer.reference} is answered a second time.",
                    "Keep one row for each object. To tell several objects of an image apart, add "
                    "the column `instance`.",
                )
    except csv.Error as error:
        raise FormatError(
            f"{origin}, line {rows.line_num}: broken CSV ({error}).", "Save it as CSV (UTF-8)."
        ) from error
    if not answers:
        raise FormatError(
            f"{origin} has column names but no rows.", "Write one row for each object."
        )
    return list(answers.values())


def write_visibility_csv(answers: Sequence[VisibilityAnswer], skeleton: Skeleton) -> str:
    """Answers as CSV text that `read_visibility_csv` reads back unchanged.

    Args:
        answers: each with K ticks in the order of the skeleton.
        skeleton: its keypoints name the columns.

    Raises:
        FormatError: if a keypoint is named "image" or "instance".
    """
    for reserved in (IMAGE, INSTANCE):
        if reserved in skeleton.keypoints:
            raise FormatError(
                f"A keypoint named {reserved!r} cannot be told from the column {reserved!r}.",
                "Rename the keypoint.",
            )
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([IMAGE, INSTANCE, *skeleton.keypoints])
    for answer in answers:
        ticks = ["unknown" if code == UNKNOWN else int(code) for code in answer.presence]
        writer.writerow([answer.image_path, answer.reference, *ticks])
    return text.getvalue()


def _columns(header: Sequence[str], skeleton: Skeleton, origin: str) -> list[int]:
    """What each column holds: the index of a keypoint, -1 the image, -2 the instance."""
    meaning = {name.strip(): index for index, name in enumerate(skeleton.keypoints)}
    meaning |= {name: index for index, name in enumerate(skeleton.keypoints)}
    meaning |= {INSTANCE: -2, IMAGE: -1}
    names = ((skeleton.present_name(name), skeleton.present_name(name.strip())) for name in header)
    found = [meaning.get(name, meaning.get(stripped)) for name, stripped in names]
    known = {index for index in found if index is not None}
    if known <= {-2}:
        raise FormatError(
            f"{origin} is not a label file that labelkit reads: its first line has neither the "
            f"column {IMAGE!r} nor a keypoint of {skeleton.name!r}.",
            "Give COCO, YOLO (data.yaml), CVAT, SLEAP, Label Studio (JSON), DeepLabCut, Lightning "
            f"Pose, or visibility answers with the columns {_COLUMNS}.",
        )
    columns = []
    for name, index in zip(header, found, strict=True):
        if index is None:
            add = f" If it is a keypoint: labelkit skeleton edit --add {shlex.quote(name)}"
            raise FormatError(
                f"{origin} has the unknown column {name!r}.",
                f"Columns are {_COLUMNS}: {', '.join(skeleton.keypoints)}."
                + add * (-1 in known and max(known) >= 0),
            )
        if index in columns:
            raise FormatError(f"{origin} has the column {name!r} twice.", "Remove one of them.")
        columns.append(index)
    if -1 not in columns or max(columns) < 0:
        lacking = IMAGE if -1 not in columns else skeleton.keypoints[0]
        raise FormatError(f"{origin} has no column {lacking!r}.", f"It has: {', '.join(header)}.")
    return columns


def _answer(
    row: Sequence[str], columns: Sequence[int], header: Sequence[str], count: int, where: str
) -> VisibilityAnswer:
    if len(row) != len(columns):
        raise FormatError(
            f"{where} has {len(row)} cells, the first line has {len(columns)}.",
            "Put names with commas in quotes.",
        )
    presence = np.full(count, UNKNOWN, dtype=np.int8)
    image, instance = "", ""
    for cell, index, name in zip(row, columns, header, strict=True):
        if index == -1:
            image = image_path_from(cell)
        elif index == -2:
            instance = cell.strip()
        elif (answer := ANSWERS.get(cell.strip().lower())) is not None:
            presence[index] = answer
        else:
            raise FormatError(
                f"{where}: {name!r} is {cell!r}, which is not an answer.",
                f"Answers are {', '.join(ANSWERS)}.",
            )
    if not image.strip():
        raise FormatError(f"{where} has no image.", "Write the image's path in that column.")
    return VisibilityAnswer(image, instance, presence)
