"""What takes long to find out, kept in a file for as long as nothing that it depends on changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from labelkit.errors import LabelkitError
from labelkit.files.atomic import write_json


def remembered(path: Path, state: Any, find: Callable[[], Any]) -> Any:
    """A value from a file that may be deleted, or found anew and kept there.

    Args:
        path: of the file; a missing or damaged one, or one that cannot be written, does no harm.
        state: all that the value depends on, as JSON.
        find: gives the value, as JSON.
    """
    try:
        kept = json.loads(path.read_bytes())
        if kept["state"] == state:
            return kept["value"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    value = find()
    with suppress(LabelkitError):  # a project that only others may write to
        write_json(path, {"state": state, "value": value})
    return value
