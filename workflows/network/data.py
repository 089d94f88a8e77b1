"""What a network is given: crops, and for training their targets, with and without locations."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from labelkit.domain.geometry import apply_affine
from labelkit.domain.instance import Instance
from labelkit.domain.pose import ABSENT, UNKNOWN, Pose
from labelkit.domain.pose_priors import skeleton_in_box
from labelkit.domain.skeleton import Skeleton
from labelkit.workflows.network.crops import (
    Augmentation,
    crop_affine,
    free_view,
    mirror_keypoints,
    read_crop,
    safe_view,
)


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One object to learn from.

    Attributes:
        instance: where it is.
        presence: (K,) the visibility answer: -1 unknown, 0 absent, 1 present.
        pose: its keypoints; None where only the answer may be used.
        lesson: its keypoints as another model has them, weighted by their scores; None without.
    """

    instance: Instance
    presence: NDArray[np.int8]
    pose: Pose | None
    lesson: Pose | None = None

    @property
    def located(self) -> Pose | None:
        """Its keypoints, or else those of another model."""
        return self.lesson if self.pose is None else self.pose


class TrainingCrops(Dataset[dict[str, Tensor]]):
    """Randomly viewed crops; an item is drawn by (example index, random seed).

    The seed in the index makes a crop independent of workers and of interruptions.

    Args:
        images_root: folder below which the images lie.
        examples: what to learn from.
        skeleton: for mirror images.
        size_hw: height and width of a crop in pixels.
        augmentation: which views are allowed.
        interpolation: see `cut`.

    Attributes:
        pseudo_labels: (N, K, 3) float32, keypoints predicted for examples without locations: x, y
            in image pixels, and their weight, 0 ... 1. At first the lessons, else all 0. In shared
            memory: changed in place, it changes for workers too.
    """

    def __init__(
        self,
        images_root: Path,
        examples: Sequence[Example],
        skeleton: Skeleton,
        size_hw: tuple[int, int],
        augmentation: Augmentation,
        interpolation: str = "bilinear",
    ) -> None:
        self.images_root = images_root
        self.examples = examples
        self.skeleton = skeleton
        self.size_hw = size_hw
        self.augmentation = augmentation
        self.interpolation = interpolation
        self._alone = list(skeleton.unpaired_sides)
        self.pseudo_labels = torch.zeros(len(examples), len(skeleton), 3).share_memory_()
        for number, example in enumerate(examples):
            if example.pose is None and (lesson := example.lesson) is not None:
                weighted = np.column_stack([lesson.xy, lesson.score * lesson.present])
                self.pseudo_labels[number] = torch.from_numpy(weighted)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: tuple[int, int]) -> dict[str, Tensor]:
        """One crop and what is known of it.

        Returns:
            image: (3, H, W) uint8.
            presence: (K,) float, 1 where the keypoint is present in the crop.
            answered: (K,) float, 1 where a person answered, 0 where the network predicted it.
            xy: (K, 2) float, crop pixels; 0 where unknown.
            located: (K,) float, 1 where the supervised term counts: every keypoint of an
                object with locations or pseudo-labels, present (a peak) or absent (an empty map),
                except those that are unknown and pseudo-labels that are not kept.
        """
        number, seed = index
        example = self.examples[number]
        rng = np.random.default_rng(seed)
        box = example.instance.box
        answer, pose = example.presence, example.pose
        # What is present without a location is in the crop for sure only if the whole box is.
        if pose is None or ((answer > ABSENT) & ~pose.known).any():
            view = safe_view(rng, box, self.size_hw, self.augmentation)
        else:
            view = free_view(rng, self.size_hw, self.augmentation)
        affine = crop_affine(box, self.size_hw, view)
        path = self.images_root / example.instance.image.path
        crop = read_crop(path, affine, self.size_hw, self.interpolation)
        crop = jitter_colours(rng, crop)

        xy: NDArray = np.zeros((len(self.skeleton), 2))
        located: NDArray = np.zeros(len(self.skeleton))
        pseudo_label = self.pseudo_labels[number].numpy().astype(np.float64)
        answered = answer > UNKNOWN
        presence = np.where(answered, answer > ABSENT, pseudo_label[:, 2] > 0)
        if pose is not None:
            xy = apply_affine(affine, pose.xy)
            inside = ((xy >= 0) & (xy <= self.size_hw[::-1])).all(axis=1)
            answered = answered | pose.known
            presence = np.where(pose.known, pose.present & inside, presence)
            located = pose.known.astype(np.float64)
        elif pseudo_label.any():
            xy = apply_affine(affine, pseudo_label[:, :2])
            inside = ((xy >= 0) & (xy <= self.size_hw[::-1])).all(axis=1)
            # An answer that a keypoint is absent locates it: nowhere, so its map is empty.
            located = np.where(presence, pseudo_label[:, 2] * inside, answered)
        xy[located * presence == 0] = 0.0
        rows = [presence, answered, xy, located]
        if view.mirrored:
            rows = [mirror_keypoints(each, self.skeleton) for each in rows]
            for each in rows:  # what shows on the other side has no name, so nothing is known
                each[self._alone] = 0
        rows = [each.astype(np.float32) for each in rows]
        return {
            "image": torch.from_numpy(crop).permute(2, 0, 1),
            **{
                name: torch.from_numpy(each)
                for name, each in zip(("presence", "answered", "xy", "located"), rows, strict=True)
            },
        }


