"""Objects of whole images: each once, whatever their size beside the network's input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from builders import make_image
from sticks import ByColour, Stick, draw_sticks

from labelkit.workflows.detector_free.finding import find

CANVAS = (64, 64)


def found_in(folder: Path, sticks: list[Stick], size: int, tile: float) -> list[list[float]]:
    """Red ends that are found, from left to right, to ten pixels."""
    draw_sticks(folder / "a.png", sticks, size)
    image = make_image("a.png", size, size)
    ((_, found),) = find(ByColour(), [image], folder, CANVAS, tile)
    return sorted(np.round(found.xy[:, 0].numpy(), -1).tolist())


def test_objects_come_back_in_pixels_of_the_image(tmp_path):
    assert found_in(tmp_path, [(32, 64, 96, 64)], 128, 0.0) == [[30, 60]]


def test_small_objects_of_a_large_image_are_found_in_tiles_each_once(tmp_path):
    small: list[Stick] = [(100, 100, 124, 100), (250, 130, 250, 154), (300, 480, 324, 480)]
    assert found_in(tmp_path, small, 512, 0.0) == []
    assert found_in(tmp_path, small, 512, 120.0) == [[100, 100], [250, 130], [300, 480]]


def test_an_object_larger_than_a_tile_is_found_at_a_coarser_scale(tmp_path):
    sticks: list[Stick] = [(60, 250, 440, 250), (100, 420, 124, 420)]
    assert found_in(tmp_path, sticks, 512, 120.0) == [[60, 250], [100, 420]]


def test_an_image_without_objects_and_one_without_images_have_none(tmp_path):
    assert found_in(tmp_path, [], 512, 120.0) == []
    assert list(find(ByColour(), [], tmp_path, CANVAS)) == []
