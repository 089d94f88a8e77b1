"""Objects and labels of a whole project as columns: each one is made when it is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Select, select

from labelkit.domain.instance import Box, Image, Instance
from labelkit.domain.pose import UNKNOWN, Pose, human_pose
from labelkit.store.database import Database
from labelkit.store.rows import named_now
from labelkit.store.schema import image, instance

#: Rows that are read at a time.
_ROWS = 5000

Value = TypeVar("Value")


class Objects(Mapping[str, Instance]):
    """Instances by id, ordered by image path and ordinal.

    Args:
        database: that holds them; read when first an instance, or their order, is asked for.
        ids: of the instances, all that is known until then.
    """

    def __init__(self, database: Database, ids: Set[str]) -> None:
        self._database, self.ids = database, ids

    @cached_property
    def _columns(self) -> _ObjectColumns:
        with self._database.reading() as connection:
            return _ObjectColumns(connection, self.ids)

    def __getitem__(self, instance_id: str) -> Instance:
        return self._columns.instance(instance_id)

    def __contains__(self, instance_id: object) -> bool:
        return instance_id in self.ids

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns.places)

    def __len__(self) -> int:
        return len(self.ids)


class _ObjectColumns:
    """Images and instances without an object for each.

    Attributes:
        places: row of each instance, by its id and in order.
    """

    def __init__(self, connection: Connection, wanted: Set[str]) -> None:
        numbers: dict[str, int] = {}  # of images
        self._paths: list[str] = []
        hashes: list[NDArray[Any]] = [np.empty(0, "S64")]
        sizes: list[NDArray[Any]] = [np.empty((0, 2), np.int32)]
        for rows in parts(connection, select(image)):
            for row in rows:
                numbers[row[0]] = len(numbers)
            self._paths += [row[2] for row in rows]
            hashes.append(np.array([row[1] for row in rows], "S64"))
            sizes.append(np.array([row[3:] for row in rows], np.int32))
        kinds: dict[tuple[str, ...], int] = {}  # few different texts stand in very many rows
        ids: list[str] = []
        whole: list[NDArray[Any]] = [np.empty((0, 3), np.int32)]
        real: list[NDArray[Any]] = [np.empty((0, 5))]
        for rows in parts(connection, select(instance)):
            rows = [row for row in rows if row[0] in wanted]
            ids += [row[0] for row in rows]
            told = [
                (numbers[row[1]], row[2], kinds.setdefault((row[7], *row[9:]), len(kinds)))
                for row in rows
            ]
            whole.append(np.array(told, np.int32).reshape(-1, 3))
            real.append(np.array([(*row[3:7], row[8]) for row in rows]).reshape(-1, 5))
        self._hashes, self._sizes = np.concatenate(hashes), np.concatenate(sizes)
        self._whole, self._real, self._kinds = np.concatenate(whole), np.concatenate(real), [*kinds]
        by_path = np.empty(len(numbers), np.int32)
        by_path[sorted(range(len(numbers)), key=self._paths.__getitem__)] = np.arange(len(numbers))
        of, ordinals, _ = self._whole.T
        order = np.lexsort((ordinals, by_path[of])).tolist()
        self.places = {ids[place]: place for place in order}

    def instance(self, instance_id: str) -> Instance:
        place = self.places[instance_id]
        number, ordinal, kind = self._whole[place].tolist()
        width, height = self._sizes[number].tolist()
        x, y, w, h, area = self._real[place].tolist()
        source, category, individual = self._kinds[kind]
        found = Image(self._paths[number], self._hashes[number].decode(), width, height)
        return Instance(found, ordinal, Box(x, y, w, h), source, area, category, individual)


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of some entries as columns, at most one entry an instance.

    Attributes:
        places: row of each instance, by its id.
        seqs: (N,) their numbers in the journal, which rise.
        values: (N, K, 3) x, y and visibility of keypoints; or (N, K) presences.
        partial: names of keypoints in each entry that does not name all, by instance id.
    """

    places: Mapping[str, int]
    seqs: NDArray[np.int64]
    values: NDArray[Any]
    partial: Mapping[str, Set[str]]

    def with_those_of(self, located: Contents) -> Contents:
        """Presences, and those that keypoints of other instances tell."""
        also = [id_ for id_ in located.places if id_ not in self.places]
        rows = np.array([located.places[id_] for id_ in also], np.intp)
        seqs = np.concatenate([self.seqs, located.seqs[rows]])
        codes = np.minimum(located.values[rows, :, 2], 1).astype(np.int8)
        order, ids = np.argsort(seqs), [*self.places, *also]
        return Contents(
            {ids[row]: place for place, row in enumerate(order.tolist())},
            seqs[order],
            np.concatenate([self.values, codes])[order],
            {id_: located.partial[id_] for id_ in also if id_ in located.partial}
            | dict(self.partial),
        )


class _Answers(Mapping[str, Value]):
    """What people told, by instance id."""

    def __init__(self, found: Contents, codes: NDArray[Any]) -> None:
        known = set(np.flatnonzero((codes > UNKNOWN).any(axis=1)).tolist())
        self._places = {id_: row for id_, row in found.places.items() if row in known}
        self._values = found.values

    def __contains__(self, instance_id: object) -> bool:
        return instance_id in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class Presences(_Answers[NDArray[np.int8]]):
    """(K,) visibility by instance id: -1 unknown, 0 absent, 1 present."""

    def __init__(self, found: Contents) -> None:
        super().__init__(found, found.values)

    def __getitem__(self, instance_id: str) -> NDArray[np.int8]:
        codes: NDArray[np.int8] = self._values[self._places[instance_id]]
        return codes.copy()


class Poses(_Answers[Pose]):
    """Human keypoints by instance id."""

    def __init__(self, found: Contents) -> None:
        super().__init__(found, found.values[:, :, 2])

    def __getitem__(self, instance_id: str) -> Pose:
        values: NDArray[np.float64] = self._values[self._places[instance_id]]
        return human_pose(values[:, :2], values[:, 2].astype(np.int64))


def read_contents(
    connection: Connection,
    entries: Select[tuple[int, str, str]],
    keypoints: Sequence[str],
    renamed: Mapping[str, str],
    unknown: NDArray[Any],
) -> Contents:
    """Read the contents of entries.

    Args:
        connection: to the database.
        entries: number, instance id and content.
        keypoints: names of the K keypoints.
        renamed: present names of keypoints by their former ones.
        unknown: value of a keypoint that an entry does not name.
    """
    names, missing = frozenset(keypoints), unknown.tolist()
    places: dict[str, int] = {}
    partial: dict[str, Set[str]] = {}
    values, seqs = [np.empty((0, len(keypoints), *unknown.shape), unknown.dtype)], list[int]()
    for rows in parts(connection, entries):
        found = []
        for seq, id_, text in rows:
            content = json.loads(text)
            if renamed:
                content = named_now(content, renamed)
            if not names <= content.keys():
                partial[id_] = content.keys()
            places[id_] = len(seqs)
            seqs.append(seq)
            found.append([content.get(name, missing) for name in keypoints])
        values.append(np.array(found, unknown.dtype))
    return Contents(places, np.array(seqs, np.int64), np.concatenate(values), partial)


def parts(connection: Connection, query: Select[Any]) -> Iterator[Sequence[Any]]:
    """The rows of a query, some thousands at a time."""
    return connection.execute(query.execution_options(yield_per=_ROWS)).partitions()
