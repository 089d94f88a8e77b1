"""Parquet files with a header that names their content, checked when they are opened."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from labelkit.errors import FormatError
from labelkit.files.atomic import atomic_path

_HEADER_KEY = b"labelkit"


@contextmanager
def parquet_writer(
    path: Path, schema: pa.Schema, form: str, header: Mapping[str, Any]
) -> Iterator[pq.ParquetWriter]:
    """Write a Parquet file row group by row group; nothing appears at `path` if that fails.

    Args:
        path: of the finished file.
        schema: columns; `instance_id` is one of them.
        form: name and version of the content, checked by `open_parquet`.
        header: what a reader needs before it reads rows; JSON values.
    """
    text = json.dumps({"form": form, **header}, ensure_ascii=False)
    described = schema.with_metadata({_HEADER_KEY: text.encode()})
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, described, compression="zstd", use_dictionary=False) as writer,
    ):
        yield writer


class RowWriter:
    """Collect rows in one file, which appears when the `with` block succeeds.

    Args:
        path, schema, form, header: see `parquet_writer`.
        rows_per_group: that are kept in memory, and later read together.
    """

    def __init__(
        self,
        path: Path,
        schema: pa.Schema,
        form: str,
        header: Mapping[str, Any],
        rows_per_group: int,
    ) -> None:
        self._schema = schema
        self._file = parquet_writer(path, schema, form, header)
        self._rows_per_group = rows_per_group
        self._rows: list[Mapping[str, Any]] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._writer = self._stack.enter_context(self._file)
        self._stack.push(self._finish)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def add_row(self, row: Mapping[str, Any]) -> None:
        """Add a row: a value for each column."""
        self._rows.append(row)
        if len(self._rows) == self._rows_per_group:
            self._flush()

    def _finish(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        columns = []
        for field in self._schema:
            values = [row[field.name] for row in self._rows]
            if pa.types.is_fixed_size_list(field.type):
                columns.append(fixed_lists(np.asarray(values), field.type))
            else:
                columns.append(pa.array(values, field.type))
        self._writer.write_batch(pa.record_batch(columns, schema=self._schema))
        self._rows = []


def open_parquet(path: Path, *forms: str) -> tuple[pq.ParquetFile, dict[str, Any]]:
    """Open a file that `parquet_writer` wrote, and return it with its header.

    Args:
        path: of the file.
        forms: that can be read, today's first.

    Raises:
        FormatError: if it is missing, not Parquet, or of another form.
    """
    step = "Run the command that writes it again: labelkit retrain"
    if not path.is_file():
        raise FormatError(f"There is no file {path}.", step)
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise FormatError(f"{path} is not a readable Parquet file.", step) from error
    metadata = file.schema_arrow.metadata or {}
    try:
        header = json.loads(metadata[_HEADER_KEY])
        found = header["form"]
    except (KeyError, TypeError, ValueError):
        header, found = {}, "another program's data"
    if found not in forms:
        file.close()
        raise FormatError(f"{path} holds {found}, not {forms[0]}.", step)
    return file, header


@contextmanager
def naming_damage(path: Path) -> Iterator[None]:
    """Name a file whose rows cannot be read.

    Raises:
        FormatError: in place of Arrow's errors.
    """
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        raise FormatError(
            f"{path} is damaged: its rows cannot be read.",
            "Run the command that writes it again: labelkit retrain",
        ) from error


class RowPlaces(Mapping[str, tuple[int, int, int]]):
    """Where the row of each instance is: number of the file, row group, and row in it.

    An array of ids takes a fifth of the memory of a dictionary. The last row of an instance counts.

    Args:
        path: named if rows cannot be read.
        files: with a column `instance_id`.

    Raises:
        FormatError: if rows cannot be read.
    """

    def __init__(self, path: Path, files: Iterable[pq.ParquetFile]) -> None:
        self._groups: list[tuple[int, int]] = []  # number of the file, and of the group in it
        starts, found = [0], list[NDArray[np.bytes_]]([np.empty(0, "S1")])
        for number, file in enumerate(files):
            for group in range(file.num_row_groups):
                with naming_damage(path):
                    ids = file.read_row_group(group, ["instance_id"])["instance_id"].to_pylist()
                found.append(np.array([id_.encode() for id_ in ids], np.bytes_))
                starts.append(starts[-1] + len(ids))
                self._groups.append((number, group))
        self._ids, self._starts = np.concatenate(found), np.array(starts)
        self._sorted, from_end = np.unique(self._ids[::-1], return_index=True)
        self._places = len(self._ids) - 1 - from_end

    def __getitem__(self, instance_id: str) -> tuple[int, int, int]:
        near = int(self._sorted.searchsorted(instance_id.encode()))
        if near == len(self._sorted) or self._sorted[near].decode() != instance_id:
            raise KeyError(instance_id)
        place = int(self._places[near])
        group = int(self._starts.searchsorted(place, side="right")) - 1
        return *self._groups[group], place - int(self._starts[group])

    def __iter__(self) -> Iterator[str]:
        """Ids in the order of their rows."""
        for place in np.sort(self._places):
            yield self._ids[place].decode()

    def __len__(self) -> int:
        return len(self._places)


def parts(path: Path) -> list[Path]:
    """A file, and those beside it that hold what came later: a.parquet, a-2.parquet, ..."""
    later = path.parent.glob(f"{path.stem}-*{path.suffix}")
    return [path, *sorted(later, key=_number)]


def next_part(path: Path) -> Path:
    """Where the next rows that come later belong; see `parts`."""
    return path.with_name(f"{path.stem}-{_number(parts(path)[-1]) + 1}{path.suffix}")


def _number(part: Path) -> int:
    number = part.stem.rpartition("-")[2]
    return int(number) if number.isdecimal() else 1


def fixed_lists(values: Any, arrow_type: pa.DataType) -> pa.FixedSizeListArray:
    """An (N, M) array as an Arrow column of N lists of M numbers, of type `arrow_type`."""
    flat = pa.array(values.reshape(-1), type=arrow_type.value_type)
    return pa.FixedSizeListArray.from_arrays(flat, type=arrow_type)
