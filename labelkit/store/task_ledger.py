"""What was sent to Label Studio servers: which project is ours there, and which task asks what."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, select

from labelkit.domain.instance import Box
from labelkit.store.database import Database
from labelkit.store.schema import meta, studio_project, studio_task

#: Rows a statement.
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class SentProject:
    """A Label Studio project of ours.

    Attributes:
        kind: "visibility" or "correction".
        project_id: Label Studio's.
        image_url: what stands in front of image paths; "" where the server reads local files.
        pulled_until: `updated_at` up to which it was read; "" before the first time.
        pulled_task: highest id of a task whose annotations were read.
        sending: tasks are on their way; where no push is at work, one was interrupted.
    """

    kind: str
    project_id: int
    image_url: str = ""
    pulled_until: str = ""
    pulled_task: int = 0
    sending: bool = False


@dataclass(frozen=True, slots=True)
class SentTask:
    """A task of ours.

    Attributes:
        task_id: Label Studio's.
        instances: ids of the instances it asks about.
        control: those of them that are served without pre-annotation.
        model_version: of the prediction it was sent last; "" where that is not known.
        crop: the part of the image that it shows; None for all of it.
    """

    task_id: int
    instances: tuple[str, ...]
    control: frozenset[str]
    model_version: str
    crop: Box | None = None


class TaskLedger:
    """The ledger of one server, kept in the label store. It is no label: servers can tell it again.

    Args:
        database: of the label store.
        server: URL of the server.
    """

    def __init__(self, database: Database, server: str) -> None:
        self._database = database
        self._server = server

    @property
    def uid(self) -> str:
        """The project's own name, by which its projects on servers are found again."""
        with self._database.reading() as connection:
            return str(connection.scalar(select(meta.c.value).where(meta.c.key == "project_uid")))

    def project(self, kind: str) -> SentProject | None:
        """The project of a kind, if one is known."""
        query = select(studio_project).where(*self._mine(studio_project, kind))
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        return SentProject(
            row.kind,
            row.project_id,
            row.image_url,
            row.pulled_until,
            row.pulled_task,
            row.sending,
        )

    def keep_project(self, project: SentProject) -> None:
        """Remember a project in place of the one before; the tasks of another are forgotten."""
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
        """Forget a project that is no longer there, and its tasks."""
        with self._database.writing() as connection:
            for table in (studio_task, studio_project):
                connection.execute(delete(table).where(*self._mine(table, kind)))

    def tasks(self, kind: str) -> dict[int, SentTask]:
        """The tasks of a kind, by Label Studio's id and in its order."""
        query = select(studio_task).where(*self._mine(studio_task, kind))
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(studio_task.c.task_id)).all()
        return {
            row.task_id: SentTask(
                row.task_id,
                tuple(json.loads(row.instances)),
                frozenset(json.loads(row.control)),
                row.model_version,
                Box(*crop) if (crop := json.loads(row.crop)) else None,
            )
            for row in rows
        }

    def keep_tasks(self, kind: str, tasks: Iterable[SentTask]) -> None:
        """Remember tasks, each in place of what was known of it."""
        rows = [
            {
                "server": self._server,
                "task_id": task.task_id,
                "kind": kind,
                "instances": json.dumps(task.instances),
                "control": json.dumps(sorted(task.control)),
                "model_version": task.model_version,
                "crop": json.dumps(task.crop),
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
        """Forget tasks that are no longer there."""
        mine, left = self._mine(studio_task, kind), iter(task_ids)
        with self._database.writing() as connection:
            while ids := list(islice(left, _CHUNK)):
                connection.execute(delete(studio_task).where(*mine, studio_task.c.task_id.in_(ids)))

    def _mine(self, table: Any, kind: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        return table.c.server == self._server, table.c.kind == kind
