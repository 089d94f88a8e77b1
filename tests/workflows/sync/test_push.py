import json
from dataclasses import replace
from urllib.parse import unquote

import numpy as np
import pytest
from builders import make_project
from PIL import Image as Picture

from labelkit.domain.instance import Box
from labelkit.domain.pose import Pose, human_pose
from labelkit.domain.prediction import Prediction
from labelkit.domain.selection import QueueItem
from labelkit.errors import UsageError
from labelkit.formats.label_studio.config import visibility_config
from labelkit.project.images import scan_images
from labelkit.project.project import Project, open_project
from labelkit.store.journal import KEYPOINTS, SKIP, Entry
from labelkit.store.label_store import LabelStore, NewInstance
from labelkit.store.task_ledger import LedgerTask
from labelkit.workflows.review_and_label.queue import queue
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.queue_file import fill_queue, read_queue, write_queue
from labelkit.workflows.sync.pull_file import pull_file
from labelkit.workflows.sync.push_files import push_files
from labelkit.workflows.sync.push_server import Push
from labelkit.workflows.sync.questions import image_url, next_questions, visibility_questions
from labelkit.workflows.sync.task_crops import crop_around, crop_url


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
        (id_,) = task["data"]["labelkit"]["instances"]
        assert task["data"]["labelkit"]["box"] == list(fresh[1].instances()[id_].box)
        assert task["predictions"][0]["result"] == []


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


def test_the_control_arm_gets_no_keypoints(trained):
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
    assert task["predictions"][0]["result"] == []


def test_the_dev_set_shows_what_people_labelled_and_nothing_else(trained):
    snapshot, names = read_snapshot(trained.project, trained.store), trained.project.skeleton
    blank, half = sorted(snapshot.dev)[:2]
    content = {names.keypoints[0]: [5.0, 6.0, 2]}
    trained.store.record([Entry(half, KEYPOINTS, content, "label", half, "1")])
    fill_queue(trained.project, read_snapshot(trained.project, trained.store), 10.0)
    tasks = tasks_of(push_files(trained.project, trained.store, dry_run=False))
    sent = {it["instances"][0]: it for it in (task["data"]["labelkit"] for task in tasks)}
    assert (sent[blank]["served"], sent[blank]["control"]) == ({}, [blank])
    assert sent[half]["served"] == {half: [names.keypoints[0]]}
    assert "control" not in sent[half]
    pull_file(trained.project, trained.store, trained.corrections())
    arms = {it.entry.instance_id: it.entry.shown.get("arm") for it in trained.store.entries()}
    assert (arms[blank], arms[half]) == ("control", None)


def test_the_dev_set_gets_no_keypoints_in_the_queue_of_an_earlier_version(trained):
    dev = sorted(read_snapshot(trained.project, trained.store).dev)
    write_queue(trained.project, [QueueItem(id_, "dev", control=False) for id_ in dev])
    report = push_files(trained.project, trained.store, dry_run=False)
    assert report.control == len(dev)
    assert all(task["predictions"][0]["result"] == [] for task in tasks_of(report))


def test_a_crop_tells_nothing_of_a_prediction_that_is_not_shown(fresh):
    project, store = fresh
    id_ = next(iter(store.instances()))
    store.move_box(id_, Box(3, 2, 1, 1))
    snapshot, count = read_snapshot(project, store), len(project.skeleton)
    pose = Pose(np.tile([7.0, 5.0], (count, 1)), np.full(count, 2), np.ones(count))
    predictions = {id_: Prediction(id_, pose, np.ones(count), 1.0)}
    questions = replace(
        visibility_questions(project, snapshot), predictions=predictions, per_instance=True
    )
    assert questions.crop(id_) == Box(2, 1, 6, 5)
    assert replace(questions, control=frozenset([id_])).crop(id_) == Box(2, 1, 3, 3)


def test_tasks_that_an_earlier_version_sent_get_no_new_predictions_of_the_dev_set(trained):
    snapshot = read_snapshot(trained.project, trained.store)
    (dev, *_), (other, *_) = sorted(snapshot.dev), sorted(snapshot.instances.keys() - snapshot.dev)
    sent = [LedgerTask(n, (id_,), frozenset(), "round-000") for n, id_ in enumerate((dev, other))]
    push = Push(None, None, next_questions(trained.project, snapshot), None, None)
    assert [bool(it["result"]) for it in push._predictions(sent, there=())] == [False, True]


def test_a_keypoint_that_is_switched_off_is_not_shown_unless_it_was_labelled(trained):
    names = trained.project.skeleton.keypoints
    report = queue(trained.project, trained.store, unshown=names[:2])
    assert report.unshown == tuple(names[:2])
    tasks = tasks_of(push_files(trained.project, trained.store, dry_run=False))
    shown = {
        it for task in tasks for of in task["data"]["labelkit"]["served"].values() for it in of
    }
    assert shown
    assert shown.isdisjoint(names[:2])
    with pytest.raises(UsageError, match="beak"):
        queue(trained.project, trained.store, unshown=["beak"])
    assert queue(trained.project, trained.store, unshown=[]).unshown == ()


