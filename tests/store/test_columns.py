"""Objects and labels as columns are those that the journal tells entry by entry."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from builders import make_image, make_instance, make_pose, stick_skeleton
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import true

from labelkit.domain.skeleton_edit import edited
from labelkit.errors import StoreError
from labelkit.project.images import FileStamp
from labelkit.store.journal import (
    KEYPOINTS,
    SKIP,
    VISIBILITY,
    WITHDRAWN,
    Entry,
    keypoints_content,
    pose_of,
    presence_of,
)
from labelkit.store.label_store import LabelStore
from labelkit.store.objects import NewInstance, read_instances

STICK = stick_skeleton()
GROWN = edited(STICK, {"keypoints": [*STICK.keypoints, "wing"]}, "s.toml")
IMAGES = [make_image(f"{name}.png") for name in "bca"]
BOXES = [(0.0, 0.0, 9.5, 7.25), (20.0, 30.0, 8.0, 8.0)]
OBJECTS = [make_instance(image, n) for image in IMAGES for n in range(len(BOXES))]

#: x, y and v of a keypoint; None where an answer does not name it.
PLACES = st.none() | st.tuples(
    st.floats(-10, 200), st.floats(0, 99, width=32), st.sampled_from((0, 1, 2))
)


@st.composite
def answers(draw: Callable[..., Any]) -> list[Entry]:
    """Answers of two annotators to some objects, also to former skeletons, and withdrawn ones."""
    entries = []
    for number in range(draw(st.integers(0, 12))):
        kind = draw(st.sampled_from((VISIBILITY, KEYPOINTS, KEYPOINTS, SKIP, WITHDRAWN)))
        content: dict[str, Any] = {}
        if kind in (VISIBILITY, KEYPOINTS):
            told = {name: draw(PLACES) for name in (*GROWN.keypoints, "former")}
            content = {
                name: list(value) if kind == KEYPOINTS else value[2] > 0
                for name, value in told.items()
                if value is not None
            }
        id_, who = draw(st.sampled_from(OBJECTS)).id, draw(st.sampled_from("ab"))
        shown = draw(st.sampled_from(({}, {"held": {"gone": []}}, {"Held": '"held"'})))
        entries.append(
            Entry(id_, kind, content, "label", str(number), "1", who, lead_time_s=2.5, shown=shown)
        )
    return entries


def opened(url: str = "sqlite://") -> LabelStore:
    """A store of two objects in each of three images."""
    store = LabelStore.open(url)
    store.add_images(IMAGES)
    store.add_instances(NewInstance(image, box, "given", 60.0) for image in IMAGES for box in BOXES)
    return store


def counting(
    store: LabelStore, kinds: Sequence[str], as_of: int
) -> Iterator[tuple[str, list[Entry]]]:
    """All entries of some kinds about each object, by its id, the oldest newest entry first."""
    present = store.instances().keys()
    entries: dict[str, list[Entry]] = defaultdict(list)
    for recorded in store.entries():
        entry = recorded.entry
        if entry.kind in kinds and recorded.seq <= as_of and entry.instance_id in present:
            entries[entry.instance_id] = [*entries.pop(entry.instance_id, []), entry]
    yield from entries.items()


@given(answers(), st.sets(st.sampled_from(IMAGES)), st.integers(0, 12))
@settings(max_examples=60)
def test_labels_are_those_that_the_entries_tell_one_by_one(entries, removed, as_of):
    with opened() as store:
        store.record(entries)
        store.remove_images(removed)
        told = {
            id_: presence_of(mine, GROWN)
            for id_, mine in counting(store, (VISIBILITY, KEYPOINTS, WITHDRAWN), as_of)
        }
        placed = {
            id_: pose_of(mine, GROWN)
            for id_, mine in counting(store, (KEYPOINTS, WITHDRAWN), as_of)
        }
        newest = {
            id_: mine[-1].kind
            for id_, mine in counting(store, (VISIBILITY, KEYPOINTS, SKIP, WITHDRAWN), as_of)
        }
        try:
            presences, poses = store.labels(GROWN, as_of)
        except StoreError:  # all that was answered is about other keypoints
            assert not all((it > -1).any() for it in (*told.values(), *placed.values()))
            return
        known = [(id_, it.tolist()) for id_, it in told.items() if (it > -1).any()]
        assert [(id_, it.tolist()) for id_, it in presences.items()] == known
        assert [*poses.items()] == [(id_, it) for id_, it in placed.items() if it.known.any()]
        some = [*poses][::-2]
        assert poses.some(some) == {id_: poses[id_] for id_ in some}
        assert store.skipped(as_of) == {id_ for id_, kind in newest.items() if kind == SKIP}


@given(answers())
@settings(max_examples=20)
def test_what_was_shown_is_read_without_contents(entries):
    with opened() as store:
        store.record(entries)
        held = [replace(it, content={}) for it in entries if "held" in it.shown]
        assert [it for it in store.work("held") if "held" in it.shown] == held
        assert store.annotators() == Counter(it.annotator for it in entries)
        kinds = (KEYPOINTS, WITHDRAWN)
        newest = [it for it in store.latest(kinds) if "held" in it.shown]
        assert [it for it in store.latest(kinds, showing="held") if "held" in it.shown] == newest


@given(st.sets(st.sampled_from(IMAGES)), st.booleans())
@settings(max_examples=20)
def test_objects_are_those_that_the_rows_tell_one_by_one(removed, with_removed):
    with opened() as store:
        store.remove_images(removed)
        found = store.instances(with_removed=with_removed)
        with store.database.reading() as connection:
            every = read_instances(connection, true())
        left = [item for item in every if with_removed or item.image not in removed]
        assert len(found) == len(left)
        assert [*found.items()] == [(item.id, item) for item in left]
        assert all(item.id in found for item in left)
        some = [item.id for item in left[::-2]]
        assert [*found.some(some).items()] == [(id_, found[id_]) for id_ in some]


def test_an_object_keeps_every_number_and_text_of_its_row():
    with LabelStore.open("sqlite://") as store:
        store.add_images(IMAGES)
        new = NewInstance(IMAGES[0], (0.1, 1 / 3, 2e-7, 79.0), "given", 1e9 / 7, "hare", "Ada")
        (made,) = store.add_instances([new])
        assert store.instances() == {made.id: made}
        assert "unknown" not in store.instances()
        with pytest.raises(KeyError):
            store.instances()["unknown"]


def test_a_presence_that_is_changed_by_its_reader_is_not_changed_for_others():
    with opened() as store:
        store.record([Entry(OBJECTS[0].id, VISIBILITY, {"nose": True}, "label", "1", "1")])
        presences = store.presences(STICK)
        presences[OBJECTS[0].id][:] = 0
        assert presences[OBJECTS[0].id].tolist() == [1, -1, -1, -1]


def test_keypoints_answer_visibility_until_that_is_answered_again(store_url):
    with opened(store_url) as store:
        id_, pose = OBJECTS[0].id, make_pose(visibility=(2, 1, 0, 2))
        content = keypoints_content(STICK, pose)
        store.record([Entry(id_, KEYPOINTS, content, "label", "1", "1")])
        assert store.presences(STICK)[id_].tolist() == [1, 1, 0, 1]
        store.record([Entry(id_, VISIBILITY, dict.fromkeys(STICK.keypoints, False), "l", "2", "1")])
        assert store.presences(STICK)[id_].tolist() == [0, 0, 0, 0]
        assert store.poses(STICK)[id_] == pose


def test_every_database_tells_the_same_of_stamps_and_of_who_did_what(store_url):
    stamp = FileStamp(7, 1_700_000_000_123_456_789, IMAGES[2].sha256, 12, 8)
    shown = {"effort": {"clicks": 1}, "arm": "100 %_"}
    entries = [
        Entry(OBJECTS[0].id, SKIP, {}, "label", "1", "1", "zoe"),
        Entry(OBJECTS[1].id, VISIBILITY, {"nose": True}, "label", "2", "1", "Ann", shown=shown),
        Entry(OBJECTS[1].id, SKIP, {}, "label", "3", "1", "zoe", shown={"effortless": 1}),
    ]
    with opened(store_url) as store:
        store.keep_stamps({"a.png": stamp, "gone.png": stamp})
        store.record(entries)
        assert [*store.annotators().items()] == [("zoe", 2), ("Ann", 1)]
        assert [it.shown for it in store.work("effort")] == [shown]
        store.remove_images(IMAGES[:1])  # b.png
        stamped = {path: known for path, _, *known in store.stamped_files()}
        assert stamped == {"a.png": [7, stamp.mtime_ns], "c.png": [None, None]}
        assert store.image_paths() == {"a.png", "b.png", "c.png"}
        paths = [it.image.path for it in store.instances().values()]
        assert paths == ["a.png", "a.png", "c.png", "c.png"]


def test_objects_that_are_read_after_closing_leave_no_connection_open(store_url):
    with opened(store_url) as store:
        objects = store.instances()
    assert len([*objects.values()]) == 6
    assert store.database._engine.pool.checkedin() == 0
