"""Keypoints read again, given those that a human placed."""

import itertools

import numpy as np
import pytest
import torch

from labelkit.domain.following import (
    FEWEST_ERRORS,
    ErrorFollower,
    PoseFollower,
    drags_until_right,
    peaks,
)
from labelkit.domain.pose import ABSENT, OCCLUDED, UNKNOWN, VISIBLE, human_pose
from labelkit.models.reading import _PRIOR, KinematicTree
from labelkit.workflows.network.decode import refine

#: A path of three keypoints and a fourth that hangs on its middle.
EDGES = [(0, 2), (2, 1), (2, 3)]
AS_IT_IS = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)  # image pixels are cells


def random_tree(size_hw, seed=0):
    rows, columns = size_hw
    shape = (len(EDGES), 2 * rows - 1, 2 * columns - 1)
    return EDGES, np.exp(np.random.default_rng(seed).normal(size=shape))


def nothing_placed(count=4):
    return np.full((count, 2), np.nan), np.zeros(count, dtype=bool)


def by_hand(maps, edges, density, fixed, silent):
    """(K, h, w) marginals, from every way to place the keypoints; prior 1, placed_prior 2.

    `fixed`: keypoint -> its cell.
    """
    count, rows, columns = maps.shape
    cells = list(itertools.product(range(rows), range(columns)))
    marginals = np.zeros(maps.shape)
    for pose in itertools.product(*([fixed[k]] if k in fixed else cells for k in range(count))):
        weight = 1.0
        for keypoint, cell in enumerate(pose):
            if keypoint not in fixed and not silent[keypoint]:
                weight *= maps[keypoint][cell] ** 2
        for (parent, child), table in zip(edges, density, strict=True):
            down, across = np.subtract(pose[child], pose[parent])
            exponent = 2 if parent in fixed or child in fixed else 1
            weight *= table[down + rows - 1, across + columns - 1] ** exponent
        for keypoint, cell in enumerate(pose):
            marginals[keypoint][cell] += weight
    return marginals / marginals.max(axis=(1, 2), keepdims=True)


def bump(x, y, height=1.0, size_hw=(24, 24)):
    """(h, w) with a Gaussian peak at a point."""
    row, column = np.arange(size_hw[0])[:, None] + 0.5, np.arange(size_hw[1]) + 0.5
    return height * np.exp(-((column - x) ** 2 + (row - y) ** 2) / 2)


def six_to_the_right(size_hw=(24, 24)):
    """Two keypoints, of which the second most likely lies six cells right of the first."""
    rows, columns = size_hw
    near = bump(columns - 1 + 6.5, rows - 1 + 0.5, size_hw=(2 * rows - 1, 2 * columns - 1))
    return PoseFollower([(0, 1)], near[None] + 0.01, 0.5, 1)


@pytest.mark.parametrize(
    ("fixed", "silent"),
    [
        ({}, ()),
        ({2: (1, 3)}, ()),
        ({0: (2, 0), 3: (0, 1)}, ()),
        ({1: (0, 0)}, (2,)),
        ({}, (0, 1)),
    ],
)
def test_beliefs_are_the_marginals_of_every_way_to_place_the_free_keypoints(fixed, silent):
    maps = np.random.default_rng(1).random((4, 3, 4)) + 0.05
    edges, density = random_tree((3, 4))
    placed, quiet = nothing_placed()
    for keypoint, (row, column) in fixed.items():
        placed[keypoint] = column + 0.5, row + 0.5
    quiet[list(silent)] = True
    found = PoseFollower(edges, density, 1, 2).beliefs(maps, placed, quiet)
    free = [keypoint for keypoint in range(4) if keypoint not in fixed]
    expected = by_hand(maps, edges, density, fixed, quiet)
    assert found[free] == pytest.approx(expected[free], abs=1e-9)


