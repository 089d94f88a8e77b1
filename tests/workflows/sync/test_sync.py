"""One round of push, label, pull and push again, wherever the label store is."""

from __future__ import annotations

import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from flaky import flaky
from live_studio import Synced
from trained import Trained

from labelkit.bridges.label_studio.api import StudioApi
from labelkit.domain.selection import QueueItem
from labelkit.errors import StoreError
from labelkit.store.conflicts import settle
from labelkit.store.journal import KEYPOINTS, Entry, keypoints_content
from labelkit.store.label_store import LabelStore
from labelkit.workflows.loop.status import status
from labelkit.workflows.rounds.queue_file import read_queue, write_queue

on_postgresql = pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)


@pytest.fixture
def trained(trained_anywhere: Trained) -> Trained:
    return trained_anywhere


@pytest.fixture
def queued(synced: Synced) -> Synced:
    """Six instances wait for correction."""
    ids = list(synced.trained.store.instances())[:6]
    write_queue(synced.trained.project, [QueueItem(id_, "unsure", False) for id_ in ids])
    return synced


def test_a_round_of_push_label_pull_and_push_again(queued):
    trained = queued.trained
    assert queued.push().sent == 6
    corrected, refused, untouched, *_ = queued.tasks()
    regions = copy.deepcopy(corrected["predictions"][0]["result"])
    regions[0]["value"] |= {"x": 50.0, "y": 25.0}
    queued.submit(corrected, regions)
    queued.submit(refused, [], was_cancelled=True)
    queued.submit(untouched, untouched["predictions"][0]["result"])
    report = queued.pull()
    assert (report.annotations, report.poses, report.skips, report.problems) == (3, 2, 1, [])
    head = trained.store.head()
    assert queued.pull().added == 0
    assert trained.store.head() == head
    (id_,) = corrected["data"]["labelkit"]["instances"]
    k = trained.project.skeleton.index(regions[0]["value"]["keypointlabels"][0])
    assert trained.store.poses(trained.project.skeleton)[id_].xy[k].tolist() == [48.0, 24.0]
    assert trained.store.skipped() == set(refused["data"]["labelkit"]["instances"])
    again = queued.push()
    assert (again.sent, again.there, again.started, again.doubled) == (0, 6, 3, 0)
    new = list(trained.store.instances())[6:8]
    write_queue(
        trained.project,
        [*read_queue(trained.project), *(QueueItem(item, "unsure", False) for item in new)],
    )
    assert queued.push().sent == 2
    everything = [item for task in queued.tasks() for item in task["data"]["labelkit"]["instances"]]
    assert sorted(everything) == sorted(list(trained.store.instances())[:8])


def test_what_both_sides_changed_is_held_and_settled(queued):
    trained, skeleton = queued.trained, queued.trained.project.skeleton
    queued.push()
    task = queued.tasks()[0]
    (id_,) = task["data"]["labelkit"]["instances"]
    ours = keypoints_content(skeleton, trained.truth[id_])
    trained.store.record([Entry(id_, KEYPOINTS, ours, "file:others.json", "7", "1", "bob")])
    queued.submit(task, task["predictions"][0]["result"])
    assert queued.pull().conflicts == 1
    assert status(trained.project, trained.store).conflicts
    assert settle(trained.store, "theirs") == 1
    assert status(trained.project, trained.store).conflicts == ()
    assert queued.pull().conflicts == 0


@on_postgresql
def test_while_one_machine_pushes_another_is_refused_and_nothing_is_doubled(queued, store_url):
    sending, proceed = threading.Event(), threading.Event()
    with flaky(queued.live.url) as proxy, LabelStore.open(store_url) as elsewhere:

        def wait_before_the_import(method: str, path: str) -> str:
            if "import?" in path:
                sending.set()
                proceed.wait(60)
            return ""

        proxy.failing = wait_before_the_import
        with StudioApi(proxy.url, queued.live.log_in.api_key) as api, ThreadPoolExecutor(1) as one:
            first = one.submit(queued.push, api)
            assert sending.wait(60)
            other = Synced(queued.trained._replace(store=elsewhere), queued.live, queued.api)
            for sync in (other.push, other.pull):
                with pytest.raises(StoreError) as caught:
                    sync()
                assert "***" in caught.value.problem
            proceed.set()
            assert first.result().sent == 6
            assert other.push(api).sent == 0
        assert queued.push().there == 6  # the same server by its own address
    assert len(queued.tasks()) == 6
