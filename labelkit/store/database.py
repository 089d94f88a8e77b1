"""Connections to the label store's database, and its failures in plain words."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, NoSuchModuleError

from labelkit.errors import INSTALL, MissingDependencyError, StoreError
from labelkit.store import schema

#: How long to wait for another process that writes; `?timeout=` in the URL says otherwise.
BUSY_SECONDS = 60.0

#: Number of the PostgreSQL advisory lock that writers queue for.
WRITER_LOCK = 0x6C61_6265_6C

#: Number of the one that a command holds while it talks to a labelling server.
SYNC_LOCK = WRITER_LOCK + 1

_AGAIN = "then run the same command again: nothing was lost."

#: Modules of drivers that come with labelkit -> how they are installed.
_INSTALL = {"psycopg": f"{INSTALL} '.[postgresql]'"}

#: Text of the database -> what it means, what to do.
_FAILURES = (
    (
        ("is locked", "is busy", "lock timeout"),
        "is in use by another program",
        f"Wait until it is done, {_AGAIN}",
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
        "Make the file and its folder writable for you, or name a server that takes changes.",
    ),
    (
        ("permission denied", "must be owner"),
        "does not let this user do that",
        "Let the user in LABELKIT_DB own the database, and see to it that nobody else has made its "
        "tables.",
    ),
    (
        ("unable to open",),
        "cannot be opened",
        "Its folder has to exist and be writable; see labelkit.toml and LABELKIT_DB.",
    ),
)


class Database:
    """One database, with reading and writing transactions.

    Writers take turns, on SQLite and PostgreSQL alike: what a writer reads cannot change under
    it, and journal numbers come in the order in which they become visible.

    Args:
        url: SQLAlchemy URL.

    Raises:
        StoreError: if the URL makes no sense.
        MissingDependencyError: if the database's driver is not installed.
    """

    def __init__(self, url: str | URL) -> None:
        try:
            self.url = make_url(url)
            if self.url.drivername == "postgresql":  # SQLAlchemy 2.0 would take another driver
                self.url = self.url.set(drivername="postgresql+psycopg")
            self._engine = _engine(self.url)
        except (ArgumentError, NoSuchModuleError, ValueError):  # their text may hold the password
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
        """For messages: the file, or the URL without its password."""
        if self._is_sqlite:
            return self.url.database or "in memory"
        hidden = {key: "***" for key in self.url.query if "password" in key}
        return self.url.update_query_dict(hidden).render_as_string(hide_password=True)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one moment of the store."""
        options = {} if self._is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with self._plain_words(), self._engine.connect() as connection:
            connection = connection.execution_options(**options)
            with connection.begin():
                yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction of the only writer; all of it happens, or nothing."""
        # On PostgreSQL every statement has to see what the writer before has left.
        options = {} if self._is_sqlite else {"isolation_level": "READ COMMITTED"}
        with self._plain_words(), self._engine.connect() as connection:
            connection = connection.execution_options(labelkit_writes=True, **options)
            with connection.begin():
                if not self._is_sqlite:
                    busy_ms = int(BUSY_SECONDS * 1000)
                    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {busy_ms}")
                    connection.execute(select(func.pg_advisory_xact_lock(WRITER_LOCK)))
                yield connection

    @contextlib.contextmanager
    def syncing(self) -> Iterator[None]:
        """Keep other machines that share a PostgreSQL store from syncing at the same time.

        A SQLite store lies on one machine, where the project's lock does that.

        Raises:
            StoreError: if another command is at it.
        """
        if self._is_sqlite:
            yield
            return
        with self._plain_words(), self._engine.connect() as connection:
            free = connection.scalar(select(func.pg_try_advisory_lock(SYNC_LOCK)))
            connection.commit()  # the lock is the connection's, not the transaction's
            if not free:
                raise StoreError(
                    f"Another labelkit command is syncing the label store {self.name}.",
                    "Wait until it has finished, then run this one again.",
                )
            try:
                yield
            finally:
                with contextlib.suppress(DBAPIError):  # the lock went with the connection
                    connection.scalar(select(func.pg_advisory_unlock(SYNC_LOCK)))

    def prepare(self) -> None:
        """Make the tables where there are none, migrate them where they are old."""
        with self.reading() as connection:
            if schema.read_version(connection) == schema.SCHEMA_VERSION:
                return
        with self.writing() as connection:
            version = schema.read_version(connection)  # another process may have been first
            if version is None:
                schema.create_tables(connection)
            else:
                schema.migrate(connection, version)

    def close(self) -> None:
        """Let go of every connection."""
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
                raise  # a bug of ours
            raise StoreError(
                f"The label store {self.name} cannot be reached ({reason}).",
                f"See that the database server runs, {_AGAIN}",
            ) from None


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, hide_parameters=True)
    timeout = {} if "timeout" in url.query else {"timeout": BUSY_SECONDS}
    engine = create_engine(url, connect_args=timeout)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # BEGIN is ours: Python's comes too late, after reads
    timeout_ms = connection.execute("PRAGMA busy_timeout").fetchone()[0]
    deadline = time.monotonic() + timeout_ms / 1000
    while connection.execute("PRAGMA journal_mode").fetchone()[0] not in ("wal", "memory"):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # Two processes that make one store: SQLite does not wait here as it does elsewhere.
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    connection.execute("PRAGMA synchronous = FULL")  # an answer survives a power cut
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA recursive_triggers = ON")  # REPLACE then counts as a DELETE


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("labelkit_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
