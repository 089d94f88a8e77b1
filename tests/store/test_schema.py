import pytest
from builders import make_image, make_pose, stick_skeleton
from sqlalchemy import inspect
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from labelkit.domain.instance import Box
from labelkit.errors import StoreError
from labelkit.store import schema
from labelkit.store.database import Database
from labelkit.store.journal import Entry, keypoints_content
from labelkit.store.label_store import LabelStore
from labelkit.store.objects import NewInstance
from labelkit.store.task_ledger import TaskLedger


@pytest.fixture
def database(store_url):
    opened = Database(store_url)
    opened.prepare()
    with opened.writing() as connection:
        connection.exec_driver_sql("INSERT INTO image VALUES ('1', '2', 'a.png', 3, 4)")
    yield opened
    opened.close()


def back_to(connection, version):
    """Undo the migrations after a version; rows of tables that it had stay."""
    if version < 5:
        connection.exec_driver_sql("DROP TABLE empty_image")
    if version < 4:
        connection.exec_driver_sql("DROP TABLE removed_image")
        connection.exec_driver_sql("ALTER TABLE studio_task DROP COLUMN url")
    if version < 3:
        connection.exec_driver_sql("DROP TABLE origin")
        for column in ("category", "individual"):
            connection.exec_driver_sql(f"ALTER TABLE instance DROP COLUMN {column}")
    if version < 2:
        for table in ("studio_project", "studio_task"):
            connection.exec_driver_sql(f"DROP TABLE {table}")
        connection.exec_driver_sql("DELETE FROM meta WHERE key = 'project_uid'")
    connection.exec_driver_sql(f"UPDATE meta SET value = '{version}' WHERE key = 'schema_version'")


def test_a_newer_store_is_refused(database):
    now = schema.SCHEMA_VERSION
    with database.writing() as connection:
        connection.exec_driver_sql(
            f"UPDATE meta SET value = '{now + 1}' WHERE key = 'schema_version'"
        )
    with pytest.raises(StoreError, match=rf"version {now + 1}\b.* {now}\.") as caught:
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
        back_to(connection, 1)
    with LabelStore.open(database.url) as store:
        ledger = TaskLedger(store.database, "http://127.0.0.1:1")
        assert len(ledger.uid) == 16
        assert ledger.project("correction") is None
        assert [image.path for image in store.images()] == ["a.png"]


def test_a_store_of_the_second_version_knows_which_annotations_its_labels_came_from(database):
    image = make_image("b.png")
    with LabelStore.open(database.url) as store:
        store.add_images([image])
        (found,) = store.add_instances([NewInstance(image, Box(1, 1, 9, 9), "given", 81.0)])
        content = keypoints_content(stick_skeleton(), make_pose())
        store.record([Entry(found.id, "keypoints", content, "file:a.json", "7", "1")])
    with database.writing() as connection:
        back_to(connection, 2)
    moved = NewInstance(
        image, Box(3, 3, 9, 9), "given", 81.0, "cat", "", ("file:a.json", "7"), content
    )
    with LabelStore.open(database.url) as store:
        assert store.instances() == {found.id: found}
        (same,) = store.add_instances([moved])
        assert (same.id, same.box, same.category) == (found.id, Box(3, 3, 9, 9), "cat")
        assert store.instances() == {same.id: same}


def test_a_migration_that_fails_leaves_the_store_as_it_was(database):
    now = schema.SCHEMA_VERSION
    steps = {1: lambda c: c.exec_driver_sql("ALTER TABLE image ADD COLUMN note TEXT")}
    refused = pytest.raises(StoreError, match=r"version 2\b")
    with refused, database.writing() as connection:
        schema.migrate(connection, 1, 3, steps)
    with database.reading() as connection:
        assert schema.read_version(connection) == now
        columns = inspect(connection).get_columns("image")
    assert "note" not in [column["name"] for column in columns]


def test_every_table_can_be_made_on_postgresql():
    for table in schema.tables.sorted_tables:
        assert str(CreateTable(table).compile(dialect=postgresql.dialect()))
    text = str(CreateTable(schema.journal).compile(dialect=postgresql.dialect()))
    assert "seq BIGSERIAL NOT NULL" in text
    assert "lead_time_s DOUBLE PRECISION" in text
