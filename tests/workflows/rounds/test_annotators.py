"""Whose work the journal holds."""

from labelkit.store.journal import KEYPOINTS, VISIBILITY, Entry
from labelkit.workflows.rounds.annotators import FILES, annotators


def test_labels_of_files_have_a_line_of_their_own():
    entries = [
        Entry("a-0", KEYPOINTS, {}, "file:labels.json", "1", "1"),
        Entry("a-0", VISIBILITY, {}, "label-studio", "1", "1"),
        Entry("a-0", KEYPOINTS, {}, "label-studio", "2", "1", "ann"),
    ]
    found = annotators(entries, KEYPOINTS, 3)
    assert [(it.name, it.ticked, it.located) for it in found] == [
        ("", 1, 0),
        (FILES, 0, 1),
        ("ann", 0, 1),
    ]
    assert [it.text().partition(":")[0] for it in found] == ["(unnamed)", "(files)", "ann"]


def test_no_answers_have_no_annotators():
    assert annotators([], KEYPOINTS, 3) == []
