"""Another skeleton's keypoints as ours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelkit.domain.adapter import learn_adapter, sizes
from labelkit.errors import InputError

#: Ours, as weighted means of eight foreign keypoints: one of them, a middle, a point outside.
PLANTED = np.array(
    [[0, 0, 1, 0, 0, 0, 0, 0], [0.5, 0.5, 0, 0, 0, 0, 0, 0], [0, 0, 0, 1.4, -0.4, 0, 0, 0]]
)


def foreign_poses(count: int, seed: int = 0, keypoints: int = 8) -> np.ndarray:
    """Poses that are turned, moved and stretched copies of one shape, with limbs of their own."""
    rng = np.random.default_rng(seed)
    shape = np.random.default_rng(7).normal(size=(keypoints, 2))
    affine = np.eye(2) + rng.normal(scale=0.3, size=(count, 2, 2))
    own = rng.normal(scale=0.2, size=(count, keypoints, 2))
    at, scale = rng.uniform(0, 500, (count, 1, 2)), rng.uniform(10, 200, (count, 1, 1))
    return (np.einsum("nxy,ky->nkx", affine, shape) + own) * scale + at


def planted(foreign: np.ndarray) -> np.ndarray:
    return np.einsum("kf,nfx->nkx", PLANTED, foreign[:, :8])


def worst(found: np.ndarray, truth: np.ndarray, foreign: np.ndarray) -> float:
    """The 90th percentile of the error, as a share of the foreign pose's size."""
    apart = np.linalg.norm(found - truth, axis=2) / sizes(foreign)[:, None]
    return float(np.quantile(apart, 0.9))


def test_a_mapping_is_found_without_names():
    foreign, new = foreign_poses(50), foreign_poses(100, seed=1)
    adapter = learn_adapter(foreign, planted(foreign))
    assert adapter.start[0] == 2
    assert worst(adapter(new), planted(new), new) < 0.02
    assert (adapter.error < 0.02).all()
    assert adapter.reached.all()


def test_a_mapping_is_found_with_a_fifth_of_the_foreign_poses_wrong():
    foreign, new = foreign_poses(60), foreign_poses(100, seed=1)
    ours = planted(foreign)
    foreign[::5] = foreign_poses(12, seed=9)  # of other objects altogether
    adapter = learn_adapter(foreign, ours)
    assert worst(adapter(new), planted(new), new) < 0.05


@settings(max_examples=30, deadline=None)
@given(
    shift=st.tuples(*[st.floats(-1e4, 1e4)] * 2),
    scale=st.floats(0.01, 100),
    seed=st.integers(0, 100),
)
def test_moving_and_scaling_everything_moves_and_scales_the_result(shift, scale, seed):
    foreign, new = foreign_poses(6, seed), foreign_poses(3, seed + 1)
    before = learn_adapter(foreign, planted(foreign))(new)

    def moved(poses: np.ndarray) -> np.ndarray:
        return poses * scale + np.array(shift)

    after = learn_adapter(moved(foreign), moved(planted(foreign)))(moved(new))
    assert np.allclose(after, moved(before), atol=1e-4 * scale * sizes(new).max())


def test_a_keypoint_of_the_same_name_is_the_start():
    foreign = foreign_poses(3)
    names = [f"point {n}" for n in range(8)]
    adapter = learn_adapter(foreign, planted(foreign), names, ["point 5", "nose", "point 4"])
    assert adapter.start[0] == 5
    assert adapter.start[2] == 4


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_labelled_objects_do_not_make_it_worse_than_the_nearest_keypoint(count):
    foreign, new = foreign_poses(count), foreign_poses(200, seed=1)
    adapter = learn_adapter(foreign, planted(foreign))
    nearest = new[:, adapter.start]
    truth = planted(new)
    found = np.linalg.norm(adapter(new) - truth, axis=2) / sizes(new)[:, None]
    plain = np.linalg.norm(nearest - truth, axis=2) / sizes(new)[:, None]
    assert np.median(found) <= np.median(plain) + 0.05
    assert np.isnan(adapter.error).all() == (count < 2)


def test_missing_doubled_and_constant_foreign_keypoints_do_no_harm():
    foreign, new = (
        np.concatenate([poses, poses[:, :1], np.full((len(poses), 1, 2), 3.0)], axis=1)
        for poses in (foreign_poses(50), foreign_poses(50, seed=1))
    )
    ours, truth = planted(foreign), planted(new)
    foreign[::4, 6] = np.nan
    new[::3, 7] = np.nan
    adapter = learn_adapter(foreign, ours)
    assert worst(adapter(new), truth, new) < 0.05


def test_a_keypoint_is_placed_by_the_others_where_its_own_is_missing():
    foreign, new = foreign_poses(100), foreign_poses(50, seed=1)
    adapter = learn_adapter(foreign, planted(foreign))
    truth = planted(new)
    new[:, 2] = np.nan
    found = np.linalg.norm(adapter(new) - truth, axis=2) / sizes(new)[:, None]
    assert np.median(found[:, 0]) < 0.5
    assert np.median(found[:, 1]) < 0.02


def test_nothing_is_made_up_without_a_foreign_pose_or_a_label():
    foreign = foreign_poses(5)
    ours = planted(foreign)
    ours[:, 1] = np.nan
    adapter = learn_adapter(foreign, ours)
    assert adapter.start[1] == -1
    assert not adapter.reached[1]
    new = foreign_poses(2, seed=1)
    new[1] = np.nan
    found = adapter(new)
    assert np.isnan(found[:, 1]).all()
    assert np.isnan(found[1]).all()
    assert np.isfinite(found[0, [0, 2]]).all()


def test_a_keypoint_that_the_foreign_model_knows_nothing_of_is_not_reached():
    foreign = foreign_poses(60)
    rng = np.random.default_rng(3)
    ours = planted(foreign)
    ours[:, 2] = foreign.mean(axis=1) + rng.normal(size=(60, 2)) * sizes(foreign)[:, None]
    adapter = learn_adapter(foreign, ours)
    assert adapter.reached.tolist() == [True, True, False]


def test_shapes_that_do_not_fit_are_refused():
    foreign = foreign_poses(3)
    for ours in (planted(foreign)[:2], planted(foreign)[0]):
        with pytest.raises(InputError, match=r"\(3, 8, 2\)"):
            learn_adapter(foreign, ours)
