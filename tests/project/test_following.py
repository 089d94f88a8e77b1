"""Keypoints read again off the files of a round."""

from pathlib import Path

import numpy as np
import pytest
import torch
from builders import make_image, make_instance, make_pose, stick_skeleton
from torch import nn
from trained import Trained

from labelkit.domain.geometry import apply_affine, invert_affine
from labelkit.domain.pose import ABSENT, UNKNOWN, VISIBLE, human_pose
from labelkit.domain.pose_priors import skeleton_in_box
from labelkit.domain.prediction import prior_predictions
from labelkit.domain.skeleton import make_skeleton
from labelkit.errors import CheckpointError
from labelkit.models.checkpoint import save_checkpoint
from labelkit.models.reading import _PRIOR, PoseReader
from labelkit.project.following import (
    FEWEST_POSES,
    LEFT_OUT,
    TRAINED_PRIOR,
    ForeignFollower,
    RoundFollower,
)
from labelkit.project.predictions import iter_predictions, write_predictions
from labelkit.project.response_maps import MapReader, MapWriter
from labelkit.workflows.network.crops import crop_affine
from labelkit.workflows.network.data import prior_in_cells
from labelkit.workflows.network.decode import refine

SKELETON = stick_skeleton()
INSTANCE = make_instance()
SIZE = (24, 24)
TO_CELLS = crop_affine(INSTANCE.box, SIZE)
NOTHING = human_pose(np.zeros((4, 2)), [UNKNOWN] * 4)
PRESET = {"lofr": {"pose_prior": 0.16, "kinematics": True}}


def reader_of_a_round() -> PoseReader:
    generator = torch.Generator().manual_seed(0)
    reader = PoseReader(4, SIZE, kinematics=True, pose_prior=0.16)
    offsets = torch.tensor([(0.0, 0.0), (-5.0, 4.0), (5.0, 4.0), (0.0, 9.0)])
    poses = offsets + 12 + torch.randn(50, 4, 2, generator=generator)
    assert reader.tree is not None
    reader.tree.fit(poses, torch.ones(50, 4, dtype=torch.bool))
    return reader


def write_round(
    folder: Path, training: dict, maps: np.ndarray, preset: dict = PRESET
) -> PoseReader:
    """The weights and maps of a round with one instance."""
    network = nn.Module()
    network.reader = reader_of_a_round()
    header = {
        "network": {"kind": "lofr", "preset": preset},
        "skeleton": {"keypoints": SKELETON.keypoints},
        "training": training,
    }
    save_checkpoint(folder / "model.safetensors", network, header)
    with MapWriter(folder / "maps.parquet", SKELETON.keypoints) as writer:
        writer.add(INSTANCE.id, TO_CELLS.ravel().tolist(), maps, np.zeros(0), np.zeros(0))
    return network.reader


def follow(folder: Path, placed=NOTHING, skeleton=SKELETON, prior=TRAINED_PRIOR, labelled=()):
    with MapReader(folder / "maps.parquet", skeleton) as reader:
        follower = RoundFollower(folder / "model.safetensors", skeleton, labelled, prior)
        return follower.follow(INSTANCE, reader.get(INSTANCE.id), placed)


def in_pixels(beliefs: torch.Tensor) -> np.ndarray:
    return apply_affine(invert_affine(TO_CELLS), refine(beliefs)[0][0].double().numpy())


def some_maps() -> np.ndarray:
    return np.random.default_rng(1).random((4, *SIZE)).astype(np.float32) ** 4


@pytest.mark.parametrize(
    ("training", "preset", "near_prior"),
    [
        ({"read_from": "heatmaps"}, PRESET, False),
        ({"read_from": "response"}, PRESET, True),
        ({"located": 3}, PRESET, False),
        ({"located": 0}, {"lofr": {"textbook": 0.16}}, True),
        ({"located": 0}, {"lofr": {}}, False),
    ],
)
def test_with_nothing_placed_keypoints_are_where_the_round_read_them(
    tmp_path, training, preset, near_prior
):
    reader = write_round(tmp_path, training, some_maps(), preset)
    expected = prior_in_cells([INSTANCE], SKELETON, SIZE) if near_prior else None
    with MapReader(tmp_path / "maps.parquet") as stored:
        maps = torch.from_numpy(stored.get(INSTANCE.id).read)[None]
    assert follow(tmp_path) == pytest.approx(in_pixels(reader(maps, expected)), abs=1e-3)


def test_the_prior_counts_as_much_as_its_exponent_says(tmp_path):
    reader = write_round(tmp_path, {"read_from": "heatmaps"}, some_maps())
    with MapReader(tmp_path / "maps.parquet") as stored:
        maps = torch.from_numpy(stored.get(INSTANCE.id).read)[None]
    assert TRAINED_PRIOR == _PRIOR
    reader.tree.log_density.mul_(2)
    twice = in_pixels(reader(maps))
    assert follow(tmp_path, prior=2 * TRAINED_PRIOR) == pytest.approx(twice, abs=1e-3)
    assert np.abs(follow(tmp_path) - twice).max() > 1


