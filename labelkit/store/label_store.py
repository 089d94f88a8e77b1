"""The label store: the project's images and instances, and every answer that people gave."""

from __future__ import annotations

import json
import secrets
import shlex
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    URL,
    Connection,
    Row,
    Select,
    case,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)

from labelkit.domain.instance import Box, Image, Instance, image_of
from labelkit.domain.pose import UNKNOWN, Pose
from labelkit.domain.selection import DevDraw
from labelkit.domain.skeleton import Skeleton
from labelkit.domain.text import named
from labelkit.errors import LabelkitError, StoreError
from labelkit.project.images import FileStamp
from labelkit.store.columns import (
    Newest,
    Objects,
    Poses,
    Presences,
    blank,
    parts,
    read_ids,
    read_values,
)
from labelkit.store.database import Database
from labelkit.store.ids import Ids
from labelkit.store.journal import (
    KEYPOINTS,
    SKIP,
    VISIBILITY,
    WITHDRAWN,
    Entry,
    Recorded,
    RecordReport,
    pose_of,
    presence_of,
)
from labelkit.store.journal_columns import (
    EMPTY,
    JournalColumns,
    read_columns,
    read_on,
    write_columns,
)
from labelkit.store.objects import (
    VERSION,
    NewInstance,
    forget_objects,
    lost_objects,
    move_box,
    objects_change,
    register_objects,
    replace_found,
    stand_ins,
)
from labelkit.store.rows import (
    entry_of_row,
    exact_json,
    image_of_row,
    named_now,
    row_of_entry,
    row_of_image,
)
from labelkit.store.schema import (
    empty_image,
    file_stamp,
    image,
    instance,
    journal,
    meta,
    origin,
    removed_image,
)

#: Rows a statement; SQLite allows 32,766 values in one.
_CHUNK = 500

#: So many entries are read again before a file keeps their columns too.
_MANY = 1000

#: Kinds of the answers that tell of places, and of presence.
_PLACED, _TOLD = (KEYPOINTS, WITHDRAWN), (VISIBILITY, KEYPOINTS, WITHDRAWN)

#: What is known of a keypoint that no one was asked about, in each of them.
_NO_PLACE, _NOT_TOLD = np.array([0.0, 0.0, UNKNOWN]), np.array(UNKNOWN, np.int8)

#: Keys of `meta`, with JSON values.
_DEV_DRAW, _LEFT_OUT, _IMAGES = "dev_set", "left_out_files", "images_version"


@dataclass(frozen=True, slots=True)
class StoreCounts:
    """How much is in the store.

    Attributes:
        images, instances: how many are registered.
        entries: answers in the journal, every edit counted.
        with_presence: instances with a visibility answer or human keypoints.
        with_keypoints: instances with human keypoints.
        skipped: instances whose latest answer is a skip.
    """

    images: int
    instances: int
    entries: int
    with_presence: int
    with_keypoints: int
    skipped: int


