"""Tables of the label store, their version, and the migration of older stores."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
    insert,
    inspect,
    select,
    update,
)

from labelkit.errors import INSTALL_NEWER, StoreError

#: Version of the tables below. Raise it together with a step in MIGRATIONS.
SCHEMA_VERSION = 6

tables = MetaData()

meta = Table(
    "meta",
    tables,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

file_stamp = Table(
    "file_stamp",
    tables,
    Column("path", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
)

image = Table(
    "image",
    tables,
    Column("id", String(16), primary_key=True),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("path", Text, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
)

#: Images that the user took out of the project; their objects and labels stay in the store.
removed_image = Table(
    "removed_image",
    tables,
    Column("image_id", String(16), ForeignKey("image.id"), primary_key=True),
    Column("removed_at", Text, nullable=False),  # ISO 8601
)

#: Images that a label file lists without objects: no box is looked for in them.
empty_image = Table(
    "empty_image",
    tables,
    Column("image_id", String(16), ForeignKey("image.id"), primary_key=True),
)

instance = Table(
    "instance",
    tables,
    Column("id", String(32), primary_key=True),
    Column("image_id", String(16), ForeignKey("image.id"), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("x", Double, nullable=False),
    Column("y", Double, nullable=False),
    Column("w", Double, nullable=False),
    Column("h", Double, nullable=False),
    Column("box_source", String(32), nullable=False),
    Column("area", Double, nullable=False),
    Column("category", Text, nullable=False, server_default=""),
    Column("individual", Text, nullable=False, server_default=""),
    UniqueConstraint("image_id", "ordinal"),
)

#: The annotations of label files that described an object: it is recognised by them.
origin = Table(
    "origin",
    tables,
    Column("instance_id", String(32), ForeignKey("instance.id"), primary_key=True),
    Column("source", Text, primary_key=True),  # as in the journal: "file:keypoints.json"
    Column("reference", Text, primary_key=True),
)

journal = Table(
    "journal",
    tables,
    Column(
        "seq",
        BigInteger().with_variant(Integer, "sqlite"),  # SQLite counts up INTEGER keys only
        primary_key=True,
        autoincrement=True,
    ),
    Column("instance_id", String(32), ForeignKey("instance.id"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("content", Text, nullable=False),  # JSON; text keeps every digit on every database
    Column("annotator", Text, nullable=False),
    Column("made_at", Text, nullable=False),
    Column("recorded_at", Text, nullable=False),
    Column("lead_time_s", Double),
    Column("source", Text, nullable=False),
    Column("reference", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("shown", Text, nullable=False),
    UniqueConstraint("source", "reference", "version", "instance_id", "kind"),
    Index("journal_latest", "instance_id", "kind", "seq"),
    sqlite_autoincrement=True,  # a number is never given twice
)

#: labelkit's projects on Label Studio servers; all of it can be read from the servers again.
studio_project = Table(
    "studio_project",
    tables,
    Column("server", String(255), primary_key=True),  # its URL
    Column("kind", String(16), primary_key=True),  # visibility or correction
    Column("project_id", Integer, nullable=False),
    Column("image_url", Text, nullable=False),  # in front of image paths; "" is local storage
    Column("pulled_until", Text, nullable=False),  # updated_at up to which it was read
    Column("pulled_task", Integer, nullable=False),  # highest id of a task that was read
    Column("pulled_annotation", Integer, nullable=False, server_default="0"),  # and annotation
    Column("sending", Boolean, nullable=False),  # an import began and was not recorded as done
)

#: The tasks of these projects.
studio_task = Table(
    "studio_task",
    tables,
    Column("server", String(255), primary_key=True),
    Column("task_id", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("instances", Text, nullable=False),  # JSON: ids of the instances
    Column("control", Text, nullable=False),  # JSON: those served without pre-annotation
    Column("model_version", Text, nullable=False),  # of the latest prediction sent with it
    Column("crop", Text, nullable=False),  # JSON: x, y, w, h of the part it shows, or null
    Column("url", Text, nullable=False, server_default=""),  # of its image; "" for crops
)

_APPEND_ONLY = "the journal is append-only: answers are never changed or deleted"

for _verb in ("UPDATE", "DELETE"):
    event.listen(
        journal,
        "after_create",
        DDL(
            f"CREATE TRIGGER journal_no_{_verb.lower()} BEFORE {_verb} ON journal "
            f"BEGIN SELECT RAISE(ABORT, '{_APPEND_ONLY}'); END"
        ).execute_if(dialect="sqlite"),
    )
for _statement in (
    "CREATE OR REPLACE FUNCTION journal_append_only() RETURNS trigger LANGUAGE plpgsql AS "
    f"$$ BEGIN RAISE EXCEPTION '{_APPEND_ONLY}'; END $$",
    "CREATE TRIGGER journal_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal "
    "FOR EACH STATEMENT EXECUTE FUNCTION journal_append_only()",
):
    event.listen(journal, "after_create", DDL(_statement).execute_if(dialect="postgresql"))


def _add_sync_state(connection: Connection) -> None:
    """1 -> 2: the task ledger, and the id by which the project is found on servers."""
    tables.create_all(connection, tables=[studio_project, studio_task])
    connection.execute(insert(meta).values(key="project_uid", value=secrets.token_hex(8)))


def _add_categories_and_origins(connection: Connection) -> None:
    """2 -> 3: what label files say of an object besides its keypoints, and where they say it."""
    for column in ("category", "individual"):
        connection.execute(
            DDL(f"ALTER TABLE instance ADD COLUMN {column} TEXT DEFAULT '' NOT NULL")
        )
    tables.create_all(connection, tables=[origin])
    columns = (journal.c.instance_id, journal.c.source, journal.c.reference)
    of_files = (
        select(*columns)
        .distinct()
        .where(journal.c.source.startswith("file:"), journal.c.kind == "keypoints")
    )
    connection.execute(insert(origin).from_select([column.name for column in columns], of_files))


def _add_removals_and_addresses(connection: Connection) -> None:
    """3 -> 4: images that were taken out, and the address that each task gives for its image."""
    tables.create_all(connection, tables=[removed_image])
    _add_column(connection, studio_task, "url TEXT DEFAULT '' NOT NULL")


def _add_empty_images(connection: Connection) -> None:
    """4 -> 5: images without objects."""
    tables.create_all(connection, tables=[empty_image])


def _add_pulled_annotations(connection: Connection) -> None:
    """5 -> 6: the highest annotation that was read; at 0 the next pull reads all of them again."""
    _add_column(connection, studio_project, "pulled_annotation INTEGER DEFAULT 0 NOT NULL")


def _add_column(connection: Connection, table: Table, column: str) -> None:
    """Add a column; a store of the first version got these tables as they are now."""
    known = {known["name"] for known in inspect(connection).get_columns(table.name)}
    if column.split()[0] not in known:
        connection.execute(DDL(f"ALTER TABLE {table.name} ADD COLUMN {column}"))


#: From each version to the next; a step runs in the transaction that records it.
MIGRATIONS: Mapping[int, Callable[[Connection], None]] = {
    1: _add_sync_state,
    2: _add_categories_and_origins,
    3: _add_removals_and_addresses,
    4: _add_empty_images,
    5: _add_pulled_annotations,
}


def read_version(connection: Connection) -> int | None:
    """The schema version of a database; None if it holds no label store yet.

    Raises:
        StoreError: if its tables belong to another program.
    """
    found = set(inspect(connection).get_table_names())
    if not found & set(tables.tables):
        return None
    if meta.name in found:
        value = connection.scalar(select(meta.c.value).where(meta.c.key == "schema_version"))
        if value is not None and value.isdecimal():
            return int(value)
    raise StoreError(
        "This database holds tables of another program, or a damaged label store.",
        "Point LABELKIT_DB at an empty database, or restore labels.db from a backup.",
    )


def create_tables(connection: Connection) -> None:
    """Make an empty store of the current version in the caller's transaction."""
    tables.create_all(connection, checkfirst=False)
    facts = {"schema_version": str(SCHEMA_VERSION), "project_uid": secrets.token_hex(8)}
    connection.execute(insert(meta), [{"key": k, "value": v} for k, v in facts.items()])


def migrate(
    connection: Connection,
    version: int,
    target: int = SCHEMA_VERSION,
    steps: Mapping[int, Callable[[Connection], None]] = MIGRATIONS,
) -> None:
    """Migrate the tables from `version` to `target` step by step, in the caller's transaction.

    Raises:
        StoreError: if the store is newer than this program, or a step is missing.
    """
    if version > target:
        raise StoreError(
            f"The label store has schema version {version}; this labelkit reads up to {target}.",
            INSTALL_NEWER,
        )
    for step in range(version, target):
        if step not in steps:
            raise StoreError(
                f"The label store has schema version {step}, which is older than the first release."
            )
        steps[step](connection)
        connection.execute(
            update(meta).where(meta.c.key == "schema_version").values(value=str(step + 1))
        )
