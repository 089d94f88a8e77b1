import sqlite3
import subprocess
import sys
from dataclasses import replace

import pytest
from builders import make_image, make_instance, make_pose, stick_skeleton
from sqlalchemy import create_engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError

from labelkit.domain.instance import Box
from labelkit.errors import StoreError
from labelkit.project.images import FileStamp
from labelkit.store.journal import Entry, keypoints_content, visibility_content
from labelkit.store.label_store import LabelStore, NewInstance, StoreCounts

STICK = stick_skeleton()
A, B = make_image("a.png"), make_image("b.png")
A0, A1, B0 = make_instance(A, 0), make_instance(A, 1, (0, 0, 5, 5)), make_instance(B, 0)


@pytest.fixture
def store(store_url):
    with LabelStore.open(store_url) as opened:
        opened.add_images([A, B])
        opened.add_instances([candidate(A0), candidate(A1), candidate(B0)])
        yield opened


def candidate(instance):
    return NewInstance(instance.image, instance.box, instance.box_source, instance.area)


def seen(instance, flags, version="1", **more):
    content = visibility_content(STICK, flags)
    return Entry(instance.id, "visibility", content, "file:v.csv", instance.id, version, **more)


def placed(instance, pose, version="1", **more):
    content = keypoints_content(STICK, pose)
    return Entry(instance.id, "keypoints", content, "label-studio", "17", version, **more)


def skipped(instance, version="1"):
    return Entry(instance.id, "skip", {}, "label-studio", instance.id, version)


