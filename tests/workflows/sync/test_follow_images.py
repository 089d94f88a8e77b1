"""Tasks on the real Label Studio follow images that are renamed, moved, deleted and removed."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import pytest
from live_studio import ELSEWHERE, Synced
from PIL import Image as Picture
from sqlalchemy import update

from labelkit.domain.instance import Box, Image
from labelkit.domain.selection import QueueItem
from labelkit.errors import ImageError
from labelkit.progress import Silent
from labelkit.project.project import change_project
from labelkit.store.objects import NewInstance
from labelkit.store.schema import studio_task
from labelkit.workflows.rounds.queue_file import write_queue
from labelkit.workflows.sync import push_server
from labelkit.workflows.sync.push_server import Push
from labelkit.workflows.upkeep.images import images


@pytest.fixture
def queued(synced: Synced) -> Synced:
    """Six instances wait for correction, each in an image of its own."""
    ids = list(synced.trained.store.instances())[:6]
    write_queue(synced.trained.project, [QueueItem(id_, "unsure", False) for id_ in ids])
    return synced


def upkeep(synced: Synced, action: str, *paths) -> None:
    project, store = synced.trained.project, synced.trained.store
    images(project, store, Silent(), action, paths)


def image_of(synced: Synced, task: dict) -> Image:
    (id_,) = task["data"]["labelkit"]["instances"]
    return synced.trained.store.instances(with_removed=True)[id_].image


def answer(synced: Synced, task: dict) -> None:
    synced.submit(task, [{**r, "origin": "prediction"} for r in task["predictions"][0]["result"]])


def begin(synced: Synced, task: dict) -> None:
    """A draft: what an annotator began and did not submit."""
    fields = {"result": task["predictions"][0]["result"][:1], "lead_time": 1.0}
    synced.send("POST", f"/api/tasks/{task['id']}/drafts", fields)


def rename(synced: Synced, task: dict) -> str:
    """Give the image of a task another name in another folder; its new path."""
    root = synced.trained.project.images_root
    path = f"moved/{task['id']}.png"
    (root / "moved").mkdir(exist_ok=True)
    (root / image_of(synced, task).path).rename(root / path)
    return path


def test_tasks_show_renamed_images_at_their_new_address_and_keep_what_people_did(queued):
    queued.push()
    untouched, answered, begun, *others = queued.tasks()
    answer(queued, answered)
    begin(queued, begun)
    paths = {task["id"]: rename(queued, task) for task in (untouched, answered, begun)}
    upkeep(queued, "relocate")
    report = queued.push(base=None)
    assert report.sent == 1  # the untouched one, again
    now = {task["data"]["labelkit"]["instances"][0]: task for task in queued.tasks()}
    assert len(now) == 6
    for before in (untouched, answered, begun):
        after = now[before["data"]["labelkit"]["instances"][0]]
        path = paths[before["id"]]
        assert after["data"]["image"] == f"{ELSEWHERE}/{path}"
        assert after["data"]["image_path"] == path
        assert after["data"]["labelkit"] == before["data"]["labelkit"]
        assert after["predictions"]
    assert [now[t["data"]["labelkit"]["instances"][0]]["id"] for t in others] == [
        task["id"] for task in others
    ]
    assert now[answered["data"]["labelkit"]["instances"][0]]["total_annotations"] == 1
    assert queued.api.drafted_tasks(queued.project_id) == {begun["id"]}
    assert queued.pull().poses == 1
    assert (queued.push(base=None).sent, queued.push(base=None).notes) == (0, [])


def test_a_task_of_a_version_that_noted_no_address_follows_too(queued):
    queued.push()
    (first, *_) = queued.tasks()
    begin(queued, first)
    with queued.trained.store.database.writing() as connection:
        connection.execute(update(studio_task).values(url=""))
    path = rename(queued, first)
    upkeep(queued, "relocate")
    queued.push(base=None)
    (now, *_) = queued.tasks()
    assert (now["id"], now["data"]["image"]) == (first["id"], f"{ELSEWHERE}/{path}")


def test_tasks_follow_a_renamed_folder_and_another_address(queued, monkeypatch):
    # As if the server were not one of labelkit studio, which serves the folder under its id.
    monkeypatch.setattr(push_server, "served_images", lambda project, url: None)
    monkeypatch.setattr(Push, "_share_images", lambda push, project_id: None)
    queued.push(base="")
    (first, *_) = queued.tasks()
    begin(queued, first)
    renamed = queued.trained.folder / "photographs"
    queued.trained.project.images_root.rename(renamed)
    with pytest.raises(ImageError, match="labelkit images relocate"):
        queued.push(base=None)
    upkeep(queued, "relocate", renamed)
    queued.trained = queued.trained._replace(
        project=change_project(queued.trained.project, images_root=renamed)
    )
    assert queued.push(base=None).sent == 5
    addresses = [task["data"]["image"] for task in queued.tasks()]
    assert all("?d=photographs/" in address for address in addresses)
    queued.push(base=f"{ELSEWHERE}/again")
    assert all(t["data"]["image"].startswith(f"{ELSEWHERE}/again/") for t in queued.tasks())


def test_the_server_of_labelkit_studio_shows_a_renamed_folder_at_the_same_address(queued):
    queued.push(base="")
    before = queued.tasks()
    renamed = queued.trained.folder / "photographs"
    queued.trained.project.images_root.rename(renamed)
    upkeep(queued, "relocate", renamed)
    project = change_project(queued.trained.project, images_root=renamed)
    queued.trained = queued.trained._replace(project=project)
    assert queued.push(base=None).sent == 0
    assert queued.tasks() == before
    data = before[0]["data"]
    shown = queued.live.get(data["image"]).content
    assert shown == (renamed / data["image_path"]).read_bytes()


def placeholder_says(task: dict) -> bool:
    kind, _, content = task["data"]["image"].partition(",")
    if kind != "data:image/png;base64":
        return False
    with Picture.open(io.BytesIO(base64.b64decode(content))) as shown:
        return max(shown.size) == 640


def test_no_task_shows_an_image_that_is_gone(queued, monkeypatch):
    monkeypatch.setattr(Push, "_share_images", lambda push, project_id: None)
    queued.push(base="")
    untouched, begun, *_ = queued.tasks()
    begin(queued, begun)
    root = queued.trained.project.images_root
    kept = {}
    for task in (untouched, begun):
        path = root / image_of(queued, task).path
        kept[path] = path.read_bytes()
        path.unlink()
    report = queued.push(base=None)
    assert (report.sent, any("labelkit images list" in note for note in report.notes)) == (0, True)
    tasks = {task["id"]: task for task in queued.tasks()}
    assert untouched["id"] not in tasks
    assert [id_ for id_, task in tasks.items() if placeholder_says(task)] == [begun["id"]]
    assert queued.api.drafted_tasks(queued.project_id) == {begun["id"]}

    for path, content in kept.items():  # they come back
        path.write_bytes(content)
    assert queued.push(base=None).sent == 1
    assert len(queued.tasks()) == 6
    assert not any(map(placeholder_says, queued.tasks()))


def test_tasks_of_removed_images_go_and_their_answers_are_kept(queued):
    queued.push()
    untouched, answered, *_ = queued.tasks()
    answer(queued, answered)
    root = queued.trained.project.images_root
    upkeep(queued, "remove", *(root / image_of(queued, t).path for t in (untouched, answered)))
    assert queued.push(base=None).sent == 0
    tasks = {task["id"]: task for task in queued.tasks()}
    assert untouched["id"] not in tasks
    assert placeholder_says(tasks[answered["id"]])
    before = queued.trained.store.counts().entries
    assert queued.pull().poses == 1
    assert queued.trained.store.counts().entries == before + 1
    upkeep(queued, "restore")
    assert queued.push(base=None).sent == 1
    assert len(queued.trained.store.poses(queued.trained.project.skeleton)) == 1


def test_tasks_of_whole_images_that_gave_way_to_boxes_go_unless_someone_began_them(queued):
    project, store = queued.trained.project, queued.trained.store
    shown = [instance.image for instance in list(store.instances().values())[:2]]
    whole = store.add_instances(
        NewInstance(i, Box(0, 0, i.width, i.height), "whole-image", 1.0) for i in shown
    )
    write_queue(project, [QueueItem(item.id, "unsure", False) for item in whole])
    queued.push()
    untouched, begun = sorted(queued.tasks(), key=lambda t: image_of(queued, t) != shown[0])
    begin(queued, begun)
    boxes = store.add_instances(
        NewInstance(i, Box(1, 1, 9, 9), "given", 81.0, origin=("file:a.json", "1")) for i in shown
    )
    assert not {item.id for item in whole} & store.instances().keys()
    write_queue(project, [QueueItem(item.id, "unsure", False) for item in boxes])
    assert queued.push(base=None).sent == 2
    asked = {task["id"]: task["data"]["labelkit"]["instances"] for task in queued.tasks()}
    assert untouched["id"] not in asked
    assert asked[begun["id"]] == [whole[1].id]
    assert {id_ for ids in asked.values() for id_ in ids} > {item.id for item in boxes}
    answer(queued, begun)
    assert queued.pull().new_instances == 1  # what people did is kept


def test_a_begun_task_that_holds_its_picture_keeps_it_and_an_untouched_one_goes(queued):
    queued.push(per_instance=True, base=None)
    untouched, begun, *_ = queued.tasks()
    begin(queued, begun)
    root = queued.trained.project.images_root
    for task in (untouched, begun):
        (root / image_of(queued, task).path).rename(queued.trained.folder / f"{task['id']}.png")
    assert queued.push(per_instance=True, base=None).sent == 0
    tasks = {task["id"]: task for task in queued.tasks()}
    assert untouched["id"] not in tasks
    assert tasks[begun["id"]]["data"] == begun["data"]
    for task in (untouched, begun):
        (queued.trained.folder / f"{task['id']}.png").rename(root / image_of(queued, task).path)
    assert queued.push(per_instance=True, base=None).sent == 1


def test_visibility_tasks_follow_too_when_corrections_are_asked_for(queued):
    from labelkit.workflows.rounds.label_snapshot import read_snapshot
    from labelkit.workflows.sync.follow_images import Images
    from labelkit.workflows.sync.push_server import ServerPushReport
    from labelkit.workflows.sync.questions import Questions

    project, store = queued.trained.project, queued.trained.store
    snapshot = read_snapshot(project, store)
    ids = tuple(snapshot.instances)[:2]
    asked = Questions(project, "visibility", "boxes", snapshot, {}, ids, frozenset(), False)
    shown = Images(project, store.instances(), ())
    report = ServerPushReport(queued.api.url, "visibility")
    Push(queued.api, queued.sent, asked, report, shown).run(Silent(), base=ELSEWHERE)
    target = queued.sent.project("visibility")
    assert target is not None
    task, _ = queued.api.task_facts(target.project_id, "id,data")
    path = rename(queued, task)
    upkeep(queued, "relocate")
    queued.push()
    addresses = [t["data"]["image"] for t in queued.api.task_facts(target.project_id, "id,data")]
    assert f"{ELSEWHERE}/{path}" in addresses
    (known, _) = queued.sent.tasks("visibility").values()
    assert known == replace(known, url=f"{ELSEWHERE}/{path}")


def test_a_dry_run_changes_no_task(queued):
    queued.push()
    (first, *_) = queued.tasks()
    rename(queued, first)
    upkeep(queued, "relocate")
    before = queued.tasks()
    assert queued.push(base=None, dry_run=True).sent == 1
    assert queued.tasks() == before
