"""Objects of images: registered, recognised when a label file brings them again, kept true."""

from __future__ import annotations

import json
import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from labelkit.domain.identity import Candidate, same_objects
from labelkit.domain.instance import Box, Image, Instance
from labelkit.errors import StoreError
from labelkit.store.journal import KEYPOINTS, WITHDRAWN
from labelkit.store.rows import image_of_row, instance_of_row, row_of_instance
from labelkit.store.schema import image, instance, journal, meta, origin

#: A network found the object in the whole image; a later one did not find it again.
FOUND, LOST = "found", "lost"

#: Where boxes come from; one takes the place of another if it stands in the same place or later.
SOURCES = ("whole-image", LOST, FOUND, "keypoints", "detected", "given", "human")

#: Key of `meta`, see `LabelStore.objects_version`.
VERSION = "objects_version"

#: Rows a statement; SQLite allows 32,766 values in one.
_CHUNK = 500


class NewInstance(NamedTuple):
    """An object to register; the store assigns its ordinal and thereby its id.

    Attributes:
        image, box, box_source, area, category, individual: as in `Instance`.
        origin: (source, reference) of its annotation in a label file; None for an object that was
            detected, drawn, or made of a whole image.
        keypoints: of that annotation, [x, y, v] by name; empty without any.
    """

    image: Image
    box: Box
    box_source: str
    area: float
    category: str = ""
    individual: str = ""
    origin: tuple[str, str] | None = None
    keypoints: Mapping[str, Sequence[float]] = MappingProxyType({})


def read_instances(connection: Connection, wanted: ColumnElement[bool]) -> list[Instance]:
    """Some instances, ordered by image path and ordinal.

    Args:
        connection: to the database.
        wanted: a condition on images or instances.
    """
    query = select(image, instance).select_from(image.join(instance)).where(wanted)
    width, rows = len(image.c), connection.execute(query.execution_options(yield_per=_CHUNK))
    found = [instance_of_row(row[width:], image_of_row(row[:width])) for row in rows]
    found.sort(key=lambda item: (item.image.path, item.ordinal))
    return found


def objects_change(connection: Connection) -> None:
    """See `LabelStore.objects_version`."""
    connection.execute(delete(meta).where(meta.c.key == VERSION))
    connection.execute(insert(meta).values(key=VERSION, value=json.dumps(secrets.token_hex(8))))


def register_objects(connection: Connection, found: Sequence[NewInstance]) -> list[Instance]:
    """Register objects in the caller's transaction; see `LabelStore.add_instances`."""
    of_image: dict[str, list[int]] = defaultdict(list)
    for index, item in enumerate(found):
        of_image[item.image.id].append(index)
    made: dict[int, Instance] = {}
    # In the order of the indices, which then grow at their ends.
    for ids in _chunks(sorted(of_image)):
        made |= _register_some(connection, found, {id_: of_image[id_] for id_ in ids})
    return [made[index] for index in range(len(found))]


def _register_some(
    connection: Connection, found: Sequence[NewInstance], of_image: Mapping[str, Sequence[int]]
) -> dict[int, Instance]:
    """Register the objects of some images, given by their places among those found."""
    wanted = image.c.id.in_([*of_image])
    rows = connection.execute(select(image).where(wanted))
    images = {row.id: image_of_row(row) for row in rows}
    for id_, (index, *_) in of_image.items():
        if id_ not in images:
            raise StoreError(f"The image {found[index].image.path} is not registered.")
    known: dict[str, list[Instance]] = defaultdict(list)
    for instance_ in read_instances(connection, wanted):
        known[instance_.image.id].append(instance_)
    candidates = _known_candidates(connection, [*chain(*known.values())])
    made: dict[int, Instance] = {}
    new: list[Instance] = []
    changed: list[Instance] = []
    replaced: list[str] = []  # images whose whole-image objects give way
    for id_, indices in of_image.items():
        before = known[id_]
        same = same_objects(
            [candidates[item.id] for item in before], [_candidate(found[i]) for i in indices]
        )
        ordinal = before[-1].ordinal + 1 if before else 0
        for index, place in zip(indices, same, strict=True):
            item = found[index]
            if place is not None:
                made[index] = _brought_up_to_date(before[place], item)
                if made[index] != before[place]:
                    changed.append(made[index])
                continue
            box = Box(*map(float, item.box))
            made[index] = Instance(
                images[id_],
                ordinal,
                box,
                item.box_source,
                float(item.area),
                item.category,
                item.individual,
            )
            ordinal += 1
            new.append(made[index])
        if any(found[index].box_source not in ("whole-image", "human") for index in indices):
            replaced.append(id_)
    if new or changed:
        objects_change(connection)
    for chunk in _chunks(new):
        connection.execute(insert(instance), [row_of_instance(item) for item in chunk])
    _update(connection, changed)
    _keep_origins(connection, [(item.id, found[index].origin) for index, item in made.items()])
    matched = {item.id for item in made.values()}
    forget_objects(connection, sorted(stand_ins(connection, replaced) - matched))
    return made


def move_box(connection: Connection, id_: str, box: Box) -> None:
    """Give an object the box that an annotator drew, in the caller's transaction."""
    row = connection.execute(select(instance).where(instance.c.id == id_)).one()
    of_box = row.w * row.h
    area = box.w * box.h if abs(row.area - of_box) <= 1e-6 * of_box else row.area
    changed = {**box._asdict(), "box_source": "human", "area": area}
    connection.execute(update(instance).where(instance.c.id == id_).values(changed))


