import json
from urllib.parse import unquote

import pytest
from builders import make_project

from labelkit.domain.instance import Box
from labelkit.domain.selection import QueueItem
from labelkit.project.images import scan_images
from labelkit.project.project import Project
from labelkit.store.journal import SKIP, Entry
from labelkit.store.label_store import LabelStore, NewInstance
from labelkit.workflows.rounds.queue_file import read_queue, write_queue
from labelkit.workflows.sync.pull_file import pull_file
from labelkit.workflows.sync.push_files import push_files
from labelkit.workflows.sync.questions import image_url


def tasks_of(report):
    return json.loads(report.files[1].read_text(encoding="utf-8"))


@pytest.fixture
def fresh(tmp_path):
    """A project of two pictures with a box each, and no answers."""
    project = make_project(tmp_path)
    with LabelStore.open(project.store_url) as store:
        images = scan_images(project.images_root).images
        store.add_images(images)
        store.add_instances(NewInstance(i, Box(1, 1, 6, 4), "given", 24.0) for i in images)
        yield project, store


def test_before_the_first_round_it_asks_what_can_be_seen(fresh):
    report = push_files(*fresh, dry_run=False)
    assert (report.kind, report.tasks, report.instances) == ("visibility", 2, 2)
    for task in tasks_of(report):
        assert task["data"]["labelkit"]["kind"] == "visibility"
        (box,) = task["predictions"][0]["result"]
        assert box["id"] in fresh[1].instances()


def test_a_dry_run_reports_the_same_and_writes_nothing(fresh):
    report = push_files(*fresh, dry_run=True)
    assert (report.kind, report.tasks, report.instances) == ("visibility", 2, 2)
    assert report.dry_run
    assert not (fresh[0].root / "label_studio").exists()


def test_pushing_twice_writes_the_same_files(fresh):
    first = [path.read_bytes() for path in push_files(*fresh, dry_run=False).files]
    again = [path.read_bytes() for path in push_files(*fresh, dry_run=False).files]
    assert first == again


def test_after_a_round_it_sends_the_queue_with_pre_annotations(trained):
    report = push_files(trained.project, trained.store, dry_run=False)
    queued = read_queue(trained.project)
    assert (report.kind, report.instances) == ("correction", len(queued))
    in_tasks = [i for task in tasks_of(report) for i in task["data"]["labelkit"]["instances"]]
    assert in_tasks == [item.instance_id for item in queued]
    assert {t["predictions"][0]["model_version"] for t in tasks_of(report)} == {"round-000"}


def test_what_a_human_called_absent_is_not_shown_and_the_rest_is(trained):
    answers = trained.store.presences(trained.project.skeleton)
    control = {item.instance_id for item in read_queue(trained.project) if item.control}
    names = trained.project.skeleton.keypoints
    for task in tasks_of(push_files(trained.project, trained.store, dry_run=False)):
        for id_, served in task["data"]["labelkit"]["served"].items():
            present = answers[id_]
            assert served == [n for n, there in zip(names, present, strict=True) if there]
            assert id_ not in control


def test_the_control_arm_gets_boxes_only(trained):
    path = trained.project.root / "queue.json"
    queue = json.loads(path.read_text())
    queue["items"][0]["control"] = True
    path.write_text(json.dumps(queue))
    report = push_files(trained.project, trained.store, dry_run=False)
    assert report.control == sum(row["control"] for row in queue["items"])
    (task,) = (
        task
        for task in tasks_of(report)
        if task["data"]["labelkit"]["instances"] == [queue["items"][0]["instance"]]
    )
    assert {region["type"] for region in task["predictions"][0]["result"]} == {"rectanglelabels"}


def test_an_instance_that_came_after_the_round_is_sent_with_its_box_only(trained):
    image = trained.store.images()[0]
    (late,) = trained.store.add_instances([NewInstance(image, Box(1, 1, 6, 4), "given", 24.0)])
    row = {"instance": late.id, "reason": "unsure", "control": False}
    (trained.project.root / "queue.json").write_text(json.dumps({"items": [row]}))
    (task,) = tasks_of(push_files(trained.project, trained.store, dry_run=False))
    assert [region["id"] for region in task["predictions"][0]["result"]] == [late.id]


def test_what_is_corrected_is_not_sent_again(trained):
    pull_file(trained.project, trained.store, trained.corrections())
    report = push_files(trained.project, trained.store, dry_run=False)
    assert (report.tasks, report.instances, report.exit_code) == (0, 0, 0)
    assert str(report.files[1]) not in report.text()  # there is nothing to import


def test_a_skipped_instance_is_not_sent_again_unless_the_lead_chose_it(trained):
    first, second = [item.instance_id for item in read_queue(trained.project)][:2]
    trained.store.record([Entry(first, SKIP, {}, "label-studio", "1", "1")])
    sent = [
        id_
        for task in tasks_of(push_files(trained.project, trained.store, dry_run=False))
        for id_ in task["data"]["labelkit"]["instances"]
    ]
    assert first not in sent
    assert second in sent
    write_queue(trained.project, [QueueItem(first, "chosen", False)])
    (task,) = tasks_of(push_files(trained.project, trained.store, dry_run=False))
    assert task["data"]["labelkit"]["instances"] == [first]


def test_addresses_are_below_the_folder_above_the_images_and_quoted(tmp_path):
    project = make_project(tmp_path)
    hostile = Project(project.root, "p", tmp_path / "a&b frames", project.skeleton, 0)
    (image,) = scan_images(project.images_root).images[:1]
    url = image_url(hostile, image)
    assert url == "/data/local-files/?d=a%26b%20frames/0.png"
    assert unquote(url).endswith("?d=a&b frames/0.png")
