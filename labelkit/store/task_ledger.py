"""The task ledger: labelkit's projects on Label Studio servers, and what each task asks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, select, update

from labelkit.domain.instance import Box
from labelkit.store.database import Database
from labelkit.store.schema import meta, studio_project, studio_task

#: Rows a statement.
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class LedgerProject:
    """A Label Studio project that labelkit made.

    Attributes:
        kind: "visibility" or "correction", with "/one" behind it where its tasks are about one
            object each.
        project_id: Label Studio's.
        image_url: prefix of image paths; "" if the server reads local files.
        pulled_until: `updated_at` up to which it was read; "" before the first time.
        pulled_task: highest id of a task whose annotations were read.
        pulled_annotation: highest id of an annotation that was read.
        sending: tasks are being imported; if no push is running, one was interrupted.
    """

    kind: str
    project_id: int
    image_url: str = ""
    pulled_until: str = ""
    pulled_task: int = 0
    pulled_annotation: int = 0
    sending: bool = False


#: Model version of a task that asks about the keypoints of a former skeleton.
FORMER = "former skeleton"


@dataclass(frozen=True, slots=True)
class LedgerTask:
    """A task of such a project.

    Attributes:
        task_id: Label Studio's.
        instances: ids of the instances it asks about.
        control: those of them that are served without pre-annotation.
        model_version: of the latest prediction sent with it; "" if unknown, or `FORMER`.
        crop: the part of the image that it shows, in image pixels; None for all of it.
        url: that it gives for its image; "" for crops, which it holds, and where it is unknown.
    """

    task_id: int
    instances: tuple[str, ...]
    control: frozenset[str]
    model_version: str
    crop: Box | None = None
    url: str = ""


def sent_tasks(database: Database, kind: str) -> dict[str, str]:
    """Where each instance is asked about, on any server: URL of its Label Studio project, by id.

    Tasks that ask about the keypoints of a former skeleton do not count.

    Args:
        database: of the label store.
        kind: "visibility" or "correction", whatever their tasks show.
    """
    query = select(
        studio_task.c.server, studio_project.c.project_id, studio_task.c.instances
    ).where(
        studio_task.c.kind.startswith(kind),
        studio_project.c.kind == studio_task.c.kind,
        studio_project.c.server == studio_task.c.server,
        studio_task.c.model_version != FORMER,
    )
    with database.reading() as connection:
        rows = connection.execute(query).all()
    return {
        id_: f"{server}/projects/{project_id}"
        for server, project_id, ids in rows
        for id_ in json.loads(ids)
    }


def mark_former(database: Database) -> None:
    """Mark every task on any server as made for a former skeleton, see `FORMER`."""
    with database.writing() as connection:
        connection.execute(update(studio_task).values(model_version=FORMER))


class TaskLedger:
    """The ledger of one server, kept in the label store; it can be read from the server again.

    Args:
        database: of the label store.
        server: URL of the server.
    """

    def __init__(self, database: Database, server: str) -> None:
        self._database = database
        self._server = server

    @property
    def uid(self) -> str:
        """The id by which the project's Label Studio projects are found on servers."""
        with self._database.reading() as connection:
            return str(connection.scalar(select(meta.c.value).where(meta.c.key == "project_uid")))

    def project(self, kind: str) -> LedgerProject | None:
        """The project of a kind, if one is known."""
        query = select(studio_project).where(*self._mine(studio_project, kind))
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        return LedgerProject(
            row.kind,
            row.project_id,
            row.image_url,
            row.pulled_until,
            row.pulled_task,
            row.pulled_annotation,
            row.sending,
        )

    def keep_project(self, project: LedgerProject) -> None:
        """Record a project in place of the previous one; another project's tasks are dropped."""
        mine = self._mine(studio_project, project.kind)
        with self._database.writing() as connection:
            query = select(studio_project.c.project_id).where(*mine)
            if connection.scalar(query) != project.project_id:
                gone = delete(studio_task).where(*self._mine(studio_task, project.kind))
                connection.execute(gone)
            connection.execute(delete(studio_project).where(*mine))
            values = {"server": self._server, **asdict(project)}
            connection.execute(insert(studio_project).values(values))

    def forget_project(self, kind: str) -> None:
        """Drop a project that was deleted on the server, with its tasks."""
        with self._database.writing() as connection:
            for table in (studio_task, studio_project):
                connection.execute(delete(table).where(*self._mine(table, kind)))

    def tasks(self, kind: str) -> dict[int, LedgerTask]:
        """The tasks of a kind, by Label Studio's id and in its order."""
        query = select(studio_task).where(*self._mine(studio_task, kind))
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(studio_task.c.task_id)).all()
        return {
            row.task_id: LedgerTask(
                row.task_id,
                tuple(json.loads(row.instances)),
                frozenset(json.loads(row.control)),
                row.model_version,
                Box(*crop) if (crop := json.loads(row.crop)) else None,
                row.url,
            )
            for row in rows
        }

    def keep_tasks(self, kind: str, tasks: Iterable[LedgerTask]) -> None:
        """Record tasks, each in place of its previous record."""
        rows = [
            {
                "server": self._server,
                "task_id": task.task_id,
                "kind": kind,
                "instances": json.dumps(task.instances),
                "control": json.dumps(sorted(task.control)),
                "model_version": task.model_version,
                "crop": json.dumps(task.crop),
                "url": task.url,
            }
            for task in tasks
        ]
        with self._database.writing() as connection:
            for start in range(0, len(rows), _CHUNK):
                chunk = rows[start : start + _CHUNK]
                ids = [row["task_id"] for row in chunk]
                mine = self._mine(studio_task, kind)
                connection.execute(delete(studio_task).where(*mine, studio_task.c.task_id.in_(ids)))
                connection.execute(insert(studio_task), chunk)

    def forget_tasks(self, kind: str, task_ids: Sequence[int]) -> None:
        """Drop tasks that were deleted on the server."""
        mine, left = self._mine(studio_task, kind), iter(task_ids)
        with self._database.writing() as connection:
            while ids := list(islice(left, _CHUNK)):
                connection.execute(delete(studio_task).where(*mine, studio_task.c.task_id.in_(ids)))

    def _mine(self, table: Any, kind: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        return table.c.server == self._server, table.c.kind == kind
