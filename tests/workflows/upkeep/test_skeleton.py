"""A skeleton that grows in a project with rounds and labels."""

import json
from dataclasses import replace

import numpy as np
import pytest
from command_line import labelkit
from trained import TINY, Trained

from labelkit.api.frames import keypoints
from labelkit.domain.pose import UNKNOWN, Pose, human_pose
from labelkit.domain.selection import QueueItem
from labelkit.errors import SkeletonError, UsageError
from labelkit.models.checkpoint import load_model
from labelkit.progress import Silent
from labelkit.project.predictions import read_predictions
from labelkit.project.project import open_project
from labelkit.project.rounds import latest_complete
from labelkit.store.conflicts import find_conflicts
from labelkit.store.journal import Entry, keypoints_content
from labelkit.workflows.loop.retrain import retrain
from labelkit.workflows.loop.status import status
from labelkit.workflows.measure.evaluate import evaluate
from labelkit.workflows.reviewing.items import gather
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.queue_file import waiting, write_queue
from labelkit.workflows.sync.pull_file import pull_file
from labelkit.workflows.sync.push_files import push_files
from labelkit.workflows.synthetic.simulated_annotator import correct
from labelkit.workflows.upkeep.skeleton import edit_skeleton, renames, show_skeleton


@pytest.fixture
def corrected(trained):
    """The queue of the first round was corrected and pulled: 4 instances, 2 of them in the dev set.

    The export is export.json.
    """
    pull_file(trained.project, trained.store, trained.corrections())
    return trained


def edit(trained: Trained, **changes) -> Trained:
    edit_skeleton(trained.project, trained.store, **changes)
    return trained._replace(project=open_project(trained.project.root))


def train(trained: Trained, **options):
    report = retrain(
        trained.project,
        trained.store,
        Silent(),
        percent=None,
        now=True,
        options=replace(TINY, **options),
    )
    found = latest_complete(trained.project)
    return report, load_model(found.path / "model.safetensors")[1]["skeleton"]["keypoints"]


def labels(trained: Trained):
    return read_snapshot(trained.project, trained.store)


def asked(trained: Trained) -> list[dict]:
    """The tasks that ask people now."""
    files = push_files(trained.project, trained.store, dry_run=False).files
    return json.loads(files[1].read_text("utf-8"))


def answer(trained: Trained, tasks: list[dict]) -> None:
    """Someone corrects these tasks: true locations, and every new keypoint at the neck."""
    skeleton = trained.project.skeleton
    truth = {}
    for id_, pose in trained.truth.items():
        columns = np.array(skeleton.columns_in(skeleton_of_truth()))
        columns[columns < 0] = skeleton_of_truth().index("neck")
        truth[id_] = Pose(pose.xy[columns], pose.visibility[columns], pose.score[columns])
    path = trained.folder / "more.json"
    rows = correct(tasks, trained.store.instances(), truth, skeleton)
    for row in rows:
        row["annotations"][0]["id"] += " again"
    path.write_text(json.dumps(rows), "utf-8")
    pull_file(trained.project, trained.store, path)


def skeleton_of_truth() -> tuple[str, ...]:
    from labelkit.domain.skeleton import load_skeleton

    return load_skeleton("lsp14").keypoints


def test_a_new_keypoint_is_unknown_in_the_labels_that_there_are_and_they_stay(corrected):
    before = labels(corrected)
    grown = edit(corrected, add=["navel"])
    after = labels(grown)
    assert grown.project.skeleton.keypoints[-1] == "navel"
    assert after.poses.keys() == before.poses.keys()
    for id_, pose in after.poses.items():
        assert pose.take(range(14)) == before.poses[id_]
        assert pose.visibility[14] == UNKNOWN
    assert {presence[14] for presence in after.presences.values()} == {UNKNOWN}
    assert not any(map(after.is_labelled, after.poses))


def test_people_are_asked_about_it_with_what_is_labelled_in_place(corrected):
    grown = edit(corrected, add=["navel"])
    before = labels(grown)
    first = waiting(grown.project, before)[:4]
    assert {item.instance_id for item in first} == before.poses.keys()
    assert all(item.control == (item.instance_id in before.dev) for item in first)
    tasks = asked(grown)
    for task in tasks[:4]:
        ours = task["data"]["labelkit"]
        (id_,) = ours["instances"]
        assert "navel" in ours["keypoints"]
        pose = before.poses[id_]
        names = [
            n for n, there in zip(skeleton_of_truth(), pose.present[:14], strict=True) if there
        ]
        assert ours["served"][id_] == names  # the round knows no navel
    answer(grown, tasks[:4])
    after = labels(grown)
    assert all(after.is_labelled(item.instance_id) for item in first)
    assert {item.instance_id for item in waiting(grown.project, after)}.isdisjoint(before.poses)


