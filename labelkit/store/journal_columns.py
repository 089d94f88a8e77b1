"""The journal without values as columns, most of which a file keeps: who answered what, about what.

Entries never change, so what was read of them stays true: only those that came since are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, func, select

from labelkit.files.atomic import atomic_path
from labelkit.store.columns import Newest, parts
from labelkit.store.ids import Bytes, Ids, as_bytes
from labelkit.store.schema import journal

#: Begins the file, before the checksum of the rest.
FORM = b"labelkit-journal-1\n"

#: Key in `Entry.shown` of a held label: the answer it is held against, or, if that was deleted,
#: the annotations that are gone.
HELD = "held"

#: The same of answers of the labelling page: what they cost, see `labelkit.metrics.effort`.
EFFORT = "effort"

_ROW = np.dtype(
    [
        ("seq", np.int64),
        ("instance", np.int32),  # place in `ids`
        ("kind", np.int32),
        ("annotator", np.int32),
        ("names", np.int32),
        ("annotation", np.int64),  # a hash of source and reference
        ("lead_time_s", np.float64),  # NaN if unknown
        ("of_file", np.bool_),
        (HELD, np.bool_),  # perhaps: texts inside may hold the word too
        (EFFORT, np.bool_),  # the same
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class JournalColumns:
    """N entries of the journal, in order.

    Attributes:
        rows: (N,) with the fields of `_ROW`; kind, annotator and names are places in these:
        kinds, annotators: texts, in the order in which they came.
        names: of keypoints that a content names, as they were recorded.
        ids: (I,) of the instances that entries are about, sorted.
        last: identifies the newest entry, which no other history of the project has there.
    """

    rows: NDArray[Any]
    kinds: Sequence[str]
    annotators: Sequence[str]
    names: Sequence[Sequence[str]]
    ids: Bytes
    last: Sequence[str]

    def until(self, seq: int) -> JournalColumns:
        """The entries up to a number."""
        return replace(self, rows=self.rows[: self.rows["seq"].searchsorted(seq, "right")])

    def without(self, instances: Ids) -> JournalColumns:
        """The entries about all others than some instances."""
        out = instances.places(self.ids) >= 0
        return replace(self, rows=self.rows[~out[self.rows["instance"]]]) if out.any() else self

    def of(self, *kinds: str) -> JournalColumns:
        """The entries of some kinds."""
        codes = [place for place, kind in enumerate(self.kinds) if kind in kinds]
        return replace(self, rows=self.rows[np.isin(self.rows["kind"], codes)])

    def newest(self, *kinds: str) -> JournalColumns:
        """The newest entry of each instance among those of some kinds."""
        rows = self.of(*kinds).rows
        last = np.full(len(self.ids), -1)
        np.maximum.at(last, rows["instance"], np.arange(len(rows)))
        return replace(self, rows=rows[np.sort(last[last >= 0])])

    def showing(self, key: str) -> JournalColumns:
        """The entries whose `shown` may have a key, `HELD` or `EFFORT`."""
        return replace(self, rows=self.rows[self.rows[key]])

    @property
    def seqs(self) -> NDArray[np.int64]:
        """(N,) numbers in the journal, which rise."""
        return np.ascontiguousarray(self.rows["seq"])

    @property
    def about(self) -> Bytes:
        """(N,) ids of the instances."""
        return self.ids[self.rows["instance"]]

    def as_labels(self, keypoints: Sequence[str], renamed: Mapping[str, str]) -> Newest:
        """The same, of at most one entry an instance, by the keypoints that each leaves out.

        Args:
            keypoints: names of the K keypoints.
            renamed: present names of keypoints by their former ones.
        """
        named = [frozenset(renamed.get(name, name) for name in names) for names in self.names]
        shapes = [0 if names.issuperset(keypoints) else 1 + n for n, names in enumerate(named)]
        which = np.array(shapes, np.int32)[self.rows["names"]]
        return Newest(Ids(self.about), self.seqs, which, [frozenset(), *named])


EMPTY = JournalColumns(np.empty(0, _ROW), [], [], [], np.empty(0, "S1"), [])


def read_on(connection: Connection, before: JournalColumns) -> tuple[JournalColumns, int]:
    """Columns of the whole journal, and how many of its entries had to be read.

    Args:
        connection: to the database.
        before: of an earlier moment; without effect where the journal does not begin so, because
            another store was restored.
    """
    if before.last == _identity(connection, before):
        now = _extended(connection, before)
        if len(now.rows) == connection.scalar(select(func.count()).select_from(journal)):
            return now, len(now.rows) - len(before.rows)
    now = _extended(connection, EMPTY)
    return now, len(now.rows)


def _identity(connection: Connection, columns: JournalColumns) -> Sequence[str]:
    """What `JournalColumns.last` has to be."""
    if not len(columns.rows):
        return []
    fields = (journal.c.recorded_at, journal.c.instance_id, journal.c.source, journal.c.reference)
    newest = journal.c.seq == int(columns.rows["seq"][-1])
    row = connection.execute(select(*fields, journal.c.version).where(newest)).one_or_none()
    return [] if row is None else [*row]


def _extended(connection: Connection, before: JournalColumns) -> JournalColumns:
    kinds, annotators, names = (
        _Codes(texts) for texts in (before.kinds, before.annotators, map(tuple, before.names))
    )
    found, about = [before.rows], [before.ids[before.rows["instance"]]]
    query = select(
        journal.c.seq,
        journal.c.instance_id,
        journal.c.kind,
        journal.c.annotator,
        journal.c.content,
        journal.c.source,
        journal.c.reference,
        journal.c.lead_time_s,
        _shows(HELD),
        _shows(EFFORT),
    )
    after = int(before.rows["seq"][-1]) if len(before.rows) else 0
    for part in parts(connection, query.where(journal.c.seq > after).order_by(journal.c.seq)):
        seqs, ids, kind, annotator, contents, sources, references, times, *marks = zip(
            *part, strict=True
        )
        rows = np.empty(len(part), _ROW)
        rows["seq"], rows["lead_time_s"] = seqs, times
        rows["kind"], rows["annotator"] = kinds.of(kind), annotators.of(annotator)
        rows["names"] = names.of(map(_names, contents))
        rows["annotation"] = _hashes(zip(sources, references, strict=True))
        rows["of_file"] = [source.startswith("file:") for source in sources]
        rows[HELD], rows[EFFORT] = marks
        found.append(rows)
        about.append(as_bytes(ids))
    if len(found) == 1:
        return before
    rows = np.concatenate(found)
    own, rows["instance"] = np.unique(np.concatenate(about), return_inverse=True)
    columns = JournalColumns(rows, [*kinds], [*annotators], [*names], own, [])
    return replace(columns, last=_identity(connection, columns))


class _Codes(dict[Any, int]):
    """Numbers of values in the order in which they come."""

    def __init__(self, values: Iterable[Any]) -> None:
        super().__init__(zip(values, count()))

    def of(self, values: Iterable[Any]) -> list[int]:
        """The number of each value."""
        return [self.setdefault(value, len(self)) for value in values]


def _names(content: str) -> tuple[str, ...]:
    """Keypoints that a content names; all strings in its JSON are names."""
    return tuple(json.loads(content) if "\\" in content else content.split('"')[1::2])


def _hashes(annotations: Iterable[tuple[str, str]]) -> NDArray[np.int64]:
    texts = ("\0".join(each).encode() for each in annotations)
    return np.frombuffer(b"".join(blake2b(it, digest_size=8).digest() for it in texts), np.int64)


def _shows(key: str) -> ColumnElement[bool]:
    """Whether what was shown may have a key."""
    # Texts inside may hold it too, and SQLite does not tell capitals apart: readers look again.
    return journal.c.shown.contains(json.dumps(key), autoescape=True)


def write_columns(path: Path, columns: JournalColumns) -> None:
    """Keep columns in a file.

    Raises:
        LabelkitError: if it cannot be written.
    """
    texts = [columns.kinds, columns.annotators, columns.names, columns.last]
    content = BytesIO()
    for array in (columns.rows, columns.ids, np.frombuffer(json.dumps(texts).encode(), np.uint8)):
        np.save(content, array, allow_pickle=False)
    rest = content.getvalue()
    with atomic_path(path) as temporary:
        temporary.write_bytes(FORM + crc32(rest).to_bytes(4) + rest)


def read_columns(path: Path) -> JournalColumns:
    """The columns in a file; none where it is missing, damaged or of another version."""
    try:
        content = path.read_bytes()
    except OSError:
        return EMPTY
    begin = len(FORM) + 4
    if content[:begin] != FORM + crc32(memoryview(content)[begin:]).to_bytes(4):
        return EMPTY
    stream = BytesIO(content)
    stream.seek(begin)
    rows, ids, texts = (np.load(stream, allow_pickle=False) for _ in range(3))
    kinds, annotators, names, last = json.loads(texts.tobytes())
    return JournalColumns(rows, kinds, annotators, names, ids, last)
