"""`labelkit review`: the project as a FiftyOne dataset, and the App on it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from labelkit.bridges.fiftyone import views as fiftyone_views
from labelkit.bridges.fiftyone.dataset import (
    INFO,
    find_dataset,
    open_dataset,
    put_tags,
    quiet_fiftyone,
    upsert,
)
from labelkit.bridges.fiftyone.edits import Edit, edits
from labelkit.bridges.fiftyone.map_server import map_url
from labelkit.bridges.fiftyone.mongod import prepare_database
from labelkit.bridges.fiftyone.private import samples_of
from labelkit.bridges.fiftyone.samples import (
    EXCLUDE,
    HUMAN,
    LABEL_NEXT,
    MapUrl,
    crop_documents,
    digest,
    edited_pose,
    image_document,
    written_points,
)
from labelkit.bridges.ports import free_port, is_free
from labelkit.domain.instance import Image, image_of
from labelkit.domain.pose import UNKNOWN, Pose
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import UsageError
from labelkit.progress import Progress
from labelkit.project.project import Project
from labelkit.project.response_maps import MapReader
from labelkit.store.conflicts import HELD, beside_what_is_known
from labelkit.store.ids import as_bytes
from labelkit.store.journal import KEYPOINTS, Entry, content_version, keypoints_content
from labelkit.store.label_store import LabelStore
from labelkit.workflows.reviewing.crops import crops
from labelkit.workflows.reviewing.items import Review, gather, map_file, note_on_maps
from labelkit.workflows.reviewing.report import ReviewReport
from labelkit.workflows.reviewing.shown_images import shown_image
from labelkit.workflows.rounds.queue_file import read_choices

SOURCE = "fiftyone"

MAP_PORT = 5152


def review(
    project: Project,
    store: LabelStore,
    progress: Progress,
    *,
    number: int | None = None,
    limit: int | None = None,
    instances: bool = False,
    view: str | None = None,
    with_maps: bool = True,
    serve: bool = False,
) -> ReviewReport:
    """Bring the FiftyOne dataset of a project up to date, after recording what was edited there.

    Args:
        project: see `open_project`.
        store: its label store.
        progress: shows bars.
        number: of the round to review; None for the newest complete one.
        limit: at most this many instances, most uncertain first; existing samples stay.
        instances: a crop of each instance, grouped with its image, instead of whole images.
        view: saved view to open.
        with_maps: also response maps, heatmaps and class activation maps.
        serve: the App follows, so the maps need a port that is free now.

    Raises:
        MissingDependencyError: if FiftyOne is not installed or its database does not answer.
        UsageError: if there is no such round or view.
    """
    database = prepare_database()
    quiet_fiftyone()
    found = gather(project, store, number=number, with_maps=with_maps)
    read = [
        edit
        for dataset in (find_dataset(project, crops) for crops in (False, True))
        if dataset is not None
        for edit in edits(dataset)
    ]
    unread = [edit for edit in read if not _is_readable(edit)]
    read = [edit for edit in read if _is_readable(edit)]
    taken, conflicts = _take_edits(project, store, found, read)
    if taken:
        found = gather(project, store, number=number, with_maps=with_maps)
    maps = None
    if with_maps and found.round is not None and map_file(found.round).is_file():
        maps = map_file(found.round)
    dataset, is_new = open_dataset(project, instances, found.fields, maps is not None)
    port = _map_port(dataset, serve) if maps is not None else 0
    url: MapUrl | None = None
    if maps is not None and found.round is not None:
        with MapReader(maps) as reader:
            url = partial(_map_url, reader.kinds, port, found.round.plan.number)

    ids = [*found.items] if limit is None else found.most_uncertain(limit, project.skeleton)
    if instances:
        documents = _of_crops(project, ids, found, maps, url)
        everything = {key for id_ in found.items for key in (id_, f"{id_}:image")}
        count = 2 * len(ids)
    else:
        numbers = _images_of(ids, found)
        documents = _of_images(project, numbers, found, url)
        everything = {image_of(id_) for id_ in found.items}
        count = len(numbers)
    written = upsert(dataset, progress.track(documents, "Building", count), everything, read)
    if is_new:
        choices = read_choices(project)
        put_tags(dataset, {LABEL_NEXT: choices.first, EXCLUDE: choices.excluded})
    worked = (found.work[id_] for id_ in found.items if id_ in found.work)
    annotators = dict.fromkeys(who for work in worked for who in work.annotators)
    names = fiftyone_views.save_views(
        dataset, fiftyone_views.views(dataset, project.skeleton, annotators)
    )
    fiftyone_views.dress(dataset, project.skeleton, found.fields, maps is not None)
    saved = dataset.list_saved_views()
    if view is not None and view not in saved:
        raise UsageError(f"There is no view {view!r}.", f"Views: {', '.join(saved)}.")
    return ReviewReport(
        dataset=dataset.name,
        database=database,
        round=found.round.plan.number if found.round else None,
        samples=_size(dataset),
        instances=len(ids),
        added=written.added,
        updated=written.updated,
        unchanged=written.unchanged,
        removed=written.removed,
        edits=taken,
        conflicts=conflicts,
        unread=tuple(dict.fromkeys(edit.instance_id or edit.picture for edit in unread)),
        views=tuple(names),
        view=view,
        map_port=port,
        note=note_on_maps(found.round) if with_maps else "",
    )


def _map_url(
    kinds: Collection[str], port: int, number: int, kind: str, keypoint: int, id_: str
) -> str | None:
    """See `map_url`; None for a kind of maps that the round does not have."""
    return map_url(port, number, kind, keypoint, id_) if kind in kinds else None


def _is_readable(edit: Edit) -> bool:
    sizes = {len(edit.points), len(edit.visibility)}
    return bool(edit.instance_id and edit.written) and sizes == {len(edit.keypoints)}


def _take_edits(
    project: Project, store: LabelStore, found: Review, read: list[Edit]
) -> tuple[int, tuple[str, ...]]:
    """Record keypoints that were edited in FiftyOne, like any other human label.

    Returns:
        the number of new labels, and ids of the instances with a conflict.
    """
    entries: list[Entry] = []
    skeleton = project.skeleton
    informed: set[tuple[str, str]] = set()  # edits of the label that counts, or made without one
    for edit in read:
        item = found.items.get(edit.instance_id)
        if item is None:
            continue
        human = edit.field == HUMAN
        before = item.human if human else item.shown.get(edit.field)
        columns = skeleton.columns_in(edit.keypoints)
        points = [edit.points[at] if at >= 0 else (math.nan, math.nan) for at in columns]
        visibility = [edit.visibility[at] if at >= 0 else UNKNOWN for at in columns]
        pose, origins = edited_pose(points, visibility, edit.frame, before)
        content = keypoints_content(skeleton, pose)
        names = zip(skeleton.keypoints, origins, strict=True)
        shown: dict[str, Any] = {"origins": {name: what for name, what in names if what}}
        if not human:
            shown["model_version"] = edit.field.replace("_", "-")
        entry = Entry(
            instance_id=edit.instance_id,
            kind=KEYPOINTS,
            content=content,
            source=SOURCE,
            reference=edit.reference,
            version=f"{edit.modified_at} {content_version(content)}",
            made_at=edit.modified_at,
            shown=shown,
        )
        entries.append(entry)
        if item.human is None or (human and _was_written(edit, item.human, skeleton)):
            informed.add((entry.reference, entry.version))
    entries.sort(key=lambda entry: entry.made_at)
    fresh, to_record = beside_what_is_known(
        store, entries, lambda _, theirs: (theirs.reference, theirs.version) not in informed
    )
    store.record(to_record)
    conflicts = dict.fromkeys(entry.instance_id for entry in to_record if HELD in entry.shown)
    return len(fresh), tuple(conflicts)


def _was_written(edit: Edit, pose: Pose, skeleton: Skeleton) -> bool:
    """Whether an edit started from this pose; a keypoint that is gone since tells nothing."""
    now = [skeleton.present_name(name) for name in edit.keypoints]
    there = [skeleton.keypoints.index(it) if it in skeleton.keypoints else -1 for it in now]
    then = pose.take(there)
    points, codes = written_points(then, edit.frame), then.visibility.tolist()
    shown = zip(there, points, codes, edit.points, edit.visibility, strict=True)
    rows = [(edited, code) if at < 0 else (point, v) for at, point, v, edited, code in shown]
    return digest([point for point, _ in rows], [code for _, code in rows]) == edit.written


def _map_port(dataset: Any, serve: bool) -> int:
    """The port in the maps' addresses: that of the last time, if possible."""
    info = dict(dataset.info)
    ours = dict(info.get(INFO, {}))
    port = int(ours.get("map_port", MAP_PORT))
    if serve and not is_free(port):
        port = free_port()
    if ours.get("map_port") != port:
        dataset.info = {**info, INFO: {**ours, "map_port": port}}
        dataset.save()
    return port


