import json

import numpy as np
import pytest
from builders import make_project
from trained import FIGURES, ticked

from labelkit.domain.instance import Box
from labelkit.domain.pose import human_pose
from labelkit.errors import FormatError
from labelkit.project.images import scan_images
from labelkit.store.label_store import LabelStore, NewInstance
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.queue_file import read_queue, waiting
from labelkit.workflows.sync.pull_file import pull_file
from labelkit.workflows.sync.push_files import push_files


def save(trained_folder, rows):
    path = trained_folder / "changed.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def pull(trained, rows):
    return pull_file(trained.project, trained.store, save(trained.folder, rows))


@pytest.fixture
def trained(trained_anywhere):
    return trained_anywhere


@pytest.fixture
def export(trained):
    """Of tasks with boxes, as all tasks of earlier versions were."""
    return load(trained.corrections(per_instance=False))


# Answers


def test_ticks_become_visibility_answers(tmp_path):
    project = make_project(tmp_path)
    with LabelStore.open(project.store_url) as store:
        images = scan_images(project.images_root).images
        store.add_images(images)
        first, second = store.add_instances(
            NewInstance(image, Box(1, 1, 6, 4), "given", 24.0) for image in images
        )
        tasks = load(push_files(project, store, dry_run=False).files[1])
        truth = {
            first.id: human_pose(np.ones((4, 2)), [2, 0, 2, 0]),
            second.id: human_pose(np.ones((4, 2)), [0, 0, 0, 0]),
        }
        rows = ticked(tasks, truth, project.skeleton.keypoints)
        report = pull_file(project, store, save(tmp_path, rows))
        assert (report.annotations, report.answers, report.poses) == (2, 2, 0)
        assert report.lead_time_s == 13.0
        answers = store.presences(project.skeleton)
        assert answers[first.id].tolist() == [True, False, True, False]
        assert answers[second.id].tolist() == [False] * 4


# Corrections


def test_corrections_come_back_exactly(trained, export):
    report = pull(trained, export)
    assert report.poses == report.annotations == len(read_queue(trained.project))
    truth = trained.truth
    for id_, pose in trained.store.poses(trained.project.skeleton).items():
        assert pose.visibility.tolist() == truth[id_].visibility.tolist()
        # Untouched keypoints were right to a pixel; dragged ones are right to a millionth.
        assert np.abs(pose.xy - truth[id_].xy).max() <= 1.0


def test_what_happened_to_each_keypoint_is_counted(trained, export):
    report = pull(trained, export)
    present = sum(
        int(pose.present.sum()) for pose in trained.store.poses(trained.project.skeleton).values()
    )
    assert sum(report.origins.values()) == present
    assert sum(report.moved.values()) == report.origins["changed"]
    assert report.median_move_px is not None
    assert f"{report.median_move_px:.1f} px" in report.text()


def test_pulling_twice_changes_nothing(trained, export):
    first = pull(trained, export)
    head = trained.store.head()
    again = pull(trained, export)
    assert (again.added, again.known) == (0, first.added)
    assert again.origins == {}
    assert trained.store.head() == head


def test_a_later_edit_counts_and_the_earlier_one_stays_in_the_journal(trained, export):
    pull(trained, export)
    annotation = export[0]["annotations"][0]
    annotation["updated_at"] = "2030-01-01T00:00:00Z"
    dot = next(region for region in annotation["result"] if region["type"] == "keypointlabels")
    dot["value"] |= {"x": 50.0, "y": 25.0}
    dot["origin"] = "prediction-changed"
    report = pull(trained, export)
    assert report.added == 1
    id_, name = dot["parentID"], dot["value"]["keypointlabels"][0]
    index = trained.project.skeleton.index(name)
    assert trained.store.poses(trained.project.skeleton)[id_].xy[index].tolist() == [48.0, 24.0]
    assert sum(r.entry.instance_id == id_ for r in trained.store.entries()) == 3


def test_a_deleted_keypoint_is_absent_and_counts_as_removed(trained, export):
    result, dot = next(
        (result, region)
        for result in (task["annotations"][0]["result"] for task in export)
        for region in result
        if region["type"] == "keypointlabels" and region["origin"] != "manual"
    )
    result.remove(dot)
    report = pull(trained, export)
    assert report.origins["removed"] == 1
    index = trained.project.skeleton.index(dot["value"]["keypointlabels"][0])
    pose = trained.store.poses(trained.project.skeleton)[dot["parentID"]]
    assert pose.visibility[index] == 0


def test_a_changed_box_is_reported_and_stays_as_it_was_registered(trained, export):
    assert pull(trained, export).moved_boxes == 0
    annotation = export[0]["annotations"][0]
    box = next(region for region in annotation["result"] if region["type"] == "rectanglelabels")
    registered = trained.store.instances()[box["id"]].box
    box["value"] |= {"x": box["value"]["x"] + 2.0, "width": box["value"]["width"] - 2.0}
    annotation["updated_at"] = "2030-01-01T00:00:00Z"
    report = pull(trained, export)
    assert (report.poses, report.moved_boxes) == (1, 1)
    assert "Ctrl+drag" in report.text()
    assert trained.store.instances()[box["id"]].box == registered


def test_occluded_keypoints_stay_occluded(trained, export):
    result = export[0]["annotations"][0]["result"]
    dot = next(region for region in result if region["type"] == "keypointlabels")
    choice = dot | {"type": "choices", "value": {"choices": ["Occluded"]}}
    result.append(choice)
    pull(trained, export)
    index = trained.project.skeleton.index(dot["value"]["keypointlabels"][0])
    pose = trained.store.poses(trained.project.skeleton)[dot["parentID"]]
    assert pose.visibility[index] == 1


