import math
import sys

import numpy as np
import pytest
from scipy.io import savemat

from labelkit.errors import FormatError, MissingDependencyError
from labelkit.formats.lsp import read_lsp, scored_part
from labelkit.formats.mat_file import load_mat
from labelkit.formats.mpii import JOINTS, read_mpii
from labelkit.formats.pose_list import check_people, read_pose_arrays, read_pose_list

# What MATLAB writes before the variables of a file of version 7.3, which is HDF5.
VERSION_73 = b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + b"\x00\x02IM"


def names(joints=JOINTS) -> np.ndarray:
    """Joint names as MATLAB saves a row of them."""
    row = np.empty((1, len(joints)), dtype=object)
    row[0] = joints
    return row


def mpii(people: int = 2, **changes) -> dict:
    """All joints at (3, 4) px, the ankle of the first person missing; heads of 30 x 40 px."""
    missing = np.zeros((16, people))
    missing[0, 0] = 1
    boxes = np.zeros((2, 2, people))
    boxes[1] = [[30.0] * people, [40.0] * people]
    xy = np.empty((16, 2, people))
    xy[:, 0], xy[:, 1] = 3.0, 4.0
    return {
        "dataset_joints": names(),
        "pos_gt_src": xy,
        "jnt_missing": missing,
        "headboxes_src": boxes,
    } | changes


def saved(path, contents):
    savemat(path, contents)
    return load_mat(path)


def test_the_truth_of_mpii_comes_back_person_by_person(tmp_path):
    found = read_mpii(saved(tmp_path / "gt_valid.mat", mpii()), "gt_valid.mat")
    assert found.xy.shape == (2, 16, 2)
    assert found.xy[1, 5].tolist() == [3.0, 4.0]
    assert found.labelled.sum() == 31
    assert not found.labelled[0, 0]
    assert found.head_box[0].tolist() == [[0.0, 0.0], [30.0, 40.0]]


def test_mpii_of_one_person_keeps_its_shape(tmp_path):
    assert read_mpii(saved(tmp_path / "gt.mat", mpii(1)), "gt.mat").xy.shape == (1, 16, 2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pos_gt_src": np.zeros((16, 3, 2))}, "has arrays of the shapes"),
        ({"jnt_missing": np.zeros((15, 2))}, "has arrays of the shapes"),
        ({"pos_gt_src": np.full((16, 2, 2), math.nan)}, "pos_gt_src holds nan at (0, 0, 0)"),
        ({"headboxes_src": np.zeros((2, 2, 2))}, "the head box of person 1 has no size."),
        ({"dataset_joints": names(JOINTS[::-1])}, "has the joints lwri lelb lsho"),
        ({"dataset_joints": names([*JOINTS[:-1], ""])}, "lelb (none), not MPII's"),
        ({"jnt_missing": np.full((16, 2), 2)}, "jnt_missing holds other numbers than 0 and 1."),
    ],
)
def test_what_is_wrong_with_the_truth_of_mpii_is_named(changes, said, tmp_path):
    with pytest.raises(FormatError) as caught:
        read_mpii(saved(tmp_path / "gt.mat", mpii(**changes)), "gt.mat")
    assert said in caught.value.problem
    assert "guess" not in (caught.value.next_step or "")  # which is for predictions


def test_a_missing_variable_is_named_with_those_that_are_there(tmp_path):
    with pytest.raises(FormatError) as caught:
        read_mpii(saved(tmp_path / "gt.mat", {"joints": 1}), "gt.mat")
    assert caught.value.problem == "gt.mat has no variable pos_gt_src; it has joints."


def test_hidden_joints_of_lsp_have_a_location_and_those_of_lspet_have_none(tmp_path):
    lsp = np.zeros((3, 14, 2))
    lsp[:, 5, 1] = 7.0, 8.0, 1.0  # 1: hidden
    found = read_lsp(saved(tmp_path / "lsp.mat", {"joints": lsp}), "lsp.mat")
    assert found.xy[1, 5].tolist() == [7.0, 8.0]
    assert found.counted.all()
    lspet = np.zeros((14, 3, 2))
    lspet[5, :, 1] = 7.0, 8.0, 1.0  # 1: visible
    found = read_lsp(saved(tmp_path / "lspet.mat", {"joints": lspet}), "lspet.mat")
    assert found.xy[1, 5].tolist() == [7.0, 8.0]
    assert np.argwhere(found.counted).tolist() == [[1, 5]]


def test_a_thousand_poses_are_scored_on_the_test_half_of_lsp():
    joints = np.zeros((3, 14, 2000))
    joints[0, 0] = np.arange(2000)
    truth = read_lsp({"joints": joints}, "lsp.mat")
    assert scored_part(truth, 1000).xy[0, 0, 0] == 1000.0  # image 1001
    assert len(scored_part(truth, 2000).xy) == len(scored_part(truth, 7).xy) == 2000


