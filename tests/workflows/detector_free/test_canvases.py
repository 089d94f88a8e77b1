"""Whole images on canvases: where keypoints go, and what counts as background."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from builders import make_image, stick_skeleton, write_picture

from labelkit.domain.geometry import apply_affine, invert_affine
from labelkit.domain.instance import Box, Image
from labelkit.domain.pose import ABSENT, UNKNOWN, VISIBLE, human_pose
from labelkit.workflows.detector_free.canvases import (
    Batches,
    LabelledImage,
    fit_affine,
    make_canvas,
    random_affine,
    random_window,
    tile_sides,
    whole,
    windows,
)
from labelkit.workflows.network.crops import Augmentation

SKELETON = stick_skeleton()
SEEN = [VISIBLE] * 4
WINDOW = Box(0, 0, 100, 50)


@pytest.fixture
def picture(tmp_path: Path) -> tuple[Path, Image]:
    write_picture(tmp_path / "a.png", (100, 50))
    return tmp_path, make_image("a.png", 100, 50)


def test_an_image_fits_in_the_middle_of_its_canvas():
    affine = fit_affine(Box(0, 0, 100, 50), (64, 64))
    assert affine.tolist() == [[0.64, 0.0, 0.0], [0.0, 0.64, 16.0]]
    assert apply_affine(affine, [[100, 50]]).tolist() == [[64.0, 48.0]]


def test_labels_go_where_their_pixels_go(picture):
    root, image = picture
    pose = human_pose([[10, 10], [20, 20], [30, 30], [40, 40]], SEEN)
    canvas = make_canvas(
        root, LabelledImage(image, (pose,)), SKELETON, (64, 64), fit_affine(whole(image), (64, 64))
    )
    assert canvas.pixels.shape == (3, 64, 64)
    assert canvas.objects.xy[0, 0].tolist() == pytest.approx([6.4, 22.4])
    assert canvas.counts.all()


def test_a_mirrored_canvas_exchanges_left_and_right(picture):
    root, image = picture
    pose = human_pose([[10, 10], [20, 20], [30, 30], [40, 40]], [2, 2, 2, 0])
    affine = np.array([[-0.64, 0.0, 64.0], [0.0, 0.64, 16.0]])
    canvas = make_canvas(root, LabelledImage(image, (pose,)), SKELETON, (64, 64), affine, True)
    # The right paw at x = 30 is now the left one, at 64 - 19.2.
    assert canvas.objects.xy[0, 1].tolist() == pytest.approx([44.8, 35.2])
    assert canvas.objects.presence.tolist() == [[1, 1, 1, 0]]


def test_an_object_larger_than_the_canvas_keeps_the_keypoints_that_are_on_it(picture):
    root, image = picture
    pose = human_pose(
        [[10, 10], [50, 25], [52, 25], [90, 40]], [VISIBLE, VISIBLE, UNKNOWN, VISIBLE]
    )
    zoomed = np.array([[4.0, 0.0, -168.0], [0.0, 4.0, -68.0]])  # the middle, four times as large
    item = LabelledImage(image, (pose,))
    canvas = make_canvas(root, item, SKELETON, (64, 64), zoomed)
    assert canvas.objects.presence.tolist() == [[ABSENT, 1, UNKNOWN, ABSENT]]
    assert canvas.objects.xy[0, 1].tolist() == [32.0, 32.0]


def test_an_object_off_the_canvas_is_dropped_and_an_image_without_objects_has_none(picture):
    root, image = picture
    away = np.array([[1.0, 0.0, 500.0], [0.0, 1.0, 0.0]])
    pose = human_pose([[10, 10], [20, 20], [30, 30], [40, 40]], SEEN)
    for item in (LabelledImage(image, (pose,)), LabelledImage(image, ())):
        canvas = make_canvas(root, item, SKELETON, (64, 64), away)
        assert canvas.objects.xy.shape == (0, 4, 2)


def test_an_object_without_labels_is_no_background(picture):
    root, image = picture
    item = LabelledImage(image, (), (Box(25, 0, 25, 25),))
    canvas = make_canvas(root, item, SKELETON, (64, 64), fit_affine(whole(image), (64, 64)))
    # 16 to 32 pixels across, 16 to 32 down: cells 4 to 7
    assert not canvas.counts[4:8, 4:8].any()
    assert canvas.counts.sum() == 16 * 16 - 16


def test_a_random_view_is_a_similarity_and_mirrors_only_where_allowed():
    rng = np.random.default_rng(0)
    for _ in range(20):
        affine, mirrored = random_affine(rng, WINDOW, (64, 64), Augmentation(30.0, True))
        assert (np.linalg.det(affine[:, :2]) < 0) == mirrored
        back = apply_affine(invert_affine(affine), apply_affine(affine, [[3.0, 4.0]]))
        assert back[0].tolist() == pytest.approx([3.0, 4.0])
        _, mirrored = random_affine(rng, WINDOW, (64, 64), Augmentation(30.0, False))
        assert not mirrored


def test_the_batch_of_a_step_is_the_same_after_a_restart(picture):
    root, image = picture
    pose = human_pose([[10, 10], [20, 20], [30, 30], [40, 40]], SEEN)

    def batches(without: list[Image]) -> Batches:
        with_labels = [LabelledImage(image, (pose,))]
        return Batches(
            root, with_labels, without, SKELETON, (64, 64), Augmentation(30.0, True), 2, 3, 7
        )

    first, again = batches([image])[5], batches([image])[5]
    assert torch.equal(first.pixels, again.pixels)
    assert torch.equal(first.unlabelled, again.unlabelled)
    assert first.unlabelled.shape == (6, 3, 64, 64)  # three for each labelled one
    assert not torch.equal(first.pixels, batches([image])[6].pixels)
    assert batches([])[5].unlabelled.shape == (0, 3, 64, 64)


def test_tiles_double_until_the_image_is_hardly_larger():
    image = make_image("a.png", 400, 200)
    assert tile_sides(image, 100.0, (64, 64)) == [(100.0, 100.0), (200.0, 200.0)]
    assert tile_sides(image, 100.0, (32, 64)) == [(100.0, 50.0), (200.0, 100.0)]
    assert tile_sides(image, 300.0, (64, 64)) == tile_sides(image, 0.0, (64, 64)) == []


def test_the_whole_image_is_read_and_then_its_tiles_which_overlap_by_half():
    image = make_image("a.png", 200, 100)
    assert windows(image, 100.0, (64, 64)) == [
        Box(0, 0, 200, 100),
        Box(0, 0, 100, 100),
        Box(50, 0, 100, 100),
        Box(100, 0, 100, 100),
    ]
    assert windows(image, 0.0, (64, 64)) == [Box(0, 0, 200, 100)]


def test_a_tile_to_train_on_lies_in_the_image_and_around_an_object():
    image = make_image("a.png", 1000, 1000)
    item = LabelledImage(image, (human_pose([[900.0, 50.0]] * 4, SEEN),))
    rng = np.random.default_rng(0)
    drawn = [random_window(rng, item, 100.0, (64, 64)) for _ in range(50)]
    assert {box.w for box in drawn} == {100.0, 200.0, 400.0, 1000.0}
    for box in drawn:
        assert 0 <= box.x <= 900 <= box.x + box.w <= 1000
        assert 0 <= box.y <= 50 <= box.y + box.h <= 1000
    assert random_window(rng, LabelledImage(image, ()), 0.0, (64, 64)) == whole(image)
