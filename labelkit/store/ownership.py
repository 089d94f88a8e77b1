"""Which project a label store belongs to: the one whose id it carries, and no other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

from sqlalchemy import Connection, delete, insert, select

from labelkit.errors import StoreError
from labelkit.project.project import PROJECT_FILE, STORE_FILE, Project, change_project
from labelkit.store.database import Database
from labelkit.store.label_store import LabelStore
from labelkit.store.schema import file_stamp, image, journal, meta, tables

#: Keys of `meta`: the id of the owner, and its name, which is there once a project owns the store.
ID, NAME = "project_uid", "project_name"

#: In the project's folder: see `LabelStore.kept`.
COLUMNS_FILE = "journal.cache"

#: Folders of a project that has images in its store.
_TRACES = ("rounds", "label_studio")


def open_store(project: Project) -> LabelStore:
    """Open the label store of a project.

    A store that belongs to none yet becomes this project's at the first write. A project of an
    earlier version, which has no id, then takes that of its store.

    Raises:
        StoreError: if the store belongs to another project, is empty though the project has been
            worked on, cannot be opened, or is newer than this program.
        MissingDependencyError: if the database's driver is not installed.
    """
    store = LabelStore.open(project.store_url)
    try:
        with store.database.reading() as connection:
            is_owner = _check(connection, store.database, project)
    except BaseException:
        store.close()
        raise
    store.renamed = dict(project.skeleton.renamed)
    store.kept = project.root / COLUMNS_FILE
    if not is_owner:
        store.database.before_first_write = partial(_take, database=store.database, project=project)
    return store


def give_back(store: LabelStore) -> None:
    """Empty a store without answers, so that another project can have it."""
    with store.database.writing() as connection:
        for table in reversed(tables.sorted_tables):
            if table not in (meta, journal):
                connection.execute(delete(table))
        connection.execute(delete(meta).where(meta.c.key.not_in((ID, "schema_version"))))


def _take(connection: Connection, database: Database, project: Project) -> None:
    """Make a project the owner of a store, in the transaction of its first write."""
    if _check(connection, database, project):
        return
    # Label Studio projects carry the id of a store that has been used.
    id_ = project.id if project.id and _is_new(connection) else _facts(connection)[ID]
    if project.id != id_:
        change_project(project, id=id_)
    connection.execute(delete(meta).where(meta.c.key == ID))
    owner = [{"key": ID, "value": id_}, {"key": NAME, "value": project.name}]
    connection.execute(insert(meta), owner)


def _check(connection: Connection, database: Database, project: Project) -> bool:
    """Whether a project owns a store already; if not, it may take it.

    Raises:
        StoreError: if the store belongs to another project.
    """
    facts = _facts(connection)
    if NAME in facts:
        if facts[ID] != project.id:
            raise _refusal(database, project, f"the project {facts[NAME]!r}", facts[ID])
        return True
    # What an earlier version left names no owner: it is in the project, or holds its images.
    is_new = _is_new(connection)
    if is_new and any((project.root / name).is_dir() for name in _TRACES):
        raise _missing(database, project)
    is_mine = (
        is_new
        or project.id == facts[ID]
        or project.store_url == project.own_store_url
        or (not project.id and _holds_images(connection, project))
    )
    if not is_mine:
        raise _refusal(database, project, "another project", facts[ID])
    return False


def _missing(database: Database, project: Project) -> StoreError:
    """The error that says where the labels of a project that has been worked on may be."""
    if project.store_url == project.own_store_url:
        where = f"Set LABELKIT_DB to the database that holds its labels, or restore {STORE_FILE}."
    else:
        where = f"Unset LABELKIT_DB if {STORE_FILE} holds its labels, or name the right database."
    return StoreError(
        f"The label store {database.name} is empty, but the project {project.root} is not new.",
        f"{where} To begin without labels, move rounds and label_studio away.",
    )


def _is_new(connection: Connection) -> bool:
    return connection.scalar(select(image.c.id).limit(1)) is None


def _facts(connection: Connection) -> Mapping[str, str]:
    return {row.key: row.value for row in connection.execute(select(meta))}


def _holds_images(connection: Connection, project: Project) -> bool:
    """Whether an image of a store is in the project's images folder."""
    for row in connection.execute(select(file_stamp.c.path, file_stamp.c.size)):
        path = project.images_root / row.path
        if path.is_file() and path.stat().st_size == row.size:
            return True
    return False


def _refusal(database: Database, project: Project, owner: str, id_: str) -> StoreError:
    """The error that names the owner, and says how each project gets a store of its own."""
    same = (
        f'If it is that project: in {project.root / PROJECT_FILE}, below format, set id = "{id_}"'
    )
    if database.url.get_backend_name() == "postgresql":
        schema = re.sub(r"[^a-z0-9]+", "_", f"l {project.name} {project.id}".lower())[2:]
        options = {"options": f"-csearch_path={schema}"}
        url = database.url.update_query_dict(options).render_as_string(hide_password=True)
        own = f"Give each project a schema: LABELKIT_DB='{url.replace('%3D', '=')}'; or a database."
    elif project.store_url == project.own_store_url:
        own = f"Move {STORE_FILE} away, and the project gets a new one."
    else:
        own = "Unset LABELKIT_DB: without it the project has a store in its own folder."
    return StoreError(
        f"The label store {database.name} belongs to {owner} (id {id_}), "
        f"not to {project.name!r} in {project.root}.",
        f"{own}\n{same}",
    )
