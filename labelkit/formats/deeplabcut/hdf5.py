"""DeepLabCut's HDF5 tables, without unpickling what pandas put into them."""

from __future__ import annotations

import csv
import io
import pickletools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from labelkit.errors import FormatError
from labelkit.formats.hdf5 import opened, table_in

#: Operations of a pickle that push a text, and those that keep and fetch one by number.
_TEXT = ("UNICODE", "BINUNICODE", "SHORT_BINUNICODE")
_KEEP = ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")
_FETCH = ("GET", "BINGET", "LONG_BINGET")


class _Frame(NamedTuple):
    """A data frame.

    Attributes:
        levels: names of the header rows.
        columns: a text for each level, for each column.
        paths: parts of the image's path, for each row.
        values: (rows, columns), NaN where a cell is empty.
    """

    levels: list[str]
    columns: list[tuple[str, ...]]
    paths: list[tuple[str, ...]]
    values: NDArray[np.float64]


def csv_of_hdf5(path: Path) -> str:
    """The table in an HDF5 file as the CSV that DeepLabCut writes beside it.

    Args:
        path: of a file that pandas wrote (`DataFrame.to_hdf`), in its fixed or its table format.

    Raises:
        FormatError: if the file is damaged, or of an unknown layout.
        MissingDependencyError: if h5py is not installed.
    """
    try:
        with opened(path) as file:
            group = table_in(file)
            frame = _of_table(group) if "table" in group else _of_arrays(group)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise FormatError(
            f"{path} is an HDF5 file of an unknown layout ({error}).",
            f"DeepLabCut writes the same labels as CSV beside it: {path.stem}.csv",
        ) from error
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    width = len(frame.paths[0]) if frame.paths else 1
    for level, cells in zip(frame.levels, zip(*frame.columns, strict=True), strict=True):
        writer.writerow([level, *[""] * (width - 1), *cells])
    for parts, row in zip(frame.paths, frame.values.tolist(), strict=True):
        writer.writerow([*parts, *("" if value != value else repr(value) for value in row)])
    return text.getvalue()


def _of_arrays(group: Any) -> _Frame:
    """A frame in pandas' fixed format: each level of an axis is an array, with codes into it."""
    blocks = int(group.attrs["nblocks"])
    if blocks != 1:
        raise ValueError(f"{blocks} blocks")
    names, columns = _axis(group, "axis0")
    values = np.asarray(group["block0_values"], dtype=np.float64)
    return _Frame(names, columns, _axis(group, "axis1")[1], values)


def _axis(group: Any, axis: str) -> tuple[list[str], list[tuple[str, ...]]]:
    """Names of the levels of an axis, and a text of each level for each place on it."""
    if axis in group:
        return [""], [(text,) for text in _texts(group[axis])]
    names, levels = [], []
    for number in range(int(group.attrs[f"{axis}_nlevels"])):
        level, codes = group[f"{axis}_level{number}"], group[f"{axis}_label{number}"]
        texts = _texts(level)
        names.append(_text(level.attrs["name"]))
        levels.append([texts[code] for code in codes[:]])
    return names, list(zip(*levels, strict=True))


def _of_table(group: Any) -> _Frame:
    """A frame in pandas' table format: an array of records, and pickled names of its columns."""
    table = group["table"]
    levels = [name for name in _pickled_texts(group.attrs["info"]) if name in _LEVELS]
    names = _pickled_texts(group.attrs["non_index_axes"])
    columns = list(zip(*[iter(names)] * len(levels), strict=True))
    values = np.asarray(table["values_block_0"], dtype=np.float64)
    return _Frame(levels, columns, [(text,) for text in _texts(table["index"])], values)


_LEVELS = ("scorer", "individuals", "bodyparts", "coords")


def _texts(array: Any) -> list[str]:
    cells = array[:]
    if cells.dtype.kind != "S":
        raise ValueError(f"names of type {cells.dtype}")
    return [_text(cell) for cell in cells.tolist()]


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _pickled_texts(pickled: Any) -> list[str]:
    """The texts in a pickle of nested lists, in their order; nothing of it is run."""
    found: list[str] = []
    kept: dict[int, str] = {}
    last = ""
    operations: Any = pickletools.genops(bytes(pickled))
    for operation, argument, _ in operations:
        if operation.name in _KEEP:
            kept[len(kept) if argument is None else argument] = last
            last = ""
        else:
            last = str(argument) if operation.name in _TEXT else ""
            if operation.name in _FETCH:
                last = kept[argument]
            found += [last] if last else []
    return found