def test_labelled_poses_move_a_keypoint_that_no_edge_joins_to_the_placed_one(tmp_path):
    write_round(tmp_path, {"read_from": "heatmaps"}, np.ones((4, *SIZE), dtype=np.float32))
    # In all labelled poses the left paw is as far left as the tail is right.
    rng, box = np.random.default_rng(0), INSTANCE.box
    middle = np.array([box.x + box.w / 2, box.y + box.h / 2])
    labelled = []
    for out in rng.uniform(-0.4, 0.4, FEWEST_POSES) * box.long_side:
        offsets = np.array([(0, 0), (-out, 0), (0, 0), (out, 0)])
        pose = human_pose(middle + offsets, [VISIBLE] * 4)
        labelled.append((INSTANCE, pose))
    right = (middle[0] + 0.3 * box.long_side, middle[1])
    tail = human_pose([(0, 0), (0, 0), (0, 0), right], [*[UNKNOWN] * 3, VISIBLE])
    few, enough = (follow(tmp_path, tail, labelled=labelled[cut:]) for cut in (1, 0))
    assert few == pytest.approx(follow(tmp_path, tail))
    assert abs(enough[1, 0] - (middle[0] - 0.3 * box.long_side)) < 0.15 * box.long_side
    assert enough[1, 0] < few[1, 0] - 0.1 * box.long_side


def test_keypoints_are_followed_by_name_when_the_skeleton_has_changed(tmp_path):
    write_round(tmp_path, {"read_from": "heatmaps"}, some_maps())
    changed = make_skeleton(
        "changed", ["tip", "new", "snout", "left_paw"], renamed=[("tail", "tip"), ("nose", "snout")]
    )
    before = human_pose([(20, 25), (0, 0), (0, 0), (0, 0)], [VISIBLE, UNKNOWN, ABSENT, UNKNOWN])
    nose, left_paw, _, tail = follow(tmp_path, before)
    after = human_pose([(0, 0), (9, 9), (20, 25), (0, 0)], [UNKNOWN, VISIBLE, VISIBLE, UNKNOWN])
    found = follow(tmp_path, after, changed)
    assert found == pytest.approx(np.stack((tail, (9, 9), nose, left_paw)))
    free = human_pose(np.zeros((4, 2)), [UNKNOWN, UNKNOWN, ABSENT, UNKNOWN])
    assert np.isnan(follow(tmp_path, free, changed)[1:3]).all()


def test_a_round_without_a_tree_is_refused_with_the_presets_that_have_one(tmp_path):
    write_round(tmp_path, {"read_from": "heatmaps"}, some_maps())
    save_checkpoint(tmp_path / "model.safetensors", nn.Linear(1, 1), {})
    with pytest.raises(CheckpointError) as caught:
        follow(tmp_path)
    assert "labelkit retrain" in caught.value.next_step
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(CheckpointError):
        follow(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError):
        follow(tmp_path)


def test_a_trained_round_is_read_as_it_was_predicted(trained: Trained):
    folder = trained.project.rounds_root / "000"
    skeleton, instances = trained.project.skeleton, trained.store.instances()
    nothing = human_pose(np.zeros((len(skeleton), 2)), [UNKNOWN] * len(skeleton))
    apart = []
    follower = RoundFollower(folder / "model.safetensors", skeleton)
    with MapReader(folder / "maps" / "maps.parquet", skeleton) as reader:
        for predicted in iter_predictions(folder / "predictions.parquet", skeleton):
            instance = instances[predicted.instance_id]
            found = follower.follow(instance, reader.get(instance.id), nothing)
            away = found - predicted.pose.xy
            apart.append(np.linalg.norm(away, axis=1) / instance.box.long_side)
    # Stored maps are bytes: of two places that are equally likely, the other may win.
    assert np.quantile(apart, 0.95) < 0.01


def test_keypoints_of_another_model_follow_by_errors_of_objects_it_did_not_learn_from(tmp_path):
    rng = np.random.default_rng(0)
    objects = [make_instance(make_image(f"{number}.png")) for number in range(60)]
    ids, boxes = [it.id for it in objects], [it.box for it in objects]
    shown = skeleton_in_box(boxes, SKELETON)
    side = np.array([box.long_side for box in boxes])[:, None, None]
    shifts = side * rng.normal(0, 0.2, (60, 1, 2)) + rng.normal(0, 0.1, shown.shape)
    labelled = [
        (it, make_pose(xy)) for it, xy in zip(objects[1:], (shown + shifts)[1:], strict=True)
    ]
    unknown = np.full(4, np.nan)
    file = tmp_path / "predictions.parquet"
    write_predictions(file, prior_predictions(ids, shown, unknown).values(), SKELETON)

    follower = ForeignFollower(tmp_path, SKELETON, labelled, set())
    pose = make_pose(shown[0])
    moved = shown[0][0] + (0.2 * boxes[0].long_side, 0)
    placed = human_pose([moved, *[(0, 0)] * 3], [VISIBLE, UNKNOWN, UNKNOWN, ABSENT])
    found = follower.follow(objects[0], pose, placed)
    assert found[0].tolist() == moved.tolist()
    assert np.isnan(found[3]).all()  # absent
    assert ((found - shown[0])[1:3, 0] > 0.08 * boxes[0].long_side).all()

    # Poses of an adapter that learned from all of these tell nothing, unless they were left out.
    of_all = ForeignFollower(tmp_path, SKELETON, labelled, set(ids))
    assert of_all.follow(objects[0], pose, placed) is None
    write_predictions(
        tmp_path / LEFT_OUT, prior_predictions(ids, shown, unknown).values(), SKELETON
    )
    again = ForeignFollower(tmp_path, SKELETON, labelled, set(ids))
    assert np.array_equal(again.follow(objects[0], pose, placed), found, equal_nan=True)
