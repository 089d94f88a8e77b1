import pytest
from sqlalchemy import inspect
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from labelkit.errors import StoreError
from labelkit.store import schema
from labelkit.store.database import Database
from labelkit.store.label_store import LabelStore
from labelkit.store.task_ledger import TaskLedger


@pytest.fixture
def database(store_url):
    opened = Database(store_url)
    opened.prepare()
    with opened.writing() as connection:
        connection.exec_driver_sql("INSERT INTO image VALUES ('1', '2', 'a.png', 3, 4)")
    yield opened
    opened.close()


def test_a_newer_store_is_refused(database):
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE meta SET value = '3' WHERE key = 'schema_version'")
    with pytest.raises(StoreError, match=r"version 3\b.* 2\.") as caught:
        LabelStore.open(database.url)
    assert "pip install" in caught.value.next_step


def test_an_older_store_is_migrated_step_by_step_and_keeps_its_rows(database):
    steps = {
        1: lambda c: c.exec_driver_sql("ALTER TABLE image ADD COLUMN note TEXT DEFAULT ''"),
        2: lambda c: c.exec_driver_sql("UPDATE image SET note = 'moved'"),
    }
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE meta SET value = '1' WHERE key = 'schema_version'")
        schema.migrate(connection, 1, 3, steps)
    with database.reading() as connection:
        assert schema.read_version(connection) == 3
        rows = connection.exec_driver_sql("SELECT path, note FROM image").all()
    assert rows == [("a.png", "moved")]


def test_a_store_of_the_first_version_gets_a_task_ledger(database):
    with database.writing() as connection:
        for table in ("studio_project", "studio_task"):
            connection.exec_driver_sql(f"DROP TABLE {table}")
        connection.exec_driver_sql("DELETE FROM meta WHERE key = 'project_uid'")
        connection.exec_driver_sql("UPDATE meta SET value = '1' WHERE key = 'schema_version'")
    with LabelStore.open(database.url) as store:
        ledger = TaskLedger(store.database, "http://127.0.0.1:1")
        assert len(ledger.uid) == 16
        assert ledger.project("correction") is None
        assert [image.path for image in store.images()] == ["a.png"]


def test_a_migration_that_fails_leaves_the_store_as_it_was(database):
    steps = {1: lambda c: c.exec_driver_sql("ALTER TABLE image ADD COLUMN note TEXT")}
    refused = pytest.raises(StoreError, match=r"version 2\b")
    with refused, database.writing() as connection:
        schema.migrate(connection, 1, 3, steps)
    with database.reading() as connection:
        assert schema.read_version(connection) == 2
        columns = inspect(connection).get_columns("image")
    assert "note" not in [column["name"] for column in columns]


def test_every_table_can_be_made_on_postgresql():
    for table in schema.tables.sorted_tables:
        assert str(CreateTable(table).compile(dialect=postgresql.dialect()))
    text = str(CreateTable(schema.journal).compile(dialect=postgresql.dialect()))
    assert "seq BIGSERIAL NOT NULL" in text
    assert "lead_time_s DOUBLE PRECISION" in text
