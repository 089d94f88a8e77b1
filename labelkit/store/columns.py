"""Objects and labels of a whole project as columns: each one is made when it is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Select, func, select

from labelkit.domain.instance import Box, Image, Instance
from labelkit.domain.pose import UNKNOWN, Pose, human_pose
from labelkit.store.database import Database
from labelkit.store.ids import Bytes, Ids
from labelkit.store.objects import read_instances
from labelkit.store.rows import named_now
from labelkit.store.schema import image, instance, journal

#: Rows that are read at a time.
_ROWS = 5000

#: Ids that a statement names.
_SOME = 500

Value = TypeVar("Value")


class Objects(Mapping[str, Instance]):
    """Instances by id, ordered by image path and ordinal.

    Args:
        database: that holds them; read when an instance, or their order, is first asked for.
        ids: of the instances, in any order.
    """

    def __init__(self, database: Database, ids: Ids) -> None:
        self._database, self.ids = database, ids

    @cached_property
    def columns(self) -> ObjectColumns:
        """All of them, in order."""
        with self._database.reading() as connection:
            return _read_objects(connection, self.ids)

    def some(self, ids: Sequence[str]) -> dict[str, Instance]:
        """A few instances by id, without reading all of them."""
        found: dict[str, Instance] = {}
        for start in range(0, len(ids), _SOME):
            these = instance.c.id.in_(ids[start : start + _SOME])
            with self._database.reading() as connection:
                found |= {it.id: it for it in read_instances(connection, these)}
        return {id_: found[id_] for id_ in ids}

    def __getitem__(self, instance_id: str) -> Instance:
        return self.columns.instance(self.columns.ids.place(instance_id))

    def __contains__(self, instance_id: object) -> bool:
        return instance_id in self.ids

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns.ids)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class ObjectColumns:
    """N instances of M images without an object for each.

    Attributes:
        ids: of the instances, ordered by image path and ordinal.
        images: (N,) int32 number of the image of each.
        ordinals: (N,) int32
        boxes: (N, 4) x, y, width and height.
        areas: (N,)
        kinds: (N,) int32 which of `texts`.
        texts: source of the box, category and individual.
        paths, hashes, sizes: (M,), (M,) and (M, 2), of the images by path.
    """

    ids: Ids
    images: NDArray[np.int32]
    ordinals: NDArray[np.int32]
    boxes: NDArray[np.float64]
    areas: NDArray[np.float64]
    kinds: NDArray[np.int32]
    texts: Sequence[tuple[str, str, str]]
    paths: NDArray[Any]
    hashes: Bytes
    sizes: NDArray[np.int32]

    def instance(self, place: int) -> Instance:
        """The instance at a place."""
        number = self.images[place]
        width, height = self.sizes[number].tolist()
        found = Image(str(self.paths[number]), self.hashes[number].decode(), width, height)
        source, category, individual = self.texts[self.kinds[place]]
        box, area = Box(*self.boxes[place].tolist()), float(self.areas[place])
        return Instance(found, int(self.ordinals[place]), box, source, area, category, individual)


def _read_objects(connection: Connection, wanted: Ids) -> ObjectColumns:
    text = np.dtypes.StringDType()
    images: list[tuple[NDArray[Any], ...]] = [
        (np.empty(0, "S16"), np.empty(0, "S64"), np.empty(0, text), np.empty((0, 2), np.int32))
    ]
    for rows in parts(connection, select(image)):
        ids, *more, width, height = zip(*rows, strict=True)
        sizes = np.array([width, height], np.int32).T
        images.append(
            (np.array(ids, "S16"), np.array(more[0], "S64"), np.array(more[1], text), sizes)
        )
    of_image, hashes, paths, sizes = _joined(images)
    by_path = np.argsort(paths, kind="stable")
    hashes, paths, sizes, by_id = (
        hashes[by_path],
        paths[by_path],
        sizes[by_path],
        Ids(of_image[by_path]),
    )
    images.clear()
    kinds: dict[tuple[str, str, str], int] = {}  # few different texts stand in very many rows
    found: list[tuple[NDArray[Any], ...]] = [
        (np.empty(0, "S32"), np.empty((0, 3), np.int32), np.empty((0, 5)))
    ]
    for rows in parts(connection, select(instance)):
        ids, its_image, ordinals, x, y, w, h, sources, areas, *more = zip(*rows, strict=True)
        own = np.array(ids, "S32")
        mine = wanted.places(own) >= 0
        kind = [kinds.setdefault(it, len(kinds)) for it in zip(sources, *more, strict=True)]
        numbers = by_id.places(np.array(its_image, "S16"))
        whole = np.stack([numbers, ordinals, kind], axis=1).astype(np.int32)
        found.append((own[mine], whole[mine], np.array([x, y, w, h, areas]).T[mine]))
    own, whole, real = _joined(found)
    found.clear()
    order = np.lexsort((whole[:, 1], whole[:, 0]))
    own, whole, real = own[order], whole[order], real[order]
    return ObjectColumns(
        Ids(own.astype(wanted.array.dtype)),
        whole[:, 0],
        whole[:, 1],
        real[:, :4],
        real[:, 4],
        whole[:, 2],
        [*kinds],
        paths,
        hashes,
        sizes,
    )


def _joined(found: list[tuple[NDArray[Any], ...]]) -> Iterator[NDArray[Any]]:
    """Each column of all that was found."""
    return map(np.concatenate, zip(*found, strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class Newest:
    """The newest entries of N instances, without what they tell of each keypoint.

    Attributes:
        ids: of the instances, in the order of the entries.
        seqs: (N,) numbers of the entries in the journal, which rise.
        shapes: (N,) which of `names` the entry tells about, 0 if about all keypoints.
        names: of keypoints.
    """

    ids: Ids
    seqs: NDArray[np.int64]
    shapes: NDArray[np.int32]
    names: Sequence[Set[str]]

    def with_those_of(self, other: Newest) -> Newest:
        """These, and the others of instances that are not among them."""
        also = self.ids.places(other.ids.array) < 0
        seqs = np.concatenate([self.seqs, other.seqs[also]])
        more = np.where(other.shapes > 0, other.shapes + len(self.names), 0)
        order = np.argsort(seqs)
        return Newest(
            Ids(np.concatenate([self.ids.array, other.ids.array[also]])[order]),
            seqs[order],
            np.concatenate([self.shapes, more[also]])[order].astype(np.int32),
            [*self.names, *other.names],
        )

    def seqs_of(self, ids: Ids) -> NDArray[np.int64]:
        """(M,) number of the entry of each of M instances, -1 where there is none."""
        return np.append(self.seqs, -1)[self.ids.places(ids.array)]

    @property
    def is_partial(self) -> NDArray[np.bool_]:
        """(N,) whether the entry leaves a keypoint out."""
        return self.shapes > 0

    @property
    def partial_names(self) -> frozenset[str]:
        """All that entries name which leave a keypoint out."""
        return frozenset().union(*(self.names[it] for it in set(self.shapes.tolist()) if it))


class _Answers(Mapping[str, Value]):
    """What people told, by instance id.

    Args:
        newest: entries of the instances, in the order of which they come.
        partial: (P, K, ...) all that is known of the instances whose newest entry is partial.
        codes: (P, K) of them, above -1 where a keypoint is known.
        read: gives (N, K, ...) what the newest entries of N instances tell; called when that is
            first asked for.

    Attributes:
        ids: of the N instances of which anything is known.
        known: (N, K) which of their keypoints are known.
    """

    def __init__(
        self,
        newest: Newest,
        partial: NDArray[Any],
        codes: NDArray[Any],
        read: Callable[[Ids], NDArray[Any]],
    ) -> None:
        known = np.ones((len(newest.ids), partial.shape[1]), np.bool_)
        known[newest.is_partial] = codes > UNKNOWN
        kept = np.asarray(known.any(axis=1))
        self.ids, self.known = Ids(newest.ids.array[kept]), known[kept]
        self._partial, self._is_partial = partial[kept[newest.is_partial]], newest.is_partial[kept]
        self._read = read

    @cached_property
    def in_order(self) -> NDArray[Any]:
        """(N, K, ...) of all, in the order of their ids."""
        return self._values(self.ids)

    def _values(self, ids: Ids) -> NDArray[Any]:
        values, places = self._read(ids), ids.places(self.ids.array[self._is_partial])
        values[places[places >= 0]] = self._partial[places >= 0]
        return values

    @property
    def complete(self) -> Ids:
        """Ids of the instances of which every keypoint is known."""
        return Ids(self.ids.array[self.known.all(axis=1)])

    def __contains__(self, instance_id: object) -> bool:
        return instance_id in self.ids

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self.ids)


class Presences(_Answers[NDArray[np.int8]]):
    """(K,) visibility by instance id: -1 unknown, 0 absent, 1 present."""

    def __init__(
        self, newest: Newest, partial: NDArray[np.int8], read: Callable[[Ids], NDArray[np.int8]]
    ) -> None:
        super().__init__(newest, partial, partial, read)

    def __getitem__(self, instance_id: str) -> NDArray[np.int8]:
        codes: NDArray[np.int8] = self.in_order[self.ids.place(instance_id)]
        return codes.copy()


class Poses(_Answers[Pose]):
    """Human keypoints by instance id."""

    def __init__(
        self, newest: Newest, partial: NDArray[np.float64], read: Callable[[Ids], NDArray[Any]]
    ) -> None:
        super().__init__(newest, partial, partial[..., 2], read)

    def __getitem__(self, instance_id: str) -> Pose:
        return _pose(self.in_order[self.ids.place(instance_id)])

    def some(self, ids: Sequence[str]) -> dict[str, Pose]:
        """A few poses by id, without making sense of all contents."""
        return dict(zip(ids, map(_pose, self._values(Ids.of(ids))), strict=True))


def _pose(values: NDArray[np.float64]) -> Pose:
    return human_pose(values[:, :2], values[:, 2].astype(np.int64))


def read_values(
    connection: Connection,
    seqs: NDArray[np.int64],
    keypoints: Sequence[str],
    renamed: Mapping[str, str],
    unknown: NDArray[Any],
) -> NDArray[Any]:
    """Read what N entries tell.

    Args:
        connection: to the database.
        seqs: (N,) their numbers; at -1 nothing is told.
        keypoints: names of the K keypoints.
        renamed: present names of keypoints by their former ones.
        unknown: value of a keypoint that an entry does not name.

    Returns:
        (N, K, 3) x, y and visibility of keypoints; or (N, K) presences.
    """
    missing, values = unknown.tolist(), blank(len(seqs), len(keypoints), unknown)
    order = np.argsort(seqs, kind="stable")
    order = order[seqs[order] >= 0]
    for start in range(0, len(order), _SOME):
        places = order[start : start + _SOME]
        query = select(journal.c.content).where(journal.c.seq.in_(seqs[places].tolist()))
        contents = [
            named_now(json.loads(text), renamed)
            for text in connection.scalars(query.order_by(journal.c.seq))
        ]
        told = [[content.get(name, missing) for name in keypoints] for content in contents]
        values[places] = np.array(told, unknown.dtype)
    return values


def blank(instances: int, keypoints: int, unknown: NDArray[Any]) -> NDArray[Any]:
    """(N, K, ...) the same value of every keypoint."""
    return np.tile(unknown, (instances, keypoints, *[1] * unknown.ndim))


def read_ids(connection: Connection, query: Select[tuple[str]]) -> Ids:
    """The ids that a query of one column gives, in any order."""
    # As one long text: a row for each takes three times as long.
    (column,) = query.subquery().c
    text = connection.scalar(select(func.aggregate_strings(column, ",")))
    content = f"{text},".encode() if text else b""
    width = content.find(b",") + 1
    if content and len(content) == width * content.count(b","):
        letters = np.frombuffer(content, np.uint8).reshape(-1, width)
        if (letters[:, -1] == ord(",")).all():  # ids of one length need no text for each
            return Ids(np.ascontiguousarray(letters[:, :-1]).view(f"S{width - 1}")[:, 0])
    return Ids(np.array(content.split(b",")[:-1], np.bytes_))


def parts(connection: Connection, query: Select[Any]) -> Iterator[Sequence[Any]]:
    """The rows of a query, some thousands at a time."""
    return connection.execute(query.execution_options(yield_per=_ROWS)).partitions()
