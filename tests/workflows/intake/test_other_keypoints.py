"""Label files with fewer keypoints than the skeleton, with more, and with other names."""

import json

import pytest
from builders import make_project, stick_skeleton
from command_line import TINY, labelkit

from labelkit.errors import SkeletonError
from labelkit.progress import Silent
from labelkit.project.project import open_project
from labelkit.store.ownership import open_store
from labelkit.workflows.intake.label_matching import Handling
from labelkit.workflows.intake.label_sets import read_label_files
from labelkit.workflows.intake.register import register
from labelkit.workflows.upkeep.skeleton import edit_skeleton

STICK = stick_skeleton()
PLACES = {"nose": (2, 1), "left_paw": (3, 4), "right_paw": (5, 6), "tail": (7, 5), "wing": (9, 3)}


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


class Desk:
    """A project of two pictures of 12 x 8 pixels, and label files beside it."""

    def __init__(self, folder):
        self.folder = folder
        self.root = make_project(folder).root

    @property
    def project(self):
        return open_project(self.root)

    def coco(self, *names, **places):
        """Take a COCO file with an object in 0.png, every keypoint of it visible."""
        xyv = [value for name in names for value in (*(PLACES | places)[name], 2)]
        document = {
            "images": [{"id": 1, "file_name": "0.png", "width": 12, "height": 8}],
            "categories": [{"id": 1, "name": "stick", "keypoints": list(names)}],
            "annotations": [
                {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 12, 8], "keypoints": xyv}
            ],
        }
        path = self.folder / "labels.json"
        path.write_text(json.dumps(document))
        return self.take(path)

    def csv(self, text):
        path = self.folder / "answers.csv"
        path.write_text(text)
        return self.take(path)

    def take(self, path):
        """Register a file, and return the notes."""
        with open_store(self.project) as store:
            return register(
                self.project,
                store,
                Silent(),
                labels=read_label_files([path], self.project.skeleton),
                boxes="whole-image",
                skip_unreadable=False,
                handling=Handling(),
            ).notes

    def edit(self, **changes):
        with open_store(self.project) as store:
            return edit_skeleton(self.project, store, **changes)

    @property
    def visibility(self):
        with open_store(self.project) as store:
            (pose,) = store.poses(self.project.skeleton).values()
        return dict(zip(self.project.skeleton.keypoints, pose.visibility.tolist(), strict=True))

    def x(self, name):
        with open_store(self.project) as store:
            (pose,) = store.poses(self.project.skeleton).values()
        return pose.xy[self.project.skeleton.index(name), 0]


def test_keypoints_that_a_file_does_not_have_are_unknown_and_said_so(desk):
    (note,) = desk.coco("tail", "nose")
    assert "left_paw, right_paw" in note
    assert desk.visibility == {"nose": 2, "left_paw": -1, "right_paw": -1, "tail": 2}


def test_a_file_with_fewer_keypoints_takes_none_away(desk):
    desk.coco(*STICK.keypoints)
    desk.coco("nose", "tail", nose=(4, 4))
    assert set(desk.visibility.values()) == {2}
    assert (desk.x("nose"), desk.x("left_paw")) == (4, 3)


def test_keypoints_that_only_the_file_has_are_kept_for_the_day_the_skeleton_gets_them(desk):
    notes = desk.coco(*STICK.keypoints, "wing")
    assert any("labelkit skeleton edit --add wing" in note for note in notes)
    assert len(desk.visibility) == 4
    assert desk.edit(add=["wing"]).back == {"wing": 1}
    assert (desk.visibility["wing"], desk.x("wing")) == (2, 9)


def test_a_file_that_brings_the_new_keypoint_completes_the_labels(desk):
    desk.coco(*STICK.keypoints)
    desk.edit(add=["wing"])
    assert desk.visibility["wing"] == -1
    desk.coco(*STICK.keypoints, "wing")
    assert set(desk.visibility.values()) == {2}


def test_a_file_may_name_the_new_keypoint_alone(desk):
    desk.coco(*STICK.keypoints)
    desk.edit(add=["wing"])
    desk.coco("wing")
    assert set(desk.visibility.values()) == {2}
    assert (desk.x("wing"), desk.x("nose")) == (9, 2)


def test_a_file_of_before_a_rename_is_known(desk):
    desk.coco(*STICK.keypoints)
    desk.edit(rename={"tail": "tail_base"})
    with open_store(desk.project) as store:
        head = store.head()
    desk.coco(*STICK.keypoints)
    with open_store(desk.project) as store:
        assert store.head() == head
    assert desk.visibility["tail_base"] == 2


def test_other_names_may_be_other_names_for_the_same_and_are_refused(desk):
    desk.coco(*STICK.keypoints)
    with pytest.raises(SkeletonError, match=r"'wing'.*'tail'") as caught:
        desk.coco("nose", "left_paw", "right_paw", "wing")
    assert "labelkit skeleton edit --rename tail=wing" in caught.value.next_step
    assert "labelkit skeleton edit --add wing" in caught.value.next_step


def test_ticks_about_some_keypoints_leave_the_others_unknown(desk):
    (note,) = desk.csv("image,nose,tail\n0.png,1,0\n1.png,0,0\n")
    assert "left_paw, right_paw" in note
    with open_store(desk.project) as store:
        found = store.presences(desk.project.skeleton)
    assert [it.tolist() for it in found.values()] == [[1, -1, -1, 0], [0, -1, -1, 0]]


def test_a_new_project_has_the_skeleton_that_was_given_and_not_the_file_s(desk, tmp_path):
    (tmp_path / "given.toml").write_text(STICK.to_toml())
    desk.coco(*STICK.keypoints, "wing")
    done = labelkit(
        "bootstrap",
        *("--images", tmp_path / "frames", "--labels", tmp_path / "labels.json"),
        *("--skeleton", tmp_path / "given.toml", "--boxes", "whole-image"),
        *("--project", tmp_path / "other", *TINY),
    )
    assert done.code == 0
    assert "labelkit skeleton edit --add wing" in done.out
    assert open_project(tmp_path / "other").skeleton.keypoints == STICK.keypoints
