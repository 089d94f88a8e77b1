"""Keypoints that a person edited in a project's FiftyOne dataset, read back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from labelkit.bridges.fiftyone.private import samples_of
from labelkit.bridges.fiftyone.samples import HUMAN, digest


@dataclass(frozen=True, slots=True)
class Edit:
    """One label that a person edited in FiftyOne.

    Attributes:
        instance_id: of the label; "" if labelkit did not write it.
        picture: path of the sample's picture.
        field: "human", or the field of a round.
        keypoints: K names, when the dataset was written.
        points: K places as shares (0..1) of the picture's width and height; NaN or None if absent.
        visibility: K codes: -1 unknown, 0 absent, 1 occluded, 2 visible.
        frame: (6,) affine map from image pixels to shares of the picture, row by row.
        written: `digest` of what labelkit wrote; "" if it did not write the label.
        reference: of the label, see `reference_of`.
        modified_at: of its sample, ISO 8601.
    """

    instance_id: str
    picture: str
    field: str
    keypoints: tuple[str, ...]
    points: tuple[tuple[float, float], ...]
    visibility: tuple[int, ...]
    frame: tuple[float, ...]
    written: str
    reference: str
    modified_at: str


def edits(dataset: Any) -> list[Edit]:
    """Every label of a dataset that differs from what labelkit wrote.

    Args:
        dataset: see `open_dataset`.
    """
    fields = {f"{name}.keypoints": 1 for name in dataset.get_field_schema() if _is_ours(name)}
    facts = {"labelkit_frame": 1, "last_modified_at": 1, "filepath": 1}
    rows = samples_of(dataset).find({}, {**fields, **facts})
    return [edit for row in rows for edit in edits_of(dataset, row)]


def edits_of(dataset: Any, row: Mapping[str, Any]) -> Iterator[Edit]:
    """The edits in one sample, as FiftyOne stores it."""
    keypoints = tuple(dataset.default_skeleton.labels)
    modified = row.get("last_modified_at")
    for name, label in labels_of(row):
        if not _is_ours(name):
            continue
        points, visibility = label.get("points") or [], label.get("visibility") or []
        written = str(label.get("written") or "")
        if digest(points, visibility) != written:
            yield Edit(
                instance_id=str(label.get("labelkit_id") or ""),
                picture=str(row.get("filepath")),
                field=name,
                keypoints=keypoints,
                points=tuple((x, y) for x, y in points),
                visibility=tuple(visibility),
                frame=tuple(row.get("labelkit_frame") or ()),
                written=written,
                reference=reference_of(dataset, label),
                modified_at=modified.replace(tzinfo=UTC).isoformat() if modified else "",
            )


def _is_ours(field: str) -> bool:
    """Whether a field holds keypoints that labelkit writes."""
    return field == HUMAN or re.fullmatch(r"round_\d+", field) is not None


def reference_of(dataset: Any, label: Mapping[str, Any]) -> str:
    """The name of a dataset's label in the journal."""
    return f"{dataset.name}:{label['_id']}"


def mark(edit: Edit) -> tuple[str, str]:
    """Identifies an edit: the same edit has the same mark whenever it is read."""
    return edit.reference, digest(edit.points, edit.visibility)


def labels_of(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(field, label) of every box and keypoint label in a stored sample."""
    for name, value in document.items():
        if isinstance(value, dict):
            for label in value.get("detections") or value.get("keypoints") or ():
                yield name, label