def test_a_round_learns_it_as_soon_as_it_is_labelled(corrected):
    train(corrected)
    grown = edit(corrected, add=["navel"])
    report, _ = train(grown)
    assert not report.is_new  # nothing new to learn
    answer(grown, asked(grown)[:4])
    report, learned = train(grown)
    assert (report.is_new, learned) == (True, list(grown.project.skeleton.keypoints))
    newest = latest_complete(grown.project)
    found = read_predictions(newest.path / "predictions.parquet", grown.project.skeleton)
    assert all(item.pose.known.all() for item in found.values())


def test_earlier_rounds_are_read_by_name_and_a_round_without_answers_leaves_it_unknown(corrected):
    changed = edit(corrected, add=["navel"], rename={"neck": "throat"}, remove=["head_top"])
    names = changed.project.skeleton.keypoints
    review = gather(changed.project, changed.store)
    for item in review.items.values():
        (prediction,) = item.predictions.values()
        assert prediction.pose.known.tolist() == [name != "navel" for name in names]
        assert np.isnan(prediction.presence[names.index("navel")])
        assert not np.isnan(prediction.presence[names.index("throat")])
    report, learned = train(changed)
    assert report.is_new
    assert learned == [name for name in names if name != "navel"]


def test_answers_to_tasks_of_before_leave_it_unknown_and_come_in_once(trained):
    old = trained.corrections()
    grown = edit(trained, add=["navel"])
    report = pull_file(grown.project, grown.store, old)
    assert report.poses == 4
    assert {pose.visibility[14] for pose in labels(grown).poses.values()} == {UNKNOWN}
    renamed = edit(grown, rename={"neck": "throat"})
    assert pull_file(renamed.project, renamed.store, old).added == 0
    at = renamed.project.skeleton.index("throat")
    neck = skeleton_of_truth().index("neck")
    for id_, pose in labels(renamed).poses.items():
        assert pose.xy[at] == pytest.approx(renamed.truth[id_].xy[neck], abs=1.0)


def test_a_removed_keypoint_comes_back_with_its_labels(corrected):
    before = labels(corrected)
    without = edit(corrected, remove=["neck"])
    assert "neck" not in without.project.skeleton.keypoints
    report = edit_skeleton(without.project, without.store, add=["neck"])
    assert report.back["neck"] > 0
    again = labels(without._replace(project=open_project(without.project.root)))
    order = report.skeleton.columns_in(corrected.project.skeleton.keypoints)
    assert again.poses == {id_: pose.take(order) for id_, pose in before.poses.items()}


def test_a_renamed_keypoint_changes_no_training(corrected):
    train(corrected)
    renamed = edit(corrected, rename={"neck": "throat"})
    assert not train(renamed)[0].is_new


@pytest.mark.parametrize(
    ("changes", "error", "item"),
    [
        ({}, UsageError, "nothing"),
        ({"add": ["neck"]}, SkeletonError, "'neck'"),
        ({"remove": ["wing"]}, SkeletonError, "'wing'"),
        ({"rename": {"neck": "head_top"}}, SkeletonError, "'head_top'"),
        ({"pairs": "neck:wing"}, SkeletonError, "'wing'"),
    ],
)
def test_an_edit_that_contradicts_the_skeleton_changes_nothing(trained, changes, error, item):
    before = (trained.project.root / "labelkit.toml").read_bytes()
    with pytest.raises(error, match=item):
        edit_skeleton(trained.project, trained.store, **changes)
    assert (trained.project.root / "labelkit.toml").read_bytes() == before


def test_a_name_that_the_journal_knows_for_another_keypoint_cannot_be_taken(corrected):
    without = edit(corrected, remove=["neck"])
    with pytest.raises(SkeletonError, match=r"'neck'"):
        edit_skeleton(without.project, without.store, rename={"head_top": "neck"})


def test_all_keypoints_cannot_go_at_once(trained):
    (trained.folder / "other.toml").write_text('keypoints = ["cockpit", "rudder"]')
    with pytest.raises(SkeletonError, match="right_ankle") as caught:
        edit_skeleton(trained.project, trained.store, file=trained.folder / "other.toml")
    assert "--rename" in caught.value.next_step


def test_a_dry_run_says_what_would_change_and_changes_nothing(corrected):
    def files():
        return {path: path.read_bytes() for path in corrected.project.root.glob("*.[tj]*")}

    edit_skeleton(corrected.project, corrected.store, add=["navel"], dry_run=True)
    before = files()  # with what is noted of the images folder
    report = edit_skeleton(corrected.project, corrected.store, add=["navel"], dry_run=True)
    assert report.changed.added == ("navel",)
    assert report.incomplete == 4
    assert files() == before


