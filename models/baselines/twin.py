"""The semi-supervised baseline: two simple baselines that train each other (Xie et al., 2021)."""

from __future__ import annotations

from torch import Tensor, nn

from labelkit.models.baselines.simple import SimpleBaseline
from labelkit.models.parts.output import PoseOutput


class TwinBaseline(nn.Module):
    """Two networks of one kind with separate weights; training makes them agree.

    Args:
        first, second: the same architecture, initialised differently.
    """

    def __init__(self, first: SimpleBaseline, second: SimpleBaseline) -> None:
        super().__init__()
        self.twins = nn.ModuleList((first, second))

    def transformer_parameters(self) -> list[nn.Parameter]:
        """None: there is no transformer."""
        return []

    def forward(self, images: Tensor) -> PoseOutput:
        """Predict as the mean of both.

        Args:
            images: (B, 3, H, W), see `SimpleBaseline`.
        """
        first, second = (twin(images) for twin in self.twins)
        return first._replace(
            logits=(first.logits + second.logits) / 2,
            response=(first.response + second.response) / 2,
            heatmaps=(first.heatmaps + second.heatmaps) / 2,
        )