def run_python(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


# Images and instances


def test_an_empty_store_has_nothing(store_url):
    with LabelStore.open(store_url) as store:
        assert store.images() == []
        assert store.instances() == store.presences(STICK) == store.poses(STICK) == {}
        assert store.head() == 0
        assert list(store.entries()) == []
        assert store.counts() == StoreCounts(0, 0, 0, 0, 0, 0)
        assert store.record([]) == (0, 0)
        assert store.add_images([]) == 0
        assert store.add_instances([]) == []


def test_images_and_instances_come_back_in_order_after_reopening(store, store_url):
    store.close()
    with LabelStore.open(store_url) as again:
        assert again.images() == [A, B]
        assert list(again.instances().values()) == [A0, A1, B0]
        assert list(again.instances()) == [A0.id, A1.id, B0.id]


def test_registering_again_changes_nothing(store):
    assert store.add_images([B, A]) == 0
    assert store.add_instances([candidate(A1), candidate(A0)]) == [A1, A0]
    assert store.counts().instances == 3


def test_a_new_box_gets_the_next_ordinal_and_a_nearly_equal_one_does_not(store):
    nearly = Box(10.0 + 3e-5, 20.0, 40.0, 30.0 - 3e-5)
    other = Box(10.0 + 1e-3, 20.0, 40.0, 30.0)
    found = store.add_instances([NewInstance(A, box, "detected", 1.0) for box in (nearly, other)])
    assert [item.id for item in found] == [A0.id, f"{A.id}-2"]
    assert store.instances()[f"{A.id}-2"].box == other


def test_equal_boxes_in_one_call_are_two_objects_also_when_they_come_again(store):
    twins = [NewInstance(B, Box(1, 1, 9, 9), "given", 81.0)] * 2
    first = store.add_instances(twins)
    assert [item.ordinal for item in first] == [1, 2]
    assert store.add_instances(twins) == first


def test_boxes_keep_every_digit(store):
    box = Box(0.1 + 0.2, 1 / 3, 2 / 3, 1e-3)
    (found,) = store.add_instances([NewInstance(A, box, "human", 0.1)])
    assert store.instances()[found.id].box == box


def test_a_segment_area_replaces_that_of_the_box_and_stays(store):
    for area in (700.5, 1200.0, 900.0):
        (found,) = store.add_instances([NewInstance(A, A0.box, "given", area)])
        assert found == store.instances()[A0.id] == replace(A0, area=700.5)


def test_an_instance_of_an_unregistered_image_is_refused(store):
    with pytest.raises(StoreError, match=r"c\.png"):
        store.add_instances([NewInstance(make_image("c.png"), A0.box, "given", 1.0)])


def test_a_renamed_image_keeps_its_instances(store):
    swapped = [replace(A, path="b.png"), replace(B, path="a.png")]
    assert store.add_images(swapped) == 0
    assert store.images() == [swapped[1], swapped[0]]
    assert store.instances()[A0.id].image.path == "b.png"


def test_another_picture_under_the_name_of_a_labelled_one_is_refused(store):
    store.record([seen(A0, [1, 1, 1, 1])])
    with pytest.raises(StoreError, match=r"a\.png") as caught:
        store.add_images([replace(A, sha256="f" * 64)])
    assert caught.value.next_step
    assert store.images() == [A, B]


def test_another_picture_under_the_name_of_an_unlabelled_one_replaces_it(store):
    new = replace(B, sha256="f" * 64)
    assert store.add_images([new]) == 1
    assert store.images() == [A, new]
    assert list(store.instances()) == [A0.id, A1.id]


def test_a_file_has_its_newest_stamp_until_no_image_is_left_in_it(store):
    one, two = FileStamp(1, 2**62, "a" * 64, 3, 4), FileStamp(5, 6, "b" * 64, 7, 8)
    store.keep_stamps({"a.png": one, "b.png": two, "copy.png": two})
    store.keep_stamps({"b.png": one})
    assert store.stamps(["b.png", "c.png", "copy.png"]) == {"b.png": one, "copy.png": two}
    store.forget_other_stamps([A, B])
    assert store.stamps(["a.png", "b.png", "copy.png"]) == {"a.png": one, "b.png": one}


def test_an_image_has_objects_unless_all_of_them_are_left_aside(store):
    assert store.images_with_objects(set()) == {A.id, B.id}
    assert store.images_with_objects({A0.id}) == {A.id, B.id}
    assert store.images_with_objects({A0.id, A1.id}) == {B.id}


# The journal


def test_an_entry_comes_back_with_everything_it_had(store):
    entry = placed(
        A0,
        make_pose([[0.1 + 0.2, 1e-7], [1 / 3, 2], [3, 4], [0, 0]], [2, 1, 2, 0]),
        annotator="Zoë <z@x.org>",
        made_at="2024-05-01T10:00:00Z",
        lead_time_s=12.25,
        shown={"round": 3, "origins": {"nose": "untouched", "猫": '"&<'}},
    )
    assert store.record([entry]) == (1, 0)
    (recorded,) = store.entries()
    assert recorded.seq == 1
    assert recorded.entry == entry
    assert recorded.recorded_at.endswith("+00:00")


def test_recording_again_changes_nothing(store):
    entries = [seen(A0, [1, 0, 0, 1]), seen(B0, [1, 1, 1, 1])]
    assert store.record([*entries, entries[0]]) == (2, 1)
    assert store.record(entries) == (0, 2)
    assert store.head() == 2


def test_the_same_version_with_another_content_is_an_error(store):
    store.record([seen(A0, [1, 0, 0, 1])])
    with pytest.raises(StoreError, match=rf"file:v\.csv .*{A0.id}.*'1'"):
        store.record([seen(B0, [1, 1, 1, 1]), seen(A0, [0, 0, 0, 1])])
    assert store.head() == 1


def test_the_latest_answer_wins(store):
    first, second = make_pose(), make_pose(visibility=(2, 2, 0, 1))
    store.record([placed(A0, first, "1"), placed(A0, second, "2"), placed(B0, first, "1")])
    assert store.poses(STICK) == {A0.id: second, B0.id: first}
    assert store.poses(STICK, as_of=1) == {A0.id: first}
    assert store.poses(STICK, as_of=0) == {}


def test_what_can_be_seen_follows_the_newer_answer(store):
    pose = make_pose(visibility=(2, 0, 1, 2))
    store.record([seen(A0, [0, 0, 0, 1], "1"), placed(A0, pose), placed(B0, pose)])
    store.record([seen(A0, [1, 1, 1, 1], "2")])
    by_head = [store.presences(STICK, as_of)[A0.id].tolist() for as_of in (1, 2, 4)]
    assert by_head == [[False, False, False, True], [True, False, True, True], [True] * 4]
    assert store.presences(STICK)[B0.id].tolist() == [True, False, True, True]


def test_a_skip_takes_no_answer_away_and_ends_with_the_next_answer(store):
    store.record([placed(A0, make_pose()), skipped(A0), skipped(B0)])
    assert store.skipped() == {A0.id, B0.id}
    assert set(store.poses(STICK)) == {A0.id}
    store.record([seen(B0, [1, 1, 1, 1])])
    assert store.skipped() == {A0.id}
    assert store.counts() == StoreCounts(2, 3, 4, 2, 1, 1)


def test_entries_can_be_read_from_and_up_to_a_number(store):
    store.record(seen(A0, [1, 1, 1, 1], str(version)) for version in range(1, 1203))
    assert [e.seq for e in store.entries()] == list(range(1, 1203))
    assert [e.entry.version for e in store.entries(after=3, as_of=5)] == ["4", "5"]


def test_an_answer_about_an_unknown_instance_leaves_nothing_behind(store):
    known = [seen(A0, [1, 1, 1, 1], str(version)) for version in range(600)]
    with pytest.raises(StoreError, match="0123-9"):
        store.record([*known, replace(known[0], instance_id="0123-9")])
    assert store.head() == 0


CHANGES = ("UPDATE journal SET content = '{}'", "DELETE FROM journal")
CHANGES_OF_ONE_DATABASE = {
    "sqlite": ("REPLACE INTO journal SELECT * FROM journal",),
    "postgresql": (
        "TRUNCATE journal",
        "TRUNCATE image CASCADE",
        "INSERT INTO journal SELECT * FROM journal ON CONFLICT (seq) DO UPDATE SET content = 'no'",
    ),
}


def test_the_journal_refuses_to_be_changed_even_by_sql(store, store_url):
    before = seen(A0, [1, 1, 1, 1])
    store.record([before])
    database = store.database.url.get_backend_name()
    other = create_engine(store_url)  # of a program that knows nothing of labelkit
    if database == "sqlite":
        event.listen(other, "connect", lambda c, _: c.execute("PRAGMA recursive_triggers = ON"))
    for statement in (*CHANGES, *CHANGES_OF_ONE_DATABASE[database]):
        with pytest.raises(DBAPIError, match="append-only"), other.begin() as connection:
            connection.exec_driver_sql(statement)
    other.dispose()
    assert [item.entry for item in store.entries()] == [before]


def test_an_instance_with_answers_cannot_be_deleted(store):
    store.record([seen(A0, [1, 1, 1, 1])])
    refused = pytest.raises(IntegrityError, match=r"(?i)foreign key")
    with refused, store.database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM instance")


# Processes


RECORD_FOR_EVER = """
import sys
from labelkit.store.journal import Entry
from labelkit.store.label_store import LabelStore
url, instance_id, writer, count = sys.argv[1:]
def entries():
    for n in range(int(count)):
        if n % 500 == 100:
            print(n, flush=True)
        yield Entry(instance_id, "visibility", {"nose": True}, "test", f"{writer} {n}", "1")
with LabelStore.open(url) as store:
    print("open", flush=True)
    print(*store.record(entries()), flush=True)
"""


def test_a_process_killed_in_the_middle_of_recording_leaves_what_was_there(store, store_url):
    store.record([seen(A0, [1, 0, 0, 1])])
    for chunks in (1, 4):
        process = run_python(RECORD_FOR_EVER, store_url, A0.id, "w", 10**9)
        for _ in range(chunks + 1):
            process.stdout.readline()
        process.kill()
        process.communicate()
        assert store.head() == 1
    assert store.record([seen(A0, [1, 0, 0, 1]), seen(B0, [1, 1, 1, 1])]) == (1, 1)
    if "sqlite" in store_url:
        with sqlite3.connect(store_url.removeprefix("sqlite:///")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()


def test_two_processes_record_at_once_and_nothing_is_lost(store, store_url):
    writers = [run_python(RECORD_FOR_EVER, store_url, A0.id, name, 2000) for name in "ab"]
    outputs = [writer.communicate(timeout=120)[0] for writer in writers]
    assert [output.splitlines()[-1] for output in outputs] == ["2000 0", "2000 0"]
    references = [item.entry.reference for item in store.entries()]
    # One transaction after the other, each in its own order.
    assert sorted(references[:2000] + references[2000:]) == sorted(set(references))
    assert {
        tuple(dict.fromkeys(r[0] for r in half)) for half in (references[:2000], references[2000:])
    } == {("a",), ("b",)}
