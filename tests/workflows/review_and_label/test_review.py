"""`labelkit review` on a project after its first round, with a real MongoDB."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import labelkit
from trained import TINY, Trained

from labelkit.bridges.fiftyone.dataset import quiet_fiftyone
from labelkit.errors import MissingDependencyError, UsageError
from labelkit.progress import Silent
from labelkit.project.project import open_project
from labelkit.project.response_pictures import MapPictures
from labelkit.store.conflicts import find_conflicts, settle
from labelkit.workflows.loop.retrain import retrain
from labelkit.workflows.review_and_label.queue import queue
from labelkit.workflows.review_and_label.review import review
from labelkit.workflows.reviewing.report import ReviewReport
from labelkit.workflows.rounds.queue_file import Choices, read_choices, read_queue, write_choices
from labelkit.workflows.sync.pull_file import pull_file
from labelkit.workflows.upkeep.skeleton import edit_skeleton


@pytest.fixture
def reviewed(trained: Trained, fiftyone_database: None) -> Iterator[Trained]:
    """The trained project with a database for its review, empty before and after."""
    fo = quiet_fiftyone()
    yield trained
    for name in fo.list_datasets():
        fo.delete_dataset(name)


def run(trained: Trained, **options: Any) -> ReviewReport:
    return review(trained.project, trained.store, Silent(), **options)


def loaded(report: ReviewReport) -> Any:
    dataset = quiet_fiftyone().load_dataset(report.dataset)
    dataset.reload()
    return dataset


def a_labelled_sample(reviewed: Trained) -> Any:
    """A sample of the App whose object has been corrected in Label Studio."""
    pull_file(reviewed.project, reviewed.store, reviewed.corrections())
    return loaded(run(reviewed)).match_tags("labelled").first()


def test_every_image_becomes_a_sample_with_what_the_project_knows(reviewed: Trained):
    report = run(reviewed)
    dataset = loaded(report)
    assert (report.added, report.samples, len(dataset), report.round) == (24, 24, 24, 0)
    assert dataset.persistent
    assert dataset.name == reviewed.project.name
    queued = {item.instance_id for item in read_queue(reviewed.project)}
    for sample in dataset:
        (box,) = sample.boxes.detections
        (pose,) = sample.round_000.keypoints
        assert Path(sample.filepath).is_file()
        assert ("queued" in sample.tags) == (box.labelkit_id in queued)
        assert len(box.can_be_seen) + len(box.cannot_be_seen) == len(pose.points) == 14
        assert 0 <= sample.uncertainty <= 1
        assert sample.human.keypoints == []


def test_the_address_of_a_map_leads_to_a_picture(reviewed: Trained):
    sample = loaded(run(reviewed)).first()
    *_, number, kind, keypoint, name = sample.cam_left_knee.map_path.split("/")
    source = MapPictures(
        reviewed.project.rounds_root / number / "maps" / "maps.parquet",
        reviewed.store.instances().values(),
    )
    index = reviewed.project.skeleton.index("left_knee")
    assert (kind, int(keypoint)) == ("cam", index)
    assert source.get(kind, int(keypoint), name.removesuffix(".png")).startswith(b"\x89PNG")


def test_a_location_free_round_has_response_maps_but_no_heatmaps(reviewed: Trained):
    sample = loaded(run(reviewed)).first()
    assert sample.map_left_knee.map_path.split("/")[-4:-2] == ["000", "response"]
    assert sample.heatmap_left_knee is None


def test_the_second_run_changes_nothing(reviewed: Trained):
    run(reviewed)
    report = run(reviewed)
    assert (report.added, report.updated, report.unchanged, report.samples) == (0, 0, 24, 24)


def test_after_corrections_and_a_retrain_the_same_samples_hold_the_new_round(reviewed: Trained):
    first = run(reviewed)
    dataset = loaded(first)
    sample = dataset.first()
    sample.tags.append("mine")
    sample.save()
    dataset.save_view("my view", dataset.limit(3))
    before = dataset.values("id"), [str(view.id) for view in dataset._doc.saved_views]
    pull_file(reviewed.project, reviewed.store, reviewed.corrections())
    retrain(reviewed.project, reviewed.store, Silent(), percent=None, now=True, options=TINY)
    second = run(reviewed)
    dataset = loaded(second)
    views = [str(view.id) for view in dataset._doc.saved_views]
    assert (second.round, second.samples, second.added, second.removed) == (1, 24, 0, 0)
    assert (dataset.values("id"), views[: len(before[1])]) == before
    assert set(views) - set(before[1]) == {
        str(view.id)
        for view in dataset._doc.saved_views
        if view.name == "annotator simulated annotator"
    }
    assert "mine" in dataset.first().tags
    labelled = dataset.match_tags("labelled")
    assert len(labelled) == len(reviewed.store.poses(reviewed.project.skeleton)) > 0
    assert all(value is not None for value in labelled.values("error"))
    # Nothing was shown in the control arm, so nothing was moved there.
    assert any(value is not None for value in labelled.values("correction"))
    assert len(dataset.load_saved_view("annotator simulated annotator")) == len(labelled)
    assert all(len(sample.round_001.keypoints) == 1 for sample in dataset)
    assert all(len(sample.round_000.keypoints) == 1 for sample in dataset)
    sample = dataset.first()
    assert sample.map_neck.map_path.split("/")[-4:-2] == ["001", "response"]
    assert sample.heatmap_neck.map_path.split("/")[-4:-2] == ["001", "heatmap"]
    earlier = run(reviewed, number=0)
    assert (earlier.round, earlier.updated) == (0, 24)
    sample = loaded(earlier).first()
    assert sample.map_neck.map_path.split("/")[-4:-2] == ["000", "response"]
    assert sample.heatmap_neck is None  # not that of round 001


def test_with_instances_each_has_a_crop_grouped_with_its_image(reviewed: Trained):
    report = run(reviewed, instances=True, limit=5)
    dataset = loaded(report)
    assert (report.instances, report.samples, dataset.media_type) == (5, 10, "group")
    assert dataset.default_group_slice == "instance"
    assert len(dataset) == 5
    group = dataset.get_group(dataset.first().group.id)
    assert set(group) == {"instance", "image"}
    crop, whole = group["instance"], group["image"]
    assert whole.labelkit_id == f"{crop.labelkit_id}:image"
    assert crop.map_neck.map_path.endswith(f"/{crop.labelkit_id}.png")
    left, top, width, height = crop.boxes.detections[0].bounding_box
    assert 0 <= left < left + width <= 1
    assert 0 <= top < top + height <= 1
    files = sorted((reviewed.project.root / "review" / "crops").iterdir())
    assert len(files) == 5
    again = run(reviewed, instances=True, limit=5)
    assert (again.unchanged, again.samples) == (10, 10)


def test_a_limit_takes_the_most_uncertain_and_keeps_existing_samples(reviewed: Trained):
    report = run(reviewed, limit=6)
    assert report.samples == 6
    chosen = loaded(report).values("uncertainty")
    everything = run(reviewed)
    rest = sorted(loaded(everything).values("uncertainty"), reverse=True)
    assert sorted(chosen, reverse=True) == rest[:6]
    assert run(reviewed, limit=6).samples == 24


def test_an_edit_in_fiftyone_comes_back_like_any_human_label(reviewed: Trained):
    dataset = loaded(run(reviewed))
    sample = dataset.match({"round_000.keypoints.visibility": 2}).first()
    (label,) = sample.round_000.keypoints
    index = label.visibility.index(2)
    label.points[index] = [0.25, 0.5]
    sample.save()
    report = run(reviewed)
    assert (report.edits, report.conflicts) == (1, ())
    pose = reviewed.store.poses(reviewed.project.skeleton)[label.labelkit_id]
    assert pose.xy[index].tolist() == pytest.approx([24.0, 48.0])
    (entry,) = (e.entry for e in reviewed.store.entries() if e.entry.source == "fiftyone")
    name = reviewed.project.skeleton.keypoints[index]
    assert entry.shown["origins"][name] == "changed"
    assert list(entry.shown["origins"].values()).count("changed") == 1
    assert entry.shown["model_version"] == "round-000"
    assert run(reviewed).edits == 0
    human = loaded(report)[sample.id].human.keypoints[0]
    assert human.points[index] == pytest.approx([0.25, 0.5])


def test_a_label_that_changed_on_both_sides_is_listed_and_both_are_kept(reviewed: Trained):
    sample = a_labelled_sample(reviewed)
    (label,) = sample.human.keypoints
    index = label.visibility.index(2)
    label.points[index] = [0.5, 0.5]
    sample.save()
    elsewhere = [e.entry for e in reviewed.store.entries() if e.entry.kind == "keypoints"]
    mine = next(entry for entry in elsewhere if entry.instance_id == label.labelkit_id)
    moved = {name: [x / 2, y, v] for name, (x, y, v) in mine.content.items()}
    reviewed.store.record([replace(mine, content=moved, version="later")])
    report = run(reviewed)
    assert report.conflicts == (label.labelkit_id,)
    assert label.labelkit_id in report.text()
    contents = [
        e.entry.content[reviewed.project.skeleton.keypoints[index]][:2]
        for e in reviewed.store.entries()
        if e.entry.instance_id == label.labelkit_id and e.entry.kind == "keypoints"
    ]
    assert contents[2] == pytest.approx([48.0, 48.0])  # the edit
    assert contents[3] == contents[1]  # the label that still counts
    assert len(contents) == 4
    assert run(reviewed).conflicts == ()
    (conflict,) = find_conflicts(reviewed.store)
    assert conflict.ours.instance_id == label.labelkit_id
    settle(reviewed.store, "theirs")
    pose = reviewed.store.poses(reviewed.project.skeleton)[label.labelkit_id]
    assert pose.xy[index] == pytest.approx([48.0, 48.0])


def test_an_edit_is_read_by_the_names_that_its_keypoints_had(reviewed: Trained):
    sample = a_labelled_sample(reviewed)
    (label,) = sample.human.keypoints
    index = label.visibility.index(2, 1)  # not the first one, which goes
    name = reviewed.project.skeleton.keypoints[index]
    label.points[index] = [0.25, 0.5]
    sample.save()
    gone = reviewed.project.skeleton.keypoints[0]
    edit_skeleton(
        reviewed.project, reviewed.store, add=["navel"], remove=[gone], rename={name: "other"}
    )
    changed = reviewed._replace(project=open_project(reviewed.project.root))
    report = run(changed)
    assert (report.edits, report.unread) == (1, ())
    pose = changed.store.poses(changed.project.skeleton)[label.labelkit_id]
    skeleton = changed.project.skeleton
    assert pose.xy[skeleton.index("other")].tolist() == pytest.approx([24.0, 48.0])
    assert pose.visibility[skeleton.index("navel")] == -1
    assert run(changed).edits == 0
    human = loaded(report)[sample.id].human.keypoints[0]
    assert human.points[skeleton.index("other")] == pytest.approx([0.25, 0.5])


def test_an_edited_prediction_does_not_override_a_label(reviewed: Trained):
    sample = a_labelled_sample(reviewed)
    (label,) = sample.round_000.keypoints
    index = label.visibility.index(2)
    predicted = label.points[index]
    label.points[index] = [0.25, 0.5]
    sample.save()
    poses = reviewed.store.poses(reviewed.project.skeleton)
    report = run(reviewed)
    assert (report.edits, report.conflicts) == (1, (label.labelkit_id,))
    after = reviewed.store.poses(reviewed.project.skeleton)
    assert after[label.labelkit_id].xy.tolist() == poses[label.labelkit_id].xy.tolist()
    (conflict,) = find_conflicts(reviewed.store)
    assert conflict.theirs is not None
    assert (conflict.ours.source, conflict.theirs.source) == ("label-studio", "fiftyone")
    assert loaded(report)[sample.id].round_000.keypoints[0].points[index] == predicted
    again = run(reviewed)
    assert (again.edits, again.updated, again.conflicts) == (0, 0, ())
    settle(reviewed.store, "theirs")
    pose = reviewed.store.poses(reviewed.project.skeleton)[label.labelkit_id]
    assert pose.xy[index].tolist() == pytest.approx([24.0, 48.0])


def test_an_edit_that_fits_no_instance_is_named_and_left_alone(reviewed: Trained):
    pull_file(reviewed.project, reviewed.store, reviewed.corrections())
    fiftyone = quiet_fiftyone()
    shorter, longer, added, *_ = loaded(run(reviewed)).match({"human.keypoints.visibility": 2})
    shorter.human.keypoints[0].points.pop()
    longer.human.keypoints[0].visibility.append(2)
    added.human.keypoints.append(fiftyone.Keypoint(points=[[0.25, 0.5]]))
    for sample in (shorter, longer, added):
        sample.save()
    head = reviewed.store.head()
    for _ in range(2):
        report = run(reviewed)
        assert (report.edits, reviewed.store.head()) == (0, head)
        ids = [sample.human.keypoints[0].labelkit_id for sample in (shorter, longer)]
        assert set(report.unread) == {*ids, added.filepath}
        assert all(name in report.text() for name in report.unread)
        assert len(loaded(report)[added.id].human.keypoints) == 2
    theirs = fiftyone.Sample(filepath=added.filepath)  # labelkit has not written its frame
    theirs["human"] = added.human
    loaded(report).add_sample(theirs)
    assert run(reviewed).unread == report.unread


def test_dropping_the_database_loses_no_label_and_no_choice(reviewed: Trained):
    pull_file(reviewed.project, reviewed.store, reviewed.corrections())
    labelled = reviewed.store.poses(reviewed.project.skeleton)
    chosen = next(id_ for id_ in reviewed.store.instances() if id_ not in labelled)
    write_choices(reviewed.project, Choices((chosen,), ()))
    first = run(reviewed)
    before = loaded(first)
    stored = {s.labelkit_id: str(s.human.to_dict()) for s in before}
    quiet_fiftyone().delete_dataset(first.dataset)
    second = run(reviewed)
    after = loaded(second)
    assert {s.labelkit_id: str(s.human.to_dict()) for s in after} == stored
    assert [s.boxes.detections[0].labelkit_id for s in after.match_tags("label-next")] == [chosen]


def test_tags_become_the_front_of_the_queue_and_its_exclusions(reviewed: Trained):
    dataset = loaded(run(reviewed))
    ids = {s.boxes.detections[0].labelkit_id: s for s in dataset}
    waiting = [item.instance_id for item in read_queue(reviewed.project)]
    fresh = next(id_ for id_ in ids if id_ not in waiting)
    for id_, tag in ((fresh, "label-next"), (waiting[0], "exclude")):
        ids[id_].tags.append(tag)
        ids[id_].save()
    report = queue(reviewed.project, reviewed.store, from_review=True)
    items = read_queue(reviewed.project)
    assert (items[0].instance_id, items[0].reason) == (fresh, "chosen")
    assert [item.instance_id for item in items[1:]] == waiting[1:]
    assert (report.chosen, report.excluded, report.queued) == (1, 1, len(waiting))
    # It holds through a retrain, and until the tag is taken off again.
    retrain(reviewed.project, reviewed.store, Silent(), percent=50, now=False, options=TINY)
    after = [item.instance_id for item in read_queue(reviewed.project)]
    assert after[0] == fresh
    assert waiting[0] not in after
    sample = loaded(run(reviewed))[ids[fresh].id]
    sample.tags.remove("label-next")
    sample.save()
    queue(reviewed.project, reviewed.store, from_review=True)
    assert read_choices(reviewed.project) == Choices((), (waiting[0],))
    assert read_queue(reviewed.project)[0].reason != "chosen"


def test_tags_of_both_datasets_are_read_and_shown_in_both(reviewed: Trained):
    whole, crops = loaded(run(reviewed)), loaded(run(reviewed, instances=True))
    sample = crops.first()
    sample.tags.append("exclude")
    sample.save()
    assert queue(reviewed.project, reviewed.store, from_review=True).excluded == 1
    tagged = loaded(run(reviewed)).match_tags("exclude")
    assert [s.boxes.detections[0].labelkit_id for s in tagged] == [sample.labelkit_id]
    sample = tagged.first()
    sample.tags.remove("exclude")
    sample.save()
    assert queue(reviewed.project, reviewed.store, from_review=True).excluded == 0
    crops.reload()
    assert len(crops.match_tags("exclude")) == len(whole.match_tags("exclude")) == 0


def test_a_round_or_view_that_is_not_there_is_named_with_those_that_are(reviewed: Trained):
    with pytest.raises(UsageError, match=r"7(?s:.*)0"):
        run(reviewed, number=7)
    with pytest.raises(UsageError, match=r"'nonsense'(?s:.*)most uncertain"):
        run(reviewed, view="nonsense")
    assert run(reviewed, view="control arm").view == "control arm"


def test_without_a_database_everything_else_works(
    trained: Trained, fiftyone_database: None, monkeypatch: Any
):
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "mongodb://127.0.0.1:1")
    with pytest.raises(MissingDependencyError, match=r"mongodb://127\.0\.0\.1:1"):
        run(trained)
    outcome = labelkit("doctor", "--project", trained.project.root)
    assert outcome.code == 0
    assert "mongodb://127.0.0.1:1" in outcome.out
    assert labelkit("queue", "--project", trained.project.root).code == 0


def test_the_command_line_builds_without_the_app_and_reads_the_review(reviewed: Trained):
    options = ("--no-app", "--no-maps", "--project", reviewed.project.root, "--json")
    outcome = labelkit("review", *options)
    assert outcome.code == 0, outcome.err
    document = json.loads(outcome.out)
    assert (document["samples"], document["added"]) == (24, 24)
    outcome = labelkit("queue", "--from-review", "--project", reviewed.project.root, "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["chosen"] == 0
