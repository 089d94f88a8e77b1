import math

import numpy as np
import pytest
from mpii_files import gt_valid, joint_names, rect, write_release
from scipy.io import savemat

from labelkit.errors import FormatError
from labelkit.formats.matlab.mat_file import FIX_PREDICTIONS, load_mat
from labelkit.formats.matlab.mpii import JOINTS, MpiiTruth, read_mpii, read_release

# gt_valid.mat


def read(path, contents) -> MpiiTruth:
    savemat(path, contents)
    return read_mpii(load_mat(path), path.name)


def test_the_truth_comes_back_person_by_person(tmp_path):
    found = read(tmp_path / "gt_valid.mat", gt_valid())
    assert found.xy.shape == (2, 16, 2)
    assert found.xy[1, 5].tolist() == [3.0, 4.0]
    assert found.labelled.sum() == 31
    assert not found.labelled[0, 0]
    assert found.head_box[0].tolist() == [[0.0, 0.0], [30.0, 40.0]]


def test_a_single_person_keeps_its_shape(tmp_path):
    assert read(tmp_path / "gt.mat", gt_valid(1)).xy.shape == (1, 16, 2)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"pos_gt_src": np.zeros((16, 3, 2))}, ["(16, 3, 2)"]),
        ({"jnt_missing": np.zeros((15, 2))}, ["(15, 2)"]),
        ({"pos_gt_src": np.full((16, 2, 2), math.nan)}, ["pos_gt_src", "nan", "(0, 0, 0)"]),
        ({"headboxes_src": np.zeros((2, 2, 2))}, ["head box", "person 1"]),
        ({"dataset_joints": joint_names(JOINTS[::-1])}, ["lwri lelb lsho"]),
        ({"dataset_joints": joint_names([*JOINTS[:-1], ""])}, ["lelb (none)"]),
        ({"jnt_missing": np.full((16, 2), 2)}, ["jnt_missing", "0 and 1"]),
    ],
)
def test_what_is_wrong_with_the_truth_is_named(changes, named, tmp_path):
    with pytest.raises(FormatError) as caught:
        read(tmp_path / "gt.mat", gt_valid(**changes))
    assert caught.value.problem.startswith("gt.mat")
    assert [part for part in named if part not in caught.value.problem] == []
    assert caught.value.next_step not in ("", FIX_PREDICTIONS)


# The release


@pytest.fixture
def release(tmp_path):
    """a.jpg with three people, the second without joints; b.jpg of the test set; c.jpg empty."""
    people = [rect({0: (3, 4), 9: (5, 6)}), rect({}), rect({15: (7, 8)}, (0.0, 0.0, 6.0, 8.0))]
    return load_mat(write_release(tmp_path / "mpii.mat", people))


def test_people_of_the_release_come_back_by_image_and_number(release):
    found, labelled = read_release(release, [("a.jpg", 3), ("a.jpg", 1)], "mpii.mat")
    assert labelled == 2
    assert np.argwhere(found.labelled).tolist() == [[0, 15], [1, 0], [1, 9]]
    assert found.xy[0, 15].tolist() == [7.0, 8.0]
    assert found.xy[1, 9].tolist() == [5.0, 6.0]
    assert found.head_box.tolist() == [[[0.0, 0.0], [6.0, 8.0]], [[10.0, 20.0], [40.0, 60.0]]]


@pytest.mark.parametrize(
    ("name", "named"),
    [
        (("a.jpg", 2), "person 2 of a.jpg"),
        (("a.jpg", 4), "person 4 of a.jpg"),
        (("b.jpg", 1), "person 1 of b.jpg"),
        (("c.jpg", 1), "person 1 of c.jpg"),
        (("d.jpg", 1), "image 'd.jpg'"),
    ],
)
def test_a_person_without_labels_is_named(release, name, named):
    with pytest.raises(FormatError) as caught:
        read_release(release, [name], "mpii.mat")
    assert caught.value.problem.startswith("mpii.mat")
    assert named in caught.value.problem


@pytest.mark.parametrize(
    "person",
    [
        rect({16: (1, 2)}),
        rect({-1: (1, 2)}),
        rect({9: (math.nan, 2)}),
        rect({9: (1, 2)}, (math.nan, 20.0, 40.0, 60.0)),
        rect({9: (1, 2)}, (10.0, 20.0, math.inf, 60.0)),
    ],
)
def test_a_damaged_person_is_an_error_and_not_scored(person, tmp_path):
    damaged = load_mat(write_release(tmp_path / "mpii.mat", [person]))
    with pytest.raises(FormatError, match=r"people of a\.jpg"):
        read_release(damaged, [("a.jpg", 1)], "mpii.mat")


def test_a_file_that_is_not_the_release_is_refused():
    with pytest.raises(FormatError, match=r"RELEASE\.annolist"):
        read_release({"RELEASE": np.zeros((1, 1))}, [("a.jpg", 1)], "mpii.mat")
