"""What single-stage and bottom-up networks share: images in, instances out, targets from instances.

Training strategy, data and scoring know this interface and neither network.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from labelkit.models.detector_free.instances import Instances
from labelkit.models.parts.pixels import Pixels

#: Canvas pixels of a cell of every map.
STRIDE = 4
#: The sides of a canvas are multiples of this many pixels.
CANVAS_CELL = 32
#: Objects with a lower score are not returned; COCO's AP counts the best 20 of an image.
SCORE_FLOOR = 0.001
#: Objects found in one image at most.
MOST_OBJECTS = 500


class DetectorFree(nn.Module, ABC):
    """A network that finds the objects of a canvas and their keypoints in one pass.

    Args:
        num_keypoints: K.
        sigmas: K numbers, the OKS falloff of each keypoint; duplicates are dropped by OKS.

    Attributes:
        pixels: turns (B, 3, H, W) uint8 canvases into what `forward` reads.
    """

    def __init__(self, num_keypoints: int, sigmas: Sequence[float]) -> None:
        super().__init__()
        self.num_keypoints = num_keypoints
        self.sigmas = tuple(sigmas)
        self.pixels = Pixels()

    @abstractmethod
    def forward(self, images: Tensor) -> Any:
        """Compute the maps that the other methods read.

        Args:
            images: (B, 3, H, W), from `pixels`; H and W are multiples of `CANVAS_CELL`.
        """

    @abstractmethod
    def heatmaps(self, output: Any) -> Tensor:
        """(B, K, H/4, W/4) 0 ... 1, 1 at the keypoints of every object."""

    @abstractmethod
    def loss(self, output: Any, truths: Sequence[Instances], counts: Tensor) -> Tensor:
        """How far the output is from its targets.

        Args:
            output: of `forward`.
            truths: B images' objects; every present keypoint lies on the canvas.
            counts: (B, H/4, W/4) 1 where an object that is not in `truths` would be an error, 0
                where there may be one.

        Returns:
            Scalar.
        """

    @abstractmethod
    def decode(self, output: Any) -> list[Instances]:
        """The objects of B canvases, best first, without duplicates, scores from `SCORE_FLOOR`.

        Every keypoint has a location, and its confidence says how likely it is there.
        """

    def find(self, canvases: Tensor) -> list[Instances]:
        """The objects of (B, 3, H, W) uint8 canvases."""
        return self.decode(self(self.pixels(canvases)))
