"""The networks of MediaPipe: what they are called, and how their answers come back."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from label_studio import point_home_at
from mediapipe_stub import make_stub
from mongo import missing

from labelkit.bridges.mediapipe.networks import (
    HAND,
    NETWORKS,
    OWN,
    PERSON,
    find_turned,
    network_for,
    turned_back,
)
from labelkit.domain.skeleton import load_skeleton
from labelkit.errors import ServiceError

POSE, FACE, HANDS = NETWORKS.values()


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that find the white pixel of the upper half."""
    point_home_at(tmp_path / "home", monkeypatch)
    make_stub()


def picture(x: int, y: int) -> np.ndarray:
    """(6, 10, 3) black, with one white pixel."""
    pixels = np.zeros((6, 10, 3), dtype=np.uint8)
    pixels[y, x] = 255
    return pixels


@pytest.mark.parametrize("turns", range(4))
def test_a_keypoint_of_a_turned_picture_is_where_it_was_before(turns):
    rows, columns = np.nonzero(np.rot90(picture(7, 1)[..., 0], turns))
    found = np.array([[columns[0] + 0.5, rows[0] + 0.5, 0.25]])
    assert turned_back(found, turns, width=10, height=6).tolist() == [[7.5, 1.5, 0.25]]


@pytest.mark.usefixtures("stub")
@pytest.mark.parametrize(("network", "score"), [(POSE, 0.25), (FACE, 1.0), (HANDS, 0.75)])
def test_keypoints_come_in_pixels_with_their_scores(network, score):
    with network.running() as find:
        found = find(picture(7, 1))
        nothing = find(picture(7, 5))
        again = find(picture(0, 0))
    assert found is not None
    assert found.shape == (len(network.keypoints), 3)
    np.testing.assert_allclose(found[-1], [7.5, 1.5, score])
    assert nothing is None
    np.testing.assert_allclose(again[0, :2], [0.5, 0.5])


@pytest.mark.usefixtures("stub")
def test_a_picture_is_turned_until_an_object_is_found():
    with POSE.running() as find:
        above, below = (find_turned(find, picture(7, y)) for y in (1, 5))
        nothing = find_turned(find, np.zeros((6, 10, 3), dtype=np.uint8))
    # Turned to the left, the pixel is as far from the left as it was from the top: 5.5 of 6.
    np.testing.assert_allclose(above[0], [7.5, 1.5, 1 - 7.5 / 10])
    np.testing.assert_allclose(below[0], [7.5, 5.5, 1 - 5.5 / 6])
    assert nothing is None


@pytest.mark.parametrize(
    ("names", "network"),
    [
        (load_skeleton("coco17").keypoints, POSE),
        (load_skeleton("mpii16").keypoints, POSE),
        (PERSON, POSE),
        (HAND, HANDS),
        (("left_eye", "right_eye", "nose", "mouth_left", "mouth_right"), FACE),
        ([f"p{number:02}" for number in range(68)], FACE),
        (
            ("nose", "left_eye", "left_shoulder", "left_elbow", "left_hip", "knee", "tail_base"),
            None,
        ),
        (("snout", "left_eye", "right_eye", "chin"), None),
        (("body", "lid", "spout", "handle"), None),
    ],
)
def test_a_network_is_proposed_for_people_hands_and_faces_but_not_for_animals(names, network):
    assert network_for(names) == network


@pytest.mark.usefixtures("stub")
def test_a_network_that_stops_says_why():
    pixels = picture(7, 1)
    pixels[0, 0, 2] = 77
    with POSE.running() as find, pytest.raises(ServiceError, match="no such luck"):
        find(pixels)


def test_the_keypoints_are_those_of_the_package():
    if not OWN.is_complete:
        missing("MediaPipe is not installed; type: labelkit predict --with mediapipe-pose")
    ask = (
        "import json\n"
        "from mediapipe.python.solutions.pose import PoseLandmark\n"
        "from mediapipe.python.solutions.hands import HandLandmark\n"
        "print(json.dumps([[m.name.lower() for m in x] for x in (PoseLandmark, HandLandmark)]))"
    )
    done = subprocess.run([OWN.program("python"), "-c", ask], capture_output=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [[*POSE.keypoints], [*HANDS.keypoints]]
    with FACE.running() as find:
        assert find(picture(7, 1)) is None
