import math

import numpy as np
import pytest

from labelkit.domain.geometry import apply_affine, invert_affine, scale_affine

#: Doubles x, triples y, then moves 10 to the right and 20 down.
STRETCH = [[2.0, 0.0, 10.0], [0.0, 3.0, 20.0]]
#: A quarter turn, clockwise on the screen.
QUARTER = [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]


def test_points_of_any_number_of_dimensions_are_mapped():
    assert apply_affine(STRETCH, [1.0, 1.0]).tolist() == [12.0, 23.0]
    assert apply_affine(STRETCH, [[[1, 1]], [[0, 2]]]).tolist() == [[[12.0, 23.0]], [[10.0, 26.0]]]
    assert apply_affine(STRETCH, np.zeros((0, 2))).shape == (0, 2)
    assert apply_affine(QUARTER, [3.0, 0.0]).tolist() == [0.0, 3.0]


def test_six_numbers_in_a_row_are_the_same_map():
    row = (2.0, 0.0, 10.0, 0.0, 3.0, 20.0)
    assert apply_affine(row, [1.0, 1.0]).tolist() == [12.0, 23.0]
    assert invert_affine(row).tolist() == invert_affine(STRETCH).tolist()
    assert scale_affine(row, 2).tolist() == scale_affine(STRETCH, 2).tolist()


def test_a_missing_place_stays_missing():
    assert np.isnan(apply_affine(STRETCH, [math.nan, math.nan])).all()


def test_the_inverse_undoes_a_map():
    assert invert_affine(STRETCH) == pytest.approx(
        np.array([[0.5, 0.0, -5.0], [0.0, 1 / 3, -20 / 3]])
    )
    assert apply_affine(invert_affine(STRETCH), [12.0, 23.0]) == pytest.approx([1.0, 1.0])


def test_a_map_that_flattens_the_plane_has_no_inverse():
    with pytest.raises(np.linalg.LinAlgError):
        invert_affine([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]])


def test_scaling_stretches_where_points_end_up():
    assert scale_affine(STRETCH, 10).tolist() == [[20.0, 0.0, 100.0], [0.0, 30.0, 200.0]]
    assert scale_affine(STRETCH, (10, 100)).tolist() == [[20.0, 0.0, 100.0], [0.0, 300.0, 2000.0]]
