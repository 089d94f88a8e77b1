"""What somebody edited in a project's FiftyOne dataset, read back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from labelkit.bridges.fiftyone.samples import HUMAN, digest


@dataclass(frozen=True, slots=True)
class Edit:
    """Keypoints that somebody edited in FiftyOne.

    Attributes:
        instance_id: whose they are; "" where labelkit had written no such label.
        picture: path of the sample's.
        field: "human", or that of a round.
        points: K places as shares of the sample's picture; NaN or None where there is none.
        visibility: K codes.
        frame: (6,) image pixels to shares of the picture.
        written: `digest` of what labelkit had written; "" if it had not.
        reference: of the label.
        modified_at: of its sample, ISO 8601.
    """

    instance_id: str
    picture: str
    field: str
    points: tuple[tuple[float, float], ...]
    visibility: tuple[int, ...]
    frame: tuple[float, ...]
    written: str
    reference: str
    modified_at: str


def edits(dataset: Any) -> list[Edit]:
    """Keypoints that are not as labelkit wrote them."""
    fields = {f"{name}.keypoints": 1 for name in dataset.get_field_schema() if _is_ours(name)}
    facts = {"labelkit_frame": 1, "last_modified_at": 1, "filepath": 1}
    rows = dataset._sample_collection.find({}, {**fields, **facts})
    return [edit for row in rows for edit in edits_of(dataset, row)]


def edits_of(dataset: Any, row: Mapping[str, Any]) -> Iterator[Edit]:
    """Edits in one stored sample."""
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
    """What a label of a dataset is called in the journal."""
    return f"{dataset.name}:{label['_id']}"


def mark(edit: Edit) -> tuple[str, str]:
    """The same for the same edit, whenever it is read."""
    return edit.reference, digest(edit.points, edit.visibility)


def labels_of(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Field and label, of every box and keypoint label of a stored sample."""
    for name, value in document.items():
        if isinstance(value, dict):
            for label in value.get("detections") or value.get("keypoints") or ():
                yield name, label
