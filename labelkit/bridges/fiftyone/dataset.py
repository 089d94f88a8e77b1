"""A project's FiftyOne dataset: found or made, updated, and read back."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from labelkit.bridges.fiftyone.edits import Edit, edits_of, labels_of, mark, reference_of
from labelkit.bridges.fiftyone.private import id_of, samples_of
from labelkit.bridges.fiftyone.samples import BOXES, HUMAN, STATE_TAGS, map_fields
from labelkit.domain.skeleton import Skeleton
from labelkit.project.project import PROJECT_FILE, Project
from labelkit.project.response_pictures import KINDS
from labelkit.store.ownership import open_store
from labelkit.store.task_ledger import TaskLedger

#: Key of labelkit's part of a dataset's info.
INFO = "labelkit"

_CHUNK = 500
#: The samples that carry the tags: where instances have crops, their whole images do not.
_BEARERS = {"labelkit_id": {"$not": {"$regex": ":image$"}}}
_NUMBERS = ("uncertainty", "error", "oks", "correction")
_NAMES = ("suspicions", "swaps", "map_disagrees", "not_found", "answered_absent", "annotators")
#: A field of datasets made until 2026-11-28; "answered_absent" has its place.
_FORMER_NAME = "said_absent"


@dataclass(frozen=True, slots=True)
class Upserted:
    """Numbers of samples that were added, rewritten, left as they were, and removed."""

    added: int
    updated: int
    unchanged: int
    removed: int


def dataset_name(project: Project, instances: bool) -> str:
    """The name of a project's dataset: the project's, unless another project uses it.

    Args:
        project: see `open_project`.
        instances: for the dataset of crops, instead of whole images.
    """
    import fiftyone as fo
    from fiftyone.core.utils import to_slug

    kind = "-instances" if instances else ""
    unique = hashlib.sha256(str(project.root).encode()).hexdigest()[:6]
    taken = {to_slug(name): name for name in fo.list_datasets()}
    for name in (f"{project.name}{kind}", f"{project.name}{kind}-{unique}"):
        try:
            holder = taken.get(to_slug(name))  # FiftyOne refuses two names with the same slug
        except ValueError:  # without ASCII letters and digits, or longer than 100 characters
            continue
        if holder is None or (holder == name and _is_ours(fo.load_dataset(name), project)):
            return name
    return f"labelkit{kind}-{unique}"


def _is_ours(dataset: Any, project: Project) -> bool:
    """Whether a dataset belongs to this project, or did before the project moved here."""
    info = dataset.info.get(INFO, {})
    root = info.get("project")
    if root is None or root == str(project.root):
        return root is not None
    moved = not (Path(root) / PROJECT_FILE).is_file()
    return moved and info.get("uid") == _uid(project)


def _uid(project: Project) -> str:
    with open_store(project) as store:
        return TaskLedger(store.database, "").uid


def find_dataset(project: Project, instances: bool) -> Any | None:
    """The dataset of a project if it exists; see `dataset_name`."""
    import fiftyone as fo

    name = dataset_name(project, instances)
    return fo.load_dataset(name) if fo.dataset_exists(name) else None


def open_dataset(
    project: Project, instances: bool, rounds: Sequence[str], with_maps: bool
) -> tuple[Any, bool]:
    """The dataset of a project with every field that its samples will have.

    Args:
        project: see `open_project`.
        instances: groups of a crop and its image, instead of whole images.
        rounds: names of the rounds' fields.
        with_maps: also fields for response maps, heatmaps and CAMs.

    Returns:
        the dataset, and whether it is new.
    """
    import fiftyone as fo

    name = dataset_name(project, instances)
    is_new = not fo.dataset_exists(name)
    dataset = fo.Dataset(name, persistent=True) if is_new else fo.load_dataset(name)
    if is_new:
        if instances:
            from labelkit.bridges.fiftyone.samples import CROP_SLICE, IMAGE_SLICE

            dataset.add_group_field("group", default=CROP_SLICE)
            dataset.add_group_slice(CROP_SLICE, "image")
            dataset.add_group_slice(IMAGE_SLICE, "image")
        else:
            dataset.media_type = "image"
        dataset.add_sample_field("labelkit_id", fo.StringField)
        dataset.create_index("labelkit_id", unique=True)
    _declare(dataset, project.skeleton, rounds, with_maps)
    info = dict(dataset.info)
    info[INFO] = {
        **info.get(INFO, {}),
        "project": str(project.root),
        "uid": _uid(project),
        "instances": instances,
    }
    dataset.info = info
    links = [list(link) for link in project.skeleton.links]
    dataset.default_skeleton = fo.KeypointSkeleton(
        labels=list(project.skeleton.keypoints), edges=links
    )
    dataset.save()
    return dataset, is_new


def _declare(dataset: Any, skeleton: Skeleton, rounds: Sequence[str], with_maps: bool) -> None:
    import fiftyone as fo

    known = set(dataset.get_field_schema(flat=True))
    if _FORMER_NAME in known:
        dataset.delete_sample_field(_FORMER_NAME)

    def field(path: str, kind: Any, **details: Any) -> None:
        if path not in known:
            dataset.add_sample_field(path, kind, **details)

    def labels(path: str, kind: Any) -> None:
        field(path, fo.EmbeddedDocumentField, embedded_doc_type=kind)

    def listing(path: str, kind: Any) -> None:
        field(path, fo.ListField, subfield=kind)

    field("labelkit_id", fo.StringField)
    listing("labelkit_frame", fo.FloatField)
    field("labelkit_hash", fo.StringField)
    field("instances", fo.IntField)
    for name in _NUMBERS:
        field(name, fo.FloatField)
    for name in _NAMES:
        listing(name, fo.StringField)
    listing("doubt", fo.FloatField)
    labels(BOXES, fo.Detections)
    field(f"{BOXES}.detections.labelkit_id", fo.StringField)
    field(f"{BOXES}.detections.box_source", fo.StringField)
    listing(f"{BOXES}.detections.can_be_seen", fo.StringField)
    listing(f"{BOXES}.detections.cannot_be_seen", fo.StringField)
    for name in (HUMAN, *rounds):
        labels(name, fo.Keypoints)
        field(f"{name}.keypoints.labelkit_id", fo.StringField)
        field(f"{name}.keypoints.written", fo.StringField)
        listing(f"{name}.keypoints.visibility", fo.IntField)
        if name != HUMAN:
            listing(f"{name}.keypoints.presence", fo.FloatField)
    if with_maps:
        for kind in KINDS:
            for name in map_fields(skeleton, kind):
                labels(name, fo.Heatmap)


def upsert(
    dataset: Any,
    documents: Iterable[dict[str, Any]],
    keep: Collection[str] | None,
    taken: Iterable[Edit] = (),
) -> Upserted:
    """Write samples by their labelkit_id; samples that did not change are not touched.

    Sample ids, the user's tags on samples and labels, and fields that are not ours stay. So does
    a sample that was edited after `taken` was read; the next run takes that edit.

    Args:
        dataset: see `open_dataset`.
        documents: of `image_document` or `crop_documents`.
        keep: labelkit ids of all samples that belong here; others are removed. None keeps all.
        taken: edits that were read already and may be overwritten.
    """
    from bson import encode
    from pymongo import UpdateOne

    collection = samples_of(dataset)
    added = updated = unchanged = 0
    now = datetime.now(UTC).replace(tzinfo=None)
    operations: list[Any] = []
    read = {mark(edit) for edit in taken}
    edited = {reference for reference, _ in read}

    def flush() -> int:
        if not operations:
            return 0
        done = collection.bulk_write(operations, ordered=False)
        left = len(operations) - done.matched_count - done.upserted_count
        operations.clear()
        return left  # samples that were saved after they were read here

    left = 0
    for document, before in _beside_known(collection, documents):
        key = document["labelkit_id"]
        fingerprint = hashlib.sha256(encode(document)).hexdigest()[:16]
        was_edited = any(reference_of(dataset, label) in edited for _, label in labels_of(document))
        if before and before.get("labelkit_hash") == fingerprint and not was_edited:
            unchanged += 1
            continue
        values = {**document, "labelkit_hash": fingerprint, "last_modified_at": now}
        once: dict[str, Any] = {"created_at": now, "_dataset_id": id_of(dataset)}
        which: dict[str, Any] = {"labelkit_id": key}
        if before is None:
            added += 1
        else:
            stored = collection.find_one({"_id": before["_id"]}) or {}
            if any(mark(edit) not in read for edit in edits_of(dataset, stored)):
                unchanged += 1
                continue
            updated += 1
            theirs = [tag for tag in before.get("tags", ()) if tag not in STATE_TAGS]
            ours = [tag for tag in document["tags"] if tag not in theirs]
            values["tags"] = [*theirs, *ours]
            _keep_label_tags(values, stored)
            which["last_modified_at"] = stored.get("last_modified_at")
        # A null replaces an older value: to FiftyOne, null and missing are the same.
        change = {"$set": values, "$setOnInsert": once}
        operations.append(UpdateOne(which, change, upsert=before is None))
        if len(operations) == _CHUNK:
            left += flush()
    left += flush()
    removed = 0
    if keep is not None:
        mine = collection.find({"labelkit_id": {"$ne": None}}, {"labelkit_id": 1})  # not people's
        gone = [row["labelkit_id"] for row in mine if row["labelkit_id"] not in keep]
        removed = collection.delete_many({"labelkit_id": {"$in": gone}}).deleted_count
    dataset.reload()
    return Upserted(added, updated - left, unchanged + left, removed)


def _beside_known(
    collection: Any, documents: Iterable[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], Mapping[str, Any] | None]]:
    """Each document with what is known of its sample; None of a new one."""
    fields, stream = {"labelkit_id": 1, "labelkit_hash": 1, "tags": 1}, iter(documents)
    while some := list(islice(stream, _CHUNK)):
        ids = [document["labelkit_id"] for document in some]
        rows = collection.find({"labelkit_id": {"$in": ids}}, fields)
        known = {row["labelkit_id"]: row for row in rows}
        yield from ((document, known.get(id_)) for id_, document in zip(ids, some, strict=True))


def _keep_label_tags(values: dict[str, Any], stored: Mapping[str, Any]) -> None:
    tags = {label["_id"]: label.get("tags") or [] for _, label in labels_of(stored)}
    for _, label in labels_of(values):
        label["tags"] = tags.get(label["_id"], [])


def tagged(dataset: Any, tags: Iterable[str]) -> tuple[dict[str, set[str]], set[str]]:
    """Which instances carry a tag, on their own labels or on their whole sample.

    Args:
        dataset: see `open_dataset`.
        tags: to look for.

    Returns:
        instance ids by tag, and the ids of all instances in the dataset.
    """
    found: dict[str, set[str]] = {tag: set() for tag in tags}
    present: set[str] = set()
    for row in samples_of(dataset).find(_BEARERS):
        by_instance: dict[str, set[str]] = defaultdict(set)
        for _, label in labels_of(row):
            if "labelkit_id" in label:
                by_instance[label["labelkit_id"]].update(label.get("tags") or ())
        for instance_id, mine in by_instance.items():
            present.add(instance_id)
            for tag, ids in found.items():
                if tag in mine or tag in row.get("tags", ()):
                    ids.add(instance_id)
    return found, present


def put_tags(dataset: Any, wanted: Mapping[str, Iterable[str]]) -> None:
    """Put the tags on exactly these instances: on a sample if all its instances have it, else on
    their boxes.

    Args:
        dataset: see `open_dataset`.
        wanted: instance ids by tag.
    """
    from pymongo import UpdateOne

    collection = samples_of(dataset)
    sets = {tag: set(ids) for tag, ids in wanted.items()}
    operations = []
    for row in collection.find(_BEARERS, {"tags": 1, BOXES: 1}):
        boxes = (row.get(BOXES) or {}).get("detections") or []
        tags = [tag for tag in row.get("tags", ()) if tag not in sets]
        marks: list[list[str]] = [[t for t in b.get("tags") or () if t not in sets] for b in boxes]
        for tag, ids in sets.items():
            mine = [box.get("labelkit_id") in ids for box in boxes]
            if boxes and all(mine):
                tags.append(tag)
            else:
                for mark, has in zip(marks, mine, strict=True):
                    mark += [tag] if has else []
        if tags == list(row.get("tags", ())) and marks == [b.get("tags") or [] for b in boxes]:
            continue
        values: dict[str, Any] = {"tags": tags}
        values |= {f"{BOXES}.detections.{n}.tags": mark for n, mark in enumerate(marks)}
        operations.append(UpdateOne({"_id": row["_id"]}, {"$set": values}))
    if operations:
        collection.bulk_write(operations, ordered=False)
    dataset.reload()


def instances_of(dataset: Any, sample_ids: Iterable[str], label_ids: Iterable[str]) -> list[str]:
    """Ids of the instances that are selected in the App, by a label or by their whole sample.

    Args:
        dataset: see `open_dataset`.
        sample_ids: FiftyOne's, of selected samples.
        label_ids: FiftyOne's, of selected labels.
    """
    from bson import ObjectId

    samples = {ObjectId(id_) for id_ in sample_ids}
    labels = {ObjectId(id_) for id_ in label_ids}
    chosen: dict[str, None] = {}
    # Labels do not name their sample, so all samples are searched; samples are found by id.
    query = {} if labels else {"_id": {"$in": list(samples)}}
    for row in samples_of(dataset).find(query):
        for _, label in labels_of(row):
            if "labelkit_id" in label and (row["_id"] in samples or label["_id"] in labels):
                chosen[label["labelkit_id"]] = None
    return list(chosen)


def quiet_fiftyone() -> Any:
    """Import FiftyOne without progress bars, news and tracking; the user's environment wins."""
    os.environ.setdefault("FIFTYONE_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("FIFTYONE_DO_NOT_TRACK", "true")
    os.environ.setdefault("FIFTYONE_SHOW_PROGRESS_BARS", "false")
    import fiftyone as fo

    return fo
