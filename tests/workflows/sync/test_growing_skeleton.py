"""The real Label Studio while the skeleton of the project changes."""

from xml.etree import ElementTree

import pytest
from live_studio import Synced

from labelkit.domain.selection import QueueItem
from labelkit.project.project import open_project
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.queue_file import write_queue
from labelkit.workflows.upkeep.skeleton import edit_skeleton


@pytest.fixture
def queued(synced: Synced) -> Synced:
    """Four instances wait for correction."""
    fill(synced)
    return synced


def fill(synced: Synced) -> None:
    ids = list(synced.trained.store.instances())[:4]
    write_queue(synced.trained.project, [QueueItem(id_, "unsure", False) for id_ in ids])


def edit(synced: Synced, **changes) -> None:
    edit_skeleton(synced.trained.project, synced.trained.store, **changes)
    project = open_project(synced.trained.project.root)
    synced.trained = synced.trained._replace(project=project)
    fill(synced)


def poses(synced: Synced):
    return read_snapshot(synced.trained.project, synced.trained.store).poses


def labels_of(synced: Synced) -> tuple[set[str], set[str]]:
    """Names of the keypoints that the interface shows, and of those that it hides."""
    config = synced.api.project(synced.project_id)["label_config"]
    (control,) = ElementTree.fromstring(config).iter("KeyPointLabels")
    every = {label.get("value") for label in control.iter("Label")}
    (*hidden,) = (view for view in control.iter("View") if view.get("style") == "display:none")
    hid = {label.get("value") for view in hidden for label in view}
    return every - hid, hid


def asking(synced: Synced, name: str) -> list[dict]:
    """The tasks that ask about a keypoint."""
    return [t for t in synced.tasks() if name in t["data"]["labelkit"]["keypoints"]]


def ids(tasks) -> list[str]:
    return [id_ for task in tasks for id_ in task["data"]["labelkit"]["instances"]]


def places_in(task: dict) -> dict[str, tuple[float, float]]:
    """Places of the keypoints that a task shows, in percent, by label."""
    return {
        region["value"]["keypointlabels"][0]: (region["value"]["x"], region["value"]["y"])
        for region in task["predictions"][-1]["result"]
        if region["type"] == "keypointlabels"
    }


def with_navel(task: dict) -> list[dict]:
    """What was shown in a task, with a navel where its first keypoint is."""
    shown = task["predictions"][-1]["result"]
    first = next(region for region in shown if region["type"] == "keypointlabels")
    value = {**first["value"], "keypointlabels": ["navel"]}
    drawn = {key: first[key] for key in first if key not in ("parentID", "score")}
    return [*shown, {**drawn, "id": "drawn", "value": value, "origin": "manual"}]


def test_people_are_asked_about_a_new_keypoint_and_no_work_is_lost(queued):
    queued.push()
    tasks = pulled, finished, begun, _ = queued.tasks()
    first, second, _, fourth = ids(tasks)
    queued.submit(pulled, pulled["predictions"][0]["result"])
    queued.pull()
    queued.submit(finished, finished["predictions"][0]["result"])
    draft = {"result": begun["predictions"][0]["result"], "lead_time": 1.0}
    queued.send("POST", f"/api/tasks/{begun['id']}/drafts", draft)

    edit(queued, add=["navel"], rename={"neck": "throat"})
    report = queued.push()
    shown, hidden = labels_of(queued)
    assert {"navel", "throat"} <= shown
    assert hidden == {"neck"}
    # The untouched task was replaced, what was pulled is asked about again, work in progress stays.
    assert sorted(ids(asking(queued, "navel"))) == sorted([first, fourth])
    assert len(queued.tasks()) == 5
    assert report.sent == 2
    assert queued.push().sent == 0

    queued.pull()
    known = poses(queued)
    assert known.keys() == {first, second}
    at = queued.trained.project.skeleton.index("navel")
    assert {pose.visibility[at] for pose in known.values()} == {-1}
    queued.push()
    assert sorted(ids(asking(queued, "navel"))) == sorted([first, second, fourth])

    # What was labelled is in place.
    (again,) = [task for task in asking(queued, "navel") if ids([task]) == [first]]
    places, before = places_in(again), places_in(pulled)
    if "neck" in before:
        before["throat"] = before.pop("neck")
    assert places == {name: pytest.approx(place, abs=1e-3) for name, place in before.items()}

    queued.submit(again, with_navel(again))
    queued.pull()
    assert poses(queued)[first].visibility[at] == 2
    assert queued.push().sent == 0


def test_an_answer_in_the_former_interface_is_read_by_its_former_names(queued):
    queued.push()
    task = next(it for it in queued.tasks() if {"neck", "head_top"} <= places_in(it).keys())
    annotation = queued.submit(task, task["predictions"][0]["result"])
    edit(queued, rename={"neck": "throat"}, remove=["head_top"])
    queued.push()
    assert "head_top" in labels_of(queued)[1]
    queued.pull()
    (id_,) = ids([task])
    skeleton = queued.trained.project.skeleton
    assert poses(queued)[id_].present[skeleton.index("throat")]
    # Changed on the server afterwards, and the removed keypoint added again.
    result = [
        it for it in annotation["result"] if "neck" not in it["value"].get("keypointlabels", [])
    ]
    queued.send("PATCH", f"/api/annotations/{annotation['id']}/", {"result": result})
    edit(queued, add=["head_top"])
    queued.pull()
    pose, skeleton = poses(queued)[id_], queued.trained.project.skeleton
    assert not pose.present[skeleton.index("throat")]
    assert pose.present[skeleton.index("head_top")]
    assert pose.known.all()
