import math

import numpy as np
import pytest

from labelkit.errors import FormatError
from labelkit.formats.pose_list import (
    check_people,
    read_named_poses,
    read_pose_arrays,
    read_pose_list,
)

POSES = np.zeros((1, 14, 2)).tolist()
POSE = np.zeros((16, 2)).tolist()


def test_poses_are_read_as_hrnet_and_as_the_evaluation_of_lsp_write_them():
    poses = np.arange(5 * 14 * 2, dtype=float).reshape(5, 14, 2)
    assert np.array_equal(read_pose_arrays({"preds": poses}, "p.mat", 14), poses)
    by_axis = poses.transpose(2, 1, 0)  # (2, 14, 5)
    assert np.array_equal(read_pose_arrays({"pred": by_axis}, "p.mat", 14), poses)
    with_score = np.concatenate([poses, np.ones((5, 14, 1))], axis=2)
    assert np.array_equal(read_pose_arrays({"preds": with_score}, "p.mat", 14), poses)


def test_with_two_people_the_name_of_the_variable_decides_the_order_of_the_axes():
    poses = np.arange(2 * 14 * 2, dtype=float).reshape(2, 14, 2)
    assert np.array_equal(read_pose_arrays({"preds": poses}, "p.mat", 14), poses)
    assert np.array_equal(read_pose_arrays({"pred": poses.transpose(2, 1, 0)}, "p.mat", 14), poses)


def test_what_is_wrong_with_an_array_of_poses_is_named():
    with pytest.raises(FormatError, match=r"p\.mat: .*\(5, 17, 2\)"):
        read_pose_arrays({"preds": np.zeros((5, 17, 2))}, "p.mat", 14)
    with pytest.raises(FormatError, match=r"preds or pred; .* joints"):
        read_pose_arrays({"joints": 1}, "p.mat", 14)
    with pytest.raises(FormatError, match=r"p\.mat: preds"):
        read_pose_arrays({"preds": np.array(["a"])}, "p.mat", 14)


def test_json_gives_the_number_of_its_first_pixel():
    matlab = read_pose_list({"first_pixel": 1, "poses": POSES}, "p.json", 14)
    assert matlab[0, 0].tolist() == [0.0, 0.0]
    python = read_pose_list({"first_pixel": 0, "poses": POSES}, "p.json", 14)
    assert python[0, 0].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("document", "named"),
    [
        (POSES, ["poses"]),
        ({"poses": POSES}, ["first_pixel", "None"]),
        ({"first_pixel": True, "poses": POSES}, ["first_pixel", "True"]),
        ({"first_pixel": 0, "poses": POSES[0]}, ["poses", "(14, 2)", "(N, 14, 2)"]),
        ({"first_pixel": 0, "poses": [[[1]] * 14]}, ["poses", "(1, 14, 1)"]),
        ({"first_pixel": 0, "poses": [[[1, 2], [3]]]}, ["poses"]),
        ({"first_pixel": 0, "poses": [[["1", "2"]] * 14]}, ["poses"]),
        ({"first_pixel": 0, "poses": [[[math.nan, 0]] * 14]}, ["poses", "nan", "(0, 0, 0)"]),
    ],
)
def test_what_is_wrong_with_a_list_of_poses_is_named(document, named):
    with pytest.raises(FormatError) as caught:
        read_pose_list(document, "p.json", 14)
    assert caught.value.problem.startswith("p.json")
    assert [part for part in named if part not in caught.value.problem] == []
    assert caught.value.next_step


def test_poses_by_name_give_the_number_of_their_first_pixel():
    people = [{"image": "a.jpg", "person": 3, "keypoints": POSE}]
    found = read_named_poses({"first_pixel": 0, "people": people}, "p.json")
    assert list(found) == [("a.jpg", 3)]
    assert found["a.jpg", 3][0].tolist() == [1.0, 1.0]


def test_scores_of_joints_are_ignored():
    scored = [[*xy, 0.5] for xy in POSE]
    people = [{"image": "a.jpg", "person": 3, "keypoints": scored}]
    found = read_named_poses({"first_pixel": 1, "people": people}, "p.json")
    assert found["a.jpg", 3].tolist() == POSE


@pytest.mark.parametrize(
    ("people", "named"),
    [
        (None, ["MPII's release"]),
        (["a.jpg"], ["MPII's release"]),
        ([], ["no people"]),
        ([{"image": "a.jpg"}], ["person None of image 'a.jpg'"]),
        ([{"image": "a.jpg", "person": 1}], ["person 1 of a.jpg"]),
        (
            [{"image": "a.jpg", "person": 1, "keypoints": POSE[:14]}],
            ["person 1 of a.jpg", "(14, 2)", "(16, 2)"],
        ),
        (
            [{"image": "a.jpg", "person": 1, "keypoints": [[0, math.nan]] * 16}],
            ["person 1 of a.jpg", "nan", "(0, 1)"],
        ),
        (
            [{"image": "a.jpg", "person": 1, "keypoints": POSE}] * 2,
            ["person 1 of a.jpg", "twice"],
        ),
    ],
)
def test_what_is_wrong_with_poses_by_name_is_named(people, named):
    with pytest.raises(FormatError) as caught:
        read_named_poses({"first_pixel": 1, "people": people}, "p.json")
    assert caught.value.problem.startswith("p.json")
    assert [part for part in named if part not in caught.value.problem] == []


def test_poses_by_name_without_the_number_of_the_first_pixel_are_refused():
    with pytest.raises(FormatError, match="first_pixel is None"):
        read_named_poses({"people": []}, "p.json")


def test_there_is_one_pose_for_each_person():
    check_people(np.zeros((5, 14, 2)), 5, "p.json")
    with pytest.raises(FormatError, match=r"p\.json has 4 poses; .* 5 people"):
        check_people(np.zeros((4, 14, 2)), 5, "p.json")
