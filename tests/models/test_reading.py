"""Reading maps with labelled poses and test-time augmentation."""

import itertools
import math

import pytest
import torch

from labelkit.models.reading import _EVIDENCE, KinematicTree, PoseReader, beside, rotate
from labelkit.workflows.network.decode import refine


def bump(size_hw, *places):
    """(h, w) with a Gaussian of the given height at each (x, y, height)."""
    row = torch.arange(size_hw[0])[:, None] + 0.5
    column = torch.arange(size_hw[1]) + 0.5
    heights = [h * torch.exp(-((column - x) ** 2 + (row - y) ** 2) / 2) for x, y, h in places]
    return torch.stack(heights).amax(dim=0)


def fitted(size_hw, offsets, count=40, seed=0):
    """A tree of poses whose keypoints lie at `offsets` from the first, give or take .3 cells."""
    generator = torch.Generator().manual_seed(seed)
    offsets = torch.tensor([(0.0, 0.0), *offsets])
    start = torch.rand(count, 1, 2, generator=generator) * 5
    jitter = 0.3 * torch.randn(count, len(offsets), 2, generator=generator)
    tree = KinematicTree(len(offsets), size_hw)
    tree.fit(start + offsets + jitter, torch.ones(count, len(offsets), dtype=torch.bool))
    return tree


def test_beliefs_are_the_marginals_of_every_way_to_place_the_keypoints():
    size_hw, keypoints = (3, 4), 4
    torch.manual_seed(0)
    tree = KinematicTree(keypoints, size_hw)
    tree.edges.copy_(torch.tensor([(0, 2), (2, 1), (2, 3)]))
    tree.log_density.copy_(torch.randn(tree.log_density.shape))
    maps = torch.rand(1, keypoints, *size_hw) + 0.05

    cells = list(itertools.product(range(size_hw[0]), range(size_hw[1])))
    expected = torch.zeros(keypoints, *size_hw, dtype=torch.float64)
    for pose in itertools.product(cells, repeat=keypoints):
        weight = 1.0
        for keypoint, (row, column) in enumerate(pose):
            weight *= float(maps[0, keypoint, row, column]) ** _EVIDENCE
        for (parent, child), density in zip(tree.edges.tolist(), tree.log_density, strict=True):
            (r0, c0), (r1, c1) = pose[parent], pose[child]
            weight *= float(density[r1 - r0 + size_hw[0] - 1, c1 - c0 + size_hw[1] - 1].exp())
        for keypoint, (row, column) in enumerate(pose):
            expected[keypoint, row, column] += weight
    expected /= expected.amax(dim=(1, 2), keepdim=True)
    assert torch.allclose(tree(maps)[0].double(), expected, atol=1e-4)


def test_before_it_is_fitted_every_peak_stays_where_it_is():
    torch.manual_seed(0)
    maps = torch.rand(5, 6, 8, 6)
    believed = KinematicTree(6, (8, 6))(maps)
    assert torch.equal(believed.flatten(2).argmax(2), maps.flatten(2).argmax(2))
    assert torch.allclose(refine(believed)[0], refine(maps)[0], atol=1e-2)


def test_of_two_peaks_the_one_that_fits_the_other_keypoint_wins():
    size_hw = (24, 24)
    tree = fitted(size_hw, [(6.0, 0.0)])
    beside = bump(size_hw, (12.5, 9.5, 0.5), (3.5, 20.5, 0.6))  # right of the first; far below
    maps = torch.stack((bump(size_hw, (6.5, 9.5, 0.8)), beside))[None]
    assert refine(maps)[0][0, 1] == pytest.approx(torch.tensor([3.5, 20.5]), abs=0.1)
    assert refine(tree(maps))[0][0, 1] == pytest.approx(torch.tensor([12.5, 9.5]), abs=0.5)


def test_a_clear_image_outweighs_all_poses():
    size_hw = (24, 24)
    tree = fitted(size_hw, [(6.0, 0.0)])
    maps = torch.stack((bump(size_hw, (6.5, 9.5, 0.9)), bump(size_hw, (3.5, 20.5, 0.9))))[None]
    assert refine(tree(maps))[0][0] == pytest.approx(refine(maps)[0][0], abs=0.5)


def test_the_tree_joins_keypoints_with_predictable_displacements():
    generator = torch.Generator().manual_seed(1)
    wrist = 3 * torch.randn(200, 2, generator=generator)
    knee = 3 * torch.randn(200, 2, generator=generator)
    near = 0.2 * torch.randn(2, 200, 2, generator=generator)
    xy = torch.stack((wrist, knee, wrist + near[0], knee + near[1]), dim=1)
    tree = KinematicTree(4, (24, 24))
    tree.fit(xy, torch.ones(200, 4, dtype=torch.bool))
    joined = {frozenset(edge) for edge in tree.edges.tolist()}
    assert {frozenset((0, 2)), frozenset((1, 3))} < joined
    assert len(joined) == 3