@pytest.mark.parametrize("size_hw", [(24, 24), (64, 48)])
def test_with_nothing_placed_keypoints_are_read_as_the_network_reads_them(size_hw):
    generator = torch.Generator().manual_seed(0)
    limbs = torch.randn(60, 17, 2, generator=generator).cumsum(dim=1) * 2 + 12
    tree = KinematicTree(17, size_hw)
    tree.fit(limbs, torch.rand(60, 17, generator=generator) < 0.9)
    maps = torch.rand(1, 17, *size_hw, generator=generator) ** 8
    believed = tree(maps)
    density = (tree.log_density / _PRIOR).numpy()
    follower = PoseFollower(tree.edges.numpy(), np.exp(density), _PRIOR, 1.5)
    found = follower.beliefs(maps[0].numpy(), *nothing_placed(17))
    assert found == pytest.approx(believed[0].double().numpy(), abs=1e-4)
    assert peaks(found) == pytest.approx(refine(believed)[0][0].double().numpy(), abs=1e-3)


def test_a_keypoint_follows_the_one_that_was_placed():
    either = bump(9.5, 9.5, 0.6) + bump(16.5, 9.5, 0.5)
    maps = np.stack((bump(3.5, 9.5), either))
    follow = six_to_the_right()
    before = follow(maps, AS_IT_IS, human_pose(np.zeros((2, 2)), [UNKNOWN, UNKNOWN]))
    after = follow(maps, AS_IT_IS, human_pose([(10.5, 9.5), (0, 0)], [VISIBLE, UNKNOWN]))
    assert before == pytest.approx(np.array([(3.5, 9.5), (9.5, 9.5)]), abs=0.1)
    assert after == pytest.approx(np.array([(10.5, 9.5), (16.5, 9.5)]), abs=0.1)


def test_a_parent_follows_its_child():
    either = bump(3.5, 9.5, 0.6) + bump(10.5, 9.5, 0.5)
    maps = np.stack((either, bump(9.5, 9.5)))
    placed = human_pose([(0, 0), (16.5, 9.5)], [UNKNOWN, OCCLUDED])
    found = six_to_the_right()(maps, AS_IT_IS, placed)
    assert found == pytest.approx(np.array([(10.5, 9.5), (16.5, 9.5)]), abs=0.1)


def test_placed_keypoints_stay_exactly_where_they_are_and_absent_ones_are_nowhere():
    rng = np.random.default_rng(2)
    follow = PoseFollower(*random_tree((6, 5)), 0.5, 1.5)
    placed = human_pose([(1 / 3, 2 / 7), (-40, 900), (0, 0), (0, 0)], [VISIBLE, 1, ABSENT, UNKNOWN])
    found = follow(rng.random((4, 6, 5)), (0.3, 0.1, 2.0, -0.1, 0.3, 1.0), placed)
    assert np.array_equal(found[:2], placed.xy[:2])
    assert np.isnan(found[2]).all()
    assert np.isfinite(found[3]).all()


def test_between_two_cells_a_placed_keypoint_speaks_for_both():
    edges, density = [(0, 1)], np.random.default_rng(3).random((1, 5, 5)) + 0.5
    follower, maps = PoseFollower(edges, density, 1, 1), np.ones((2, 3, 3))

    def with_first_at(x, y):
        return follower.beliefs(maps, np.array([(x, y), (np.nan, np.nan)]), np.zeros(2, bool))[1]

    # The table of displacements, seen from cell (1, 1) and from half a cell right of it.
    there, right = density[0, 1:4, 1:4], density[0, 1:4, 0:3]
    assert with_first_at(1.5, 1.5) == pytest.approx(there / there.max())
    assert with_first_at(2.0, 1.5) == pytest.approx((there + right) / (there + right).max())


def test_a_keypoint_placed_outside_the_map_still_says_on_which_side_it_is():
    maps = np.stack((np.ones((24, 24)), bump(2.5, 9.5, 0.9) + bump(20.5, 9.5)))
    placed = human_pose([(-3.5, 9.5), (0, 0)], [VISIBLE, UNKNOWN])
    assert six_to_the_right()(maps, AS_IT_IS, placed)[1] == pytest.approx([2.5, 9.5], abs=0.1)


