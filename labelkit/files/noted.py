"""What was concluded in some state of things, to be concluded again only in another."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from labelkit.errors import LabelkitError
from labelkit.files.atomic import write_json


def noted(file: Path, state: Sequence[Any]) -> Any:
    """What was noted in a file, in the same state; None if there is no such note.

    Args:
        file: written by `note`; may have been deleted or damaged.
        state: of all that the conclusion depends on, as JSON has it.
    """
    try:
        document = json.loads(file.read_bytes())
        return document["value"] if document["state"] == state else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def note(file: Path, state: Sequence[Any], value: Any) -> None:
    """Note a conclusion, unless only others may write there.

    Args:
        file: that keeps it, in place of an earlier one.
        state: see `noted`.
        value: for JSON, not None.
    """
    with suppress(LabelkitError):
        write_json(file, {"state": state, "value": value})


def conclude(file: Path, state: Sequence[Any], find: Callable[[], Any]) -> Any:
    """What was noted in a file, in the same state, or else what is found now, which is noted.

    Args:
        file, state: see `noted`.
        find: gives the conclusion, see `note`.
    """
    if (value := noted(file, state)) is None:
        value = find()
        note(file, state, value)
    return value
