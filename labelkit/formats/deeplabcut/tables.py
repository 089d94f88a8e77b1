"""Labels of DeepLabCut and Lightning Pose, and DeepLabCut's skeleton.

Both write the same CSV: header rows `scorer`, `individuals` (in files of several animals),
`bodyparts` and `coords`, then one row for each image with x and y columns. The image path takes one
column or three. Lightning Pose may add columns `visible` with the code of COCO. The skeleton is in
DeepLabCut's config.yaml.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import yaml

from labelkit.domain.annotation import Annotation, image_path_from
from labelkit.domain.pose import ABSENT, OCCLUDED, VISIBLE, human_pose
from labelkit.domain.skeleton import Skeleton, make_skeleton
from labelkit.domain.text import counted, named
from labelkit.errors import FormatError, SkeletonError

#: DeepLabCut's name for the owner of keypoints that belong to the scene and not to an animal.
UNIQUE = "single"

_AS_WRITTEN = "Give the file as DeepLabCut or Lightning Pose wrote it, CollectedData_*.csv."

#: x and y of one keypoint in image pixels, and its visibility; None if it is absent.
_Point = tuple[float, float, int] | None


class DeepLabCutFile(NamedTuple):
    """What a table of labels holds.

    Attributes:
        keypoints: names in the order of the poses.
        annotations: without a box; a keypoint is occluded only where a column `visible` says so.
        image_paths: every image of the table, with an animal or without.
    """

    keypoints: tuple[str, ...]
    annotations: list[Annotation]
    image_paths: tuple[str, ...]


def read_deeplabcut_csv(
    text: str, origin: str, on_note: Callable[[str], None] = lambda note: None
) -> DeepLabCutFile:
    """Read the labels of one or several animals; empty cells and NaN are absent keypoints.

    In a file of several animals, an animal without any point in a frame is left out of that frame.
    Unique body parts, which belong to no animal, are left out too.

    Args:
        text: the content of the file.
        origin: name of the file, for messages.
        on_note: called with a sentence on unique body parts that were left out.

    Raises:
        FormatError: if a header row is missing, columns are not pairs of x and y, a keypoint or
            image occurs twice, a location is incomplete or not a number, there are no images, or
            two animals have different keypoints.
    """
    table = _parse(text, origin)
    animals = {
        who: names
        for who, names in table.keypoints.items()
        if not (table.multi_animal and who == UNIQUE and len(table.keypoints) > 1)
    }
    first, keypoints = next(iter(animals.items()))
    for who, names in animals.items():
        if names != keypoints:
            raise FormatError(
                f"{origin}: {who!r} and {first!r} have different keypoints.",
                "Give every individual the same bodyparts in the same order.",
            )
    annotations = []
    for path, points in table.rows:
        for who in animals:
            if table.multi_animal and not any(points[who]):
                continue
            reference = f"{path}#{who}" if table.multi_animal else path
            rows = np.array([point or (0.0, 0.0, ABSENT) for point in points[who]])
            pose = human_pose(rows[:, :2], rows[:, 2])
            annotations.append(Annotation(path, reference, None, None, pose, False, individual=who))
    if unique := [who for who in table.keypoints if who not in animals]:
        parts = [name for who in unique for name in table.keypoints[who]]
        count = sum(
            p is not None for _, points in table.rows for who in unique for p in points[who]
        )
        on_note(
            f"Left out {counted(count, 'location')} of unique body parts in {origin}, which belong "
            f"to no animal: {named(parts)}."
        )
    return DeepLabCutFile(keypoints, annotations, tuple(path for path, _ in table.rows))


@dataclass(frozen=True, slots=True)
class _Table:
    """A parsed CSV.

    Attributes:
        multi_animal: the file has a header row `individuals`.
        keypoints: names of each individual's keypoints; without that row, the only individual is
            called "".
        rows: (image path, individual -> points) in the order of the file.
    """

    multi_animal: bool
    keypoints: dict[str, tuple[str, ...]]
    rows: list[tuple[str, dict[str, list[_Point]]]]


def _parse(text: str, origin: str) -> _Table:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        lines = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise FormatError(
            f"{origin}, line {reader.line_num}: broken CSV ({error}).", _AS_WRITTEN
        ) from error
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
        raise FormatError(f"{origin} has header rows but no images.", "Label some first.")
    width = len(header["coords"])
    for name, row in header.items():
        if len(row) != width:
            raise FormatError(
                f"{origin}: header row {name!r} has {len(row)} cells, not {width}.", _AS_WRITTEN
            )
    index_columns, size, keypoints = _layout(header, origin)
    owners = [who for who, names in keypoints.items() for _ in names]
    rows: list[tuple[str, dict[str, list[_Point]]]] = []
    seen: set[str] = set()
    for number, row in lines:
        where = f"{origin}, line {number}"
        if len(row) != width:
            raise FormatError(f"{where} has {len(row)} cells, the header has {width}.", _AS_WRITTEN)
        path = "/".join(image_path_from(cell.strip()) for cell in row[:index_columns])
        if path in seen:
            raise FormatError(f"{where}: {path} occurs a second time.", "Remove one of the rows.")
        seen.add(path)
        points: dict[str, list[_Point]] = {who: [] for who in keypoints}
        for ordinal, who in enumerate(owners):
            column = index_columns + size * ordinal
            name = header["bodyparts"][column].strip()
            points[who].append(_point(row[column : column + size], f"{where}: {name!r}"))
        rows.append((path, points))
    return _Table("individuals" in header, keypoints, rows)


def _layout(
    header: dict[str, list[str]], origin: str
) -> tuple[int, int, dict[str, tuple[str, ...]]]:
    """The columns of the path, the columns of a keypoint, and the keypoints of each individual."""
    coords = [cell.strip() for cell in header["coords"]]
    if "likelihood" in coords:
        raise FormatError(
            f"{origin} holds predictions of a network (it has likelihood columns), not labels.",
            "Give the CollectedData file that people labelled.",
        )
    start = coords.index("x") if "x" in coords else 0
    cells = ["x", "y", "visible"] if "visible" in coords else ["x", "y"]
    size = len(cells)
    if not start or coords[start:] != cells * (len(coords[start:]) // size):
        raise FormatError(
            f"{origin}: the header row 'coords' must read {', '.join([*cells, *cells])}, ... after "
            "the columns of the path.",
            _AS_WRITTEN,
        )
    names = [cell.strip() for cell in header["bodyparts"]]
    who = [cell.strip() for cell in header.get("individuals", [""] * len(names))]
    found: dict[str, list[str]] = {}
    for column in range(start, len(coords), size):
        pair = (who[column], names[column])
        for other in range(column + 1, column + size):
            if pair != (who[other], names[other]):
                raise FormatError(
                    f"{origin}: column {column + 1} is x of {pair[1]!r}, "
                    f"but column {other + 1} is {coords[other]} of {names[other]!r}.",
                    _AS_WRITTEN,
                )
        if next(reversed(found), pair[0]) != pair[0] and pair[0] in found:
            raise FormatError(
                f"{origin}: the columns of individual {pair[0]!r} are not together.", _AS_WRITTEN
            )
        mine = found.setdefault(pair[0], [])
        if pair[1] in mine:
            raise FormatError(
                f"{origin} has the keypoint {pair[1]!r} twice.", "Remove or rename one of the two."
            )
        mine.append(pair[1])
    return start, size, {individual: tuple(parts) for individual, parts in found.items()}


def _point(cells: Sequence[str], where: str) -> _Point:
    x, y, *rest = cells
    visible = _number(rest[0], f"{where}, visible,") if rest else math.nan
    if not math.isnan(visible) and visible not in (ABSENT, OCCLUDED, VISIBLE):
        raise FormatError(
            f"{where}: visible is {rest[0].strip()}, not 0 (absent), 1 (occluded) or 2 (visible).",
            "Correct the cell.",
        )
    if visible == ABSENT:
        return None
    values: Sequence[float] = [_number(x, where), _number(y, where)]
    if all(math.isnan(value) for value in values):
        if visible == VISIBLE:
            raise FormatError(f"{where} is visible and has no x and y.", "Fill in both.")
        return None
    if any(math.isnan(value) for value in values):
        raise FormatError(f"{where} has only one of x and y.", "Fill in both, or empty both.")
    if any(math.isinf(value) or value < 0 for value in values):
        raise FormatError(
            f"{where} lies at ({x.strip()}, {y.strip()}), outside the image.",
            "Correct the coordinates, or empty both cells if the keypoint is not visible.",
        )
    return values[0], values[1], VISIBLE if math.isnan(visible) else int(visible)


def _number(cell: str, where: str) -> float:
    try:
        return float(cell) if cell.strip() else math.nan
    except ValueError:
        raise FormatError(
            f"{where} is {cell!r}, which is not a number.",
            "Correct the cell, or empty both cells if the keypoint is not visible.",
        ) from None


def skeleton_from_config(
    text: str, origin: str, on_note: Callable[[str], None] = lambda note: None
) -> Skeleton:
    """The skeleton of a DeepLabCut project, named after its task.

    Links between other than its body parts are left out: DeepLabCut only draws them, and writes
    some that name none into every new project.

    Args:
        text: the content of config.yaml.
        origin: name of the file, for messages.
        on_note: called with a sentence on links that were left out.

    Raises:
        FormatError: if the text is not the config.yaml of a DeepLabCut project.
        SkeletonError: if its body parts contradict each other.
    """
    try:
        config = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FormatError(f"{origin} is not a YAML file ({reason}).", "Correct it.") from error
    if not isinstance(config, dict):
        raise FormatError(f"{origin} is not the config.yaml of a DeepLabCut project.", _OTHERS)
    key = "multianimalbodyparts" if config.get("multianimalproject") else "bodyparts"
    parts = config.get(key)
    if not isinstance(parts, list) or not parts:
        raise FormatError(
            f"{origin} is not the config.yaml of a DeepLabCut project: it has no list {key!r}.",
            _OTHERS,
        )
    keypoints = [_name(part, f"{origin}: {key}") for part in parts]
    chains = config.get("skeleton") or []
    links, lost = _links(chains if isinstance(chains, list) else [chains], keypoints)
    if lost:
        on_note(f"Left out links of {origin} that do not join its body parts: {named(lost)}.")
    try:
        return make_skeleton(str(config.get("Task") or "animal"), keypoints, links)
    except SkeletonError as error:
        raise SkeletonError(
            f"{origin}: {error.problem}", error.next_step or f"Correct {key}."
        ) from error


def _links(
    chains: Sequence[Any], keypoints: Sequence[str]
) -> tuple[list[tuple[int, int]], list[str]]:
    """Links as pairs of indices, and the chains of which some could not be made."""
    links, lost = [], []
    for chain in chains:
        names = [str(part) for part in chain] if isinstance(chain, list) else [str(chain)]
        if len(names) < 2 or not set(names) <= set(keypoints):
            lost.append("-".join(names)[:60])
        known = [(a, b) for a, b in pairwise(names) if a != b and {a, b} <= set(keypoints)]
        links += [(keypoints.index(a), keypoints.index(b)) for a, b in known]
    return links, lost


#: What else describes a skeleton.
_OTHERS = "Name the keypoints in a TOML file: --skeleton FILE.toml"


def _name(part: Any, where: str) -> str:
    if isinstance(part, bool) or not isinstance(part, str | int):
        raise FormatError(
            f"{where} holds {part!r}, which is not a name.", 'Put names like "yes" in quotes.'
        )
    return str(part)
