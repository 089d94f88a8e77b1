import math

import numpy as np
import pytest
from mpii_files import rect, write_release

from labelkit.errors import FormatError
from labelkit.formats.mat_file import load_mat
from labelkit.formats.mpii_release import read_named_poses, read_release

POSE = np.zeros((16, 2)).tolist()


@pytest.fixture
def release(tmp_path):
    """a.jpg with three people, the second without joints; b.jpg of the test set; c.jpg empty."""
    people = [rect({0: (3, 4), 9: (5, 6)}), rect({}), rect({15: (7, 8)}, (0.0, 0.0, 6.0, 8.0))]
    return load_mat(write_release(tmp_path / "mpii.mat", people))


def test_people_come_back_by_image_and_number(release):
    found, labelled = read_release(release, [("a.jpg", 3), ("a.jpg", 1)], "mpii.mat")
    assert labelled == 2
    assert np.argwhere(found.labelled).tolist() == [[0, 15], [1, 0], [1, 9]]
    assert found.xy[0, 15].tolist() == [7.0, 8.0]
    assert found.xy[1, 9].tolist() == [5.0, 6.0]
    assert found.head_box.tolist() == [[[0.0, 0.0], [6.0, 8.0]], [[10.0, 20.0], [40.0, 60.0]]]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (("a.jpg", 2), "person 2 of a.jpg has no joints or no head box."),
        (("a.jpg", 4), "person 4 of a.jpg has no joints or no head box."),
        (("b.jpg", 1), "person 1 of b.jpg has no joints or no head box."),
        (("c.jpg", 1), "person 1 of c.jpg has no joints or no head box."),
        (("d.jpg", 1), "has no image 'd.jpg', which the predictions name."),
    ],
)
def test_who_is_not_labelled_is_named(release, name, said):
    with pytest.raises(FormatError) as caught:
        read_release(release, [name], "mpii.mat")
    assert said in caught.value.problem


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
def test_a_damaged_person_is_no_traceback_and_not_scored(person, tmp_path):
    damaged = load_mat(write_release(tmp_path / "mpii.mat", [person]))
    with pytest.raises(FormatError, match=r"the people of a\.jpg cannot be read"):
        read_release(damaged, [("a.jpg", 1)], "mpii.mat")


def test_another_file_is_no_release():
    with pytest.raises(FormatError, match=r"it has no RELEASE\.annolist"):
        read_release({"RELEASE": np.zeros((1, 1))}, [("a.jpg", 1)], "mpii.mat")


def test_predictions_say_which_number_their_first_pixel_has():
    people = [{"image": "a.jpg", "person": 3, "keypoints": POSE}]
    found = read_named_poses({"first_pixel": 0, "people": people}, "p.json")
    assert list(found) == [("a.jpg", 3)]
    assert found["a.jpg", 3][0].tolist() == [1.0, 1.0]


def test_scores_of_joints_are_left_out():
    scored = [[*xy, 0.5] for xy in POSE]
    people = [{"image": "a.jpg", "person": 3, "keypoints": scored}]
    found = read_named_poses({"first_pixel": 1, "people": people}, "p.json")
    assert found["a.jpg", 3].tolist() == POSE


@pytest.mark.parametrize(
    ("people", "said"),
    [
        (None, "p.json names no people of MPII's release."),
        (["a.jpg"], "p.json names no people of MPII's release."),
        ([], "p.json names nobody."),
        ([{"image": "a.jpg"}], "number 1 is of person None of image 'a.jpg'."),
        ([{"image": "a.jpg", "person": 1}], "person 1 of a.jpg is not an array of numbers"),
        (
            [{"image": "a.jpg", "person": 1, "keypoints": POSE[:14]}],
            "person 1 of a.jpg has keypoints of the shape (14, 2), not (16, 2).",
        ),
        (
            [{"image": "a.jpg", "person": 1, "keypoints": [[0, math.nan]] * 16}],
            "person 1 of a.jpg holds nan at (0, 1), counted from 0.",
        ),
        (
            [{"image": "a.jpg", "person": 1, "keypoints": POSE}] * 2,
            "person 1 of a.jpg is there twice.",
        ),
    ],
)
def test_what_is_wrong_with_predictions_is_named(people, said):
    with pytest.raises(FormatError) as caught:
        read_named_poses({"first_pixel": 1, "people": people}, "p.json")
    assert said in caught.value.problem
    with pytest.raises(FormatError, match="first_pixel is None; it wants 0 or 1"):
        read_named_poses({"people": []}, "p.json")
