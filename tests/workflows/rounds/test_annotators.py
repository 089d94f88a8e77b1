"""Whose work the journal holds."""

from __future__ import annotations

from builders import make_image

from labelkit.domain.instance import Box
from labelkit.store.journal import KEYPOINTS, SKIP, VISIBILITY, Entry
from labelkit.store.label_store import LabelStore
from labelkit.store.objects import NewInstance
from labelkit.workflows.rounds.annotators import FILES, Annotator, annotators

IMAGE, BOX = make_image("a.png"), Box(0.0, 0.0, 9.0, 7.0)
ONE, TWO = f"{IMAGE.id}-0", f"{IMAGE.id}-1"


def found(entries: list[Entry], rest: int) -> list[Annotator]:
    with LabelStore.open("sqlite://") as store:
        store.add_images([IMAGE])
        store.add_instances([NewInstance(IMAGE, BOX, "given", 63.0)] * 2)
        store.record(entries)
        return annotators(store.columns(), KEYPOINTS, rest)


def test_labels_of_files_have_a_line_of_their_own():
    entries = [
        Entry(ONE, KEYPOINTS, {}, "file:labels.json", "1", "1"),
        Entry(ONE, VISIBILITY, {}, "label-studio", "1", "1"),
        Entry(ONE, KEYPOINTS, {}, "label-studio", "2", "1", "ann"),
    ]
    people = found(entries, 3)
    assert [(it.name, it.ticked, it.located) for it in people] == [
        ("", 1, 0),
        (FILES, 0, 1),
        ("ann", 0, 1),
    ]
    assert [it.text().partition(":")[0] for it in people] == ["(unnamed)", "(files)", "ann"]


def test_an_annotation_of_two_objects_has_one_time_and_an_edit_contains_the_former_one():
    entries = [
        Entry(ONE, KEYPOINTS, {}, "label-studio", "1", "1", "ann", lead_time_s=10.0),
        Entry(TWO, KEYPOINTS, {}, "label-studio", "1", "1", "ann", lead_time_s=10.0),
        Entry(ONE, KEYPOINTS, {}, "label-studio", "1", "2", "ann", lead_time_s=16.0),
        Entry(ONE, KEYPOINTS, {}, "label-studio", "2", "1", "bo", lead_time_s=30.0),
        Entry(TWO, KEYPOINTS, {}, "label-studio", "3", "1", "bo", lead_time_s=50.0),
        Entry(TWO, VISIBILITY, {}, "label-studio", "4", "1", "bo", lead_time_s=99.0),
        Entry(TWO, SKIP, {}, "label-studio", "5", "1", "cy"),
    ]
    assert found(entries, 3) == [
        Annotator("ann", 0, 2, 0, 8.0, 24.0),  # 16 s for two objects
        Annotator("bo", 1, 2, 0, 40.0, 120.0),
        Annotator("cy", 0, 0, 1, None, None),
    ]


def test_no_answers_have_no_annotators():
    assert found([], 3) == []
