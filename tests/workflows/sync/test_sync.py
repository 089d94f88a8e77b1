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
from labelkit.project.project import change_project, open_project
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


# Two annotators of one task


def colleague(queued: Synced) -> int:
    """Label Studio's number of a second annotator."""
    users = {user["email"]: user["id"] for user in queued.send("GET", "/api/users/")}
    if "bob@localhost" not in users:
        fields = {"email": "bob@localhost", "username": "bob", "password": "long enough"}
        return int(queued.send("POST", "/api/users/", fields)["id"])
    return int(users["bob@localhost"])


def disagree(queued: Synced) -> tuple[str, list[dict]]:
    """Both submit the first task; bob puts its first keypoint 20 % of the width to the right."""
    queued.push()
    task = queued.tasks()[0]
    result = [{**region, "origin": "prediction"} for region in task["predictions"][0]["result"]]
    moved = copy.deepcopy(result)
    x = result[0]["value"]["x"]
    moved[0]["value"]["x"] = x + (20 if x < 50 else -20)
    made = [queued.submit(task, result)]
    made.append(queued.submit(task, moved, completed_by=colleague(queued)))
    return task["data"]["labelkit"]["instances"][0], made


def test_two_annotators_who_differ_are_a_conflict_with_its_distance_and_the_address(queued):
    _, made = disagree(queued)
    report = queued.pull()
    assert (report.conflicts, report.problems) == (1, [])
    (row,) = status(queued.trained.project, queued.trained.store).conflicts
    assert row["distance_px"] == pytest.approx(0.2 * 96)
    assert (row["ours_from"], row["theirs_from"]) == (queued.live.log_in.username, "bob@localhost")
    address = f"{queued.live.url}/projects/{queued.project_id}/data?task={made[0]['task']}"
    assert row["task"] == address
    (difference,) = report.differences
    assert "19.2 px" in difference
    assert address in difference
    assert queued.pull().conflicts == 0
    assert settle(queued.trained.store, "theirs") == 1


@pytest.mark.parametrize("deleted", ["first", "second"])
def test_deleting_one_of_two_answers_in_label_studio_settles_their_conflict(queued, deleted):
    id_, made = disagree(queued)
    queued.pull()
    skeleton = queued.trained.project.skeleton
    before = queued.trained.store.poses(skeleton)[id_]
    gone = made[deleted == "second"]
    queued.send("DELETE", f"/api/annotations/{gone['id']}/")
    report = queued.pull()
    assert (report.settled, report.deleted) == (1, 0)
    assert status(queued.trained.project, queued.trained.store).conflicts == ()
    same = queued.trained.store.poses(skeleton)[id_] == before
    assert same == (deleted == "second")
    assert queued.pull().settled == 0


# One object a task, or one image a task


def test_untouched_tasks_are_asked_in_the_other_way_when_another_way_is_chosen(queued):
    boxes = queued.push()
    first, second, *_ = queued.tasks()
    queued.submit(first, first["predictions"][0]["result"])
    draft = {"result": second["predictions"][0]["result"], "lead_time": 1.0}
    queued.send("POST", f"/api/tasks/{second['id']}/drafts", draft)
    objects = queued.push(per_instance=True)
    assert objects.project_id != boxes.project_id
    assert objects.sent == 4
    left = {fact["id"] for fact in queued.api.task_facts(boxes.project_id, "id")}
    assert left == {first["id"], second["id"]}
    assert all("box" in task["data"]["labelkit"] for task in queued.tasks())
    queued.submit(second, second["predictions"][0]["result"])
    assert queued.pull().poses == 2  # from the project with boxes
    project = open_project(queued.trained.project.root)  # it remembers the choice
    queued.trained = queued.trained._replace(project=project)
    assert queued.push(per_instance=None).sent == 0
    for task in queued.tasks():
        queued.submit(task, task["predictions"][0]["result"])
    report = queued.pull()
    assert (report.poses, report.deleted, report.problems) == (4, 0, [])
    assert queued.pull().added == 0


def test_a_project_with_boxes_of_an_earlier_version_continues_with_boxes(queued):
    queued.push()
    change_project(queued.trained.project, options={})  # it remembered no choice
    project = open_project(queued.trained.project.root)
    queued.trained = queued.trained._replace(project=project)
    new = list(queued.trained.store.instances())[6:7]
    items = [*read_queue(project), *(QueueItem(id_, "unsure", False) for id_ in new)]
    write_queue(project, items)
    report = queued.push(per_instance=None)
    assert (report.there, report.sent) == (6, 1)
    assert not any("box" in task["data"]["labelkit"] for task in queued.tasks())


def test_a_project_of_another_on_the_same_address_is_left_alone(queued):
    report = queued.push()
    description = queued.api.project(report.project_id)["description"]
    of_another = description.replace(queued.sent.uid, "0" * 16)
    queued.send("PATCH", f"/api/projects/{report.project_id}/", {"description": of_another})
    task = queued.tasks()[0]
    queued.submit(task, task["predictions"][0]["result"])
    assert queued.pull().poses == 0
    again = queued.push()
    assert again.project_id != report.project_id
    assert again.sent == 6


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
