"""Pictures of sticks with a red and a blue end, and a network that finds them by their colours."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from scipy import ndimage
from torch import Tensor

from labelkit.domain.skeleton import make_skeleton
from labelkit.models.detector_free.instances import Instances
from labelkit.models.detector_free.interface import DetectorFree
from labelkit.workflows.detector_free import rounds

SKELETON = make_skeleton("stick", ("red", "blue"), sigmas=(0.1, 0.1))
SIZE = 64

#: x and y of the red and of the blue end.
Stick = tuple[float, float, float, float]


def draw_sticks(file: Path, sticks: Sequence[Stick], size: int = SIZE, seed: int = 0) -> Path:
    """A picture of sticks; each end has a sixth of the length as its radius."""
    file.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("RGB", (size, size), (40 + seed, 70, 40))
    pen = ImageDraw.Draw(picture)
    for x, y, u, v in sticks:
        radius = float(np.hypot(u - x, v - y)) / 6
        for (a, b), colour in (((x, y), (250, 20, 20)), ((u, v), (20, 20, 250))):
            pen.ellipse((a - radius, b - radius, a + radius, b + radius), colour)
    picture.save(file)
    return file


def sticks_as_coco(places: Mapping[str, Sequence[Stick]], file: Path, size: int = SIZE) -> Path:
    """Sticks of pictures as labels without boxes; a picture without any is listed as empty."""
    images = [
        {"id": i, "file_name": name, "width": size, "height": size} for i, name in enumerate(places)
    ]
    objects = [(i, stick) for i, sticks in enumerate(places.values()) for stick in sticks]
    annotations = [
        {
            "id": number,
            "image_id": i,
            "category_id": 1,
            "keypoints": [x, y, 2, u, v, 2],
            "num_keypoints": 2,
        }
        for number, (i, (x, y, u, v)) in enumerate(objects, 1)
    ]
    category = {"id": 1, "name": "stick", "keypoints": ["red", "blue"], "skeleton": [[1, 2]]}
    document = {"images": images, "annotations": annotations, "categories": [category]}
    file.write_text(json.dumps(document))
    return file


class ByColour(DetectorFree):
    """Red and blue ends that are nearest to each other; large ones score higher, specks nothing."""

    def __init__(self) -> None:
        super().__init__(len(SKELETON), SKELETON.sigmas)
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Any:
        raise NotImplementedError

    heatmaps = loss = decode = forward

    def find(self, canvases: Tensor) -> list[Instances]:
        return [self._found(one.permute(1, 2, 0).numpy().astype(int)) for one in canvases]

    def _found(self, pixels: np.ndarray) -> Instances:
        red, blue = (
            _middles((pixels[..., mine] > 150) & (pixels[..., other] < 100))
            for mine, other in ((0, 2), (2, 0))
        )
        pairs = []
        if len(red) and len(blue):
            apart = np.hypot(*(np.array(red)[:, None, :2] - np.array(blue)[:, :2]).T).T
            nearest = apart.argmin(axis=1)
            own = apart.argmin(axis=0)[nearest] == np.arange(len(red))
            pairs = [(red[i], blue[nearest[i]]) for i in np.flatnonzero(own)]
        xy = torch.tensor(np.array([[r[:2], b[:2]] for r, b in pairs]).reshape(-1, 2, 2)).float()
        score = torch.tensor([min(0.9, 0.5 + r[2] / 500) for r, _ in pairs])
        shape = (len(pairs), 2)
        return Instances(xy, torch.ones(shape).to(torch.int8), torch.full(shape, 0.9), score)


def _middles(mask: np.ndarray) -> list[np.ndarray]:
    """x, y and size of the spots of at least four pixels."""
    labels, count = ndimage.label(mask)
    spots = [np.argwhere(labels == one)[:, ::-1] + 0.5 for one in range(1, count + 1)]
    return [np.append(spot.mean(axis=0), len(spot)) for spot in spots if len(spot) >= 4]


@pytest.fixture
def by_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds train as ever, and then find objects by their colours: a real network takes long."""
    load = rounds.load_detector_free

    def colours(path: Path, skeleton: Any) -> tuple[DetectorFree, dict[str, Any]]:
        return ByColour().eval(), load(path, skeleton)[1]

    monkeypatch.setattr(rounds, "load_detector_free", colours)