def _images_of(ids: Sequence[str], found: Review) -> list[int]:
    """Numbers of the images of some instances, in their order; see `ObjectColumns`."""
    objects = found.labels.instances.columns
    return [*dict.fromkeys(objects.images[objects.ids.places(as_bytes(ids))].tolist())]


def _of_images(
    project: Project, numbers: Iterable[int], found: Review, url: MapUrl | None
) -> Iterator[dict[str, Any]]:
    """Each image with all of its instances."""
    objects = found.labels.instances.columns
    for number in numbers:
        first, last = np.searchsorted(objects.images, [number, number + 1])
        items = [found.items[objects.ids[place]] for place in range(first, last)]
        image = items[0].instance.image
        yield image_document(image, _path(project, image), items, project.skeleton, url)


def _of_crops(
    project: Project, ids: Sequence[str], found: Review, maps: Path | None, url: MapUrl | None
) -> Iterator[dict[str, Any]]:
    chosen = (found.labels.instances[id_] for id_ in ids)
    for instance, crop in crops(project, chosen, maps):
        item, path = found.items[instance.id], _path(project, instance.image)
        yield from crop_documents(item, crop, path, project.skeleton, url)


def _path(project: Project, image: Image) -> str:
    return str(shown_image(project, image))


def _size(dataset: Any) -> int:
    return int(samples_of(dataset).estimated_document_count())
