"""Pushing to the real Label Studio, again and again."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from flaky import flaky
from live_studio import Synced
from PIL import Image as Picture
from trained import TINY

from labelkit.bridges.label_studio import api as studio_api
from labelkit.bridges.label_studio.api import StudioApi
from labelkit.domain.instance import Box
from labelkit.domain.selection import QueueItem
from labelkit.errors import ServiceError, UsageError
from labelkit.formats.label_studio.project import lacks
from labelkit.progress import Silent
from labelkit.store.journal import KEYPOINTS, SKIP, Entry, keypoints_content
from labelkit.store.objects import FOUND, NewInstance
from labelkit.workflows.loop.retrain import retrain
from labelkit.workflows.rounds.queue_file import read_queue, write_queue
from labelkit.workflows.rounds.run_round import latest_predictions


@pytest.fixture
def queued(synced: Synced) -> Synced:
    """Twelve instances wait for correction, every fourth of them in the control arm."""
    ids = list(synced.trained.store.instances())[:12]
    items = [QueueItem(id_, "unsure", number % 4 == 0) for number, id_ in enumerate(ids)]
    write_queue(synced.trained.project, items)
    return synced


def expected(synced: Synced) -> list[tuple[str, ...]]:
    return [(item.instance_id,) for item in read_queue(synced.trained.project)]


def asked(synced: Synced) -> list[tuple[str, ...]]:
    return [tuple(task["data"]["labelkit"]["instances"]) for task in synced.tasks()]


def test_the_queue_is_on_the_server_with_pre_annotations_that_are_shown(queued):
    report = queued.push()
    assert (report.sent, report.instances, report.control) == (12, 12, 3)
    assert asked(queued) == expected(queued)
    facts = queued.api.project(queued.project_id)
    assert facts["model_version"] == "round-000"
    assert facts["show_collab_predictions"]
    assert facts["show_instruction"]
    for number, task in enumerate(queued.tasks()):
        (prediction,) = task["predictions"]
        assert prediction["model_version"] == "round-000"
        kinds = [region["type"] for region in prediction["result"]]
        assert kinds[-1] == "rectanglelabels"  # behind the keypoints
        assert ("keypointlabels" in kinds) == (number % 4 != 0)
        box = prediction["result"][-1]["id"]
        assert all(region["parentID"] == box for region in prediction["result"][:-1])


def test_a_second_push_changes_nothing(queued):
    queued.push()
    before = queued.tasks()
    again = queued.push()
    assert (again.sent, again.there, again.refreshed, again.doubled) == (0, 12, 0, 0)
    assert queued.tasks() == before
    marked = queued.api.projects_marked(queued.sent.uid)
    assert marked == [queued.project_id]


def test_a_dry_run_reports_what_a_push_would_do_and_does_nothing(queued):
    report = queued.push(dry_run=True)
    assert (report.sent, report.project_id) == (12, None)
    assert queued.api.projects_marked(queued.sent.uid) == []
    assert report.dry_run
    assert "12 new correction tasks" in report.text()


def test_nothing_is_made_where_there_is_nothing_to_ask(synced):
    write_queue(synced.trained.project, [])
    report = synced.push()
    assert (report.sent, report.there, report.project_id) == (0, 0, None)
    assert synced.api.projects_marked(synced.sent.uid) == []


def test_after_a_retrain_only_untouched_tasks_get_new_predictions(queued, monkeypatch):
    monkeypatch.setattr("labelkit.workflows.sync.push_server.PREDICTIONS", 5)  # several requests
    queued.push()
    finished, begun, *untouched = queued.tasks()[1:5]
    queued.submit(finished, finished["predictions"][0]["result"])
    draft = {"result": begun["predictions"][0]["result"], "lead_time": 1.0}
    queued.send("POST", f"/api/tasks/{begun['id']}/drafts", draft)
    queued.pull()
    project, store = queued.trained.project, queued.trained.store
    retrain(project, store, Silent(), percent=None, now=True, options=TINY)
    waiting = [item.instance_id for item in read_queue(project)]
    report = queued.push()
    versions = {
        task["id"]: [prediction["model_version"] for prediction in task["predictions"]]
        for task in queued.tasks()
    }
    assert versions[finished["id"]] == versions[begun["id"]] == ["round-000"]
    # The former ones stay for browsers that show them.
    assert all(versions[task["id"]] == ["round-000", "round-001"] for task in untouched)
    assert (report.started, report.refreshed) == (2, 10)
    assert queued.api.project(queued.project_id)["model_version"] == "round-001"
    everything = [id_ for ids in asked(queued) for id_ in ids]
    assert len(everything) == len(set(everything))
    assert set(waiting) <= set(everything)
    # The control arm is still served without pre-annotation.
    first = queued.tasks()[0]["predictions"][-1]["result"]
    assert [region["type"] for region in first] == ["rectanglelabels"]
    assert queued.push().refreshed == 0


def test_untouched_tasks_of_objects_labelled_elsewhere_are_removed(queued):
    trained, skeleton = queued.trained, queued.trained.project.skeleton
    queued.push()
    begun, labelled, skipped, *others = queued.tasks()
    draft = {"result": begun["predictions"][0]["result"], "lead_time": 1.0}
    queued.send("POST", f"/api/tasks/{begun['id']}/drafts", draft)
    for task, kind in ((begun, KEYPOINTS), (labelled, KEYPOINTS), (skipped, SKIP)):
        (id_,) = task["data"]["labelkit"]["instances"]
        content = keypoints_content(skeleton, trained.truth[id_]) if kind == KEYPOINTS else {}
        trained.store.record([Entry(id_, kind, content, "labelling-page", id_, "1", "anna")])
    assert "2 untouched tasks" in queued.push(dry_run=True).notes[0]
    assert len(queued.tasks()) == 12
    report = queued.push()
    assert (report.there, report.sent, report.started) == (10, 0, 1)
    assert [task["id"] for task in queued.tasks()] == [task["id"] for task in (begun, *others)]
    assert queued.push().notes == []


def test_tasks_deleted_on_the_server_are_sent_again_and_reported(queued):
    queued.push()
    queued.api.delete_untouched(queued.project_id, [task["id"] for task in queued.tasks()[:2]])
    report = queued.push()
    assert (report.gone, report.sent, report.there) == (2, 2, 10)
    assert sorted(asked(queued)) == sorted(
        (i.instance_id,) for i in read_queue(queued.trained.project)
    )


def test_a_deleted_task_is_noticed_where_another_one_came_in(queued):
    queued.push()
    queued.api.delete_untouched(queued.project_id, [queued.tasks()[3]["id"]])
    queued.api.import_tasks(queued.project_id, [{"data": {"image": "http://127.0.0.1:9/cat.png"}}])
    report = queued.push()
    assert (report.gone, report.sent, report.foreign, report.there) == (1, 1, 1, 11)


def test_tasks_are_not_listed_where_none_is_missing_or_unknown(queued, monkeypatch):
    queued.push()
    queued.api.delete_untouched(queued.project_id, [task["id"] for task in queued.tasks()[3:5]])
    assert queued.push().sent == 2  # so ids have a gap
    monkeypatch.delattr(StudioApi, "task_facts")
    report = queued.push()
    assert (report.there, report.gone, report.sent) == (12, 0, 0)


def test_the_server_itself_deletes_no_task_that_was_started_meanwhile(queued):
    queued.push()
    answered, skipped, begun, untouched, *others = queued.tasks()
    chosen = [answered["id"], skipped["id"], begun["id"], untouched["id"]]
    result = answered["predictions"][0]["result"]
    queued.submit(answered, result)
    queued.submit(skipped, [], was_cancelled=True)
    draft = {"result": result, "lead_time": 1.0}
    queued.send("POST", f"/api/tasks/{begun['id']}/drafts", draft)
    queued.api.delete_untouched(queued.project_id, chosen)
    left = {task["id"] for task in queued.tasks()}
    assert left == {*chosen[:3], *(task["id"] for task in others)}


def test_a_submitted_task_that_label_studio_does_not_count_is_not_untouched(queued):
    queued.push()
    task, *_ = queued.tasks()
    queued.submit(task, task["predictions"][0]["result"])
    queued.uncount(task["id"])
    queued.api.delete_untouched(queued.project_id, [task["id"]])
    report = queued.push(base="http://127.0.0.1:9/moved")
    assert (report.started, report.gone) == (1, 0)
    assert task["id"] in {item["id"] for item in queued.tasks()}


def test_a_task_submitted_while_push_reads_the_server_is_not_untouched(queued, monkeypatch):
    queued.push()
    task, *_ = queued.tasks()
    drafted = StudioApi.drafted_tasks

    def then_submitted(api, project_id):
        found = drafted(api, project_id)
        queued.submit(task, task["predictions"][0]["result"])
        return found

    monkeypatch.setattr(StudioApi, "drafted_tasks", then_submitted)
    queued.push(base="http://127.0.0.1:9/moved")
    assert task["id"] in {item["id"] for item in queued.tasks()}


def test_a_project_deleted_on_the_server_is_made_again_and_reported(queued):
    queued.push()
    first = queued.project_id
    queued.send("DELETE", f"/api/projects/{first}/")
    report = queued.push()
    assert report.sent == 12
    assert queued.project_id != first
    assert f"project {first} " in report.notes[0]


def test_a_restyled_interface_is_kept_and_a_lost_label_is_restored(queued):
    queued.push()
    config = queued.api.project(queued.project_id)["label_config"]
    (name, *_) = queued.trained.project.skeleton.keypoints
    prettier = config.replace("<Header", '<Header underline="true"')
    queued.api.change_project(queued.project_id, label_config=prettier)
    (note,) = queued.push().notes
    assert name not in note
    assert queued.api.project(queued.project_id)["label_config"] == prettier
    broken = prettier.replace(f'value="{name}"', 'value="something else"')
    queued.api.change_project(queued.project_id, label_config=broken)
    (note,) = queued.push().notes
    assert name in note
    assert lacks(queued.api.project(queued.project_id)["label_config"], config) == []


def test_instructions_follow_the_skeleton_until_people_change_them(queued):
    queued.push()
    number, project = queued.project_id, queued.trained.project
    first = queued.api.project(number)["expert_instruction"]
    name = project.skeleton.keypoints[0]
    described = replace(project.skeleton, descriptions=((name, "its tip"),))
    queued.trained = queued.trained._replace(project=replace(project, skeleton=described))
    queued.push()
    assert "its tip" not in first
    assert "its tip" in queued.api.project(number)["expert_instruction"]
    queued.api.change_project(number, expert_instruction="Ask Anna.")
    queued.push()
    assert queued.api.project(number)["expert_instruction"] == "Ask Anna."


def test_a_push_killed_before_its_ledger_entry_sends_nothing_twice(queued):
    queued.push()
    before = asked(queued)
    ids = [task["id"] for task in queued.tasks()]
    queued.sent.forget_tasks("correction", ids[5:])
    queued.sent.forget_project("correction")
    report = queued.push()
    assert (report.sent, report.there, report.doubled) == (0, 12, 0)
    assert asked(queued) == before
    assert all(len(task["predictions"]) == 1 for task in queued.tasks())


def test_untouched_copies_are_removed_and_touched_ones_stay(queued):
    queued.push()
    copies = [{"data": task["data"], "predictions": []} for task in queued.tasks()[:3]]
    made = queued.api.import_tasks(queued.project_id, copies)
    touched = next(task for task in queued.tasks() if task["id"] == made[0])
    queued.submit(touched, [], was_cancelled=True)
    report = queued.push()
    assert report.doubled == 2
    left = [task["id"] for task in queued.tasks()]
    assert made[0] in left
    assert made[1] not in left


def test_tasks_in_the_project_that_labelkit_did_not_send_stay(queued):
    queued.push()
    (other,) = queued.api.import_tasks(
        queued.project_id, [{"data": {"image": "http://127.0.0.1:9/cat.png"}}]
    )
    assert queued.push().foreign == 1
    assert other in [task["id"] for task in queued.tasks()]


def test_a_new_address_of_the_images_is_in_every_task_and_what_people_did_stays(queued):
    queued.push(base="https://wrong.example.org/frames")
    started = queued.tasks()[0]
    queued.submit(started, [], was_cancelled=True)
    report = queued.push(base="https://right.example.org/frames/")
    assert (report.there, report.sent) == (1, 11)
    addresses = {task["id"]: task["data"]["image"] for task in queued.tasks()}
    assert started["id"] in addresses
    assert len(addresses) == 12
    assert all(a.startswith("https://right.example.org/frames/") for a in addresses.values())
    assert queued.push(base=None).sent == 0


@pytest.mark.parametrize("base", ["ftp://x", "images.example.org", "https://", "s3:bucket"])
def test_what_is_not_an_address_of_images_is_refused_before_anything_is_sent(queued, base):
    with pytest.raises(UsageError, match=f"--image-url {base!r}"):
        queued.push(base=base)
    assert queued.api.projects_marked(queued.sent.uid) == []


def test_each_instance_can_have_a_task_of_its_own_that_shows_its_part_of_the_image(queued):
    assert queued.push(per_instance=True, base=None).sent == 12
    instances = queued.trained.store.instances()
    for task in queued.tasks():
        ours = task["data"]["labelkit"]
        (id_,) = ours["instances"]
        image, (x, y, w, h) = instances[id_].image, ours["crop"]
        kind, _, content = task["data"]["image"].partition(",")
        assert kind == "data:image/jpeg;base64"
        with Picture.open(io.BytesIO(base64.b64decode(content))) as shown:
            assert shown.size == (w, h)
            whole = Picture.open(queued.trained.project.images_root / image.path).convert("RGB")
            part = np.asarray(whole.crop((x, y, x + w, y + h)), dtype=float)
            assert np.abs(np.asarray(shown, dtype=float) - part).mean() < 6
        regions = [{**r, "origin": "prediction"} for r in task["predictions"][0]["result"]]
        queued.submit(task, regions)
    pulled = queued.pull()
    assert set(pulled.origins) == {"untouched"}
    predictions = latest_predictions(queued.trained.project)[1]
    for id_, pose in queued.trained.store.poses(queued.trained.project.skeleton).items():
        k = pose.present
        image = instances[id_].image
        inside = 2.0
        size = np.array([image.width, image.height])
        served = np.clip(predictions[id_].pose.xy, inside, size - inside)
        assert np.allclose(pose.xy[k], served[k], rtol=0, atol=1e-6)


def test_a_crop_keeps_its_place_when_its_prediction_is_renewed(queued):
    queued.push(per_instance=True, base=None)
    before = {task["id"]: task for task in queued.tasks()}
    sent = queued.sent.tasks("correction/one").values()
    queued.sent.keep_tasks(
        "correction/one", [replace(task, model_version="older") for task in sent]
    )
    assert queued.push(per_instance=True, base=None).refreshed == 12
    for task in queued.tasks():
        old, new = (t["predictions"][0]["result"] for t in (before[task["id"]], task))
        assert [r["value"] for r in new] == [r["value"] for r in old]


def test_an_import_whose_answer_was_lost_is_not_sent_again(queued, monkeypatch):
    monkeypatch.setattr("labelkit.workflows.sync.push_server.CHUNK", 5)
    with flaky(queued.live.url) as proxy:
        imports = [0]

        def lose_the_second_import(method: str, path: str) -> str:
            imports[0] += "import?" in path
            return "lost" if "import?" in path and imports[0] == 2 else ""

        proxy.failing = lose_the_second_import
        with StudioApi(proxy.url, queued.live.log_in.api_key) as api:
            with pytest.raises(ServiceError, match=proxy.url):
                queued.push(api)
            report = queued.push(api)
    assert (report.there, report.sent) == (10, 2)
    queued.push()  # the same server by its own address
    assert sorted(asked(queued)) == sorted(
        (i.instance_id,) for i in read_queue(queued.trained.project)
    )
    assert all(len(task["predictions"]) == 1 for task in queued.tasks())


class Late(StudioApi):
    """A server that finishes an import it was interrupted in only while the next one runs."""

    def import_tasks(self, project_id, tasks):
        super().import_tasks(project_id, tasks)
        return super().import_tasks(project_id, tasks)


def test_an_interrupted_import_that_arrives_late_leaves_no_copies(queued):
    with flaky(queued.live.url) as proxy:
        proxy.failing = lambda method, path: "cut" if "import?" in path else ""
        with (
            StudioApi(proxy.url, queued.live.log_in.api_key) as api,
            pytest.raises(ServiceError, match=proxy.url),
        ):
            queued.push(api)
        proxy.failing = lambda method, path: ""
        with Late(proxy.url, queued.live.log_in.api_key) as api:
            report = queued.push(api)
    assert (report.sent, report.doubled) == (12, 12)
    queued.push()
    assert sorted(asked(queued)) == sorted(expected(queued))


def test_after_a_timeout_the_next_push_finds_what_arrived(queued, monkeypatch):
    monkeypatch.setattr(studio_api, "TIMEOUT_SECONDS", 1.0)
    with flaky(queued.live.url) as proxy:
        proxy.failing = lambda method, path: "slow" if "import?" in path else ""
        with StudioApi(proxy.url, queued.live.log_in.api_key) as api:
            with pytest.raises(ServiceError, match=f"{proxy.url}.* 1 s"):
                queued.push(api)
            proxy.failing = lambda method, path: ""
            report = queued.push(api)
    assert (report.there, report.sent) == (12, 0)


@pytest.mark.filterwarnings("ignore:The `parse_obj` method is deprecated")  # in the SDK
def test_a_personal_access_token_works_too(queued):
    with StudioApi(queued.live.url, queued.live.personal_token) as api:
        assert queued.push(api).sent == 12


def test_an_untouched_task_of_an_image_follows_what_a_newer_round_found_in_it(queued):
    """Objects of a network that reads whole images come and go from round to round."""
    store, project = queued.trained.store, queued.trained.project
    first = next(iter(store.instances().values()))

    def find(x: float) -> str:
        box = Box(x, 2.0, 20.0, 20.0)
        new = NewInstance(first.image, box, FOUND, 400.0)
        (made,) = store.replace_found([first.image], {}, [new])
        write_queue(project, [QueueItem(id_, "unsure", False) for id_ in (first.id, made.id)])
        return made.id

    before, sent = find(2.0), queued.push()
    assert (sent.sent, asked(queued)) == (1, [(first.id, before)])
    now, sent = find(40.0), queued.push()
    assert (sent.sent, asked(queued)) == (1, [(first.id, now)])
    assert queued.push().sent == 0
