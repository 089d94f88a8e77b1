import pytest
import torch

from labelkit.workflows.network.decode import confidence, refine


def gaussian(x: float, y: float, height: int = 16, width: int = 12) -> torch.Tensor:
    rows = torch.arange(height)[:, None] + 0.5
    columns = torch.arange(width)[None] + 0.5
    return torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)


@pytest.mark.parametrize(("x", "y"), [(5.5, 7.5), (5.1, 7.9), (3.0, 11.7), (8.26, 4.49)])
def test_a_gaussian_peak_is_found_with_sub_cell_precision(x, y):
    xy, peak = refine(gaussian(x, y)[None, None])
    assert xy[0, 0].tolist() == pytest.approx([x, y], abs=1e-3)
    assert 0.9 < float(peak) <= 1.0


def test_a_peak_in_the_corner_stays_in_its_cell():
    maps = torch.zeros(1, 1, 4, 4)
    maps[0, 0, 0, 3] = 1.0
    xy, peak = refine(maps)
    assert xy[0, 0].tolist() == [3.5, 0.5]
    assert float(peak) == 1.0


def test_an_empty_map_gives_a_point_inside_and_no_confidence():
    xy, peak = refine(torch.zeros(2, 3, 5, 7))
    assert xy.shape == (2, 3, 2)
    assert torch.isfinite(xy).all()
    assert peak.tolist() == [[0.0] * 3] * 2


def confidences(*maps):
    """Confidence of (h, w) maps."""
    stacked = torch.stack(maps)
    return confidence(stacked, *refine(stacked)).tolist()


def one_cell(row, column, size=8, value=1.0):
    maps = torch.zeros(size, size)
    maps[row, column] = value
    return maps


def test_a_single_cell_has_full_confidence():
    assert confidences(one_cell(3, 3)) == [1.0]


def test_a_low_peak_leads_by_less():
    # Closeness 1, lead .5: (1 + .5) / 2.
    assert confidences(one_cell(3, 3, value=0.5)) == [pytest.approx(0.75)]


def test_two_equal_peaks_have_no_lead_and_half_the_mass_elsewhere():
    # 4 of 8 cells apart, so half of the mass is .5 away: closeness .75, lead 0.
    assert confidences(one_cell(3, 1) + one_cell(3, 5)) == [pytest.approx(0.375)]


def test_a_lower_second_peak_costs_less():
    # A third of the mass is .5 away: closeness 5/6; lead .5: times .75.
    assert confidences(one_cell(3, 1) + one_cell(3, 5, value=0.5)) == [pytest.approx(0.625)]


def test_cells_near_the_peak_are_not_a_second_candidate():
    # One of 8 cells away, an eighth of the side; the parabola moves the peak half of that.
    assert confidences(one_cell(3, 3) + one_cell(3, 4)) > confidences(
        one_cell(3, 3) + one_cell(3, 6)
    )
    assert confidences(one_cell(3, 3) + one_cell(3, 4))[0] == pytest.approx((1 - 0.5 / 8) * 1)


def test_a_sharper_map_has_more_confidence():
    wide = gaussian(5.5, 7.5)
    narrow = wide**4
    assert confidences(narrow)[0] > confidences(wide)[0] > confidences(torch.ones(16, 12))[0] > 0


def test_an_empty_map_has_no_confidence():
    assert confidences(torch.zeros(5, 7)) == [0.0]


def test_the_confidence_of_one_map_does_not_depend_on_others():
    a, b = one_cell(3, 3), one_cell(3, 1) + one_cell(3, 5)
    assert confidences(a, b) == [*confidences(a), *confidences(b)]