def test_points_are_taken_from_image_pixels_to_cells_and_back():
    maps = np.stack((bump(3.5, 9.5), bump(9.5, 9.5, 0.6) + bump(16.5, 9.5, 0.5)))
    placed = human_pose([(121.0, 238.0), (0, 0)], [VISIBLE, UNKNOWN])
    found = six_to_the_right()(maps, (0.5, 0.0, -50.0, 0.0, 0.25, -50.0), placed)
    # Pixels (121, 238) are cells (10.5, 9.5); cells (16.5, 9.5) are pixels (133, 238).
    assert found == pytest.approx(np.array([(121.0, 238.0), (133.0, 238.0)]), abs=0.3)


def test_one_keypoint_alone_follows_nothing():
    follow = PoseFollower(np.zeros((0, 2)), np.zeros((0, 47, 47)), 0.5, 1.5)
    found = follow(bump(4.5, 7.5)[None], AS_IT_IS, human_pose([(0, 0)], [UNKNOWN]))
    assert found == pytest.approx(np.array([(4.5, 7.5)]))


def test_empty_maps_give_finite_locations():
    found = six_to_the_right()(
        np.zeros((2, 24, 24)), AS_IT_IS, human_pose(np.zeros((2, 2)), [UNKNOWN, UNKNOWN])
    )
    assert np.isfinite(found).all()


def test_maps_of_another_size_or_number_are_refused():
    for shape in ((2, 24, 18), (3, 24, 24)):
        with pytest.raises(ValueError, match=r"\(2, 24, 24\)"):
            six_to_the_right().beliefs(np.ones(shape), *nothing_placed(shape[0]))


def test_peaks_are_read_between_cells_as_the_network_reads_them():
    maps = np.random.default_rng(4).random((40, 7, 5))
    maps[0], maps[1] = 0.0, bump(2.2, 3.9, size_hw=(7, 5))
    assert peaks(maps) == pytest.approx(refine(torch.from_numpy(maps))[0].numpy())
    assert peaks(maps)[1] == pytest.approx([2.2, 3.9], abs=1e-6)


def errors_of(count, keypoints, shared, seed=0):
    """(count, keypoints, 2) errors of deviation .1; two groups move as one each, if shared."""
    rng = np.random.default_rng(seed)
    groups = 0.1 * rng.standard_normal((count, 2, 2))
    own = 0.1 * rng.standard_normal((count, keypoints, 2))
    together = np.repeat(groups, keypoints // 2, axis=1)
    return together + 0.01 * own if shared else own


def test_the_others_follow_as_far_as_their_errors_went_together():
    follower = ErrorFollower.learn(errors_of(100, 6, shared=True))
    assert follower is not None
    placed = np.full((6, 2), np.nan)
    placed[0] = 0.2, -0.1
    expected = follower(placed)
    assert expected[0].tolist() == [0.2, -0.1]
    assert (expected[1:3, 0] > 0.05).all()  # half of their covariance is left out at least
    assert (expected[1:3, 1] < -0.025).all()
    assert np.abs(expected[3:]).max() < 0.03  # the other group
    assert follower(np.full((6, 2), np.nan)).tolist() == np.zeros((6, 2)).tolist()


def test_following_spares_drags_of_errors_that_go_together():
    seen, new = errors_of(100, 6, shared=True), errors_of(50, 6, shared=True, seed=1)
    follower = ErrorFollower.learn(seen)
    assert drags_until_right(new, follower).sum() < 0.8 * drags_until_right(new, None).sum()


def test_nothing_follows_where_errors_do_not_go_together_or_too_few_tell():
    assert ErrorFollower.learn(errors_of(100, 6, shared=False)) is None
    assert ErrorFollower.learn(errors_of(FEWEST_ERRORS - 1, 6, shared=True)) is None
    unknown = errors_of(100, 6, shared=True)
    unknown[:, 2] = np.nan
    assert ErrorFollower.learn(unknown) is None


def test_drags_are_counted_over_both_tolerances():
    errors = np.array([[(0.3, 0.0), (0.0, 0.07), (0.01, 0.0), (np.nan, np.nan)]])
    assert drags_until_right(errors, None).tolist() == [1.5]  # two at .05, one at .1