def test_joints_of_another_shape_are_named():
    with pytest.raises(FormatError, match=r"joints has the shape \(14, 2, 5\)"):
        read_lsp({"joints": np.zeros((14, 2, 5))}, "joints.mat")


def test_poses_are_read_as_hrnet_and_as_the_evaluation_of_lsp_write_them():
    poses = np.arange(5 * 14 * 2, dtype=float).reshape(5, 14, 2)
    assert np.array_equal(read_pose_arrays({"preds": poses}, "p.mat", 14), poses)
    by_axis = poses.transpose(2, 1, 0)  # (2, 14, 5)
    assert np.array_equal(read_pose_arrays({"pred": by_axis}, "p.mat", 14), poses)
    with_score = np.concatenate([poses, np.ones((5, 14, 1))], axis=2)
    assert np.array_equal(read_pose_arrays({"preds": with_score}, "p.mat", 14), poses)


def test_where_two_people_leave_both_readings_open_the_name_decides():
    poses = np.arange(2 * 14 * 2, dtype=float).reshape(2, 14, 2)
    assert np.array_equal(read_pose_arrays({"preds": poses}, "p.mat", 14), poses)
    assert np.array_equal(read_pose_arrays({"pred": poses.transpose(2, 1, 0)}, "p.mat", 14), poses)


def test_json_says_which_number_its_first_pixel_has():
    poses = np.zeros((1, 14, 2)).tolist()
    matlab = read_pose_list({"first_pixel": 1, "poses": poses}, "p.json", 14)
    assert matlab[0, 0].tolist() == [0.0, 0.0]
    python = read_pose_list({"first_pixel": 0, "poses": poses}, "p.json", 14)
    assert python[0, 0].tolist() == [1.0, 1.0]


POSES = np.zeros((1, 14, 2)).tolist()


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (POSES, "p.json is no list of poses."),
        ({"poses": POSES}, "first_pixel is None; it wants 0 or 1."),
        ({"first_pixel": True, "poses": POSES}, "first_pixel is True; it wants 0 or 1."),
        ({"first_pixel": 0, "poses": POSES[0]}, "the poses have the shape (14, 2)"),
        ({"first_pixel": 0, "poses": [[[1]] * 14]}, "the poses have the shape (1, 14, 1)"),
        ({"first_pixel": 0, "poses": [[[1, 2], [3]]]}, "poses is not an array of numbers"),
        ({"first_pixel": 0, "poses": [[["1", "2"]] * 14]}, "poses is not an array of numbers"),
        (
            {"first_pixel": 0, "poses": [[[math.nan, 0]] * 14]},
            "poses holds nan at (0, 0, 0), counted from 0.",
        ),
    ],
)
def test_what_is_wrong_with_a_list_of_poses_is_named(document, said):
    with pytest.raises(FormatError) as caught:
        read_pose_list(document, "p.json", 14)
    assert said in caught.value.problem


def test_what_is_wrong_with_an_array_of_poses_is_named():
    with pytest.raises(FormatError, match=r"the poses have the shape \(5, 17, 2\)"):
        read_pose_arrays({"preds": np.zeros((5, 17, 2))}, "p.mat", 14)
    with pytest.raises(FormatError, match="has no variable preds or pred; it has joints"):
        read_pose_arrays({"joints": 1}, "p.mat", 14)
    with pytest.raises(FormatError, match="preds is not an array of numbers"):
        read_pose_arrays({"preds": np.array(["a"])}, "p.mat", 14)


def test_there_is_one_pose_for_each_person():
    check_people(np.zeros((5, 14, 2)), 5, "p.json")
    with pytest.raises(FormatError) as caught:
        check_people(np.zeros((4, 14, 2)), 5, "p.json")
    assert caught.value.problem == "p.json has 4 poses; the truth has 5 people."


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "There is no file"),
        (b"", "is not a MATLAB file, or was cut off"),
        (b"{}", "is not a MATLAB file, or was cut off"),
        (b"no matlab" * 100, "is not a MATLAB file, or was cut off"),
        (VERSION_73 + bytes(1000), "is a MATLAB file of version 7.3"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(content, said, tmp_path):
    path = tmp_path / "gt.mat"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FormatError) as caught:
        load_mat(path)
    assert str(path) in caught.value.problem
    assert said in caught.value.problem


def test_a_folder_is_named(tmp_path):
    with pytest.raises(FormatError, match="is a folder"):
        load_mat(tmp_path)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_that_was_cut_off_is_named(share, compressed, tmp_path):
    path = tmp_path / "gt.mat"
    noise = np.random.default_rng(0).random((16, 2, 50))
    savemat(path, mpii(50, pos_gt_src=noise), do_compression=compressed)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(FormatError):
        read_mpii(load_mat(path), str(path))


def test_without_scipy_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(MissingDependencyError) as caught:
        load_mat(tmp_path / "gt.mat")
    assert caught.value.next_step == (
        "In labelkit's source folder type: pip install '.[benchmarks]'"
    )
