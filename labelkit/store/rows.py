"""Rows of the label store's tables, from and to domain objects."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from sys import intern
from typing import Any

from sqlalchemy import Row

from labelkit.domain.instance import Box, Image, Instance
from labelkit.store.journal import Entry


def row_of_image(item: Image) -> dict[str, Any]:
    """A row of the image table."""
    return {
        "id": item.id,
        "sha256": item.sha256,
        "path": item.path,
        "width": item.width,
        "height": item.height,
    }


def image_of_row(row: Row[Any] | Sequence[Any]) -> Image:
    """An image from its row."""
    _, sha256, path, width, height = tuple(row)  # by place: by name is slow
    return Image(path, sha256, width, height)


def row_of_instance(item: Instance) -> dict[str, Any]:
    """A row of the instance table."""
    return {
        "id": item.id,
        "image_id": item.image.id,
        "ordinal": item.ordinal,
        **dict(zip("xywh", item.box, strict=True)),
        "box_source": item.box_source,
        "area": item.area,
        "category": item.category,
        "individual": item.individual,
    }


def instance_of_row(row: Row[Any] | Sequence[Any], image: Image) -> Instance:
    """An instance from its row and its image."""
    _, _, ordinal, x, y, w, h, source, area, category, individual = tuple(row)
    # Few different texts stand in very many rows.
    source, category, individual = map(intern, (source, category, individual))
    return Instance(image, ordinal, Box(x, y, w, h), source, area, category, individual)


def row_of_entry(entry: Entry, recorded_at: str) -> dict[str, Any]:
    """A row of the journal; the database assigns its seq."""
    return {
        "instance_id": entry.instance_id,
        "kind": entry.kind,
        "content": exact_json(entry.content),
        "annotator": entry.annotator,
        "made_at": entry.made_at,
        "recorded_at": recorded_at,
        "lead_time_s": entry.lead_time_s,
        "source": entry.source,
        "reference": entry.reference,
        "version": entry.version,
        "shown": exact_json(entry.shown),
    }


def entry_of_row(row: Row[Any], renamed: Mapping[str, str]) -> Entry:
    """An entry from its row, every number exactly as it was recorded.

    Args:
        row: of the journal.
        renamed: present names of keypoints by their former ones.
    """
    return Entry(
        instance_id=row.instance_id,
        kind=row.kind,
        content=named_now(json.loads(row.content), renamed),
        source=row.source,
        reference=row.reference,
        version=row.version,
        annotator=row.annotator,
        made_at=row.made_at,
        lead_time_s=row.lead_time_s,
        shown=json.loads(row.shown),
    )


def named_now(content: Mapping[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """The content of an entry by the present names of its keypoints."""
    return {renamed.get(name, name): value for name, value in content.items()}


def exact_json(content: Mapping[str, Any]) -> str:
    """JSON text that reads back to exactly the same numbers."""
    return json.dumps(dict(content), allow_nan=False)
