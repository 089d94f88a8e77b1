import math

import numpy as np
import pytest
from builders import stick_skeleton
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Picture

from labelkit.domain.geometry import apply_affine, invert_affine
from labelkit.domain.instance import Box
from labelkit.project import images
from labelkit.workflows.network.crops import (
    FILL,
    PADDING,
    PLAIN,
    Augmentation,
    CropView,
    crop_affine,
    cut,
    fitted_size,
    free_view,
    mirror_keypoints,
    read_crop,
    safe_view,
)

SIZE_HW = (64, 48)


def corners(box: Box) -> np.ndarray:
    return np.array(
        [
            (box.x, box.y),
            (box.x + box.w, box.y),
            (box.x, box.y + box.h),
            (box.x + box.w, box.y + box.h),
        ]
    )


def test_the_padded_box_fills_the_crop():
    # Padded to 50 x 25 pixels: the width decides, 48 / 50 = .96 crop pixels a pixel.
    affine = crop_affine(Box(10, 20, 40, 20), SIZE_HW)
    assert apply_affine(affine, np.array([30.0, 30.0])).tolist() == [24.0, 32.0]
    left = apply_affine(affine, np.array([10.0, 30.0]))
    assert left == pytest.approx([24 - 20 * 48 / (40 * PADDING), 32.0])


def test_a_mirrored_view_swaps_left_and_right_about_the_middle():
    box = Box(10, 20, 40, 20)
    plain = apply_affine(crop_affine(box, SIZE_HW), np.array([15.0, 25.0]))
    mirrored = apply_affine(
        crop_affine(box, SIZE_HW, CropView(mirrored=True)), np.array([15.0, 25.0])
    )
    assert mirrored == pytest.approx([48 - plain[0], plain[1]])


def test_a_quarter_turn_moves_the_right_edge_to_the_bottom():
    affine = crop_affine(Box(0, 0, 40, 40), (100, 100), CropView(rotation=math.pi / 2))
    scale = 100 / (40 * PADDING)
    assert apply_affine(affine, np.array([40.0, 20.0])) == pytest.approx([50, 50 + 20 * scale])


@given(st.floats(0.5, 900), st.floats(0.5, 900), st.integers(0, 2**32), st.floats(0, 180))
def test_a_safe_view_never_cuts_the_box(width, height, seed, rotation):
    box = Box(3.0, 7.0, width, height)
    view = safe_view(np.random.default_rng(seed), box, SIZE_HW, Augmentation(rotation, mirror=True))
    seen = apply_affine(crop_affine(box, SIZE_HW, view), corners(box))
    assert (seen >= -1e-6).all()
    assert (seen <= np.array([48, 64]) + 1e-6).all()


@given(st.integers(0, 2**32))
def test_the_inverse_of_a_crop_leads_back_to_the_image(seed):
    rng = np.random.default_rng(seed)
    affine = crop_affine(
        Box(5, 6, 70, 30), SIZE_HW, free_view(rng, SIZE_HW, Augmentation(60, mirror=True))
    )
    points = rng.uniform(0, 100, (7, 2))
    assert apply_affine(invert_affine(affine), apply_affine(affine, points)) == pytest.approx(
        points
    )


def test_a_cut_puts_a_pixel_where_the_affine_says():
    image = Picture.new("RGB", (100, 80))
    image.putpixel((30, 40), (255, 255, 255))
    box = Box(20, 30, 20, 20)
    affine = crop_affine(box, (100, 100))
    crop = cut(image, affine, (100, 100)).sum(axis=2).astype(float)
    rows, columns = np.indices(crop.shape)
    centre = ((columns + 0.5) * crop).sum() / crop.sum(), ((rows + 0.5) * crop).sum() / crop.sum()
    # The pixel's middle is at (30.5, 40.5).
    assert centre == pytest.approx(apply_affine(affine, np.array([30.5, 40.5])).tolist(), abs=0.05)


