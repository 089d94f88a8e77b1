import torch

from labelkit.workflows.network import consistency
from labelkit.workflows.network.consistency import consistency_loss, hard_view


def spot(column: int, row: int) -> torch.Tensor:
    """A (1, 1, 16, 12) map with its peak in one cell."""
    maps = torch.zeros(1, 1, 16, 12)
    maps[0, 0, row, column] = 1.0
    return maps


def test_a_view_without_rotation_and_scale_is_the_crop_with_squares_cut_out(monkeypatch):
    monkeypatch.setattr(consistency, "ROTATION", 0.0)
    monkeypatch.setattr(consistency, "SCALES", (1.0, 1.0))
    view = hard_view(torch.ones(1, 3, 64, 48), spot(6, 4))
    assert torch.allclose(view.heatmaps, spot(6, 4), atol=1e-6)
    # The middle of cell (6, 4) is (26, 18) of the crop; 48 * .15 / 2 = 3.6 to each side, and
    # pixel 22 has its middle at 22.5.
    hidden = (view.images[0, 0] == 0).nonzero()
    assert hidden.min(dim=0).values.tolist() == [14, 22]
    assert hidden.max(dim=0).values.tolist() == [21, 29]


def test_heatmaps_move_with_the_crop(monkeypatch):
    monkeypatch.setattr(consistency, "CUTS", 0)
    torch.manual_seed(0)
    maps = torch.zeros(8, 2, 64, 48)
    maps[:, 0, 20, 30] = maps[:, 1, 40, 10] = 1.0
    maps = torch.nn.functional.avg_pool2d(maps, 9, stride=1, padding=4) * 81
    view = hard_view(maps[:, :1].repeat(1, 3, 1, 1), maps)
    # The crop is the first map itself: both were rotated and scaled alike.
    assert torch.allclose(view.images[:, :1], view.heatmaps[:, :1], atol=1e-5)
    places = view.heatmaps.flatten(2).argmax(dim=2)
    assert len(places[:, 1].unique()) > 4


def test_a_right_angle_on_a_crop_that_is_not_square_keeps_lengths(monkeypatch):
    monkeypatch.setattr(consistency, "SCALES", (1.0, 1.0))
    monkeypatch.setattr(consistency, "ROTATION", 90.0)
    monkeypatch.setattr(torch, "rand", lambda *size, device=None: torch.ones(size))
    # 4 cells right of the middle (24, 32) become 4 cells above or below it.
    maps = torch.zeros(1, 1, 64, 48)
    maps[0, 0, 31:33, 27:29] = 1.0
    moved = hard_view(torch.zeros(1, 3, 64, 48), maps).heatmaps[0, 0]
    (rows, columns) = (moved > 0.5).nonzero().float().mean(dim=0) + 0.5
    assert abs(columns - 24) < 0.01
    assert abs(abs(rows - 32) - 4) < 0.01


def test_a_teacher_gets_no_gradient_and_counts_only_where_it_is_confident():
    student = torch.zeros(1, 3, 4, 4, requires_grad=True)
    teacher = torch.zeros(1, 3, 4, 4, requires_grad=True)
    with torch.no_grad():
        teacher[0, 0, 1, 1], teacher[0, 1, 1, 1], teacher[0, 2, 1, 1] = 1.0, 0.2, 1.0
    view = hard_view(torch.zeros(1, 3, 16, 16), teacher)
    assert not view.heatmaps.requires_grad
    # Map 1 is too low, map 2 does not count: the squared error of map 0 is 1 / 16.
    loss = consistency_loss(student, teacher.detach(), torch.tensor([[1.0, 1.0, 0.0]]))
    assert loss.item() == 1 / 16


def test_without_keypoints_that_count_the_loss_is_zero():
    maps = torch.rand(2, 3, 4, 4)
    assert consistency_loss(maps, maps + 1, torch.zeros(2, 3)) == 0
