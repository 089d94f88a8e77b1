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


def has_draft(value: bool) -> dict[str, Any]:
    """Tasks with a draft, which an annotator began and did not submit; or all others."""
    return _filter("draft_exists", "equal", "Boolean", value)


def has_predictions_of(version: str) -> dict[str, Any]:
    """Tasks with a prediction whose model version contains this text."""
    return _filter("predictions_model_versions", "contains", "List", [version])


def numbers(conditions: Iterable[tuple[str, str, int]]) -> list[dict[str, Any]]:
    """Filters of (column, operator, number)."""
    return [_filter(column, how, "Number", value) for column, how, value in conditions]


def _filter(column: str, operator: str, kind: str, value: Any) -> dict[str, Any]:
    name = f"filter:tasks:{column}"
    return {"filter": name, "operator": operator, "type": kind, "value": value}


#: Tasks that were neither answered nor skipped nor begun.
UNTOUCHED = (
    *numbers([("total_annotations", "equal", 0), ("cancelled_annotations", "equal", 0)]),
    has_draft(False),
)
