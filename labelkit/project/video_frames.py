"""Folders of frames that were taken from one video: their table, frames.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from labelkit.errors import FormatError
from labelkit.files.atomic import write_text

TABLE = "frames.csv"
_COLUMNS = ("file", "frame", "seconds", "video", "bytes")

#: A row of the table: file name, place in the video, seconds since its first frame.
Row = tuple[str, int, float]


def read_table(folder: Path, video: Path) -> list[Row]:
    """The frames that a folder has of a video; none where it has no table.

    Raises:
        FormatError: if they are of another video, or the table cannot be read.
    """
    table = folder / TABLE
    if not table.is_file():
        return []
    this = {"video": video.name, "bytes": str(video.stat().st_size)}
    try:
        rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"))))
        other = next((row for row in rows if any(row[key] != this[key] for key in this)), None)
        found = [(row["file"], int(row["frame"]), float(row["seconds"])) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"{table} is not a table of frames.", "Give another folder: --folder DIR"
        ) from error
    if other is not None:
        raise FormatError(
            f"{folder} holds frames of another {other['video']} ({other['bytes']} bytes).",
            "Give another folder: --folder DIR",
        )
    return found


def write_table(folder: Path, video: Path, rows: Sequence[Row]) -> None:
    """Write the table of a folder, in the order of time."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    size = video.stat().st_size
    for file, frame, seconds in sorted(rows, key=lambda row: row[1]):
        writer.writerow((file, frame, f"{seconds:.6f}", video.name, size))
    write_text(folder / TABLE, text.getvalue())


def frames_of_videos(images_root: Path, paths: Iterable[str]) -> dict[str, tuple[str, float]]:
    """Folder and seconds of each image that a table of frames beside it names, by its path."""
    times: dict[str, dict[str, float]] = {}  # by folder
    found: dict[str, tuple[str, float]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        if folder not in times:
            times[folder] = _times(images_root / folder)
        if name in times[folder]:
            found[path] = folder or ".", times[folder][name]
    return found


def _times(folder: Path) -> dict[str, float]:
    """Seconds of each file of a folder's table; none where there is no such table."""
    try:
        rows = csv.DictReader(io.StringIO((folder / TABLE).read_text(encoding="utf-8")))
        return {row["file"]: float(row["seconds"]) for row in rows}
    except (OSError, KeyError, TypeError, ValueError):
        return {}
