"""The CSV that DeepLabCut and Lightning Pose share: a few header rows, x and y columns."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from labelkit.domain.annotation import image_path_from
from labelkit.errors import FormatError

#: x and y of one keypoint, or None where it is absent.
Point = tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class TrackingTable:
    """A parsed file.

    Attributes:
        multi_animal: there is a header row `individuals`.
        keypoints: names of each individual's keypoints; the one individual of a file without
            such a row is called "".
        rows: (line number, image path, individual -> points) in the order of the file.
    """

    multi_animal: bool
    keypoints: dict[str, tuple[str, ...]]
    rows: list[tuple[int, str, dict[str, list[Point]]]]


def parse_tracking_csv(text: str, origin: str) -> TrackingTable:
    """Parse labels as DeepLabCut writes them; empty cells and NaN are absent keypoints.

    Raises:
        FormatError: on missing header rows, columns that are not pairs of x and y, a doubled
            keypoint or image, half a location, a value that is no number, or no rows.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        lines = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise FormatError(f"{origin}, line {reader.line_num}: broken CSV ({error}).") from error
    header: dict[str, list[str]] = {}
    for _, row in lines[:4]:
        header[row[0].strip()] = row
        if row[0].strip() == "coords":
            break
    missing = [name for name in ("scorer", "bodyparts", "coords") if name not in header]
    if missing or not lines:
        raise FormatError(
            f"{origin} is not a label table: it has no header row {(missing or ['scorer'])[0]!r}.",
            "Label tables begin with the rows scorer, (individuals,) bodyparts, coords.",
        )
    lines = lines[len(header) :]
    if not lines:
        raise FormatError(f"{origin} has header rows but no images.")
    width = len(header["coords"])
    for name, row in header.items():
        if len(row) != width:
            raise FormatError(f"{origin}: header row {name!r} has {len(row)} cells, not {width}.")
    index_columns, keypoints = _layout(header, origin)
    owners = [who for who, names in keypoints.items() for _ in names]
    rows: list[tuple[int, str, dict[str, list[Point]]]] = []
    seen: set[str] = set()
    for number, row in lines:
        where = f"{origin}, line {number}"
        if len(row) != width:
            raise FormatError(f"{where} has {len(row)} cells, the header has {width}.")
        path = "/".join(image_path_from(cell.strip()) for cell in row[:index_columns])
        if path in seen:
            raise FormatError(f"{where}: {path} is there a second time.", "Remove one row.")
        seen.add(path)
        points: dict[str, list[Point]] = {who: [] for who in keypoints}
        for ordinal, who in enumerate(owners):
            column = index_columns + 2 * ordinal
            name = header["bodyparts"][column].strip()
            points[who].append(_point(row[column], row[column + 1], f"{where}: {name!r}"))
        rows.append((number, path, points))
    return TrackingTable("individuals" in header, keypoints, rows)


def _layout(header: dict[str, list[str]], origin: str) -> tuple[int, dict[str, tuple[str, ...]]]:
    """How many columns hold the path, and the keypoints of each individual."""
    coords = [cell.strip() for cell in header["coords"]]
    if "likelihood" in coords:
        raise FormatError(
            f"{origin} holds predictions of a network (it has likelihood columns), not labels.",
            "Give the CollectedData file that people labelled.",
        )
    if "x" not in coords:
        raise FormatError(f"{origin}: the header row 'coords' names no x and y.")
    start = coords.index("x")
    if coords[start:] != ["x", "y"] * (len(coords[start:]) // 2):
        raise FormatError(f"{origin}: the header row 'coords' must read x, y, x, y, ...")
    names = [cell.strip() for cell in header["bodyparts"]]
    who = [cell.strip() for cell in header.get("individuals", [""] * len(names))]
    found: dict[str, list[str]] = {}
    for column in range(start, len(coords), 2):
        pair = (who[column], names[column])
        if pair != (who[column + 1], names[column + 1]):
            raise FormatError(
                f"{origin}: column {column + 1} is x of {pair[1]!r}, "
                f"but the next one is y of {names[column + 1]!r}."
            )
        if next(reversed(found), pair[0]) != pair[0] and pair[0] in found:
            raise FormatError(f"{origin}: the columns of individual {pair[0]!r} are not together.")
        mine = found.setdefault(pair[0], [])
        if pair[1] in mine:
            raise FormatError(f"{origin} has the keypoint {pair[1]!r} twice.")
        mine.append(pair[1])
    return start, {individual: tuple(parts) for individual, parts in found.items()}


def _point(x: str, y: str, where: str) -> Point:
    values: Sequence[float] = [_number(x, where), _number(y, where)]
    if all(math.isnan(value) for value in values):
        return None
    if any(math.isnan(value) for value in values):
        raise FormatError(f"{where} has only one of x and y.", "Fill in both, or empty both.")
    if any(math.isinf(value) or value < 0 for value in values):
        raise FormatError(
            f"{where} lies at ({x.strip()}, {y.strip()}), outside the image.",
            "Correct the coordinates, or empty both cells if the keypoint cannot be seen.",
        )
    return values[0], values[1]


def _number(cell: str, where: str) -> float:
    try:
        return float(cell) if cell.strip() else math.nan
    except ValueError:
        raise FormatError(f"{where} is {cell!r}, which is no number.") from None
