"""Files that are either there in full or not there at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labelkit.errors import LabelkitError

#: A temporary file that nobody has touched for this long was left by a killed command.
LEFTOVER_SECONDS = 3600.0

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your disk quota is used up",
    errno.EFBIG: "the file would be larger than this disk or your limits allow",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EISDIR: "a folder of that name is in its place",
    errno.EEXIST: "a file is in the place of its folder",
    errno.ENOTDIR: "a file is in the place of its folder",
    errno.ENAMETOOLONG: "the name is too long",
}


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to, and rename it to `path` when that went well.

    A reader sees the old file or the new one, never a part. After an error, or a kill at any
    moment, the old file is untouched. The temporary name starts with a dot and keeps the suffix.

    Raises:
        LabelkitError: if the system does not let us write: a full disk, a read-only one, ...
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
            "Mend that, then run the same command again: nothing was lost.",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, document: Any) -> None:
    """Write a JSON file atomically; NaN and infinity are refused, as JSON has neither."""
    write_text(path, json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


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
