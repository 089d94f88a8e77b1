"""Second labels: what is drawn, who gets it, and that they measure without counting."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from builders import stick_skeleton
from labelling import PLACES, Bench, make_bench

from labelkit.errors import UsageError
from labelkit.store.conflicts import find_conflicts
from labelkit.store.journal import KEYPOINTS, SECOND, SKIP, Entry
from labelkit.workflows.labelling.question import question
from labelkit.workflows.labelling.recording import Recording, read_answer
from labelkit.workflows.labelling.second import second_draw
from labelkit.workflows.labelling.work import Holder, Work
from labelkit.workflows.measure.report import report
from labelkit.workflows.review_and_label.label import label
from labelkit.workflows.reviewing.overlaps import agreement
from labelkit.workflows.rounds.label_snapshot import read_snapshot

ANNA, BERT = Holder("anna", "1"), Holder("bert", "1")
NAMES = stick_skeleton().keypoints
HERS = {name: [x, y, 2] for name, (x, y) in zip(NAMES, PLACES, strict=True)}
HIS = {name: [x + 20.0, y, 2] for name, (x, y, _) in HERS.items()}


def labelled(
    folder: Path, arms: str, *, annotator: str = "anna", pictures: int | None = None
) -> Bench:
    """Objects that Anna labelled: p with a prediction, c in the control arm, - not."""
    bench = make_bench(folder, pictures or len(arms))
    for id_, arm in zip(bench.ids, arms, strict=False):
        if arm != "-":
            shown = {
                "arm": {"p": "prediction", "c": "control"}[arm],
                "model_version": "round-000",
                "origins": dict.fromkeys(NAMES, "untouched"),
            }
            bench.store.record(
                [Entry(id_, KEYPOINTS, HERS, "label", id_, "1", annotator, shown=shown)]
            )
    return bench


def drawn(bench: Bench, count: int) -> dict[str, frozenset[str]]:
    snapshot = read_snapshot(bench.project, bench.store)
    return dict(second_draw(bench.project, bench.store, snapshot, count))


def answered(bench: Bench, id_: str, content: dict[str, object], name: str = "bert") -> Entry:
    """What the journal has once the page has sent a second label."""
    document = {
        "id": f"00000000-0000-4000-8000-{bench.store.head():012d}",
        "instance": id_,
        "kind": SECOND,
        "content": content,
        "box": [0, 0, 10, 10],  # drawn smaller: another person's box moves nothing
        "seen": bench.store.head(),
        "age_s": 0,
        "shown": {
            "round": "",
            "arm": SECOND,
            "origins": dict.fromkeys(content, "new"),
            "effort": {"clicks": 4, "drags": 0, "keys": 1, "undos": 0, "attention_s": 9},
        },
    }
    work = Work(bench.project, bench.store, "keypoints", second=9)
    answer = read_answer(json.loads(json.dumps(document)), bench.project.skeleton)
    receipt = Recording(work).record(answer, name)
    assert (receipt.instance, receipt.conflict, receipt.beside) == (id_, False, "")
    return bench.entries()[-1]


def test_half_of_the_labels_drawn_were_made_without_a_prediction(tmp_path: Path):
    bench = labelled(tmp_path, "ppppcc-")
    assert len(drawn(bench, 2).keys() & set(bench.ids[4:6])) == 1
    assert len(drawn(bench, 4).keys() & set(bench.ids[4:6])) == 2
    assert drawn(bench, 9) == dict.fromkeys(drawn(bench, 9), frozenset(["anna"]))
    assert set(drawn(bench, 9)) == set(bench.ids[:6])


def test_labels_of_unknown_people_and_skipped_objects_are_not_drawn(tmp_path: Path):
    bench = labelled(tmp_path, "pp", annotator="")
    assert drawn(bench, 2) == {}
    bench = labelled(tmp_path / "skipped", "pp")
    bench.store.record([Entry(bench.ids[0], SKIP, {}, "label", bench.ids[0], "2", "anna")])
    assert set(drawn(bench, 2)) == {bench.ids[1]}


def test_second_labels_count_towards_how_many_there_shall_be(tmp_path: Path):
    bench = labelled(tmp_path, "pppp")
    first, second = drawn(bench, 2)
    answered(bench, first, HIS)
    assert set(drawn(bench, 2)) == {second}
    answered(bench, second, {})  # there is no object, says Bert
    assert drawn(bench, 2) == {}


def test_only_someone_else_is_asked_and_sees_nothing(tmp_path: Path):
    bench = labelled(tmp_path, "p-", pictures=2)
    work = Work(bench.project, bench.store, "keypoints", second=1)
    assert (work.remaining("anna"), work.remaining("bert")) == (0, 1)
    assert work.next(ANNA, []) is None
    asked = question(work, work.next(BERT, []))
    assert (asked["instance"], asked["reason"], asked["arm"]) == (bench.ids[0], SECOND, SECOND)
    assert asked["points"] == asked["ticks"] == [None] * 4
    assert (asked["round"], asked["note"]) == ("", "")
    answered(bench, bench.ids[0], HIS)
    assert work.next(BERT, []) is None


def test_a_second_label_changes_neither_label_nor_box_and_is_no_conflict(tmp_path: Path):
    bench = labelled(tmp_path, "p")
    (id_,) = bench.ids
    box = bench.store.instances()[id_].box
    entry = answered(bench, id_, HIS)
    assert (entry.kind, entry.annotator, entry.content) == (SECOND, "bert", HIS)
    assert bench.store.poses(bench.project.skeleton)[id_].xy.tolist() == [*map(list, PLACES)]
    assert bench.store.instances()[id_].box == box
    assert find_conflicts(bench.store) == []
    # Anna corrects hers afterwards: that counts, and is none either.
    work = Work(bench.project, bench.store, "keypoints", [id_])
    asked = question(work, work.next(ANNA, []))
    assert [point[:2] for point in asked["points"]] == [*map(list, PLACES)]


def test_no_object_for_a_second_person_is_no_skip(tmp_path: Path):
    bench = labelled(tmp_path, "p")
    assert answered(bench, bench.ids[0], {}).content == {}
    snapshot = read_snapshot(bench.project, bench.store)
    assert (snapshot.skipped, set(snapshot.poses)) == (frozenset(), set(bench.ids))


def test_second_labels_show_anchoring_and_how_far_people_are_apart(tmp_path: Path):
    # Anna left the predictions where they were; Bert places all 20 px, of a box of 200, beside.
    bench = labelled(tmp_path, "ppcc")
    for id_ in drawn(bench, 4):
        answered(bench, id_, HIS)
    found = report(bench.project, bench.store)
    error = found.savings[-1]
    assert (error["unit"], error["objects"]) == ("error", (2, 2))
    assert error["means"] == pytest.approx((10, 10))
    assert (found.anchoring[0]["points"], found.anchoring[0]["keypoint"]) == (8, "")
    both = agreement(bench.project, bench.store)
    assert (both.annotators, both.whole.objects) == (("anna", "bert"), 4)


def test_without_a_label_or_with_a_list_the_page_says_what_to_type(tmp_path: Path):
    bench = labelled(tmp_path, "-")
    listed = {"second": 5, "objects": tmp_path / "list.txt"}
    wrong = {"labelkit label": {"second": 5}, "--second 0": {"second": 0}, "--objects": listed}
    for what, options in wrong.items():
        with (
            pytest.raises(UsageError, match=what),
            label(bench.project, bench.store, port=0, **options),
        ):
            pass


def test_an_annotator_who_labelled_all_is_told_to_invite_others(tmp_path: Path):
    bench = labelled(tmp_path, "p")
    with label(bench.project, bench.store, annotator="anna", port=0, second=5) as page:
        assert "labelkit label --invite" in page.text()
    with label(bench.project, bench.store, annotator="bert", port=0, second=5) as page:
        assert (page.left, "as bert" in page.text()) == (1, True)
