"""Text and JSON files, with a plain error for every way in which reading them fails."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labelkit.errors import FormatError

#: Parsed JSON takes about ten times its size in memory: larger files would fill the machine.
MAX_BYTES = 2 * 10**9


def load_head(path: Path, count: int) -> bytes:
    """The first bytes of a file, at most `count`.

    Raises:
        FormatError: if it is missing or unreadable.
    """
    with _readable(path), path.open("rb") as stream:
        return stream.read(count)


def load_text(path: Path, *, may_be_empty: bool = False) -> str:
    """The text of a file in UTF-8, with or without a byte order mark; line ends are kept.

    Raises:
        FormatError: if it is missing, unreadable, empty (unless it may be), of 2 GB or more, or not
            UTF-8.
    """
    with _readable(path):
        size = path.stat().st_size
        if size >= MAX_BYTES and path.is_file():
            raise FormatError(
                f"{path} has {size / 1e9:.1f} GB; labelkit reads annotation files below "
                f"{MAX_BYTES / 1e9:.0f} GB.",
                "Split it by image and import the parts one after the other.",
            )
        content = path.read_bytes()
    if not may_be_empty and not content.strip():
        raise FormatError(f"{path} is empty.", "Export the annotations again.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{path} is not text in UTF-8 (byte {error.start}).",
            "Save it as UTF-8, or give the annotation file itself, not an archive of it.",
        ) from error


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise FormatError(f"There is no file {path}.", "Check the path.") from None
    except IsADirectoryError:
        raise FormatError(f"{path} is a folder.", "Give an annotation file in it.") from None
    except OSError as error:
        raise FormatError(
            f"{path} cannot be read ({error.strerror}).", "Check that you may read it."
        ) from error


def load_json(path: Path) -> Any:
    """The parsed content of a JSON file.

    Raises:
        FormatError: see `load_text`; also if the JSON is invalid.
    """
    return parse_json(load_text(path), path)


def parse_json(text: str, path: Path) -> Any:
    """JSON from the text of a file.

    Raises:
        FormatError: if it is invalid.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and text[error.pos : error.pos + 1] in ("{", "["):
            raise FormatError(
                f"{path} holds one JSON document a line.", "Export it as one JSON document."
            ) from error
        raise FormatError(
            f"{path} is not JSON: {error.msg} in line {error.lineno}, column {error.colno}.",
            "It may be incomplete: export it again.",
        ) from error
    except RecursionError:
        raise FormatError(
            f"{path} is nested too deeply to be an annotation file.", "Export it again."
        ) from None
    except ValueError as error:  # an integer of more than 4300 digits
        raise FormatError(
            f"{path} holds a number that cannot be read ({error}).", "Export it again."
        ) from error
