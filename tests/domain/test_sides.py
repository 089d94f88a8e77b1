"""Left and right out of names as people write them, and out of poses."""

import numpy as np
import pytest
from builders import make_pose
from hypothesis import given
from hypothesis import strategies as st

from labelkit.domain.sides import are_one_sided, find_sides
from labelkit.domain.skeleton import BUILTIN, load_skeleton


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("left_ear", "right_ear"),
        ("ear_left", "ear_right"),
        ("leftEar", "rightEar"),
        ("EarLeft", "EarRight"),
        ("leftear", "rightear"),
        ("LEFT EAR", "RIGHT EAR"),
        ("upper-left-arm", "upper-right-arm"),
        ("wingL", "wingR"),
        ("LShoulder", "RShoulder"),
        ("lArm", "rArm"),
        ("larm", "rarm"),
        ("LHIP", "RHIP"),
        ("F_L_Hip", "F_R_Hip"),
        ("pupil_top_l", "pupil_top_r"),
        ("l_eye", "r_eye"),
        ("eye-l", "eye-r"),
        ("L1", "R1"),
        ("eye_L2", "eye_R2"),
        ("FL", "FR"),
        ("LF_paw", "RF_paw"),
        ("Lt_knee", "Rt_knee"),
        ("eyel", "eyer"),
        ("left_wrist", "rightWrist"),
    ],
)
def test_both_spellings_of_a_side_make_a_pair(left, right):
    assert find_sides(["nose", right, left]) == (((2, 1),), ())


@pytest.mark.parametrize(
    "names",
    [
        ["bright_spot", "dark_spot"],
        ["lip", "rip"],
        ["nose", "tail"],
        ["lid", "rid", "brim"],
        ["1", "2"],
        ["light", "bright"],
        ["upright", "cleft_lip"],
    ],
)
def test_a_name_without_a_side_has_neither_partner_nor_side(names):
    assert find_sides(names) == ((), ())


def test_a_side_without_a_partner_is_listed():
    assert find_sides(["nose", "left_ear", "wingR", "bright_spot"]) == ((), (1, 2))


def test_words_that_grew_together_say_a_side_too():
    gait = ["paw1LH_hindleft", "paw2LF_frontleft", "paw3RF_frontright", "paw4RH_hindright"]
    assert find_sides([*gait, "lefteye", "tail"]) == ((), (0, 1, 2, 3, 4))


def test_rear_and_right_are_told_apart_by_who_exists():
    assert find_sides(["FL", "FR", "RL", "RR"]).pairs == ((0, 1), (2, 3))
    assert find_sides(["LF", "RF", "LR", "RR"]).pairs == ((0, 1), (2, 3))


def test_where_two_letters_could_be_the_side_the_place_that_others_use_decides():
    names = ["L_l", "L_r", "R_l", "R_r", "wing_l", "wing_r"]  # rows L and R, each with two sides
    assert find_sides(names).pairs == ((0, 1), (2, 3), (4, 5))


def test_where_nothing_decides_there_is_no_pair():
    assert find_sides(["L_l", "L_r", "R_l", "R_r"]) == ((), (0, 1, 2, 3))


@pytest.mark.parametrize("name", BUILTIN)
def test_the_built_in_skeletons_have_the_pairs_that_their_names_tell(name):
    skeleton = load_skeleton(name)
    assert sorted(find_sides(skeleton.keypoints).pairs) == sorted(skeleton.pairs)


@given(st.lists(st.text(alphabet="lrLReft_igh1 ", max_size=8), unique=True, max_size=12))
def test_every_keypoint_is_in_at_most_one_pair_and_pairs_are_mutual(names):
    sides = find_sides(names)
    paired = [index for pair in sides.pairs for index in pair]
    assert len(paired) == len(set(paired))
    assert not set(paired) & set(sides.unpaired)


def triangles(count: int, mirrored: bool) -> list[np.ndarray]:
    """`count` times (3, 2), turned and scaled at random; every other one mirrored, or none."""
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.1, (2, count, 3))
    points = np.array([0, 4, 2j]) + noise[0] + 1j * noise[1]
    points = points * rng.uniform(1, 9, (count, 1)) * np.exp(1j * rng.uniform(0, 6, (count, 1)))
    if mirrored:
        points[::2] = points[::2].conj()
    return list(np.stack([points.real, points.imag], axis=2))


def test_poses_are_one_sided_if_no_mirror_image_looks_like_one():
    assert are_one_sided([make_pose(xy) for xy in triangles(20, mirrored=False)])
    assert not are_one_sided([make_pose(xy) for xy in triangles(20, mirrored=True)])


def test_a_line_is_its_own_mirror_image():
    lines = [[xy[0], xy[1], (xy[0] + xy[1]) / 2] for xy in triangles(20, mirrored=False)]
    assert not are_one_sided([make_pose(xy) for xy in lines])


def test_absent_keypoints_and_few_poses_do_not_make_poses_one_sided():
    poses = [make_pose(xy) for xy in triangles(20, mirrored=False)]
    assert not are_one_sided(poses[:2])
    assert not are_one_sided([])
    two_keypoints = [make_pose(xy, [0, 2, 2]) for xy in triangles(20, mirrored=False)]
    assert not are_one_sided(two_keypoints)
