import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelkit.domain.skeleton import load_skeleton
from labelkit.metrics.official.mpii import head_sizes, mpii_scores

MPII16 = load_skeleton("mpii16")
TRUE = np.zeros((2, 16, 2))
ALL = np.ones((2, 16), dtype=bool)


def off(*moves: tuple[int, str, float]) -> np.ndarray:
    """The truth, with these keypoints of these people so many pixels to the right."""
    pred = TRUE.copy()
    for person, joint, pixels in moves:
        pred[person, MPII16.index(joint), 0] += pixels
    return pred


def test_the_head_size_is_6_tenths_of_the_diagonal_of_the_head_box():
    corners = np.array([[[10.0, 20.0], [40.0, 60.0]], [[0.0, 0.0], [6.0, 8.0]]])
    assert head_sizes(corners) == pytest.approx([30.0, 6.0])  # .6 * 50, .6 * 10


def test_half_a_head_is_still_found_and_each_person_has_their_own_head():
    # 5 px: exactly half of the head of 10 px, and more than half of the head of 8 px.
    pred = off((0, "head_top", 5.0), (1, "head_top", 5.0))
    found = mpii_scores(pred, TRUE, ALL, np.array([10.0, 8.0]))
    assert found["Head"] == 50.0
    assert found["Mean"] == pytest.approx(100 * 27 / 28)


def test_left_and_right_weigh_the_same_in_a_column_and_by_count_in_the_mean():
    labelled = np.zeros((2, 16), dtype=bool)
    labelled[:, MPII16.index("left_wrist")] = True
    labelled[0, MPII16.index("right_wrist")] = True
    found = mpii_scores(off((1, "left_wrist", 9.0)), TRUE, labelled, np.full(2, 10.0))
    assert found["Wrist"] == 75.0  # left 1 of 2, right 1 of 1
    assert found["Mean"] == pytest.approx(100 * 2 / 3)
    assert math.isnan(found["Ankle"])


def test_pelvis_and_thorax_are_left_out_and_the_neck_counts_in_the_mean_alone():
    pred = off((0, "pelvis", 99.0), (0, "thorax", 99.0))
    assert mpii_scores(pred, TRUE, ALL, np.full(2, 10.0))["Mean"] == 100.0
    found = mpii_scores(off((0, "upper_neck", 99.0)), TRUE, ALL, np.full(2, 10.0))
    assert (found["Head"], found["Mean"]) == (100.0, pytest.approx(100 * 27 / 28))


def test_the_columns_are_those_of_papers():
    names = ["Head", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle", "Mean"]
    assert list(mpii_scores(TRUE, TRUE, ALL, np.ones(2))) == names


@pytest.mark.parametrize("people", [0, 2])
def test_where_nothing_is_labelled_there_is_no_score(people: int):
    empty = np.zeros((people, 16, 2))
    found = mpii_scores(empty, empty, np.zeros((people, 16), dtype=bool), np.ones(people))
    assert all(math.isnan(value) for value in found.values())


def in_plain_loops(pred, true, labelled, head) -> dict[str, float]:
    columns = {
        **{"Head": [9], "Shoulder": [13, 12], "Elbow": [14, 11], "Wrist": [15, 10]},
        **{"Hip": [3, 2], "Knee": [4, 1], "Ankle": [5, 0]},
    }
    right, count = [0] * 16, [0] * 16
    for person in range(len(true)):
        for joint in range(16):
            if labelled[person][joint]:
                dx, dy = pred[person][joint] - true[person][joint]
                count[joint] += 1
                right[joint] += math.sqrt(dx * dx + dy * dy) / head[person] <= 0.5
    found = {}
    for name, joints in columns.items():
        shares = [100 * right[j] / count[j] if count[j] else math.nan for j in joints]
        found[name] = sum(shares) / len(shares)
    scored = [joint for joint in range(16) if joint not in (6, 7)]
    total = sum(count[joint] for joint in scored)
    found["Mean"] = 100 * sum(right[joint] for joint in scored) / total if total else math.nan
    return found


@given(st.integers(0, 2**32 - 1))
def test_all_numbers_are_those_of_plain_loops(seed: int):
    rng = np.random.default_rng(seed)
    people = int(rng.integers(0, 6))
    true = rng.integers(0, 100, (people, 16, 2)).astype(float)
    pred = true + rng.choice([0.0, 3.0, 4.0, 5.0, 12.0], (people, 16, 2))  # 3, 4, 5: ties at 10
    labelled = rng.random((people, 16)) < rng.choice([0.1, 0.8])
    head = rng.choice([6.0, 8.0, 10.0, 26.0], people)
    ours = mpii_scores(pred, true, labelled, head)
    expected = in_plain_loops(pred, true, labelled, head)
    assert ours == pytest.approx(expected, abs=1e-6, nan_ok=True)