def test_a_refused_task_is_a_skip_of_its_instances(trained, export):
    export[0]["annotations"][0] |= {"was_cancelled": True, "result": []}
    report = pull(trained, export)
    assert report.skips == 1
    assert trained.store.skipped() == set(export[0]["data"]["labelkit"]["instances"])


def test_an_object_whose_box_was_deleted_is_a_skip_and_not_asked_about_again(trained, export):
    (id_,) = export[0]["data"]["labelkit"]["instances"]
    result = export[0]["annotations"][0]["result"]
    export[0]["annotations"][0]["result"] = []
    report = pull(trained, export)
    assert (report.skips, report.poses) == (1, report.annotations - 1)
    assert trained.store.skipped() == {id_}
    snapshot = read_snapshot(trained.project, trained.store)
    assert id_ not in {item.instance_id for item in waiting(trained.project, snapshot)}
    (note,) = report.notes
    assert f"task {export[0]['id']}" in note
    assert pull(trained, export).notes == []  # reported once
    export[0]["annotations"][0] |= {"result": result, "updated_at": "2030-01-01T00:00:00Z"}
    assert pull(trained, export).poses == 1
    assert trained.store.skipped() == set()


def test_an_object_that_an_annotator_drew_becomes_an_instance_once(trained, export):
    result = export[0]["annotations"][0]["result"]
    box = next(region for region in result if region["type"] == "rectanglelabels")
    drawn = box | {"id": "drawn", "value": box["value"] | {"x": 10.0, "width": 20.0}}
    dot = next(region for region in result if region["type"] == "keypointlabels")
    result += [drawn, dot | {"id": "dot", "parentID": "drawn", "origin": "manual"}]
    assert pull(trained, export).new_instances == 1
    count = trained.store.counts().instances
    # Its box was moved since: still the same object.
    drawn["value"]["x"] = 12.0
    export[0]["annotations"][0]["updated_at"] = "2030-01-01T00:00:00Z"
    again = pull(trained, export)
    assert (again.new_instances, again.poses) == (0, 2)
    assert trained.store.counts().instances == count


def with_an_object(task, id_, **place):
    """An annotator draws one more object, with one keypoint."""
    result = task["annotations"][0]["result"]
    box = next(region for region in result if region["type"] == "rectanglelabels")
    dot = next(region for region in result if region["type"] == "keypointlabels")
    dot = dot | {"id": f"{id_} dot", "parentID": id_, "origin": "manual"}
    result += [box | {"id": id_, "value": box["value"] | place}, dot]


def test_a_task_that_comes_twice_brings_its_drawn_object_once(trained, export):
    with_an_object(export[0], "drawn", x=10.0, width=20.0)
    assert pull(trained, [export[0], export[0]]).new_instances == 1
    assert trained.store.counts().instances == FIGURES + 1


def test_a_region_id_that_two_tasks_use_names_two_objects(trained, export):
    for task in export[:2]:
        with_an_object(task, "drawn", x=10.0, width=20.0)
    assert pull(trained, export).new_instances == 2
    assert pull(trained, export).new_instances == 0


def test_a_copied_object_is_one_of_its_own_although_its_box_is_equal(trained, export):
    (first,) = export[0]["data"]["labelkit"]["instances"]
    with_an_object(export[0], "copy")
    report = pull(trained, export)
    assert report.new_instances == 1
    poses = trained.store.poses(trained.project.skeleton)
    (drawn,) = poses.keys() - {i for task in export for i in task["data"]["labelkit"]["instances"]}
    assert int(poses[drawn].present.sum()) == 1
    assert trained.store.instances()[drawn].box == trained.store.instances()[first].box
    assert pull(trained, export).added == 0


def test_a_skip_that_names_an_unknown_instance_too_is_one_of_the_others(trained, export):
    export[0]["annotations"][0] |= {"was_cancelled": True, "result": []}
    (known,) = export[0]["data"]["labelkit"]["instances"]
    export[0]["data"]["labelkit"]["instances"].append(f"{'0' * 16}-7")
    assert pull(trained, export).skips == 1
    assert trained.store.skipped() == {known}


def test_two_annotators_of_one_task_are_both_kept(trained, export):
    other = json.loads(json.dumps(export[0]["annotations"][0]))
    other |= {"id": 999, "completed_by": {"email": "ben@example.org"}}
    export[0]["annotations"].append(other)
    report = pull(trained, export[:1])
    assert (report.annotations, report.added) == (2, 2)
    who = [recorded.entry.annotator for recorded in trained.store.entries()]
    assert who[-2:] == ["simulated annotator", "ben@example.org"]


def test_an_export_of_another_project_is_refused_and_nothing_is_stored(trained, export):
    export[-1]["data"] |= {"image_id": "0" * 16, "image_path": "elsewhere/x.png"}
    head = trained.store.head()
    with pytest.raises(FormatError, match=rf"elsewhere/x\.png.*{trained.project.root}"):
        pull(trained, export)
    assert trained.store.head() == head


def test_answers_about_a_replaced_picture_do_not_count_for_the_new_one(trained, export):
    export[0]["data"]["image_id"] = "0" * 16
    head = trained.store.head()
    with pytest.raises(FormatError, match=export[0]["data"]["image_path"]):
        pull(trained, export)
    assert trained.store.head() == head


def test_a_task_without_an_image_id_is_found_by_its_path(trained, export):
    del export[0]["data"]["image_id"]
    assert pull(trained, export).added == len(export)


def test_an_export_without_annotations_brings_nothing(trained, export):
    rows = [task | {"annotations": []} for task in export]
    report = pull(trained, rows)
    assert (report.annotations, report.added, report.exit_code) == (0, 0, 0)


def test_an_empty_export_brings_nothing(trained):
    assert pull(trained, []).annotations == 0