def test_a_strong_reduction_averages_instead_of_picking_pixels():
    stripes = np.zeros((1000, 1000, 3), np.uint8)
    stripes[:, ::2] = 200
    box = Box(100, 100, 800, 800)
    crop = cut(Picture.fromarray(stripes), crop_affine(box, (50, 50)), (50, 50))
    assert np.abs(crop[5:45, 5:45].astype(int) - 100).max() <= 8


def test_a_reduced_crop_keeps_its_place():
    square = np.zeros((1000, 1000, 3), np.uint8)
    square[300:400, 500:600] = 255
    affine = crop_affine(Box(211, 187, 613, 640), (64, 64))
    crop = cut(Picture.fromarray(square), affine, (64, 64)).sum(axis=2).astype(float)
    rows, columns = np.indices(crop.shape)
    centre = ((columns + 0.5) * crop).sum() / crop.sum(), ((rows + 0.5) * crop).sum() / crop.sum()
    assert centre == pytest.approx(apply_affine(affine, np.array([550.0, 350.0])).tolist(), abs=0.1)


@pytest.mark.parametrize("large", [10**9, 0])
def test_a_crop_of_a_large_jpeg_keeps_its_place_and_colours(tmp_path, monkeypatch, large):
    monkeypatch.setattr(images, "LARGE", large)
    square = np.full((1000, 1000, 3), 40, np.uint8)
    square[300:400, 500:600] = 240
    Picture.fromarray(square).save(tmp_path / "a.jpg", quality=95)
    affine = crop_affine(Box(211, 187, 613, 640), (64, 64))  # an eighth of its size
    crop = read_crop(tmp_path / "a.jpg", affine, (64, 64))
    expected = cut(Picture.fromarray(square), affine, (64, 64))
    # Half a pixel away it would be 0.39.
    assert np.abs(crop.astype(int) - expected).mean() < 0.1


def test_outside_the_image_is_the_mean_colour():
    crop = cut(Picture.new("RGB", (10, 10)), crop_affine(Box(0, 0, 10, 10), (50, 50)), (50, 50))
    assert tuple(crop[0, 0]) == FILL


def test_mirroring_keypoints_swaps_the_paws():
    values = np.array([0, 1, 2, 3])
    assert mirror_keypoints(values, stick_skeleton()).tolist() == [0, 2, 1, 3]


def test_the_plain_view_changes_nothing():
    assert CropView(rotation=0.0, scale=1.0, shift=(0.0, 0.0), mirrored=False) == PLAIN


@pytest.mark.parametrize(
    ("size_wh", "crop_hw"),
    [
        ((480, 120), (48, 192)),  # 4 to 1, and so is the crop; 192/480 instead of 96/480
        ((120, 480), (192, 48)),
        ((100, 100), (96, 96)),
        ((160, 100), (96, 96)),  # would be 1.17 times as large
        ((250, 100), (64, 144)),  # 144/250 instead of 96/250: 1.5 times as large
        ((1000, 100), (32, 288)),
    ],
)
def test_crops_fit_elongated_objects_with_as_many_pixels(size_wh, crop_hw):
    boxes = [Box(5, 5, *size_wh)] * 3
    assert fitted_size(boxes, (96, 96)) == crop_hw
    assert crop_hw[0] * crop_hw[1] <= 96 * 96


def test_where_as_many_objects_lie_as_stand_and_without_any_the_crop_stays():
    assert fitted_size([Box(0, 0, 400, 100), Box(0, 0, 100, 400)], (96, 96)) == (96, 96)
    assert fitted_size([], (96, 96)) == (96, 96)


def test_a_standing_crop_stays_for_people_and_not_for_what_lies():
    assert fitted_size([Box(0, 0, 100, 250)], (256, 192)) == (256, 192)
    assert fitted_size([Box(0, 0, 480, 120)], (256, 192)) == (112, 432)
