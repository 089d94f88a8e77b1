import pytest
import torch

from labelkit.workflows.decode import refine


def gaussian(x: float, y: float, height: int = 16, width: int = 12) -> torch.Tensor:
    rows = torch.arange(height)[:, None] + 0.5
    columns = torch.arange(width)[None] + 0.5
    return torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)


@pytest.mark.parametrize(("x", "y"), [(5.5, 7.5), (5.1, 7.9), (3.0, 11.7), (8.26, 4.49)])
def test_a_gaussian_peak_is_found_below_a_cell(x, y):
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
