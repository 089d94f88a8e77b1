"""What is served next, to whom, and for how long it is lent."""

from __future__ import annotations

from pathlib import Path

import pytest
from labelling import Bench, make_bench

from labelkit.domain.selection import DevDraw, QueueItem
from labelkit.errors import UsageError
from labelkit.progress import Silent
from labelkit.project.project import remember
from labelkit.store.journal import Entry
from labelkit.workflows.labelling.work import LEASE_SECONDS, Holder, Work, next_mode, read_chosen
from labelkit.workflows.rounds.queue_file import write_queue
from labelkit.workflows.upkeep.images import RELOCATE, REMOVE, images

ANNA, BERT = Holder("anna", "1"), Holder("bert", "1")


def ids_of(*items: QueueItem | None) -> list[str | None]:
    return [None if item is None else item.instance_id for item in items]


def answer(bench: Bench, id_: str, kind: str = "skip") -> None:
    content = dict.fromkeys(bench.project.skeleton.keypoints, True)
    entry = Entry(id_, kind, content if kind == "visibility" else {}, "test", id_, "1")
    bench.store.record([entry])


def test_objects_come_in_the_order_of_the_queue_and_control_ones_are_marked(tmp_path: Path):
    bench = make_bench(tmp_path, control=[1])
    work = Work(bench.project, bench.store, "keypoints")
    first = work.next(ANNA, [])
    second = work.next(ANNA, bench.ids[:1])
    assert ids_of(first, second) == bench.ids[:2]
    assert (first.control, second.control) == (False, True)


def test_a_chosen_object_of_the_dev_set_comes_without_pre_annotation(tmp_path: Path):
    bench = make_bench(tmp_path)
    bench.store.keep_dev_draw(DevDraw(0.0, frozenset([bench.ids[0].rpartition("-")[0]])))
    work = Work(bench.project, bench.store, "keypoints", bench.ids)
    assert [work.next(ANNA, bench.ids[:n]).control for n in range(2)] == [True, False]


def test_ticks_after_a_round_show_no_prediction_of_the_dev_set(tmp_path: Path):
    bench = make_bench(tmp_path)
    bench.store.keep_dev_draw(DevDraw(0.0, frozenset([bench.ids[0].rpartition("-")[0]])))
    work = Work(bench.project, bench.store, "ticks")
    assert [work.next(ANNA, bench.ids[:n]).control for n in range(2)] == [True, False]


def test_the_dev_set_shows_no_prediction_in_the_queue_of_an_earlier_version(tmp_path: Path):
    bench = make_bench(tmp_path)  # the queue of which says so of no object
    bench.store.keep_dev_draw(DevDraw(0.0, frozenset([bench.ids[0].rpartition("-")[0]])))
    work = Work(bench.project, bench.store, "keypoints")
    assert [work.next(ANNA, bench.ids[:n]).control for n in range(2)] == [True, False]


def test_a_keypoint_that_is_switched_off_is_not_shown_from_then_on(tmp_path: Path):
    bench = make_bench(tmp_path)
    work = Work(bench.project, bench.store, "keypoints")
    assert work.prediction(bench.ids[0]).pose.known.all()
    remember(bench.project, unshown=["tail"])
    assert work.next(ANNA, [])
    assert work.prediction(bench.ids[0]).pose.known.tolist() == [True, True, True, False]


@pytest.mark.parametrize("follows", [True, False])
def test_after_the_first_round_ticks_are_followed_by_keypoints(tmp_path: Path, follows: bool):
    bench = make_bench(tmp_path)
    rounds, away = bench.project.rounds_root, tmp_path / "away"
    rounds.rename(away)
    work = Work(bench.project, bench.store, "ticks", follows=follows)
    for _ in bench.ids:
        answer(bench, work.next(ANNA, []).instance_id, "visibility")
    assert (work.next(ANNA, []), work.mode) == (None, "ticks")
    away.rename(rounds)
    item = work.next(ANNA, [])
    assert (item is not None, work.mode) == (follows, "keypoints" if follows else "ticks")