class LabelStore:
    """Images, instances, and the append-only journal of human answers.

    The current label of an instance is its latest entry; nothing is ever changed or deleted.
    Every method is one transaction: if it is killed, nothing has happened.

    Attributes:
        database: where it is.
        renamed: present names of keypoints by their former ones. Entries are read with the present
            names, whatever they were recorded with.
        kept: file for columns of the journal, which may be deleted; None keeps them in memory.
    """

    kept: Path | None = None
    _columns: JournalColumns | None = None
    _unkept = 0  # entries that the file does not hold

    def __init__(self, database: Database) -> None:
        self.database = database
        self.renamed: Mapping[str, str] = {}

    @classmethod
    def open(cls, url: str | URL) -> LabelStore:
        """Open a store; make or migrate its tables.

        Args:
            url: of the database, for SQLAlchemy.

        Raises:
            StoreError: if it cannot be opened, or is newer than this program.
            MissingDependencyError: if the database's driver is not installed.
        """
        database = Database(url)
        try:
            database.prepare()
        except BaseException:
            database.close()
            raise
        return cls(database)

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def __enter__(self) -> LabelStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # Images

    def add_images(self, images: Iterable[Image]) -> int:
        """Register images; one with known content takes its new path.

        Returns:
            how many were new.

        Raises:
            StoreError: if the file of a labelled image now holds a different image.
        """
        new = {item.id: item for item in images}
        moved: dict[str, str] = {}  # path by id
        with self.database.writing() as connection:
            for rows in parts(connection, select(image.c.id, image.c.path)):
                for id_, path in rows:
                    item = new.pop(id_, None)
                    if item and item.path != path:
                        moved[id_] = item.path
            if new or moved:
                _images_change(connection)
                arrived = {item.path: id_ for id_, item in new.items()}
                arrived |= {path: id_ for id_, path in moved.items()}
                for id_, path in _replaced(connection, arrived, moved):
                    _forget_unlabelled(connection, id_, path)
            for id_, path in moved.items():
                connection.execute(update(image).where(image.c.id == id_).values(path=path))
            # In the order of the indices, which then grow at their ends.
            for chunk in _chunks(new[id_] for id_ in sorted(new)):
                connection.execute(insert(image), [row_of_image(item) for item in chunk])
        return len(new)

    def images(self, *, with_removed: bool = False) -> list[Image]:
        """Every image of the project, by path.

        Args:
            with_removed: also those that were taken out of it.
        """
        query = select(image)
        return self._images(query if with_removed else query.where(image.c.id.not_in(_removed())))

    def image_ids(self) -> Ids:
        """Ids of all images, also of those that were taken out of the project."""
        with self.database.reading() as connection:
            return read_ids(connection, select(image.c.id))

    def image_count(self) -> int:
        """Number of images of the project."""
        every, removed = (select(func.count()).select_from(it) for it in (image, removed_image))
        with self.database.reading() as connection:
            return (connection.scalar(every) or 0) - (connection.scalar(removed) or 0)

    def stamped_files(self) -> Iterator[tuple[str, str, int | None, int | None]]:
        """Path and content hash of every image of the project, with size and time of its stamp.

        Both are None where it has none; the size is -1 where it is that of another image.
        """
        size = case((file_stamp.c.sha256 != image.c.sha256, -1), else_=file_stamp.c.size)
        stamped = (
            select(image.c.path, image.c.sha256, size, file_stamp.c.mtime_ns)
            .outerjoin(file_stamp, file_stamp.c.path == image.c.path)
            .where(image.c.id.not_in(_removed()))
        )
        with self.database.reading() as connection:
            for rows in parts(connection, stamped):
                yield from rows

    def images_version(self) -> str:
        """Another text after any change to which images and files the project knows."""
        with self.database.reading() as connection:
            return _fact(connection, _IMAGES) or ""

    def objects_version(self) -> str:
        """Another text after any change to which objects the project knows, or its dev set."""
        with self.database.reading() as connection:
            return _fact(connection, VERSION) or ""

    def image_paths(self) -> set[str]:
        """Paths of all images, also of those that were taken out of the project."""
        with self.database.reading() as connection:
            return set(connection.scalars(select(image.c.path)))

    def removed_images(self) -> list[Image]:
        """Every image that was taken out of the project, by path."""
        return self._images(select(image).where(image.c.id.in_(_removed())))

    def _images(self, query: Select[Any]) -> list[Image]:
        with self.database.reading() as connection:
            found = [image_of_row(row) for row in connection.execute(query)]
        return sorted(found, key=lambda item: item.path)

    def remove_images(self, images: Iterable[Image]) -> None:
        """Take images out of the project; their objects and labels stay in the store."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        rows = [{"image_id": item.id, "removed_at": now} for item in images]
        with self.database.writing() as connection:
            _images_change(connection)
            _restore(connection, [row["image_id"] for row in rows])
            if rows:
                connection.execute(insert(removed_image), rows)

    def restore_images(self, images: Iterable[Image]) -> None:
        """Take removed images back into the project, with their objects and labels."""
        with self.database.writing() as connection:
            _images_change(connection)
            _restore(connection, [item.id for item in images])

    def keep_empty(self, images: Iterable[Image]) -> None:
        """Register that there is no object in some images, as far as label files know.

        Whole images that stood in for an object there, and that have no answers, are dropped.
        """
        images = list(images)
        self.forget_stand_ins(images)
        with self.database.writing() as connection:
            known = set(connection.scalars(select(empty_image.c.image_id)))
            rows = [{"image_id": id_} for id_ in sorted({item.id for item in images} - known)]
            if rows:
                connection.execute(insert(empty_image), rows)

    def empty_images(self) -> set[str]:
        """Ids of images that label files list without objects; they may have got some since."""
        with self.database.reading() as connection:
            return set(connection.scalars(select(empty_image.c.image_id)))

    def stamps(self, paths: Sequence[str]) -> dict[str, FileStamp]:
        """The stamps of some files, by path, where they have one."""
        found: dict[str, FileStamp] = {}
        with self.database.reading() as connection:
            for chunk in _chunks(paths):
                query = select(file_stamp).where(file_stamp.c.path.in_(chunk))
                found |= {path: FileStamp(*rest) for path, *rest in connection.execute(query)}
        return found

    def keep_stamps(self, stamps: Mapping[str, FileStamp]) -> None:
        """Keep new stamps of some files."""
        with self.database.writing() as connection:
            for chunk in _chunks(stamps.items()):
                connection.execute(
                    delete(file_stamp).where(file_stamp.c.path.in_([path for path, _ in chunk]))
                )
                rows = [{"path": path, **stamp._asdict()} for path, stamp in chunk]
                connection.execute(insert(file_stamp), rows)

    def forget_other_stamps(self, images: Iterable[Image]) -> None:
        """Forget the stamps of files that hold none of these images."""
        paths = {item.path for item in images}
        query = select(file_stamp.c.path)
        with self.database.writing() as connection:
            if connection.scalar(select(func.count()).select_from(file_stamp)) == len(paths):
                return
            found = (path for rows in parts(connection, query) for (path,) in rows)
            for chunk in _chunks([path for path in found if path not in paths]):
                connection.execute(delete(file_stamp).where(file_stamp.c.path.in_(chunk)))

    def images_with_objects(self, besides: Set[str]) -> set[str]:
        """Ids of the images that have an object which is not among `besides`, given by id."""
        query = select(instance.c.id).where(instance.c.id.not_in(lost_objects()))
        with self.database.reading() as connection:
            found = (id_ for rows in parts(connection, query) for (id_,) in rows)
            return {image_of(id_) for id_ in found if id_ not in besides}

    def left_out_files(self) -> set[str]:
        """Paths of files that the last registration left out: copies, and what cannot be read."""
        with self.database.reading() as connection:
            return set(_fact(connection, _LEFT_OUT) or ())

    def keep_left_out_files(self, paths: Iterable[str]) -> None:
        """Replace them by those of a new registration."""
        with self.database.writing() as connection:
            left_out = sorted(paths)
            if left_out != _fact(connection, _LEFT_OUT):
                _images_change(connection)
                _keep_fact(connection, _LEFT_OUT, left_out)

    # The dev set

    def dev_draw(self) -> DevDraw | None:
        """Which images are in the dev set; None in a store of an earlier version."""
        with self.database.reading() as connection:
            kept = _fact(connection, _DEV_DRAW)
        if kept is None:
            return None
        return DevDraw(kept["share"], frozenset(kept["added"]), frozenset(kept["left_out"]))

    def keep_dev_draw(self, draw: DevDraw) -> None:
        """Record which images are in the dev set."""
        added, left_out = sorted(draw.added), sorted(draw.left_out)
        with self.database.writing() as connection:
            content = {"share": draw.share, "added": added, "left_out": left_out}
            _keep_fact(connection, _DEV_DRAW, content)
            objects_change(connection)

    # Instances

    def add_instances(self, candidates: Iterable[NewInstance]) -> list[Instance]:
        """Register objects, all boxes of an image in one call.

        A candidate that the image has already (see `same_objects`) is the same instance, which
        takes over what a label file says of it now: box, area, category, individual. Two equal
        boxes in one call are two objects. A whole image that stood in for an object, and has no
        answers, gives way to boxes.

        Returns:
            the instance of each candidate, in their order.

        Raises:
            StoreError: if an image is not registered.
        """
        with self.database.writing() as connection:
            return register_objects(connection, list(candidates))

    def move_box(self, instance_id: str, box: Box) -> None:
        """Give an object the box that an annotator drew; its area follows unless a segment's."""
        with self.database.writing() as connection:
            move_box(connection, instance_id, box)

    def stand_ins(self) -> set[str]:
        """Ids of the instances that are whole images for want of a box, and have no answers."""
        with self.database.reading() as connection:
            return stand_ins(connection, list(connection.scalars(select(image.c.id))))

    def forget_stand_ins(self, images: Iterable[Image]) -> None:
        """Drop the whole images among the objects of some images, unless they have answers."""
        with self.database.writing() as connection:
            ids = stand_ins(connection, [item.id for item in images])
            forget_objects(connection, sorted(ids))

    def replace_found(
        self, images: Iterable[Image], again: Mapping[str, Box], new: Sequence[NewInstance]
    ) -> list[Instance]:
        """Register what a network found in some images, in place of what another one found there.

        Found objects without answers that are not found again are left out of the project, but
        keep their ids: an answer, or a later round that finds them, takes them back.

        Args:
            images: that were read.
            again: boxes of known objects that were found again, by id; those of objects with
                answers stay as they are.
            new: further objects, of the source "found", and whole images that stand in for one.

        Returns:
            the instance of each of `new`, in their order.
        """
        with self.database.writing() as connection:
            return replace_found(connection, [item.id for item in images], again, new)

    def described_by(self, source: str) -> set[str]:
        """Ids of the instances that a label file describes, such as "file:boxes.json"."""
        query = select(origin.c.instance_id).where(origin.c.source == source)
        with self.database.reading() as connection:
            return set(connection.scalars(query))

    def instances(self, *, with_removed: bool = False) -> Objects:
        """Every instance by id, ordered by image path and ordinal.

        Args:
            with_removed: also those of images that were taken out of the project, and those that
                only an earlier round found.
        """
        query = select(instance.c.id)
        if not with_removed:
            query = query.where(
                instance.c.image_id.not_in(_removed()), instance.c.id.not_in(lost_objects())
            )
        with self.database.reading() as connection:
            return Objects(self.database, read_ids(connection, query))

    # The journal

    def record(self, entries: Iterable[Entry]) -> RecordReport:
        """Append answers in order: all of them, or none after an error or a kill.

        Recording an answer again changes nothing. Other writers wait until `entries` is
        exhausted, so fetch from slow services first.

        Raises:
            StoreError: if an instance is unknown, or an answer has the source, reference and
                version of a known one but different content.
        """
        added = known = 0
        recorded_at = datetime.now(UTC).isoformat()
        with self.database.writing() as connection:
            for chunk in _chunks(entries):
                fresh = _fresh(connection, chunk, self.renamed)
                added += len(fresh)
                known += len(chunk) - len(fresh)
                if fresh:
                    rows = [row_of_entry(entry, recorded_at) for entry in fresh]
                    connection.execute(insert(journal), rows)
        return RecordReport(added, known)

    def head(self) -> int:
        """The number of the newest entry; 0 if the journal is empty."""
        with self.database.reading() as connection:
            return connection.scalar(select(func.max(journal.c.seq))) or 0

    def newest_source(self) -> str:
        """Where the newest entry came from, such as "label-studio"; "" if there is none."""
        with self.database.reading() as connection:
            query = select(journal.c.source).order_by(journal.c.seq.desc()).limit(1)
            return connection.scalar(query) or ""

    def entries(self, after: int = 0, as_of: int | None = None) -> Iterator[Recorded]:
        """The journal's entries after number `after`, up to number `as_of`, in order."""
        while True:
            query = select(journal).where(journal.c.seq > after).order_by(journal.c.seq)
            if as_of is not None:
                query = query.where(journal.c.seq <= as_of)
            with self.database.reading() as connection:
                rows = connection.execute(query.limit(_CHUNK)).all()
            for row in rows:
                yield Recorded(row.seq, row.recorded_at, entry_of_row(row, self.renamed))
            if len(rows) < _CHUNK:
                return
            after = rows[-1].seq

    def columns(self) -> JournalColumns:
        """All entries without what they tell; only those that came since the last time are read."""
        if self._columns is None:
            self._columns = read_columns(self.kept) if self.kept else EMPTY
        with self.database.reading() as connection:
            self._columns, read = read_on(connection, self._columns)
        self._unkept += read
        if self.kept and self._unkept >= _MANY:
            self._unkept = 0
            with suppress(LabelkitError):  # a project that only others may write to
                write_columns(self.kept, self._columns)
        return self._columns

    def _counting(self, as_of: int | None = None) -> JournalColumns:
        """The same, up to an entry, about the objects of the project."""
        columns = self.columns()
        query = select(instance.c.id).where(instance.c.image_id.in_(_removed()))
        with self.database.reading() as connection:
            out = read_ids(connection, query)
        return (columns if as_of is None else columns.until(as_of)).without(out)

    def work(self, showing: str) -> Iterator[Entry]:
        """The entries whose `shown` may have a key, `HELD` or `EFFORT`, in order; no contents."""
        return self._read(self.columns().showing(showing), literal("{}").label("content"))

    def _read(self, columns: JournalColumns, content: Any = journal.c.content) -> Iterator[Entry]:
        """Whole entries, in order."""
        found = [content if it is journal.c.content else it for it in journal.c]
        for chunk in _chunks(columns.seqs.tolist()):
            query = select(*found).where(journal.c.seq.in_(chunk)).order_by(journal.c.seq)
            with self.database.reading() as connection:
                rows = connection.execute(query).all()
            yield from (entry_of_row(row, self.renamed) for row in rows)

    def annotators(self) -> dict[str, int]:
        """Number of entries by annotator, in the order of their first ones."""
        columns = self.columns()
        counts = np.bincount(columns.rows["annotator"]).tolist()
        return dict(zip(columns.annotators, counts, strict=True))

    def presences(
        self, skeleton: Skeleton, as_of: int | None = None
    ) -> Mapping[str, NDArray[np.int8]]:
        """The first of `labels`."""
        return self.labels(skeleton, as_of)[0]

    def poses(self, skeleton: Skeleton, as_of: int | None = None) -> Mapping[str, Pose]:
        """The second of `labels`."""
        return self.labels(skeleton, as_of)[1]

    def labels(self, skeleton: Skeleton, as_of: int | None = None) -> tuple[Presences, Poses]:
        """The labels that count, by instance id, in the order of their newest answers.

        Args:
            skeleton: of the project.
            as_of: number of the newest entry to use; None for all.

        Returns:
            the visibility of each instance's keypoints, from answers of either kind, and the human
            keypoints of each. Instances of which nothing is known are left out.

        Raises:
            StoreError: if no answer names any of the keypoints.
        """
        keypoints, columns = skeleton.keypoints, self._counting(as_of)
        located, ticked = (
            columns.newest(*kinds).of(kinds[0]).as_labels(keypoints, self.renamed)
            for kinds in (_PLACED, _TOLD)
        )
        answered, until = ticked.with_those_of(located), int(columns.seqs.max(initial=0))

        def read(newest: Newest, ids: Ids, unknown: NDArray[Any]) -> NDArray[Any]:
            with self.database.reading() as connection:
                seqs = newest.seqs_of(ids)
                return read_values(connection, seqs, keypoints, self.renamed, unknown)

        def presences_of(ids: Ids) -> NDArray[np.int8]:
            codes = read(ticked, ids, _NOT_TOLD)
            places = poses.ids.places(ids.array)
            by_place = (ticked.ids.places(ids.array) < 0) & (places >= 0)
            if by_place.any():
                codes[by_place] = np.minimum(poses.in_order[places[by_place], :, 2], 1)
            return codes

        partial = self._partial(answered, _TOLD, skeleton, until, presence_of, _NOT_TOLD)
        presences = Presences(answered, partial, presences_of)
        partial = self._partial(located, _PLACED, skeleton, until, _places_of, _NO_PLACE)
        poses = Poses(located, partial, lambda ids: read(located, ids, _NO_PLACE))
        return presences, poses

    def _partial(
        self,
        newest: Newest,
        kinds: Sequence[str],
        skeleton: Skeleton,
        until: int,
        tell: Callable[[Sequence[Entry], Skeleton], NDArray[Any]],
        unknown: NDArray[Any],
    ) -> NDArray[Any]:
        """(P, K, ...) what all entries tell of each instance whose newest is partial."""
        names, ids = newest.partial_names, Ids(newest.ids.array[newest.is_partial])
        if names and len(ids) == len(newest.ids) and max(skeleton.columns_in(names)) < 0:
            raise StoreError(
                f"The labels are about other keypoints than the skeleton {skeleton.name!r} has: "
                f"{named(sorted(names))}.",
                "Put the former [skeleton] back into labelkit.toml. Then change it with: labelkit "
                "skeleton edit",
            )
        values = blank(len(ids), len(skeleton), unknown)
        for chunk in _chunks(ids):
            entries: dict[str, list[Entry]] = defaultdict(list)
            for seq, _, entry in self.history(chunk):
                if entry.kind in kinds and seq <= until:
                    entries[entry.instance_id].append(entry)
            for id_, mine in entries.items():
                values[ids.place(id_)] = tell(mine, skeleton)
        return values

    def skipped(self, as_of: int | None = None) -> set[str]:
        """Ids of the instances whose latest answer is a skip."""
        newest = self._counting(as_of).newest(VISIBILITY, KEYPOINTS, SKIP, WITHDRAWN)
        return {*Ids(newest.of(SKIP).about)}

    def counts(self) -> StoreCounts:
        """How much is in the store."""
        columns = self._counting()

        def having(*kinds: str) -> int:
            return len(columns.newest(*kinds, WITHDRAWN).of(*kinds).rows)

        with self.database.reading() as connection:
            images, instances = (
                connection.scalar(query) or 0
                for query in (
                    select(func.count()).where(image.c.id.not_in(_removed())),
                    select(func.count()).where(
                        instance.c.image_id.not_in(_removed()), instance.c.id.not_in(lost_objects())
                    ),
                )
            )
        return StoreCounts(
            images,
            instances,
            len(self.columns().rows),
            having(VISIBILITY, KEYPOINTS),
            having(KEYPOINTS),
            len(self.skipped()),
        )

    def sources(self) -> set[str]:
        """Where answers have come from, such as "label-studio" and "file:keypoints.json"."""
        with self.database.reading() as connection:
            return set(connection.scalars(select(journal.c.source).distinct()))

    def latest(
        self, kinds: Sequence[str], as_of: int | None = None, showing: str = ""
    ) -> Iterator[Entry]:
        """The newest entry of each instance among those of some kinds, oldest first.

        Args:
            kinds: see `Entry`.
            as_of: number of the newest entry to use; None for all.
            showing: only those whose `shown` may have this key, `HELD` or `EFFORT`.
        """
        newest = self._counting(as_of).newest(*kinds)
        return self._read(newest.showing(showing) if showing else newest)

    def history(self, instance_ids: Iterable[str]) -> Iterator[Recorded]:
        """Every entry about some instances, in order for each instance."""
        for chunk in _chunks(sorted(set(instance_ids))):
            query = select(journal).where(journal.c.instance_id.in_(chunk))
            with self.database.reading() as connection:
                rows = connection.execute(query.order_by(journal.c.seq)).all()
            for row in rows:
                yield Recorded(row.seq, row.recorded_at, entry_of_row(row, self.renamed))


