"""Small generated scenes as canvases and truths, for tests of detector-free networks."""

from __future__ import annotations

import numpy as np
import torch
from builders import make_image
from torch import Tensor

from labelkit.domain.instance import Instance
from labelkit.domain.pose import Pose
from labelkit.metrics.official.people import Results
from labelkit.models.detector_free.instances import Instances, labelled
from labelkit.models.detector_free.interface import DetectorFree
from labelkit.workflows.detector_free.scoring import people_of, scene_scores
from labelkit.workflows.synthetic.figure_drawing import SKELETON
from labelkit.workflows.synthetic.scenes import Scene, robot_scene


def make_scenes(counts: list[int], size: int) -> list[Scene]:
    """Robots that touch and overlap, so many in each scene."""
    return [
        robot_scene(np.random.default_rng((5, index)), count, size)
        for index, count in enumerate(counts)
    ]


def canvases_of(scenes: list[Scene]) -> tuple[Tensor, list[Instances]]:
    """(B, 3, H, W) uint8, and the objects of each."""
    pixels = [torch.from_numpy(np.asarray(scene.image).copy()) for scene in scenes]
    truths = [
        labelled(
            torch.tensor(np.stack([member.pose.xy for member in scene.members])),
            torch.tensor(np.stack([member.pose.presence for member in scene.members])),
        )
        for scene in scenes
    ]
    return torch.stack(pixels).permute(0, 3, 1, 2), truths


def overfit(network: DetectorFree, scenes: list[Scene], steps: int, lr: float) -> float:
    """Train on a few scenes alone, and return the AP on them."""
    canvases, truths = canvases_of(scenes)
    counts = torch.ones(len(scenes), canvases.shape[2] // 4, canvases.shape[3] // 4)
    optimizer = torch.optim.AdamW(network.parameters(), lr, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, steps, pct_start=0.1)
    network.train()
    for _ in range(steps):
        loss = network.loss(network(network.pixels(canvases)), truths, counts)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    return average_precision(network.eval(), scenes)


def average_precision(network: DetectorFree, scenes: list[Scene]) -> float:
    """AP of a network on scenes whose canvases are their pictures."""
    canvases, _ = canvases_of(scenes)
    found = network.find(canvases)
    objects: list[tuple[Instance, Pose]] = []
    for index, scene in enumerate(scenes):
        for ordinal, member in enumerate(scene.members):
            image = make_image(f"{index}.png", *scene.image.size)
            instance = Instance(image, ordinal, member.box, "given", member.area)
            objects.append((instance, member.pose))
    image = np.concatenate([np.full(len(one.score), index) for index, one in enumerate(found)])
    points = [torch.cat([one.xy, one.confidence[..., None]], dim=2).numpy() for one in found]
    area = np.ones(len(image))
    results = Results(
        image.astype(np.int64),
        np.zeros(len(image), np.int64),
        np.concatenate(points).astype(np.float64),
        np.concatenate([one.score.numpy() for one in found]).astype(np.float64),
        area,
        area,
    )
    return scene_scores(people_of(objects, SKELETON), results, SKELETON)["AP"]