def test_an_object_is_lent_to_one_tab_for_ten_minutes_after_its_last_use(tmp_path: Path):
    bench, now = make_bench(tmp_path), [0.0]
    work = Work(bench.project, bench.store, "keypoints", clock=lambda: now[0])
    assert ids_of(work.next(ANNA, []), work.next(BERT, [])) == bench.ids[:2]
    now[0] = LEASE_SECONDS - 1
    assert work.lend(bench.ids[0], ANNA)
    assert not work.lend(bench.ids[0], Holder("anna", "2"))
    now[0] = 2 * LEASE_SECONDS - 2
    assert not work.lend(bench.ids[0], BERT)
    now[0] = 2 * LEASE_SECONDS
    assert work.lend(bench.ids[0], BERT)
    assert not work.lend(bench.ids[0], ANNA)


def test_what_is_answered_in_another_way_is_not_served(tmp_path: Path):
    bench = make_bench(tmp_path)
    work = Work(bench.project, bench.store, "keypoints")
    answer(bench, bench.ids[0])
    assert ids_of(work.next(ANNA, [])) == [bench.ids[1]]
    assert work.remaining("anna") == 2


def test_an_object_whose_picture_is_gone_is_not_served_until_it_is_back(tmp_path: Path):
    bench = make_bench(tmp_path)
    work = Work(bench.project, bench.store, "keypoints")
    path = bench.project.images_root / work.instances[bench.ids[0]].image.path
    path.rename(tmp_path / "away.png")
    assert ids_of(work.next(ANNA, [])) == [bench.ids[1]]
    assert work.remaining("anna") == 2
    assert ids_of(work.next(ANNA, bench.ids[1:])) == [None]
    (tmp_path / "away.png").rename(path)
    assert ids_of(work.next(ANNA, bench.ids[1:])) == [bench.ids[0]]


def test_images_that_are_renamed_or_removed_meanwhile_are_followed(tmp_path: Path):
    bench = make_bench(tmp_path)
    work = Work(bench.project, bench.store, "keypoints")
    root = bench.project.images_root
    first, second, _ = (work.instances[id_].image for id_ in bench.ids)
    (root / first.path).rename(root / "renamed.png")
    images(bench.project, bench.store, Silent(), RELOCATE)
    images(bench.project, bench.store, Silent(), REMOVE, [root / second.path])
    (root / second.path).unlink()
    assert ids_of(work.next(ANNA, [])) == [bench.ids[0]]
    assert work.instances[bench.ids[0]].image.path == "renamed.png"
    assert ids_of(work.next(ANNA, bench.ids[:1])) == [bench.ids[2]]


def test_a_new_queue_is_served_at_once(tmp_path: Path):
    bench = make_bench(tmp_path)
    work = Work(bench.project, bench.store, "keypoints")
    assert ids_of(work.next(ANNA, [])) == bench.ids[:1]
    write_queue(bench.project, [QueueItem(bench.ids[2], "chosen", False)])
    assert ids_of(work.next(BERT, [])) == bench.ids[2:]
    assert work.next(ANNA, []) is None


def test_ticks_come_first_and_keypoints_once_all_are_ticked_or_a_round_is_complete(tmp_path: Path):
    bench = make_bench(tmp_path / "a", predicted=False)
    assert next_mode(bench.project, bench.store) == "ticks"
    for id_ in bench.ids:
        answer(bench, id_, "visibility")
    assert next_mode(bench.project, bench.store) == "keypoints"
    work = Work(bench.project, bench.store, "keypoints")
    assert work.remaining("anna") == 3
    predicted = make_bench(tmp_path / "b")
    assert next_mode(predicted.project, predicted.store) == "keypoints"


def test_chosen_objects_are_served_once_even_if_they_are_labelled(tmp_path: Path):
    bench = make_bench(tmp_path)
    answer(bench, bench.ids[2])
    work = Work(bench.project, bench.store, "keypoints", [bench.ids[2]])
    assert ids_of(work.next(ANNA, [])) == [bench.ids[2]]
    entry = Entry(bench.ids[2], "skip", {}, "test", "again", "2")
    bench.store.record([entry])
    assert work.next(ANNA, []) is None


def test_a_file_names_objects_by_id_or_by_image(tmp_path: Path):
    bench = make_bench(tmp_path)
    instances = bench.store.instances()
    path = instances[bench.ids[1]].image.path
    assert read_chosen(f"{path}\n\n{bench.ids[0]}\n", instances, "list.txt") == [
        bench.ids[1],
        bench.ids[0],
    ]
    for text in ("nowhere.png", ""):
        with pytest.raises(UsageError):
            read_chosen(text, instances, "list.txt")