def _replaced(
    connection: Connection, arrived: Mapping[str, str], moved: Collection[str]
) -> list[tuple[str, str]]:
    """Id and path of each image of the project whose file is another image's now.

    Args:
        connection: to the database.
        arrived: id of the image that a file holds now, by path.
        moved: ids of images that have another file now.
    """
    query = select(image.c.id, image.c.path).where(image.c.id.not_in(_removed()))
    return [
        (id_, path)
        for rows in parts(connection, query)
        for id_, path in rows
        if arrived.get(path, id_) != id_ and id_ not in moved
    ]


def _fact(connection: Connection, key: str) -> Any:
    """A value of `meta`; None without one."""
    text = connection.scalar(select(meta.c.value).where(meta.c.key == key))
    return None if text is None else json.loads(text)


def _keep_fact(connection: Connection, key: str, value: Any) -> None:
    connection.execute(delete(meta).where(meta.c.key == key))
    connection.execute(insert(meta).values(key=key, value=json.dumps(value, allow_nan=False)))


def _images_change(connection: Connection) -> None:
    """See `LabelStore.images_version`."""
    _keep_fact(connection, _IMAGES, secrets.token_hex(8))


def _removed() -> Select[tuple[str]]:
    """Ids of the images that were taken out of the project."""
    return select(removed_image.c.image_id)


