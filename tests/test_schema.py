import pytest
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from labelkit import schema
from labelkit.database import Database
from labelkit.errors import StoreError
from labelkit.store import LabelStore


@pytest.fixture
def database(tmp_path):
    opened = Database(f"sqlite:///{tmp_path / 'labels.db'}")
    opened.prepare()
    with opened.writing() as connection:
        connection.exec_driver_sql("INSERT INTO image VALUES ('1', '2', 'a.png', 3, 4)")
    yield opened
    opened.close()


def test_a_newer_store_is_refused(database):
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE meta SET value = '2' WHERE key = 'schema_version'")
    with pytest.raises(StoreError, match="schema version 2; this labelkit knows up to 1"):
        LabelStore.open(database.url)


def test_an_older_store_is_migrated_step_by_step_and_keeps_its_rows(database):
    steps = {
        1: lambda c: c.exec_driver_sql("ALTER TABLE image ADD COLUMN note TEXT DEFAULT ''"),
        2: lambda c: c.exec_driver_sql("UPDATE image SET note = 'moved'"),
    }
    with database.writing() as connection:
        schema.migrate(connection, 1, 3, steps)
    with database.reading() as connection:
        assert schema.read_version(connection) == 3
        rows = connection.exec_driver_sql("SELECT path, note FROM image").all()
    assert rows == [("a.png", "moved")]


def test_a_migration_that_fails_leaves_the_store_as_it_was(database):
    steps = {1: lambda c: c.exec_driver_sql("ALTER TABLE image ADD COLUMN note TEXT")}
    refused = pytest.raises(StoreError, match="schema version 2")
    with refused, database.writing() as connection:
        schema.migrate(connection, 1, 3, steps)
    with database.reading() as connection:
        assert schema.read_version(connection) == 1
        columns = connection.exec_driver_sql("PRAGMA table_info(image)").all()
    assert "note" not in [column[1] for column in columns]


def test_every_table_can_be_made_on_postgresql():
    for table in schema.tables.sorted_tables:
        assert str(CreateTable(table).compile(dialect=postgresql.dialect()))
    text = str(CreateTable(schema.journal).compile(dialect=postgresql.dialect()))
    assert "seq BIGSERIAL NOT NULL" in text
    assert "lead_time_s DOUBLE PRECISION" in text
