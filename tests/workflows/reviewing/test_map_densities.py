"""Densities of places on maps of 2 x 2 cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from labelkit.project.response_maps import MapReader, MapWriter
from labelkit.workflows.reviewing.map_densities import MapDensities

#: Boxes of 20 x 20 pixels at the origin.
FRAMES = np.array([(10.0, 10.0, 20.0)] * 2)
LEFT, RIGHT = ((1, 0), (0, 0)), ((0, 0), (0, 2))


@pytest.fixture
def densities(tmp_path: Path):
    file = tmp_path / "maps.parquet"
    with MapWriter(file, ["left_paw", "right_paw"]) as writer:  # cells of 10 pixels
        writer.add("b-0", (0.1, 0, 0, 0, 0.1, 0), [], [LEFT, RIGHT], [])
    with MapReader(file) as reader:
        yield MapDensities({"b-0": reader}, ["a-0", "b-0"], FRAMES, [1, 0])


def test_a_map_has_sum_1_over_the_box(densities):
    # Each cell is a quarter of the squared side: all mass in one is a density of 4.
    places = np.array([[(-0.25, -0.25), (0.25, 0.25)]])
    own, other = densities(places, np.array([1]))
    assert (own[0], other[0]) == (pytest.approx([4.0, 4.0]), pytest.approx([0.0, 0.0]))
    own, other = densities(places[:, ::-1], np.array([1]))
    assert (own[0], other[0]) == (pytest.approx([0.0, 0.0]), pytest.approx([4.0, 4.0]))


def test_places_between_cells_are_read_between_them_and_there_is_nothing_outside(densities):
    own, _ = densities(np.array([[(0.0, 0.0), (0.9, 0.0)]]), np.array([1]))
    assert own[0] == pytest.approx([1.0, 0.0])


def test_a_missing_keypoint_and_an_object_without_maps_have_no_density(densities):
    places = np.array([[(np.nan, np.nan), (0.25, 0.25)]] * 2)
    own, other = densities(places, np.array([1, 0]))
    assert np.isnan(own).tolist() == [[True, False], [True, True]]
    assert np.isnan(other).tolist() == [[True, False], [True, True]]