def test_an_instance_that_came_after_the_round_is_sent_without_keypoints(trained):
    image = trained.store.images()[0]
    (late,) = trained.store.add_instances([NewInstance(image, Box(1, 1, 6, 4), "given", 24.0)])
    row = {"instance": late.id, "reason": "unsure", "control": False}
    (trained.project.root / "queue.json").write_text(json.dumps({"items": [row]}))
    (task,) = tasks_of(push_files(trained.project, trained.store, dry_run=False))
    assert task["predictions"][0]["result"] == []
    assert task["data"]["labelkit"]["instances"] == [late.id]


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


# What a task shows


def shown(report):
    """Of each task: how many objects, whether they have boxes, whether it is a crop."""
    return [
        (
            len(task["data"]["labelkit"]["instances"]),
            any(r["type"] == "rectanglelabels" for r in task["predictions"][0]["result"]),
            "crop" in task["data"]["labelkit"],
        )
        for task in tasks_of(report)
    ]


@pytest.fixture
def pictures(tmp_path):
    """Two pictures of 8 x 6: one object fills half of the first, two are in the second."""
    project = make_project(tmp_path)
    with LabelStore.open(project.store_url) as store:
        images = scan_images(project.images_root).images[:2]
        store.add_images(images)
        boxes = [(images[0], Box(1, 1, 6, 4)), (images[1], Box(0, 0, 2, 2))]
        boxes.append((images[1], Box(2, 0, 6, 4)))
        store.add_instances(NewInstance(i, box, "given", 1.0) for i, box in boxes)
        yield project, store


def test_a_large_object_alone_in_its_picture_is_shown_in_it_and_others_are_zoomed(pictures):
    report = push_files(*pictures, dry_run=False)
    assert shown(report) == [(1, False, False), (1, False, True), (1, False, True)]
    assert "RectangleLabels" not in report.files[0].read_text()


def test_an_image_that_browsers_do_not_show_is_sent_as_a_picture(tmp_path):
    project = make_project(tmp_path, pictures=1)
    (project.images_root / "0.png").unlink()
    Picture.new("L", (8, 6), 99).save(project.images_root / "0.tif")
    with LabelStore.open(project.store_url) as store:
        images = scan_images(project.images_root).images
        store.add_images(images)
        store.add_instances(NewInstance(i, Box(1, 1, 6, 4), "given", 24.0) for i in images)
        for per_instance in (None, False):
            report = push_files(project, store, dry_run=False, per_instance=per_instance)
            (task,) = tasks_of(report)
            assert task["data"]["labelkit"]["crop"] == [0, 0, 8, 6]
            assert task["data"]["image"].startswith("data:image/jpeg;base64,")


def test_a_small_object_is_zoomed(fresh):
    project, store = fresh
    image = store.images()[0]
    (small,) = (i for i in store.instances().values() if i.image == image)
    store.move_box(small.id, Box(1, 1, 3, 3))  # 9 of 48 pixels
    assert [crop for *_, crop in shown(push_files(project, store, dry_run=False))] == [True, False]


def test_what_a_task_shows_is_chosen_and_remembered(pictures):
    project, store = pictures
    chosen = push_files(project, store, dry_run=False, per_instance=False)
    assert shown(chosen) == [(1, True, False), (2, True, False)]
    again = push_files(open_project(project.root), store, dry_run=False)
    assert shown(again) == shown(chosen)
    zoomed = push_files(open_project(project.root), store, dry_run=False, per_instance=True)
    assert shown(zoomed) == [(1, False, True)] * 3
    assert open_project(project.root).options["per_instance"] is True


def test_a_dry_run_remembers_nothing(pictures):
    push_files(*pictures, dry_run=True, per_instance=False)
    assert "per_instance" not in open_project(pictures[0].root).options


def test_files_of_an_earlier_version_go_on_with_boxes_until_another_choice(pictures):
    project, store = pictures
    interface = project.root / "label_studio" / "visibility_interface.xml"
    interface.parent.mkdir()
    interface.write_text(visibility_config(project.skeleton))
    assert shown(push_files(project, store, dry_run=False)) == [(1, True, False), (2, True, False)]


def test_a_crop_marks_its_object_where_others_are_in_the_picture(pictures):
    project, store = pictures
    (first, *_), (second, *_) = (
        [i for i in store.instances().values() if i.image == image] for image in store.images()
    )
    for instance, marked in ((first, False), (second, True)):
        crop = crop_around(instance, None)
        plain, given = (crop_url(project, instance, crop, mark=mark) for mark in (False, marked))
        assert (plain != given) == marked


def test_a_keypoint_at_the_border_of_the_picture_lies_a_little_inside_its_crop(pictures):
    _, store = pictures
    instance = next(iter(store.instances().values()))
    image = replace(instance.image, width=800, height=600)
    far = replace(instance, image=image, box=Box(300, 200, 100, 50))
    crop = crop_around(far, human_pose([[600, 220]], [2]))
    assert crop == Box(275, 175, 330, 100)  # 5 % of the box's long side behind the keypoint
