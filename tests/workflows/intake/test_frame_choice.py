"""Which frames are chosen: one of each group, none twice, none that looks like another."""

import numpy as np

from labelkit.files.video import SmallFrame
from labelkit.workflows.intake.frame_choice import choose, even_groups, kmeans_groups, near


def frames(*levels):
    """Frames of one grey level each."""
    return [
        SmallFrame(index, index, float(index), np.full((2, 3), level, np.uint8))
        for index, level in enumerate(levels)
    ]


def chosen(found, groups, taken=()):
    new, alike = choose(found, np.array(groups), taken)
    return [frame.index for frame in new], alike


def test_even_groups_are_stretches_of_equal_length():
    assert even_groups(6, 3).tolist() == [0, 0, 1, 1, 2, 2]
    assert even_groups(5, 2).tolist() == [0, 0, 0, 1, 1]
    assert even_groups(2, 4).tolist() == [0, 2]
    assert even_groups(0, 4).tolist() == []


def test_kmeans_groups_are_frames_that_look_alike():
    labels = kmeans_groups(frames(10, 200, 12, 100, 202, 11, 101), 3, seed=0)
    assert labels[0] == labels[2] == labels[5]
    assert labels[1] == labels[4]
    assert labels[3] == labels[6]
    assert len(set(labels.tolist())) == 3


def test_kmeans_is_the_same_with_the_same_seed():
    found = frames(*np.random.default_rng(0).integers(0, 256, 60))
    first, second = (kmeans_groups(found, 8, seed=5).tolist() for _ in range(2))
    assert first == second


def test_fewer_pictures_than_groups_are_a_group_each():
    assert sorted(kmeans_groups(frames(9, 9, 80), 5, seed=0).tolist()) == [0, 0, 1]


def test_the_frame_nearest_to_the_mean_of_its_group_is_chosen():
    # Means: 20 and 110.
    assert chosen(frames(10, 22, 28, 90, 130, 110), [0, 0, 0, 1, 1, 1]) == ([1, 5], 0)


def test_near_duplicates_are_left_out_and_counted():
    assert chosen(frames(10, 14, 19), [0, 1, 2]) == ([0, 2], 1)


def test_a_group_that_has_a_frame_gets_no_other_one():
    assert chosen(frames(10, 50, 100, 150), [0, 0, 1, 1], taken=[1]) == ([2], 0)


def test_what_looks_like_a_frame_that_was_taken_before_is_left_out():
    assert chosen(frames(10, 100, 12), [0, 1, 2], taken=[0]) == ([1], 1)


def test_frames_near_a_time_are_a_group_without_the_frame_of_that_time():
    found, groups = near(frames(*range(0, 100, 10)), [3.0, 6.0], taken=[0, 3, 6])
    assert [frame.index for frame in found] == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert groups.tolist() == [-1, 0, 0, -1, 0, 1, -1, 1, 1]
    assert chosen(found, groups, taken=[0, 3, 6]) == ([2, 7], 0)
