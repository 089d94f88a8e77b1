"""Labels that cannot be right, worked by hand."""

from __future__ import annotations

from builders import make_instance, make_pose

from labelkit.metrics.label_contradictions import against_answer, copies, duplicates, outside_box

NAMES = ("nose", "left_paw", "right_paw", "tail")


def test_a_keypoint_is_outside_beyond_a_tenth_of_the_long_side():
    box = make_instance(box=(10, 20, 40, 30))  # up to (50, 50); a tenth of the long side is 4
    pose = make_pose([(10, 20), (54, 30), (55, 30), (5, 10)], [2, 2, 2, 2])
    assert outside_box(pose, box).tolist() == [0, 0, 5, 10]
    assert outside_box(make_pose([(0, 0)] * 4, [0, 0, 0, 0]), box).tolist() == [0, 0, 0, 0]


def test_an_occluded_keypoint_contradicts_no_answer():
    pose = make_pose(visibility=[0, 1, 1, 2])
    seen = dict(zip(NAMES, [True, True, False, False], strict=True))
    assert against_answer(pose, seen, NAMES) == ["nose", "tail"]
    assert against_answer(pose, {"nose": False}, NAMES) == []
    assert against_answer(pose, {}, NAMES) == []


def test_duplicates_are_in_one_image_and_copies_in_two():
    near = make_pose([(1.5, 2.25), (3, 4), (5, 6), (7, 8.5)])
    instances = {
        "a": make_instance("a.png", 0),
        "b": make_instance("a.png", 1),
        "c": make_instance("c.png", 0),
        "d": make_instance("c.png", 1),
    }
    poses = {"a": make_pose(), "b": near, "c": make_pose(), "d": make_pose([(20, 20)] * 4)}
    assert list(duplicates(poses, instances)) == [("b", "a")]
    assert list(copies(poses, instances)) == [("c", "a")]
    assert list(duplicates({}, {})) == list(copies({}, {})) == []


def test_half_of_the_keypoints_tell_of_a_duplicate_and_two_of_no_copy():
    instances = {"a": make_instance("a.png", 0), "b": make_instance("a.png", 1)}
    half, less = make_pose(visibility=[2, 2, 0, 0]), make_pose(visibility=[2, 0, 0, 0])
    assert list(duplicates({"a": make_pose(), "b": half}, instances)) == [("b", "a")]
    assert list(duplicates({"a": make_pose(), "b": less}, instances)) == []
    apart = {"a": make_instance("a.png"), "b": make_instance("b.png")}
    assert list(copies({"a": half, "b": half}, apart)) == []
