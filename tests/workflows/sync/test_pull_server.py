"""Pulling from the real Label Studio: once each, exactly, and whatever happens."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from live_studio import Synced
from trained import ticked

from labelkit.bridges.label_studio import api as studio_api
from labelkit.domain.instance import Box
from labelkit.domain.pose import human_pose
from labelkit.domain.selection import QueueItem
from labelkit.errors import ProjectError
from labelkit.store.conflicts import settle
from labelkit.store.journal import KEYPOINTS, Entry, keypoints_content
from labelkit.store.label_store import NewInstance
from labelkit.workflows.loop.status import status
from labelkit.workflows.rounds.queue_file import write_queue

Region = dict[str, Any]


@pytest.fixture
def pushed(synced: Synced) -> Synced:
    """Six instances are on the server with their pre-annotations."""
    ids = list(synced.trained.store.instances())[:6]
    write_queue(synced.trained.project, [QueueItem(id_, "unsure", False) for id_ in ids])
    synced.push()
    return synced


def shown(task: dict[str, Any]) -> list[Region]:
    """What the annotator starts from, as the browser would send it back."""
    regions: list[Region] = copy.deepcopy(task["predictions"][0]["result"])
    for region in regions:
        region["origin"] = "prediction"
    return regions


def drag(region: Region, x: float, y: float) -> None:
    region["value"] |= {"x": x, "y": y}
    region["origin"] = "prediction-changed"


def at(task: dict[str, Any], x: float) -> list[Region]:
    """What an annotator submits after dragging the first keypoint."""
    regions = shown(task)
    drag(regions[0], x, 20.0)
    return regions


def poses(synced: Synced) -> dict[str, Any]:
    return synced.trained.store.poses(synced.trained.project.skeleton)


def test_a_submitted_task_that_label_studio_does_not_count_is_pulled(pushed):
    *_, task = pushed.tasks()
    pushed.submit(task, at(task, 40.0))
    pushed.uncount(task["id"])
    assert pushed.pull().poses == 1
    assert pushed.pull().added == 0


def test_an_annotation_is_pulled_whose_change_a_killed_server_did_not_note(pushed):
    first, second, third, *_ = pushed.tasks()
    pushed.submit(first, at(first, 40.0))
    assert pushed.pull().poses == 1
    pushed.submit(second, at(second, 40.0))
    pushed.leave_unchanged(second["id"])
    assert pushed.pull().poses == 1  # nothing else has changed
    pushed.submit(third, at(third, 40.0))
    pushed.leave_unchanged(third["id"])
    pushed.submit(first, at(first, 50.0))
    assert pushed.pull().added == 2
    assert pushed.pull().added == 0


def test_before_the_first_push_there_is_nothing_to_pull(synced):
    with pytest.raises(ProjectError, match="labelkit push"):
        synced.pull()


def test_exactly_what_was_changed_has_changed(pushed):
    task = pushed.tasks()[0]
    (id_,) = task["data"]["labelkit"]["instances"]
    regions = shown(task)
    dragged, occluded, deleted = regions[:3]
    drag(dragged, 12.3456789, 23.4567891)
    occlusion = {key: occluded[key] for key in ("id", "to_name", "value", "parentID")}
    occlusion |= {"from_name": "visibility", "type": "choices", "origin": "manual"}
    occlusion["value"] = {**occluded["value"], "choices": ["Occluded"]}
    pushed.submit(task, [dragged, occluded, occlusion, *regions[3:]], lead_time=12.5)
    report = pushed.pull()
    count = sum(region["type"] == "keypointlabels" for region in regions)
    assert report.origins == {"changed": 1, "removed": 1, "untouched": count - 2}
    assert (report.annotations, report.poses, report.lead_time_s) == (1, 1, 12.5)
    pose, skeleton = poses(pushed)[id_], pushed.trained.project.skeleton
    size = np.array([task["data"]["labelkit"]["width"], task["data"]["labelkit"]["height"]])
    by_name = {region["value"]["keypointlabels"][0]: region for region in regions[:-1]}
    for name, region in by_name.items():
        k = skeleton.index(name)
        if region is deleted:
            assert not pose.present[k]
            continue
        percent = np.array([region["value"]["x"], region["value"]["y"]])
        assert np.abs(pose.xy[k] - percent * size / 100).max() < 1e-9
        assert pose.visibility[k] == (1 if region is occluded else 2)
    (entry,) = [r.entry for r in pushed.trained.store.history([id_]) if r.entry.kind == KEYPOINTS]
    assert entry.annotator == pushed.live.log_in.username
    assert entry.shown["model_version"] == "round-000"


def test_nothing_comes_twice_and_drafts_do_not_come(pushed):
    first, second, third = pushed.tasks()[:3]
    pushed.submit(first, shown(first))
    pushed.submit(second, [], was_cancelled=True)
    pushed.send(
        "POST", f"/api/tasks/{third['id']}/drafts", {"result": shown(third), "lead_time": 1}
    )
    report = pushed.pull()
    assert (report.annotations, report.poses, report.skips) == (2, 1, 1)
    again = pushed.pull()
    assert (again.added, again.poses, again.skips) == (0, 0, 0)
    assert pushed.trained.store.skipped() == set(second["data"]["labelkit"]["instances"])


def test_a_pull_without_changes_takes_one_request(pushed, monkeypatch):
    asked = []
    request = pushed.api._transport.request
    monkeypatch.setattr(
        pushed.api._transport, "request", lambda *a, **k: asked.append(a) or request(*a, **k)
    )
    assert pushed.pull().annotations == 0
    assert len(asked) == 1
    task = pushed.tasks()[0]
    pushed.submit(task, shown(task))
    assert pushed.pull().poses == 1


def test_an_edit_after_a_pull_counts_and_the_first_answer_stays(pushed):
    task = pushed.tasks()[0]
    (id_,) = task["data"]["labelkit"]["instances"]
    made = pushed.submit(task, shown(task))
    pushed.pull()
    regions = shown(task)
    drag(regions[0], 50.0, 25.0)
    pushed.send("PATCH", f"/api/annotations/{made['id']}/", {"result": regions})
    assert pushed.pull().origins["changed"] == 1
    k = pushed.trained.project.skeleton.index(regions[0]["value"]["keypointlabels"][0])
    assert poses(pushed)[id_].xy[k].tolist() == [48.0, 24.0]  # of 96 x 96 pixels
    kept = [r for r in pushed.trained.store.history([id_]) if r.entry.kind == KEYPOINTS]
    assert len(kept) == 2


def test_of_several_annotators_the_last_one_counts_and_all_are_kept(pushed):
    task = pushed.tasks()[0]
    (id_,) = task["data"]["labelkit"]["instances"]
    for x in (10.0, 20.0, 30.0):
        regions = shown(task)
        drag(regions[0], x, 50.0)
        pushed.submit(task, regions)
    assert pushed.pull().annotations == 3
    k = pushed.trained.project.skeleton.index(regions[0]["value"]["keypointlabels"][0])
    assert poses(pushed)[id_].xy[k].tolist() == pytest.approx([28.8, 48.0])


def test_people_who_label_while_pages_are_read_lose_nothing(pushed, monkeypatch):
    monkeypatch.setattr(studio_api, "PAGE", 2)
    tasks = pushed.tasks()
    made = [pushed.submit(task, shown(task)) for task in tasks]
    read = pushed.api.changed_tasks(pushed.project_id, "", ("total_annotations", "greater", 0))
    ids = [next(read)["id"] for _ in range(3)]
    # The first task moves to the end: with numbered pages the fifth would slip through.
    pushed.send("PATCH", f"/api/annotations/{made[0]['id']}/", {"result": shown(tasks[0])})
    ids += [task["id"] for task in read]
    assert set(ids) == {task["id"] for task in tasks}


def test_an_annotation_that_cannot_be_used_is_named_and_the_others_are_recorded(pushed):
    good, bad = pushed.tasks()[:2]
    twice = shown(bad)
    twice.append({**copy.deepcopy(twice[0]), "id": "another"})
    made = pushed.submit(bad, twice)
    pushed.submit(good, shown(good))
    for _ in range(2):  # it is named until it is corrected
        report = pushed.pull()
        assert report.exit_code == 1
        (problem,) = report.problems
        assert problem.startswith(f"{pushed.live.url}/projects/{pushed.project_id}/data?task=")
        assert f"task={bad['id']}, annotation {made['id']}" in problem
    assert set(poses(pushed)) == set(good["data"]["labelkit"]["instances"])
    pushed.send("PATCH", f"/api/annotations/{made['id']}/", {"result": shown(bad)})
    report = pushed.pull()
    assert (report.exit_code, report.poses) == (0, 1)
    assert len(poses(pushed)) == 2


def test_an_answer_that_is_likely_a_slip_is_noted_and_recorded_as_it_is(pushed):
    first, second = pushed.tasks()[:2]
    *_, box = shown(first)
    pushed.submit(first, [box])
    pushed.submit(second, shown(second))
    report = pushed.pull()
    (note,) = report.notes
    assert f"/data?task={first['id']}" in note
    assert (report.poses, report.exit_code) == (2, 0)


# Deleted on the server


def deleted(pushed: Synced) -> tuple[dict[str, Any], str]:
    """A task whose annotation was pulled and then deleted on the server, and its instance."""
    task = pushed.tasks()[0]
    (id_,) = task["data"]["labelkit"]["instances"]
    made = pushed.submit(task, shown(task))
    pushed.pull()
    pushed.send("DELETE", f"/api/annotations/{made['id']}/")
    return task, id_


def test_the_label_of_a_deleted_annotation_stays_until_the_user_withdraws_it(pushed):
    _, id_ = deleted(pushed)
    assert pushed.pull().deleted == 1
    assert pushed.pull().deleted == 0  # reported once
    assert id_ in poses(pushed)
    conflicts = status(pushed.trained.project, pushed.trained.store).conflicts
    assert {row["theirs"] for row in conflicts} == {None}
    assert settle(pushed.trained.store, "theirs") == 1
    assert id_ not in poses(pushed)
    assert pushed.trained.store.counts().with_keypoints == 0
    # The earlier visibility answer counts again.
    assert id_ in pushed.trained.store.presences(pushed.trained.project.skeleton)
    assert status(pushed.trained.project, pushed.trained.store).conflicts == ()


@pytest.mark.parametrize("change", [{"result": []}, {"was_cancelled": True}])
def test_the_label_of_a_deleted_box_stays_until_the_user_withdraws_it(pushed, change):
    task = pushed.tasks()[0]
    (id_,) = task["data"]["labelkit"]["instances"]
    made = pushed.submit(task, shown(task))
    pushed.pull()
    pushed.send("PATCH", f"/api/annotations/{made['id']}/", change)
    report = pushed.pull()
    assert (report.deleted, report.skips) == (1, 1)
    assert pushed.pull().deleted == 0  # reported once
    assert id_ in poses(pushed)
    assert settle(pushed.trained.store, "theirs") == 1
    assert id_ not in poses(pushed)
    undone = {"result": shown(task), "was_cancelled": False}
    pushed.send("PATCH", f"/api/annotations/{made['id']}/", undone)
    assert pushed.pull().poses == 1
    assert id_ in poses(pushed)


def test_a_deleted_visibility_annotation_is_noted_and_its_answers_stay(synced):
    project, store, truth = synced.trained.project, synced.trained.store, synced.trained.truth
    shutil.rmtree(project.root / "rounds")
    image = next(iter(store.instances().values())).image
    (new,) = store.add_instances([NewInstance(image, Box(1, 1, 9, 9), "human", 81.0)])
    synced.push()
    (task,) = synced.tasks()
    (answered,) = ticked([task], {new.id: next(iter(truth.values()))}, project.skeleton.keypoints)
    made = synced.submit(task, answered["annotations"][0]["result"])
    assert synced.pull().answers == 1
    synced.send("DELETE", f"/api/annotations/{made['id']}/")
    (note,) = synced.pull().notes
    assert "1 visibility annotation" in note
    assert new.id in store.presences(project.skeleton)


@pytest.mark.parametrize("pulled_between", [False, True])
def test_of_two_deleted_annotations_of_a_task_neither_comes_back(pushed, pulled_between):
    task = pushed.tasks()[0]
    (id_,) = task["data"]["labelkit"]["instances"]
    made = [pushed.submit(task, at(task, x)) for x in (10.0, 30.0)]
    pushed.pull()
    for number, annotation in enumerate(made):
        pushed.send("DELETE", f"/api/annotations/{annotation['id']}/")
        if pulled_between and number == 0:
            assert pushed.pull().deleted == 0  # the later one counts
    for _ in range(2):
        pushed.pull()
        settle(pushed.trained.store, "theirs")
    assert id_ not in poses(pushed)
    assert pushed.pull().deleted == 0
    assert status(pushed.trained.project, pushed.trained.store).conflicts == ()


def test_what_is_submitted_after_a_deletion_counts(pushed):
    task, id_ = deleted(pushed)
    before = poses(pushed)[id_]
    assert pushed.pull().deleted == 1
    pushed.submit(task, at(task, 30.0))
    pushed.pull()
    assert poses(pushed)[id_] != before
    assert status(pushed.trained.project, pushed.trained.store).conflicts == ()


def test_the_label_of_a_deleted_annotation_can_be_kept(pushed):
    _, id_ = deleted(pushed)
    pushed.pull()
    assert settle(pushed.trained.store, "ours") == 1
    assert pushed.pull().deleted == 0
    assert id_ in poses(pushed)
    assert status(pushed.trained.project, pushed.trained.store).conflicts == ()


def test_labels_outlive_their_tasks_and_their_project(pushed):
    first, second = pushed.tasks()[:2]
    pushed.submit(first, shown(first))
    pushed.submit(second, shown(second))
    pushed.pull()
    pushed.send("DELETE", f"/api/tasks/{first['id']}/")
    assert pushed.pull().exit_code == 0
    project_id = pushed.project_id
    pushed.send("DELETE", f"/api/projects/{project_id}/")
    report = pushed.pull()
    assert any(f"project {project_id} " in note for note in report.notes)
    assert len(poses(pushed)) == 2


# Changed on both sides


def from_file(pushed: Synced, id_: str, k: int, place: tuple[float, float]) -> Entry:
    """Other keypoints of an instance that is being corrected, from a label file."""
    skeleton = pushed.trained.project.skeleton
    pose = pushed.trained.truth[id_]
    visibility = np.where(np.arange(len(pose.xy)) == k, 2, pose.visibility)
    pose = human_pose(np.where(np.arange(len(pose.xy))[:, None] == k, place, pose.xy), visibility)
    return Entry(
        id_, KEYPOINTS, keypoints_content(skeleton, pose), "file:others.json", "7", "v1", "bob"
    )


def both_sides(pushed: Synced) -> tuple[str, str]:
    """An instance whose first keypoint was put to (10, 20) here and to (48, 24) there."""
    task = pushed.tasks()[0]
    (id_,) = task["data"]["labelkit"]["instances"]
    regions = shown(task)
    name = regions[0]["value"]["keypointlabels"][0]
    k = pushed.trained.project.skeleton.index(name)
    pushed.trained.store.record([from_file(pushed, id_, k, (10.0, 20.0))])
    drag(regions[0], 50.0, 25.0)
    pushed.submit(task, regions)
    return id_, name


def test_what_both_sides_changed_is_a_conflict_that_shows_both_values(pushed):
    id_, name = both_sides(pushed)
    report = pushed.pull()
    assert report.conflicts == 1
    assert "labelkit pull --take theirs" in report.text()
    k = pushed.trained.project.skeleton.index(name)
    assert poses(pushed)[id_].xy[k].tolist() == [10.0, 20.0]
    state = status(pushed.trained.project, pushed.trained.store)
    (row,) = [row for row in state.conflicts if row["keypoint"] == name]
    assert row["image"] == pushed.trained.store.instances()[id_].image.path
    assert (row["instance"], row["ours"][:2], row["theirs"][:2]) == (
        id_,
        [10.0, 20.0],
        [48.0, 24.0],
    )
    (line,) = [line for line in state.text().splitlines() if f"{id_} {name}:" in line]
    for words in (row["image"], "10.0, 20.0 visible", "file:others.json", "48.0, 24.0"):
        assert words in line
    assert pushed.pull().conflicts == 0  # reported once
    assert json.dumps(state.conflicts)


@pytest.mark.parametrize(("take", "place"), [("theirs", [48.0, 24.0]), ("ours", [10.0, 20.0])])
def test_a_conflict_is_settled_either_way_and_stays_settled(pushed, take, place):
    id_, name = both_sides(pushed)
    pushed.pull()
    assert settle(pushed.trained.store, take) == 1
    k = pushed.trained.project.skeleton.index(name)
    assert poses(pushed)[id_].xy[k].tolist() == place
    assert pushed.pull().conflicts == 0
    assert settle(pushed.trained.store, take) == 0
    assert poses(pushed)[id_].xy[k].tolist() == place
    assert status(pushed.trained.project, pushed.trained.store).conflicts == ()


def test_the_same_keypoints_from_both_sides_are_not_a_conflict(pushed):
    task = pushed.tasks()[0]
    (id_,) = task["data"]["labelkit"]["instances"]
    pushed.submit(task, shown(task))
    pushed.pull()
    (entry,) = [r.entry for r in pushed.trained.store.history([id_]) if r.entry.kind == KEYPOINTS]
    pushed.trained.store.record([replace(entry, source="file:same.json", version="v1")])
    regions = shown(task)
    pushed.submit(task, regions)
    assert pushed.pull().conflicts == 0
