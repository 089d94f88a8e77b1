"""Labels that two sides changed, on every database a store may be in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from builders import make_image, make_instance, make_pose, stick_skeleton

from labelkit.store.conflicts import (
    beside_what_is_known,
    differing,
    find_conflicts,
    hold,
    hold_deleted,
    settle,
)
from labelkit.store.journal import Entry, keypoints_content, visibility_content
from labelkit.store.label_store import LabelStore
from labelkit.store.objects import NewInstance

STICK = stick_skeleton()
A0 = make_instance(make_image("a.png"))
HERE = ((1.5, 2.25), (3.0, 4.0), (5.0, 6.0), (7.0, 8.0))
THERE = ((9.5, 2.25), (3.0, 4.0), (5.0, 6.0), (7.0, 8.0))


@pytest.fixture
def store(store_url: str) -> Iterator[LabelStore]:
    with LabelStore.open(store_url) as opened:
        opened.add_images([A0.image])
        opened.add_instances([NewInstance(A0.image, A0.box, A0.box_source, A0.area)])
        opened.record([seen()])
        yield opened


def seen() -> Entry:
    content = visibility_content(STICK, [1, 1, 1, 1])
    return Entry(A0.id, "visibility", content, "label-studio", "8", "1")


def placed(xy: tuple[tuple[float, float], ...], source: str, visibility=(2, 2, 2, 2)) -> Entry:
    content = keypoints_content(STICK, make_pose(xy, visibility))
    return Entry(A0.id, "keypoints", content, source, "17", "1", "ann")


OURS, THEIRS = placed(HERE, "file:ours.json"), placed(THERE, "label-studio")


def x_of_nose(store: LabelStore) -> float:
    return float(store.poses(STICK)[A0.id].xy[0, 0])


def test_keypoints_differ_by_location_and_by_visibility_and_not_by_rounding():
    nearly = placed(((1.5004, 2.25), *HERE[1:]), "label-studio")
    hidden = placed(HERE, "label-studio", (2, 1, 2, 2))
    assert differing(OURS, THEIRS) == ("nose",)
    assert differing(OURS, nearly) == ()
    assert differing(OURS, hidden) == ("left_paw",)


def test_without_conflicts_there_is_nothing_to_settle(store):
    assert find_conflicts(store) == []
    assert settle(store, "theirs") == 0
    store.record([OURS])
    assert find_conflicts(store) == []


def test_a_held_label_continues_to_count_and_both_values_are_shown(store):
    store.record([OURS, THEIRS, hold(OURS, THEIRS)])
    assert x_of_nose(store) == 1.5
    (conflict,) = find_conflicts(store)
    assert list(conflict.rows()) == [
        {
            "instance": A0.id,
            "keypoint": "nose",
            "ours": [1.5, 2.25, 2],
            "ours_from": "file:ours.json",
            "theirs": [9.5, 2.25, 2],
            "theirs_from": "ann",
            "distance_px": 8.0,
            "task": "",
        }
    ]


@pytest.mark.parametrize(("take", "x"), [("ours", 1.5), ("theirs", 9.5)])
def test_settling_lets_one_side_count_and_removes_nothing_from_the_journal(store, take, x):
    store.record([OURS, THEIRS, hold(OURS, THEIRS)])
    before = [item.entry for item in store.entries()]
    assert settle(store, take) == 1
    assert x_of_nose(store) == x
    assert find_conflicts(store) == []
    assert settle(store, take) == 0
    assert [item.entry for item in store.entries()][: len(before)] == before


def take(store: LabelStore, *entries: Entry) -> int:
    """Record label files as an import does; how many answers were new."""
    fresh, to_record = beside_what_is_known(store, entries)
    store.record(to_record)
    return len(fresh)


def test_a_file_that_was_changed_back_counts_again_and_an_older_file_does_not(store):
    first, changed = placed(HERE, "file:a.json"), replace(placed(THERE, "file:a.json"), version="2")
    older = replace(first, source="file:a-old.json")
    assert [take(store, first), take(store, changed), take(store, older)] == [1, 1, 0]
    assert x_of_nose(store) == 9.5
    assert [take(store, first), take(store, first), x_of_nose(store)] == [1, 0, 1.5]
    assert [take(store, changed), take(store, changed), x_of_nose(store)] == [1, 0, 9.5]
    assert [take(store, first), take(store, first), x_of_nose(store)] == [1, 0, 1.5]
    assert find_conflicts(store) == []


def test_a_file_that_comes_again_does_not_undo_what_annotators_did_since(store):
    file = placed(HERE, "file:a.json")
    take(store, file)
    store.record([THEIRS])
    assert (take(store, file), x_of_nose(store)) == (0, 9.5)
    assert find_conflicts(store) == []


def test_a_label_deleted_on_the_server_counts_until_the_user_agrees(store):
    store.record([THEIRS, hold_deleted(THEIRS, [])])
    assert x_of_nose(store) == 9.5
    (conflict,) = find_conflicts(store)
    assert [row["theirs_from"] for row in conflict.rows()] == ["deleted"] * 4
    assert settle(store, "theirs") == 1
    assert store.poses(STICK) == {}
    assert store.presences(STICK)[A0.id].all()


def test_an_older_label_counts_again_when_a_deleted_one_is_withdrawn(store):
    store.record(
        [OURS, replace(THEIRS, version="2"), hold_deleted(replace(THEIRS, version="2"), [])]
    )
    settle(store, "theirs")
    assert x_of_nose(store) == 1.5


# New answers beside known ones


def taken_in(store: LabelStore, *entries: Entry) -> list[Entry]:
    """Record entries as pull, bootstrap and review do, and return the new ones."""
    fresh, to_record = beside_what_is_known(store, entries)
    store.record(to_record)
    return fresh


@pytest.mark.parametrize("source", ["label-studio", "fiftyone"])
def test_a_file_does_not_override_what_people_answered(store, source):
    store.record([OURS, placed(THERE, source)])
    other = replace(placed(((4.0, 4.0), *HERE[1:]), "file:other.json"), version="2")
    assert taken_in(store, other) == [other]
    assert x_of_nose(store) == 9.5
    (conflict,) = find_conflicts(store)
    assert (conflict.theirs, conflict.keypoints) == (other, ("nose",))
    assert taken_in(store, other) == []
    assert settle(store, "theirs") == 1
    assert x_of_nose(store) == 4.0


def test_the_same_labels_in_a_file_of_another_name_or_numbering_are_known(store):
    store.record([OURS, THEIRS])
    assert taken_in(store, replace(OURS, source="file:v2.json", reference="3")) == []
    assert x_of_nose(store) == 9.5
    assert find_conflicts(store) == []


def test_a_file_that_agrees_with_people_does_not_replace_their_answers(store):
    store.record([OURS, THEIRS])
    agreeing = replace(placed(THERE, "file:v2.json"), version="2")
    assert taken_in(store, agreeing) == []
    contradicting = replace(placed(HERE[::-1], "file:v3.json"), version="3")
    assert taken_in(store, contradicting) == [contradicting]
    assert x_of_nose(store) == 9.5
    (conflict,) = find_conflicts(store)
    assert conflict.ours.source == "label-studio"


@pytest.mark.parametrize("source", ["file:ours.json", "file:v2.json"])
def test_a_changed_file_counts_over_an_earlier_one(store, source):
    store.record([OURS])
    changed = replace(placed(THERE, source), version="2")
    assert taken_in(store, changed) == [changed]
    assert x_of_nose(store) == 9.5
    assert find_conflicts(store) == []


def at_time(entry: Entry, made_at: str) -> Entry:
    return replace(entry, made_at=made_at, version=made_at, source="label-studio")


def ticked(*present: int) -> Entry:
    return replace(seen(), content=visibility_content(STICK, present), reference="9")


@pytest.mark.parametrize("kind", ["ticks", "keypoints"])
def test_ticks_that_arrive_late_do_not_count_over_later_answers(store, kind):
    corrected = ticked(1, 0, 0, 1) if kind == "ticks" else placed(HERE, "", (2, 0, 0, 2))
    later = at_time(corrected, "2026-01-02T10:00:00Z")
    earlier = at_time(ticked(1, 1, 1, 1), "2026-01-01T10:00:00Z")
    assert taken_in(store, later) == [later]
    assert taken_in(store, earlier) == [earlier]
    assert store.presences(STICK)[A0.id].tolist() == [True, False, False, True]
    assert taken_in(store, earlier, later) == []
    latest = at_time(ticked(0, 1, 0, 0), "2026-01-03T10:00:00Z")
    assert taken_in(store, latest) == [latest]
    assert store.presences(STICK)[A0.id].tolist() == [False, True, False, False]
    assert (A0.id in store.poses(STICK)) == (kind == "keypoints")


# Several annotators of one task


def of(annotator: str, entry: Entry, **changes: object) -> Entry:
    """An answer to task 5, in an annotation of that annotator."""
    shown = {"task": "5", "address": "http://127.0.0.1/projects/1/data?task=5"}
    named = {"source": "label-studio", "reference": f"of-{annotator}", "annotator": annotator}
    return replace(entry, **{**named, "version": "1", "shown": shown, **changes})


#: The points of `HERE` extend over 5.75 pixels, so two people agree within .115 pixels.
WITHIN, BEYOND = ((1.6, 2.25), *HERE[1:]), ((1.62, 2.25), *HERE[1:])


def test_two_annotators_who_differ_on_a_task_are_a_conflict_and_the_first_one_counts(store):
    one, other = of("ann", placed(HERE, "")), of("bob", placed(BEYOND, ""))
    assert taken_in(store, one, other) == [one, other]
    assert x_of_nose(store) == 1.5
    (conflict,) = find_conflicts(store)
    (row,) = conflict.rows()
    assert row == {
        "instance": A0.id,
        "keypoint": "nose",
        "ours": [1.5, 2.25, 2],
        "ours_from": "ann",
        "theirs": [1.62, 2.25, 2],
        "theirs_from": "bob",
        "distance_px": pytest.approx(0.12),
        "task": "http://127.0.0.1/projects/1/data?task=5",
    }
    assert taken_in(store, one, other) == []
    assert settle(store, "theirs") == 1
    assert x_of_nose(store) == 1.62


def test_two_annotators_agree_where_no_one_can_click_more_exactly(store):
    taken_in(store, of("ann", placed(HERE, "")), of("bob", placed(WITHIN, "")))
    assert find_conflicts(store) == []


def test_two_annotators_differ_if_one_of_them_cannot_see_a_keypoint(store):
    taken_in(store, of("ann", placed(HERE, "")), of("bob", placed(HERE, "", (2, 0, 1, 2))))
    (conflict,) = find_conflicts(store)
    assert [(row["keypoint"], row["distance_px"]) for row in conflict.rows()] == [
        ("left_paw", None),
        ("right_paw", 0.0),
    ]


def test_two_annotators_who_tick_differently_are_a_conflict(store):
    one, other = of("ann", ticked(1, 0, 0, 1)), of("bob", ticked(1, 0, 1, 1))
    assert taken_in(store, one, other) == [one, other]
    assert store.presences(STICK)[A0.id].tolist() == [1, 0, 0, 1]
    (conflict,) = find_conflicts(store)
    (row,) = conflict.rows()
    assert (row["keypoint"], row["ours"], row["theirs"]) == ("right_paw", False, True)
    assert (row["ours_from"], row["theirs_from"], row["distance_px"]) == ("ann", "bob", None)
    assert settle(store, "theirs") == 1
    assert store.presences(STICK)[A0.id].tolist() == [1, 0, 1, 1]
    assert find_conflicts(store) == []


def test_keypoints_settle_a_conflict_of_ticks(store):
    taken_in(store, of("ann", ticked(1, 0, 0, 1)), of("bob", ticked(1, 0, 1, 1)))
    taken_in(store, of("cat", placed(HERE, ""), shown={"task": "6"}))
    assert find_conflicts(store) == []
    assert store.presences(STICK)[A0.id].tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("same", ["annotator", "task", "unknown annotators"])
def test_a_later_answer_of_one_annotator_or_to_another_task_is_no_conflict(store, same):
    later = of("bob", placed(THERE, ""))
    if same == "annotator":
        later = replace(later, annotator="ann")
    elif same == "task":  # the later task showed the first answer
        later = replace(later, shown={"task": "6"})
    first = of("ann", placed(HERE, ""))
    if same == "unknown annotators":
        first, later = replace(first, annotator=""), replace(later, annotator="")
    taken_in(store, first, later)
    assert find_conflicts(store) == []
    assert x_of_nose(store) == 9.5


@pytest.mark.parametrize("who", ["ann", "bob"])
def test_an_annotator_who_comes_to_agree_ends_the_conflict(store, who):
    taken_in(store, of("ann", placed(HERE, "")), of("bob", placed(THERE, "")))
    agreed = {"ann": THERE, "bob": HERE}[who]
    taken_in(store, of(who, placed(agreed, ""), version="2"))
    assert find_conflicts(store) == []
    assert x_of_nose(store) == agreed[0][0]


def test_a_new_version_of_the_answer_that_counts_is_still_in_conflict_with_the_other(store):
    taken_in(store, of("ann", placed(HERE, "")), of("bob", placed(THERE, "")))
    taken_in(store, of("ann", placed(((2.5, 2.25), *HERE[1:]), ""), version="2"))
    assert x_of_nose(store) == 2.5
    (conflict,) = find_conflicts(store)
    assert [row["distance_px"] for row in conflict.rows()] == [7.0]
    assert conflict.theirs == of("bob", placed(THERE, ""))


def test_a_third_annotator_who_agrees_with_the_first_does_not_hide_the_second(store):
    taken_in(store, of("ann", placed(HERE, "")), of("bob", placed(THERE, "")))
    taken_in(store, of("cat", placed(HERE, "")))
    (conflict,) = find_conflicts(store)
    assert (conflict.ours.annotator, conflict.theirs.annotator) == ("ann", "bob")


def test_the_largest_disagreement_is_listed_first(store):
    other = make_instance(make_image("b.png"))
    store.add_images([other.image])
    store.add_instances([NewInstance(other.image, other.box, other.box_source, other.area)])
    near = [replace(of(who, placed(xy, "")), instance_id=other.id) for who, xy in PAIR]
    taken_in(store, *near)
    taken_in(store, *(of(who, placed(xy, "")) for who, xy in zip("ab", (HERE, THERE), strict=True)))
    assert [conflict.ours.instance_id for conflict in find_conflicts(store)] == [A0.id, other.id]


PAIR = (("ann", HERE), ("bob", BEYOND))


@pytest.mark.parametrize("source", ["label-studio", "fiftyone"])
def test_a_file_of_ticks_does_not_override_what_people_ticked(store, source):
    store.record([replace(ticked(1, 0, 0, 1), source=source, version="2")])
    other = replace(ticked(1, 1, 1, 1), source="file:v.csv", version="3")
    assert taken_in(store, other) == [other]
    assert store.presences(STICK)[A0.id].tolist() == [1, 0, 0, 1]
    (conflict,) = find_conflicts(store)
    assert conflict.keypoints == ("left_paw", "right_paw")
