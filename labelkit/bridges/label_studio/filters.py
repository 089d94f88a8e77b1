"""Queries of Label Studio's data manager: which tasks to list or to act on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any


def view(items: Sequence[Any], conjunction: str = "and", *ordering: str) -> str:
    """A query as JSON: which tasks, in which order.

    Args:
        items: filters.
        conjunction: "and" or "or".
        ordering: columns, with a leading minus for descending order.
    """
    filters = {"conjunction": conjunction, "items": items}
    return json.dumps({"filters": filters, "ordering": ordering})


def changed_since(time: str) -> dict[str, Any]:
    """Tasks that were changed at or after a time."""
    return _filter("updated_at", "greater_or_equal", "Datetime", time)


def changed_before(time: str) -> dict[str, Any]:
    """Tasks that were changed before a time."""
    return _filter("updated_at", "less", "Datetime", time)


def has_draft(value: bool) -> dict[str, Any]:
    """Tasks with a draft, which an annotator began and did not submit; or all others."""
    return _filter("draft_exists", "equal", "Boolean", value)


def has_predictions_of(version: str) -> dict[str, Any]:
    """Tasks with a prediction whose model version contains this text."""
    return _filter("predictions_model_versions", "contains", "List", [version])


def numbers(conditions: Iterable[tuple[str, str, int]]) -> list[dict[str, Any]]:
    """Filters of (column, operator, number); for the operator "empty", whether it is."""
    return [_filter(column, how, "Number", value) for column, how, value in conditions]


def within(ranges: Iterable[tuple[int, int]]) -> list[dict[str, Any]]:
    """Filters of task ids: from the first to the last of each range."""
    return [_filter("id", "in", "Number", {"min": a, "max": b}) for a, b in ranges]


def _filter(column: str, operator: str, kind: str, value: Any) -> dict[str, Any]:
    name = f"filter:tasks:{column}"
    return {"filter": name, "operator": operator, "type": kind, "value": value}


def annotated_after(annotation_id: int) -> tuple[str, str, int]:
    """Tasks with an annotation or skip that has a higher id."""
    return ("annotations_ids", "greater", annotation_id)


#: Tasks that were answered or skipped. By their annotations: Label Studio's own counts miss those
#: that are submitted while predictions are imported.
ANSWERED = annotated_after(0)

#: Tasks that were not, or that lost all their annotations.
UNANSWERED = ("annotations_ids", "empty", True)

#: Tasks that were neither answered nor skipped nor begun.
UNTOUCHED = (*numbers([UNANSWERED]), has_draft(False))