def poses_in_cells(
    examples: Sequence[Example], skeleton: Skeleton, map_hw: tuple[int, int], mirror: bool
) -> tuple[Tensor, Tensor]:
    """Labelled poses in cells of upright crops.

    Args:
        examples: those without locations are left out.
        skeleton: of the examples.
        map_hw: rows and columns of a crop.
        mirror: add their mirror images, sides renamed, without keypoints on a side of no partner.

    Returns:
        xy: (N, K, 2) in cells; NaN where a keypoint is absent.
        present: (N, K) bool.
    """
    xy, present = [], []
    for example in examples:
        if (pose := example.located) is not None:
            affine = crop_affine(example.instance.box, map_hw)
            xy.append(apply_affine(affine, pose.xy))
            present.append(pose.present)
            if mirror:
                xy.append(mirror_keypoints(xy[-1] * (-1, 1) + (map_hw[1], 0), skeleton))
                present.append(mirror_keypoints(present[-1], skeleton))
                present[-1][list(skeleton.unpaired_sides)] = False
    keypoints = len(skeleton)
    return (
        torch.from_numpy(np.reshape(xy, (-1, keypoints, 2))),
        torch.from_numpy(np.reshape(present, (-1, keypoints)).astype(bool)),
    )


def prior_in_cells(
    instances: Sequence[Instance], skeleton: Skeleton, map_hw: tuple[int, int]
) -> Tensor | None:
    """The skeleton layout stretched over each box, in cells of upright crops.

    Args:
        instances: N, whose boxes are used.
        skeleton: provides the layout.
        map_hw: rows and columns of a crop.

    Returns:
        (N, K, 2) float32 in cells; None if the skeleton has no layout.
    """
    if not skeleton.has_layout:
        return None
    poses = skeleton_in_box([item.box for item in instances], skeleton)
    affines = [crop_affine(item.box, map_hw) for item in instances]
    cells = [apply_affine(*both) for both in zip(affines, poses, strict=True)]
    return torch.from_numpy(np.reshape(cells, poses.shape)).float()


def jitter_colours(rng: np.random.Generator, crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Random saturation, contrast and brightness of an (H, W, 3) crop."""
    colour, contrast, brightness = rng.uniform(0.8, 1.2, size=3)
    # Linear changes about the pixel's grey, the crop's mean and black.
    matrix = brightness * contrast * (colour * np.eye(3) + (1 - colour) / 3)
    offset = brightness * (1 - contrast) * crop.mean()
    values = crop.astype(np.float32) @ matrix.astype(np.float32) + np.float32(offset)
    return np.clip(values, 0, 255).astype(np.uint8)


class MixedSampler(Sampler[tuple[int, int]]):
    """Draw every batch from objects with and without locations in a fixed proportion.

    Args:
        located: indices of examples with locations.
        others: indices of examples without.
        batch_size: of the batches on every device.
        steps: batches per epoch.
        located_share: least share of a batch with locations, 0 ... 1, where there are both kinds.
        located_odds: least odds of drawing an object with locations rather than one without: the
            more objects have them, the larger their share of a batch.
        seed: of the whole run.
        rank, world_size: index of this device and number of devices.
    """

    def __init__(
        self,
        located: Sequence[int],
        others: Sequence[int],
        batch_size: int,
        steps: int,
        located_share: float,
        located_odds: float,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__()
        self.located = list(located)
        self.others = list(others)
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        total = batch_size * world_size
        if not self.others:
            self.located_per_batch = total
        elif not self.located:
            self.located_per_batch = 0
        else:
            weight = located_odds * len(self.located)
            share = max(located_share, weight / (weight + len(self.others)))
            self.located_per_batch = min(max(round(total * share), 1), total - 1)

    def set_epoch(self, epoch: int) -> None:
        """Called by the training engine before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps * self.batch_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        located = _endless(self.located, rng)
        others = _endless(self.others, rng)
        total = self.batch_size * self.world_size
        for _ in range(self.steps):
            batch = [next(located) for _ in range(self.located_per_batch)]
            batch += [next(others) for _ in range(total - self.located_per_batch)]
            seeds = rng.integers(2**62, size=total)
            # Interleaved over devices: each gets its share of both kinds.
            for index, seed in list(zip(batch, seeds, strict=True))[self.rank :: self.world_size]:
                yield index, int(seed)


def _endless(indices: Sequence[int], rng: np.random.Generator) -> Iterator[int]:
    """Shuffled passes over the indices, one after another."""
    while indices:
        yield from rng.permutation(indices).tolist()


class PlainCrops(Dataset[dict[str, Tensor]]):
    """Upright crops for inference, in the order given, each with its map from the image."""

    def __init__(
        self,
        images_root: Path,
        instances: Sequence[Instance],
        size_hw: tuple[int, int],
        interpolation: str = "bilinear",
    ) -> None:
        self.images_root = images_root
        self.instances = instances
        self.size_hw = size_hw
        self.interpolation = interpolation

    def __len__(self) -> int:
        return len(self.instances)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One crop.

        Returns:
            image: (3, H, W) uint8.
            affine: (2, 3) double, image pixels to crop pixels.
        """
        instance = self.instances[index]
        affine = crop_affine(instance.box, self.size_hw)
        path = self.images_root / instance.image.path
        crop = read_crop(path, affine, self.size_hw, self.interpolation)
        return {
            "image": torch.from_numpy(crop.copy()).permute(2, 0, 1),
            "affine": torch.from_numpy(affine),
        }


def loader(
    dataset: Dataset, batch_size: int, workers: int, sampler: Sampler | None = None
) -> DataLoader:
    """Batches in order (or in the sampler's), in pinned memory where there is a GPU."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
    )


def loader_workers() -> int:
    """Number of processes that cut crops: none where the network needs the cores itself."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return 0 if (cores or 1) <= 2 else min((cores or 1) - 1, 8)
