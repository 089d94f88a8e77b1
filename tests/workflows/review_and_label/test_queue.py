"""`labelkit queue` on a project after its first round."""

from __future__ import annotations

import pytest
from trained import TINY, Trained

from labelkit.errors import UsageError
from labelkit.progress import Silent
from labelkit.project.features import LENGTH, iter_features
from labelkit.project.project import open_project, remember
from labelkit.project.rounds import latest_complete
from labelkit.workflows.choosing.draw_records import newest_record
from labelkit.workflows.choosing.signals import read_signals
from labelkit.workflows.loop.retrain import retrain
from labelkit.workflows.review_and_label.queue import queue
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.queue_file import (
    Choices,
    fill_queue,
    read_queue,
    write_choices,
)
from labelkit.workflows.sync.pull_file import pull_file


def features_file(trained: Trained):
    newest = latest_complete(trained.project)
    assert newest is not None
    return newest.path / "features.parquet"


def test_a_round_keeps_a_feature_of_each_object(trained: Trained):
    ((ids, found),) = iter_features(features_file(trained))
    assert {*ids} == trained.store.instances().keys()
    assert found.shape == (24, LENGTH)
    # No two figures are alike, and crops of unit length stay about that far apart.
    assert len({row.tobytes() for row in found}) == 24


def test_signals_are_ranks_of_every_object(trained: Trained):
    snapshot = read_snapshot(trained.project, trained.store)
    newest = latest_complete(trained.project)
    assert newest is not None
    signals = read_signals(trained.project, [newest], snapshot.instances, snapshot.poses)
    assert set(signals.doubts) == {"spread", "presence", "contradiction"}  # of a first round
    for rank in signals.doubts.values():
        assert rank.mean() == pytest.approx(0.5)
    assert sorted(signals.doubts["spread"]) == pytest.approx([n / 23 for n in range(24)])
    assert signals.compared == "features"
    again = read_signals(trained.project, [newest] * 2, snapshot.instances, snapshot.poses)
    assert (again.doubts["disagreement"] == 0.5).all()  # of a round with itself: all alike
    nothing = read_signals(trained.project, [], snapshot.instances, snapshot.poses)
    assert (nothing.compared, dict(nothing.doubts)) == ("", {})


def test_a_round_without_features_compares_poses_and_says_so(trained: Trained):
    features_file(trained).unlink()
    report = queue(trained.project, trained.store, strategy="diverse")
    record = newest_record(trained.project)
    assert record is not None
    assert (record.strategy, record.compared) == ("diverse", "poses")
    assert "round-000" in report.note


@pytest.mark.parametrize("strategy", ["mixed", "uncertain", "diverse", "random"])
def test_a_strategy_draws_as_many_and_stays(trained: Trained, strategy: str):
    before = read_queue(trained.project)
    report = queue(trained.project, trained.store, strategy=strategy)
    after = read_queue(trained.project)
    assert len(after) == len(before)
    assert [item for item in after if item.reason == "dev"] == [
        item for item in before if item.reason == "dev"
    ]
    assert report.strategy == open_project(trained.project.root).options["queue"] == strategy
    record = newest_record(trained.project)
    assert record is not None
    drawn = [item.instance_id for item in after if item.reason in ("unsure", "random")]
    assert list(record.draws[0].ids) == drawn


def test_manual_queues_the_dev_set_and_what_the_lead_chose(trained: Trained):
    queue(trained.project, trained.store, strategy="manual")
    dev = read_snapshot(trained.project, trained.store).dev
    assert {item.instance_id for item in read_queue(trained.project)} == dev
    one = next(id_ for id_ in trained.store.instances() if id_ not in dev)
    write_choices(trained.project, Choices((one,)))
    queue(trained.project, trained.store, strategy="manual")
    assert read_queue(trained.project)[0].instance_id == one


def test_of_what_manual_does_not_queue_no_earlier_draw_is_told(trained: Trained):
    items = read_queue(trained.project)
    drawn = next(item for item in items if item.reason in ("unsure", "random"))
    assert queue(trained.project, trained.store).next_ids == tuple(it.instance_id for it in items)
    queue(trained.project, trained.store, strategy="manual")
    why = queue(open_project(trained.project.root), trained.store, why=drawn.instance_id).why
    assert "labelkit queue --from-review" in why[0]
    assert not any("probability" in line for line in why)


def test_an_unknown_strategy_or_object_is_refused(trained: Trained):
    with pytest.raises(UsageError, match="best"):
        queue(trained.project, trained.store, strategy="best")
    with pytest.raises(UsageError) as caught:
        queue(trained.project, trained.store, why="none")
    assert "labelkit queue --json" in (caught.value.next_step or "")


def test_it_explains_where_an_object_stands(trained: Trained):
    items = read_queue(trained.project)
    drawn = next(n for n, item in enumerate(items) if item.reason in ("unsure", "random"))
    why = queue(trained.project, trained.store, why=items[drawn].instance_id).why
    assert f"number {drawn + 1} of {len(items)}" in why[0]
    assert any("probability" in line for line in why)
    assert any("Uncertainty" in line for line in why)
    waiting = {item.instance_id for item in items}
    other = next(id_ for id_ in trained.store.instances() if id_ not in waiting)
    assert "not queued" in queue(trained.project, trained.store, why=other).why[0]
    write_choices(trained.project, Choices((), (other,)))
    assert "excluded" in queue(trained.project, trained.store, why=other).why[0]


def test_the_labels_of_the_queue_tell_how_good_the_round_is_on_all(trained: Trained):
    assert queue(trained.project, trained.store).right is None
    project = remember(trained.project, queue="random")
    fill_queue(project, read_snapshot(project, trained.store), 60.0)
    pull_file(trained.project, trained.store, trained.corrections())
    report = queue(trained.project, trained.store)
    assert report.right is not None
    assert report.right_of_drawn is not None
    assert report.right.low <= report.right.mean <= report.right.high
    assert 0 <= report.right_of_drawn <= 1
    assert report.data()["right"] == report.right._asdict()
    # The next round has its own draw, of which nothing is labelled.
    retrain(trained.project, trained.store, Silent(), percent=60, now=True, options=TINY)
    assert queue(trained.project, trained.store).right is None
