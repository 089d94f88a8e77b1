import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelkit.domain.skeleton import load_skeleton
from labelkit.metrics.official.lsp import lsp_scores, torso_lengths

LSP14 = load_skeleton("lsp14")
RIGHT_HIP, LEFT_SHOULDER = 2, 9


def person() -> np.ndarray:
    """(1, 14, 2), all at (0, 0) but the left shoulder, 50 px from the right hip."""
    xy = np.zeros((1, 14, 2))
    xy[0, LEFT_SHOULDER] = 30.0, 40.0
    return xy


ALL = np.ones((1, 14), dtype=bool)


def test_the_torso_reaches_from_the_left_shoulder_to_the_right_hip():
    assert LSP14.keypoints[RIGHT_HIP] == "right_hip"
    assert LSP14.keypoints[LEFT_SHOULDER] == "left_shoulder"
    assert torso_lengths(person(), ALL).tolist() == [50.0]


@pytest.mark.parametrize("joint", [RIGHT_HIP, LEFT_SHOULDER])
def test_without_one_of_its_ends_there_is_no_torso(joint: int):
    counted = ALL.copy()
    counted[0, joint] = False
    assert np.isnan(torso_lengths(person(), counted)).all()


def test_a_torso_of_length_0_is_undefined():
    assert np.isnan(torso_lengths(np.zeros((1, 14, 2)), ALL)).all()


def test_a_fifth_of_the_torso_is_still_found():
    pred = person()
    pred[0, LSP14.index("head_top"), 0] += 10.0  # exactly .2 * 50
    pred[0, LSP14.index("left_knee"), 0] += 10.01
    found = lsp_scores(pred, person(), ALL, np.array([50.0]), 0.2)
    assert (found["Head"], found["Knee"]) == (100.0, 50.0)
    assert found["Mean"] == pytest.approx(100 * 13 / 14)
    assert lsp_scores(pred, person(), ALL, np.array([50.0]), 0.1)["Head"] == 50.0  # the neck


def test_people_without_a_reference_are_left_out():
    true = np.concatenate([person(), person()])
    pred = true.copy()
    pred[1] += 1000.0
    both = np.concatenate([ALL, ALL])
    assert lsp_scores(pred, true, both, np.array([50.0, math.nan]), 0.2)["Mean"] == 100.0
    without = lsp_scores(pred, true, both, np.full(2, math.nan), 0.2)
    assert all(math.isnan(value) for value in without.values())


def test_keypoints_without_a_location_do_not_count():
    counted = ALL.copy()
    counted[0, LSP14.index("left_ankle")] = False
    pred = person()
    pred[0, LSP14.index("left_ankle")] += 1000.0
    found = lsp_scores(pred, person(), counted, np.array([50.0]), 0.2)
    assert found["Mean"] == 100.0
    assert math.isnan(found["Ankle"])


def in_plain_loops(pred, true, counted, reference, threshold) -> dict[str, float]:
    columns = {
        **{"Head": [13, 12], "Shoulder": [9, 8], "Elbow": [10, 7], "Wrist": [11, 6]},
        **{"Hip": [3, 2], "Knee": [4, 1], "Ankle": [5, 0]},
    }
    right, count = [0] * 14, [0] * 14
    for row in range(len(true)):
        for joint in range(14):
            if counted[row][joint] and not math.isnan(reference[row]):
                dx, dy = pred[row][joint] - true[row][joint]
                count[joint] += 1
                right[joint] += math.sqrt(dx * dx + dy * dy) / reference[row] <= threshold
    found = {}
    for name, joints in columns.items():
        shares = [100 * right[j] / count[j] if count[j] else math.nan for j in joints]
        found[name] = sum(shares) / len(shares)
    found["Mean"] = 100 * sum(right) / sum(count) if sum(count) else math.nan
    return found


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.2]))
def test_all_numbers_are_those_of_plain_loops(seed: int, threshold: float):
    rng = np.random.default_rng(seed)
    people = int(rng.integers(0, 6))
    true = rng.integers(0, 10, (people, 14, 2)) * 10.0
    counted = rng.random((people, 14)) < rng.choice([0.3, 0.9])
    pred = true + rng.choice([0.0, 3.0, 4.0, 6.0, 8.0, 30.0], (people, 14, 2))
    torso = torso_lengths(true, counted)
    ours = lsp_scores(pred, true, counted, torso, threshold)
    expected = in_plain_loops(pred, true, counted, torso, threshold)
    assert ours == pytest.approx(expected, abs=1e-6, nan_ok=True)
