"""Files that are written completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from labelkit.errors import LabelkitError

#: A temporary file that has not changed for this long was left behind by a killed command.
LEFTOVER_SECONDS = 3600.0

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your disk quota is used up",
    errno.EFBIG: "the file is larger than the disk or your limits allow",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EISDIR: "a folder has that name",
    errno.EEXIST: "a file has the name of its folder",
    errno.ENOTDIR: "a file has the name of its folder",
    errno.ENAMETOOLONG: "the name is too long",
}


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to, and rename it to `path` on success.

    A reader sees the old file or the new one, never a part. After an error, or a kill at any
    moment, the old file is unchanged. The temporary name starts with a dot and keeps the suffix.

    Raises:
        LabelkitError: if the file cannot be written: the disk is full, read-only, ...
    """
    stem = f".{path.stem}."
    temporary = path.with_name(f"{stem}{secrets.token_hex(6)}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path.parent, stem, f".tmp{path.suffix}")
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        ours = error.filename is None or Path(str(error.filename)) in {
            temporary,
            path,
            *path.parents,
        }
        if error.errno is None or not ours:
            raise
        reason = _REASONS.get(error.errno) or (error.strerror or str(error)).lower()
        raise LabelkitError(
            f"{path} cannot be written ({reason}).",
            "Fix that, then run the same command again: nothing was lost.",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically; raises as `atomic_path` does."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, document: Any) -> None:
    """Write a JSON file atomically.

    Raises:
        ValueError: on NaN or infinity, which JSON does not have.
        LabelkitError: see `atomic_path`.
    """
    write_text(path, json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_json_list(path: Path, items: Iterable[Any]) -> None:
    """Write a JSON list atomically, an item a line, as they come: it is never all in memory.

    Raises:
        ValueError, LabelkitError: see `write_json`.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write("[")
        for number, item in enumerate(items):
            text = json.dumps(item, ensure_ascii=False, allow_nan=False)
            stream.write(f",\n{text}" if number else f"\n{text}")
        stream.write("\n]\n")


def _remove_leftovers(folder: Path, prefix: str, suffix: str) -> None:
    for entry in os.scandir(folder):
        if entry.name.startswith(prefix) and entry.name.endswith(suffix):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - entry.stat().st_mtime > LEFTOVER_SECONDS:
                    os.unlink(entry)


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where the system can open a folder."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