def test_keypoints_that_never_appear_together_are_in_one_tree_all_the_same():
    xy = torch.rand(60, 4, 2) * 8
    present = torch.zeros(60, 4, dtype=torch.bool)
    present[:30, :2] = present[30:, 2:] = True
    tree = KinematicTree(4, (8, 8))
    tree.fit(xy, present)
    assert tree.edges[0, 0] == 0
    reached = {0}
    for parent, child in tree.edges.tolist():  # a parent comes before its children
        assert parent in reached
        reached.add(child)
    assert reached == {0, 1, 2, 3}


def test_a_handful_of_poses_teaches_nothing():
    tree = KinematicTree(3, (8, 8))
    tree.fit(torch.rand(6, 3, 2) * 8, torch.ones(6, 3, dtype=torch.bool))
    assert not tree.log_density.any()
    tree.fit(torch.full((0, 3, 2), 0.0), torch.zeros(0, 3, dtype=torch.bool))
    assert not tree.log_density.any()


def test_absent_keypoints_may_have_no_position():
    xy = torch.rand(50, 3, 2) * 8
    present = torch.ones(50, 3, dtype=torch.bool)
    present[::2, 1] = False
    xy[::2, 1] = float("nan")
    tree = KinematicTree(3, (8, 8))
    tree.fit(xy, present)
    assert tree.log_density.isfinite().all()
    assert tree.log_density.abs().amax(dim=(1, 2)).min() > 0


def test_maps_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"\(8, 8\).*\(8, 6\)"):
        KinematicTree(3, (8, 8))(torch.rand(1, 3, 8, 6))


def test_empty_maps_give_finite_beliefs():
    tree = fitted((8, 8), [(2.0, 0.0), (0.0, 2.0)])
    assert tree(torch.zeros(2, 3, 8, 8)).isfinite().all()


def test_the_pose_prior_decides_only_where_the_image_does_not():
    reader = PoseReader(2, (24, 24), pose_prior=0.2)
    equal = bump((24, 24), (6.5, 6.5, 0.5), (18.5, 6.5, 0.5))
    clear = bump((24, 24), (6.5, 6.5, 1.0), (18.5, 6.5, 0.01))
    expected = torch.tensor([[(19.0, 8.0), (19.0, 8.0)]])
    found = refine(reader(torch.stack((equal, clear))[None], expected))[0][0]
    assert found == pytest.approx(torch.tensor([(18.5, 6.5), (6.5, 6.5)]), abs=0.6)


def test_a_reader_without_a_tree_leaves_maps_alone():
    maps = torch.rand(1, 3, 8, 8)
    assert PoseReader(3, (8, 8))(maps) is maps
    assert PoseReader(3, (8, 8), rotation_tta=20.0).rotations == (20.0, -20.0)


def test_rotating_there_and_back_leaves_peaks_where_they_were():
    maps = bump((24, 18), (11.5, 9.5, 1.0))[None, None]
    rotated = rotate(maps, 20.0)
    assert refine(rotated)[0][0, 0] != pytest.approx(torch.tensor([11.5, 9.5]), abs=0.5)
    back = refine(rotate(rotated, -20.0))[0][0, 0]
    assert back == pytest.approx(torch.tensor([11.5, 9.5]), abs=0.2)
    # A quarter turn about the centre (9, 12): 2.5 to the right becomes 2.5 up.
    quarter = refine(rotate(bump((24, 18), (11.5, 12.0, 1.0))[None, None], 90.0))[0][0, 0]
    assert quarter == pytest.approx(torch.tensor([9.0, 9.5]), abs=0.2)


def test_beside_another_model_a_map_counts_where_that_has_the_keypoint():
    maps = torch.ones(1, 2, 3, 3)
    cells = torch.tensor([[[1.5, 1.5], [float("nan")] * 2]])
    found = beside(maps, cells, torch.tensor([[1.0, 1.0]]))
    # 0.1 + exp(-d² / 2), at the place itself, one cell beside it, and diagonally.
    edge, corner = 0.1 + math.exp(-0.5), 0.1 + math.exp(-1)
    expected = [[corner, edge, corner], [edge, 1.1, edge], [corner, edge, corner]]
    assert torch.allclose(found[0, 0], torch.tensor(expected))
    assert torch.equal(found[0, 1], maps[0, 1])