def _restore(connection: Connection, ids: Sequence[str]) -> None:
    for chunk in _chunks(ids):
        connection.execute(delete(removed_image).where(removed_image.c.image_id.in_(chunk)))


def _places_of(entries: Sequence[Entry], skeleton: Skeleton) -> NDArray[np.float64]:
    """(K, 3) x, y and visibility, see `pose_of`."""
    pose = pose_of(entries, skeleton)
    return np.column_stack([pose.xy, pose.visibility])


def _chunks(items: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk


def _forget_unlabelled(connection: Connection, image_id: str, path: str) -> None:
    """Drop an image whose file was replaced by another image, unless it has answers."""
    mine = select(instance.c.id).where(instance.c.image_id == image_id)
    if connection.scalar(select(journal.c.seq).where(journal.c.instance_id.in_(mine)).limit(1)):
        raise StoreError(
            f"{path} is not the image that was labelled under this name.",
            "Put the former file back, give the new image another name, or take the former one out "
            f"of the project: labelkit images remove {shlex.quote(path)}",
        )
    forget_objects(connection, list(connection.scalars(mine)))
    connection.execute(delete(empty_image).where(empty_image.c.image_id == image_id))
    connection.execute(delete(image).where(image.c.id == image_id))


def _fresh(
    connection: Connection, chunk: Sequence[Entry], renamed: Mapping[str, str]
) -> list[Entry]:
    """The entries that are not in the journal yet, each once."""
    ids = {entry.instance_id for entry in chunk}
    query = select(instance.c.id).where(instance.c.id.in_(ids))
    if unknown := ids - set(connection.scalars(query)):
        raise StoreError(f"There is no instance {min(unknown)} in this project.")
    contents = {}
    query = select(journal).where(journal.c.instance_id.in_(ids))
    for row in connection.execute(query):
        contents[_key(row)] = row.content
    fresh = []
    for entry in chunk:
        content = exact_json(entry.content)
        known = contents.setdefault(_key(entry), content)
        if known is content:  # the text just inserted: the key is new
            fresh.append(entry)
        elif known != content and _now(known, renamed) != _now(content, renamed):
            raise StoreError(
                f"{entry.source} {entry.reference} has changed for {entry.instance_id} since it "
                f"was first read, but not its version {entry.version!r}."
            )
    return fresh


def _now(content: str, renamed: Mapping[str, str]) -> dict[str, Any]:
    return named_now(json.loads(content), renamed)


def _key(item: Entry | Row[Any]) -> tuple[str, ...]:
    return item.source, item.reference, item.version, item.instance_id, item.kind