def replace_found(
    connection: Connection,
    image_ids: Sequence[str],
    again: Mapping[str, Box],
    new: Sequence[NewInstance],
) -> list[Instance]:
    """See `LabelStore.replace_found`; in the caller's transaction."""
    objects_change(connection)
    unanswered = update(instance).where(instance.c.id.not_in(select(journal.c.instance_id)))
    for chunk in _chunks(image_ids):
        found = unanswered.where(instance.c.image_id.in_(chunk), instance.c.box_source == FOUND)
        connection.execute(found.values(box_source=LOST))
    back = unanswered.where(instance.c.box_source == LOST, instance.c.id == bindparam("known"))
    for chunk in _chunks([*again.items()]):
        rows = [
            {"known": id_, **box._asdict(), "box_source": FOUND, "area": box.w * box.h}
            for id_, box in chunk
        ]
        connection.execute(back, rows)
    return register_objects(connection, new)


def lost_objects() -> Select[tuple[str]]:
    """Ids of the objects that only an earlier round found, and of which no one has answered."""
    return select(instance.c.id).where(
        instance.c.box_source == LOST, instance.c.id.not_in(select(journal.c.instance_id))
    )


def forget_objects(connection: Connection, ids: Sequence[str]) -> None:
    """Drop objects without answers."""
    if ids:
        objects_change(connection)
    for chunk in _chunks(ids):
        connection.execute(delete(origin).where(origin.c.instance_id.in_(chunk)))
        connection.execute(delete(instance).where(instance.c.id.in_(chunk)))


def stand_ins(connection: Connection, image_ids: Sequence[str]) -> set[str]:
    """Objects of these images that stand in for the objects in it: whole, and without answers."""
    found: set[str] = set()
    for chunk in _chunks(image_ids):
        query = select(instance.c.id).where(
            instance.c.image_id.in_(chunk),
            instance.c.box_source == "whole-image",
            instance.c.id.not_in(select(journal.c.instance_id)),
        )
        found.update(connection.scalars(query))
    return found


def _known_candidates(
    connection: Connection, instances: Sequence[Instance]
) -> dict[str, Candidate]:
    """What the store knows of objects, by id."""
    origins: dict[str, set[tuple[str, str]]] = defaultdict(set)
    contents: dict[str, str] = {}
    for chunk in _chunks([item.id for item in instances]):
        for row in connection.execute(select(origin).where(origin.c.instance_id.in_(chunk))):
            origins[row.instance_id].add((row.source, row.reference))
        newest = select(func.max(journal.c.seq)).where(
            journal.c.kind.in_((KEYPOINTS, WITHDRAWN)), journal.c.instance_id.in_(chunk)
        )
        latest = select(journal.c.instance_id, journal.c.content).where(
            journal.c.seq.in_(newest.group_by(journal.c.instance_id))
        )
        contents |= {row.instance_id: row.content for row in connection.execute(latest)}
    return {
        item.id: Candidate(
            item.box,
            item.individual,
            frozenset(origins[item.id]),
            json.loads(contents.get(item.id, "{}")),
        )
        for item in instances
    }


def _candidate(item: NewInstance) -> Candidate:
    origins = frozenset() if item.origin is None else frozenset([item.origin])
    return Candidate(Box(*item.box), item.individual, origins, item.keypoints)


def _update(connection: Connection, changed: Sequence[Instance]) -> None:
    fixed = ("id", "image_id", "ordinal")
    for chunk in _chunks(changed):
        rows = [
            {"known": item.id}
            | {name: value for name, value in row_of_instance(item).items() if name not in fixed}
            for item in chunk
        ]
        connection.execute(update(instance).where(instance.c.id == bindparam("known")), rows)


def _brought_up_to_date(known: Instance, found: NewInstance) -> Instance:
    """A known object as a label file describes it now."""
    now = known
    box = Box(*map(float, found.box))
    tells_more = SOURCES.index(found.box_source) >= SOURCES.index(known.box_source)
    if found.origin and tells_more and not known.box.is_nearly(box):
        now = replace(now, box=box, box_source=found.box_source, area=float(found.area))
    elif _is_segments(found.area, box) and (
        found.origin or not _is_segments(known.area, known.box)
    ):
        now = replace(now, area=float(found.area))
    return replace(
        now,
        category=found.category or known.category,
        individual=found.individual or known.individual,
    )


def _is_segments(area: float, box: Box) -> bool:
    """Whether an area is not just that of the box."""
    return abs(area - box.w * box.h) > 1e-6 * box.w * box.h


def _keep_origins(
    connection: Connection, found: Iterable[tuple[str, tuple[str, str] | None]]
) -> None:
    rows = sorted({(id_, *named) for id_, named in found if named is not None})
    for chunk in _chunks(rows):
        query = select(origin).where(origin.c.instance_id.in_({id_ for id_, _, _ in chunk}))
        known = {tuple(row) for row in connection.execute(query)}
        if new := [row for row in chunk if row not in known]:
            columns = ("instance_id", "source", "reference")
            connection.execute(
                insert(origin), [dict(zip(columns, row, strict=True)) for row in new]
            )


def _chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]
