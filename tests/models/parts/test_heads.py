"""Presence read off heatmaps."""

import pytest
import torch

from labelkit.models.parts.heads import HeatmapPresence


def test_presence_is_read_off_the_highest_cells_of_a_heatmap():
    head = HeatmapPresence(num_keypoints=2)
    heatmaps = torch.zeros(1, 2, 12, 12)  # 3 % of 144 cells are 4
    heatmaps[0, 1, 3:5, 6:8] = 1.0
    logits = head(heatmaps)
    assert logits.tolist() == [[-1.0, pytest.approx(4.0 - 1.0)]]
