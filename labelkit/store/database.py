"""Connections to the label store's database, and plain errors for its failures."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Engine,
    create_engine,
    event,
    func,
    make_url,
    select,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, NoSuchModuleError

from labelkit.errors import DISTRIBUTION, INSTALL, MissingDependencyError, StoreError
from labelkit.store import schema

#: How long to wait for another process that writes; `?timeout=` in the URL overrides it.
BUSY_SECONDS = 60.0

#: Number of the PostgreSQL advisory lock that writers queue for; see `_lock`.
WRITER_LOCK = 0x6C61_6265_6C

#: Number of the advisory lock that a command holds while it syncs with a labelling server.
SYNC_LOCK = WRITER_LOCK + 1

_AGAIN = "then run the same command again: nothing was lost."

#: How to install the drivers that labelkit has an extra for, by module.
_INSTALL = {"psycopg": f"{INSTALL} '{DISTRIBUTION}[postgresql]'"}

#: Parts of a database's message, what they mean, what to do.
_FAILURES = (
    (
        ("is locked", "is busy", "lock timeout"),
        "is in use by another program",
        f"Wait until it has finished, {_AGAIN}",
    ),
    (
        ("disk is full", "no space left", "disk i/o error"),
        "cannot be written: the disk is full or failing",
        f"Free some space, {_AGAIN}",
    ),
    (
        ("not a database", "malformed"),
        "is not a label store, or is damaged",
        "Restore the file (and the -wal file beside it) from a backup.",
    ),
    (
        ("readonly", "read-only"),
        "is read-only",
        "Make the file and its folder writable, or name a server that accepts changes.",
    ),
    (
        ("permission denied", "must be owner"),
        "does not allow this user to do that",
        "The user in LABELKIT_DB must own the database and its tables.",
    ),
    (
        ("unable to open",),
        "cannot be opened",
        "Its folder must exist and be writable; check labelkit.toml and LABELKIT_DB.",
    ),
)


class Database:
    """One database, with reading and writing transactions.

    Writers take turns, on SQLite and PostgreSQL alike: what a writer reads cannot change during
    its transaction, and journal numbers are in the order in which entries become visible.

    Args:
        url: SQLAlchemy URL.

    Attributes:
        before_first_write: called once, in the first writing transaction.

    Raises:
        StoreError: if the URL is invalid.
        MissingDependencyError: if the database's driver is not installed.
    """

    before_first_write: Callable[[Connection], None] | None = None
    _is_closed = False

    def __init__(self, url: str | URL) -> None:
        try:
            self.url = make_url(url)
            if self.url.drivername == "postgresql":  # SQLAlchemy's default driver is psycopg2
                self.url = self.url.set(drivername="postgresql+psycopg")
            self._engine = _engine(self.url)
        except (ArgumentError, NoSuchModuleError, ValueError):  # may quote the password
            raise StoreError(
                "LABELKIT_DB is not a SQLAlchemy URL.",
                "For example: postgresql+psycopg://user:password@host/database",
            ) from None
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                f"The database driver {error.name} is not installed.",
                _INSTALL.get(str(error.name), f"Install it with: pip install {error.name}"),
            ) from error

    @property
    def _is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @property
    def name(self) -> str:
        """The file, or the URL without its password, for messages."""
        if self._is_sqlite:
            return self.url.database or "in memory"
        hidden = {key: "***" for key in self.url.query if "password" in key}
        return self.url.update_query_dict(hidden).render_as_string(hide_password=True)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees a single state of the store.

        Objects that were asked for before the store was closed may be read later: such a
        transaction leaves no connection open.
        """
        options = {} if self._is_sqlite else {"isolation_level": "REPEATABLE READ"}
        try:
            with self._plain_words(), self._engine.connect() as connection:
                connection = connection.execution_options(**options)
                with connection.begin():
                    yield connection
        finally:
            if self._is_closed:
                self._engine.dispose()

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction of the only writer: all of it is committed, or nothing."""
        # On PostgreSQL every statement must see what the previous writer committed.
        options = {} if self._is_sqlite else {"isolation_level": "READ COMMITTED"}
        with self._plain_words(), self._engine.connect() as connection:
            connection = connection.execution_options(labelkit_writes=True, **options)
            with connection.begin():
                if not self._is_sqlite:
                    busy_ms = int(BUSY_SECONDS * 1000)
                    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {busy_ms}")
                    connection.execute(select(func.pg_advisory_xact_lock(_lock(WRITER_LOCK))))
                if self.before_first_write is not None:
                    self.before_first_write(connection)
                yield connection
        self.before_first_write = None

    @contextlib.contextmanager
    def syncing(self) -> Iterator[None]:
        """Keep other machines that share a PostgreSQL store from syncing at the same time.

        A SQLite store is on one machine, where the project's lock does that.

        Raises:
            StoreError: if another command is syncing.
        """
        if self._is_sqlite:
            yield
            return
        with self._plain_words(), self._engine.connect() as connection:
            free = connection.scalar(select(func.pg_try_advisory_lock(_lock(SYNC_LOCK))))
            connection.commit()  # the lock belongs to the connection, not to the transaction
            if not free:
                raise StoreError(
                    f"Another labelkit command is syncing the label store {self.name}.",
                    "Wait until it has finished, then run this one again.",
                )
            try:
                yield
            finally:
                with contextlib.suppress(DBAPIError):  # a lost connection holds no lock
                    connection.scalar(select(func.pg_advisory_unlock(_lock(SYNC_LOCK))))

    def prepare(self) -> None:
        """Make the tables if there are none, and migrate them if they are old.

        Raises:
            StoreError: see `schema.read_version` and `schema.migrate`.
        """
        with self.reading() as connection:
            if schema.read_version(connection) == schema.SCHEMA_VERSION:
                return
        with self.writing() as connection:
            if not self._is_sqlite:
                _make_schema(connection)
            version = schema.read_version(connection)  # another process may have been first
            if version is None:
                schema.create_tables(connection)
            else:
                schema.migrate(connection, version)

    def close(self) -> None:
        """Close every connection."""
        self._is_closed = True
        self._engine.dispose()

    @contextlib.contextmanager
    def _plain_words(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            text = str(error.orig)
            for signs, meaning, next_step in _FAILURES:
                if any(sign in text.lower() for sign in signs):
                    problem = f"The label store {self.name} {meaning}."
                    raise StoreError(problem, next_step) from error
            if error.connection_invalidated or isinstance(error, InterfaceError):
                reason = "the connection was lost"
            elif not self._is_sqlite and "connect" in text:
                reason = text.strip().splitlines()[0]
                if self.url.password:
                    reason = reason.replace(str(self.url.password), "***")
            else:
                raise  # a bug in labelkit
            raise StoreError(
                f"The label store {self.name} cannot be reached ({reason}).",
                f"Check that the database server runs, {_AGAIN}",
            ) from None


def _lock(number: int) -> ColumnElement[int]:
    """Number of a PostgreSQL advisory lock, of its own in each schema of a database."""
    return func.hashtextextended(func.coalesce(func.current_schema(), ""), number)


def _make_schema(connection: Connection) -> None:
    """Make the PostgreSQL schema that `?options=-csearch_path=NAME` in the URL names."""
    if connection.scalar(select(func.current_schema())) is None:
        path = str(connection.scalar(select(func.current_setting("search_path"))))
        names = [name.strip() for name in path.split(",")]
        first = next(name for name in [*names, "public"] if name != '"$user"')
        connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {first}")


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, hide_parameters=True)
    timeout = {} if "timeout" in url.query else {"timeout": BUSY_SECONDS}
    engine = create_engine(url, connect_args=timeout)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # see _begin_sqlite: Python's BEGIN comes after reads
    timeout_ms = connection.execute("PRAGMA busy_timeout").fetchone()[0]
    deadline = time.monotonic() + timeout_ms / 1000
    while connection.execute("PRAGMA journal_mode").fetchone()[0] not in ("wal", "memory"):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # Another process makes the same store: SQLite does not wait here as elsewhere.
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    connection.execute("PRAGMA synchronous = FULL")  # an answer survives a power cut
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA recursive_triggers = ON")  # REPLACE then counts as a DELETE


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("labelkit_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