def test_pairs_can_be_changed_and_decide_whether_crops_are_mirrored(corrected):
    train(corrected)
    changed = edit(corrected, pairs="none")
    assert changed.project.skeleton.pairs == ()
    assert train(changed)[0].is_new
    assert latest_complete(changed.project).plan.settings["mirror"] is False


def test_what_is_shown_is_a_file_that_an_edit_takes(corrected):
    changed = edit(corrected, add=["navel"], rename={"neck": "throat"}, remove=["head_top"])
    text = show_skeleton(changed.project, changed.store).text()
    assert "# In the journal, but not in the skeleton: head_top" in text
    (changed.folder / "s.toml").write_text(text)
    again = edit(changed, file=changed.folder / "s.toml")
    assert again.project.skeleton == changed.project.skeleton


def test_a_frame_has_nothing_where_a_keypoint_is_unknown(corrected):
    grown = edit(corrected, add=["navel"])
    frame = keypoints(grown.project, grown.store)
    navel = frame[frame["keypoint"] == "navel"]
    assert (
        navel[["x", "y", "visibility", "present", "predicted_x", "predicted_score"]]
        .isna()
        .all(axis=None)
    )
    neck = frame[(frame["keypoint"] == "neck") & frame["split"].isin(["labelled", "dev"])]
    assert neck["visibility"].notna().sum() >= 4


def test_an_evaluation_scores_what_is_labelled(corrected):
    train(corrected)

    def scores(trained):
        report = evaluate(
            trained.project,
            trained.store,
            Silent(),
            images=None,
            labels=None,
            supervised=False,
            output=None,
        )
        return report.keypoints, [row.as_dict() for row in report.table.rows]

    before = scores(corrected)
    grown = edit(corrected, add=["navel"])
    assert scores(grown) == before


def test_the_command_shows_and_edits(corrected):
    where = ("--project", corrected.project.root)
    shown = labelkit("skeleton", "show", *where)
    assert (shown.code, "left_hip/right_hip" in shown.out) == (0, True)
    done = labelkit("skeleton", "edit", "--add", "navel", "--rename", "neck=throat", *where)
    assert done.code == 0
    assert "navel" in done.out
    assert "labelkit push" in done.out
    names = json.loads(labelkit("skeleton", "show", "--json", *where).out)["skeleton"]["keypoints"]
    assert names[-1] == "navel"
    assert "throat" in names
    assert labelkit("skeleton", "show", "--add", "x", *where).code == 2
    assert labelkit("skeleton", "edit", "--rename", "throat", *where).code == 2


@pytest.mark.parametrize("text", ["neck", "neck=", "=neck", "a=b=c"])
def test_a_rename_is_two_names(text):
    with pytest.raises(UsageError, match="OLD=NEW"):
        renames([text])


def test_correcting_a_label_that_the_task_shows_is_no_conflict_and_one_that_it_does_not_is(trained):
    ids = list(trained.truth)[:2]
    skeleton = trained.project.skeleton
    wrong = {id_: human_pose(trained.truth[id_].xy * 0 + 5.0, [2] * 14) for id_ in ids}

    def record(id_, pose, version):
        content = keypoints_content(skeleton, pose)
        trained.store.record([Entry(id_, "keypoints", content, "file:k.json", id_, version)])

    for id_ in ids:
        record(id_, wrong[id_], "1")
    grown = edit(trained, add=["navel"])
    write_queue(grown.project, [QueueItem(id_, "incomplete", False) for id_ in ids])
    tasks = asked(grown)
    assert [set(task["data"]["labelkit"]["labelled"]) for task in tasks] == [{id_} for id_ in ids]
    record(ids[1], human_pose(wrong[ids[1]].xy + 1.0, [2] * 14), "2")  # meanwhile
    answer(grown, tasks)
    assert [it.ours.instance_id for it in find_conflicts(grown.store)] == [ids[1]]
    after = labels(grown)
    assert all(map(after.is_labelled, ids))
    present = trained.truth[ids[0]].present
    assert after.poses[ids[0]].present[:14].tolist() == present.tolist()


def test_status_says_which_keypoint_is_not_labelled_yet(corrected):
    assert status(corrected.project, corrected.store).unknown == {}
    grown = edit(corrected, add=["navel"])
    report = status(grown.project, grown.store)
    assert report.unknown == {"navel": 4}
    assert "navel" in report.text()
