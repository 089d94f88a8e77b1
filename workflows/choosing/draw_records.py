"""The draws of a project's queues: files that are only added, and tell what labels stand for."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from labelkit.errors import ProjectError
from labelkit.files.atomic import write_json
from labelkit.project.project import Project

DRAWS_FOLDER = "draws"


@dataclass(frozen=True, slots=True)
class PoolDraw:
    """Objects that were drawn from a pool, one after the other.

    Attributes:
        pool: how many objects waited.
        ids: of the objects drawn, in order.
        probabilities: of each draw, see `Drawn`.
        at_random: of each draw, see `Drawn`.
    """

    pool: int
    ids: tuple[str, ...]
    probabilities: tuple[float, ...]
    at_random: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class DrawRecord:
    """What was drawn when a queue was filled.

    Attributes:
        round: whose predictions were compared, such as "round-001"; "" before the first.
        strategy: see `labelkit.workflows.choosing.strategies`.
        compared: see `Signals`.
        draws: from all that waited, and then from those that were new among them.
    """

    round: str
    strategy: str
    compared: str
    draws: tuple[PoolDraw, ...]


def add_record(project: Project, record: DrawRecord) -> None:
    """Keep a record, unless it is empty or the newest one already."""
    if not any(drawn.ids for drawn in record.draws) or newest_record(project) == record:
        return
    number = max((int(path.stem) for path in _files(project)), default=0) + 1
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    path = project.root / DRAWS_FOLDER / f"{number:04d}.json"
    write_json(path, {"made_at": made_at, **asdict(record)})


def newest_record(project: Project) -> DrawRecord | None:
    """What was drawn last; None before the first draw.

    Raises:
        ProjectError: if its file is damaged.
    """
    files = _files(project)
    if not files:
        return None
    try:
        document = json.loads(files[-1].read_text(encoding="utf-8"))
        draws = tuple(
            PoolDraw(
                drawn["pool"],
                tuple(drawn["ids"]),
                tuple(drawn["probabilities"]),
                tuple(drawn["at_random"]),
            )
            for drawn in document["draws"]
        )
        return DrawRecord(document["round"], document["strategy"], document["compared"], draws)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProjectError(f"{files[-1]} is damaged ({error!r}).", "Delete it.") from error


def _files(project: Project) -> list[Path]:
    files = (project.root / DRAWS_FOLDER).glob("*.json")
    return sorted((path for path in files if path.stem.isdecimal()), key=lambda p: int(p.stem))
