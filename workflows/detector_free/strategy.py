"""How few labelled and many unlabelled images train a detector-free network, whichever it is.

Designed from the abstract of "Semi-supervised Learning for Detector-free Multi-person Pose
Estimation" (Wang, Zhou, Chen, Tang and Wang, Machine Intelligence Research, 2025), the only part
that is public: consistency on heatmaps, and pseudo-labels of instances. The parts are known: a mean
teacher (Tarvainen and Valpola, NIPS 2017), weak and strong views related by an affine map (Xie et
al., ICCV 2021), burn-in and filtered pseudo-labels (Liu et al., "Unbiased Teacher", ICLR 2021).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelkit.models.detector_free.instances import UNKNOWN, Instances
from labelkit.models.detector_free.interface import CANVAS_CELL, STRIDE, DetectorFree

#: Decay of the teacher at the end of burn-in and at the end, in `LONG` steps of training. Shorter
#: ones forget faster, so that the teacher averages over the same share of the training.
DECAYS, LONG = (0.999, 0.9995), 20_000
#: Shares of the steps that train on labels alone, and in which the other weight then rises. After a
#: quarter a teacher is sure of wrong poses, and teaches them (benchmarks/README.md).
BURN_IN, RAMP = 0.6, 0.2
#: Weight of what unlabelled images say, after the ramp.
WEIGHT = 0.5

#: Heatmaps of the teacher count around peaks of this height.
CONFIDENT = 0.5
#: Cells around a peak, either way, that belong to it.
REACH = 3
#: A pseudo-label has so many points that the teacher is sure of, or all of a smaller skeleton.
LEAST_POINTS = 3
#: The teacher is sure of points of this confidence whose mean distance from their mean over
#: mirrored and scaled views is so small, as a share of the box's long side.
POINT_CONFIDENCE, MOST_SPREAD = 0.3, 0.02
#: Magnification of the scaled view, before the sides are rounded to cells.
SCALED = 1.25
#: From this score, an object that is no pseudo-label makes its box uncertain; from this height, so
#: does a heatmap away from all accepted points.
UNSURE_SCORE, UNSURE_HEIGHT = 0.02, 0.05
#: Share of the objects that labelled images have on average which the score threshold lets through,
#: how fast it adapts in a step, and its range.
KEPT_SHARE, RATE, RANGE = 0.5, 0.02, (0.1, 0.9)

#: Strong views: degrees either way, magnifications, shift as a share of the canvas.
ROTATION, SCALES, SHIFT = 30.0, (0.75, 1.3), 0.1
#: Squares that hide parts of a strong view, and their side as a share of the canvas.
CUTS, CUT_SIDE = 4, 0.12


@dataclass(frozen=True, slots=True)
class Strategy:
    """Which signals unlabelled images give.

    Attributes:
        heatmaps: consistency of the student's heatmaps with the teacher's.
        instances: pseudo-labels of whole objects.
    """

    heatmaps: bool
    instances: bool

    @property
    def uses_unlabelled(self) -> bool:
        """Whether unlabelled images are used at all."""
        return self.heatmaps or self.instances


#: The rows of the paper's comparison, by name.
STRATEGIES = {
    "supervised-only": Strategy(heatmaps=False, instances=False),
    "heatmap consistency": Strategy(heatmaps=True, instances=False),
    "instance pseudo-labels": Strategy(heatmaps=False, instances=True),
    "both": Strategy(heatmaps=True, instances=True),
}


def teacher_of(student: DetectorFree) -> DetectorFree:
    """A copy of a network that no gradient changes, in evaluation mode."""
    teacher = deepcopy(student).eval()
    return teacher.requires_grad_(False)


def ema_decay(step: int, steps: int) -> float:
    """The teacher's decay: 0 at first, then from the first to the second of `DECAYS`."""
    early, late = (max(0.0, 1 - (1 - decay) * max(1.0, LONG / steps)) for decay in DECAYS)
    gone = max(0.0, min(1.0, (step / steps - BURN_IN) / (1 - BURN_IN)))
    return min(early + gone * (late - early), step / (step + 1))


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, decay: float) -> None:
    """Move weights and running means of the teacher towards the student's."""
    of_student = student.state_dict()
    for name, value in teacher.state_dict().items():
        if value.dtype.is_floating_point:
            value.lerp_(of_student[name], 1 - decay)
        else:
            value.copy_(of_student[name])


@contextmanager
def keeping_statistics(network: nn.Module) -> Iterator[None]:
    """Leave running means and variances as they are: strong views have others than real images.

    The network that is used afterwards reads real ones (after Xie et al., "Adversarial Examples
    Improve Image Recognition", CVPR 2020, whose two kinds of images have statistics of their own).
    """
    kept = {
        module: module.momentum
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
    }
    for module in kept:
        module.momentum = 0.0
    try:
        yield
    finally:
        for module, momentum in kept.items():
            module.momentum = momentum


def ramp(step: int, steps: int) -> float:
    """Weight of the unlabelled images: 0 in burn-in, then up to `WEIGHT`.

    exp(-5 (1 - t)^2) of Laine and Aila (ICLR 2017).
    """
    gone = (step / steps - BURN_IN) / RAMP
    return 0.0 if gone < 0 else WEIGHT * math.exp(-5 * (1 - min(gone, 1.0)) ** 2)


class View(NamedTuple):
    """How views differ from B canvases of the same size.

    Attributes:
        affine: (B, 2, 3) from canvas to view pixels.
        mirrored: (B,) bool; left and right keypoints are renamed.
    """

    affine: Tensor
    mirrored: Tensor


def random_view(
    count: int, size_hw: tuple[int, int], mirror: bool, generator: torch.Generator
) -> View:
    """Turn, magnify, shift and perhaps mirror each of `count` canvases."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    height, width = size_hw
    angle = torch.deg2rad(uniform(-ROTATION, ROTATION))
    scale = uniform(math.log(SCALES[0]), math.log(SCALES[1])).exp()
    mirrored = (torch.rand(count, generator=generator) < 0.5) & torch.tensor(mirror)
    side = torch.where(mirrored, -1.0, 1.0)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    linear = torch.stack((side * cos, -side * sin, sin, cos), dim=1).view(count, 2, 2)
    middle = torch.tensor([width, height]) / 2
    shift = torch.stack((uniform(-SHIFT, SHIFT) * width, uniform(-SHIFT, SHIFT) * height), dim=1)
    return View(torch.cat([linear, (middle + shift - linear @ middle)[..., None]], dim=2), mirrored)


def move(xy: Tensor, affine: Tensor) -> Tensor:
    """(..., 2) points through one (2, 3) map."""
    return xy @ affine[:, :2].T + affine[:, 2]


def warp(maps: Tensor, affine: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Maps of canvases as maps of their views; 0 where a view lies outside its canvas.

    Args:
        maps: (B, C, h, w) of any stride.
        affine: (B, 2, 3) from canvas to view pixels.
        size_hw: of a canvas, in pixels.

    Returns:
        (B, C, h, w) float.
    """
    height, width = size_hw
    back = torch.linalg.inv(affine[:, :, :2])  # (B, 2, 2), from view to canvas pixels
    half = affine.new_tensor([width / 2, height / 2])
    linear = back * half / half[:, None]  # both from -1 to 1 over the canvas
    shift = linear.sum(dim=2) - (back @ affine[:, :, 2:])[..., 0] / half - 1
    theta = torch.cat([linear, shift[..., None]], dim=2).to(maps.device)
    grid = F.affine_grid(theta, list(maps.shape), align_corners=False)
    return F.grid_sample(maps.float(), grid, align_corners=False)


def strong_pixels(canvases: Tensor, view: View, generator: torch.Generator) -> Tensor:
    """(B, 3, H, W) uint8 canvases as they look in views: other light, and squares cut out."""
    batch, _, height, width = canvases.shape

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        drawn = low + (high - low) * torch.rand(batch, *shape, generator=generator)
        return drawn.to(canvases.device)

    pixels = warp(canvases, view.affine, (height, width))
    light = uniform(0.7, 1.3, 1, 1, 1) * uniform(0.92, 1.08, 3, 1, 1)
    pixels = (pixels - 128) * uniform(0.7, 1.3, 1, 1, 1) + 128 * light
    x, y = uniform(0, width, CUTS, 1), uniform(0, height, CUTS, 1)
    half = CUT_SIDE * max(height, width) / 2
    across = (torch.arange(width, device=x.device) - x).abs() <= half  # (B, CUTS, W)
    down = (torch.arange(height, device=x.device) - y).abs() <= half  # (B, CUTS, H)
    hidden = (across[..., None, :] & down[..., :, None]).any(dim=1, keepdim=True)
    return pixels.masked_fill(hidden, 128.0).round().clamp(0, 255).to(torch.uint8)


def confident(heatmaps: Tensor) -> Tensor:
    """(..., h, w) bool, the surroundings of peaks of at least `CONFIDENT`."""
    return _wider(heatmaps >= CONFIDENT, REACH)


def heatmap_consistency(
    student: Tensor,
    teacher: Tensor,
    view: View,
    flip: Sequence[int],
    size_hw: tuple[int, int],
) -> Tensor:
    """Squared difference from the teacher's heatmaps, around its confident peaks in the view.

    Args:
        student: (B, K, h, w) of the views.
        teacher: (B, K, h, w) of the canvases.
        view: from one to the other.
        flip: K indices, what each keypoint is in a mirror image.
        size_hw: of a canvas, in pixels.

    Returns:
        Scalar: the sum over cells per unit of the target's mass; 0 where there are no peaks.
    """
    teacher = teacher.detach()
    mirrored = view.mirrored.to(teacher.device)[:, None, None, None]
    teacher = torch.where(mirrored, teacher[:, list(flip)], teacher)
    target = warp(teacher, view.affine, size_hw)
    # Outside of the canvas, and where a cell is partly outside, the mask is below 1.
    mask = warp(confident(teacher).float(), view.affine, size_hw) > 0.99
    target = target * mask
    return ((student - target).square() * mask).sum() / target.sum().clamp(min=1.0)


class ScoreThreshold(nn.Module):
    """The score from which a teacher's object is a pseudo-label, adapted to the data set.

    It rises while more objects pass than labelled images have, and falls while fewer do.

    Args:
        objects_per_image: mean over labelled images.

    Attributes:
        value: (), 0 ... 1.
    """

    value: Tensor

    def __init__(self, objects_per_image: float) -> None:
        super().__init__()
        self.wanted = max(KEPT_SHARE * objects_per_image, 1e-6)
        self.register_buffer("value", torch.tensor(0.3))

    @torch.no_grad()
    def adapt(self, found: Sequence[Instances]) -> None:
        """Take one step towards the share that shall pass, given the objects of some images."""
        passed = sum(int((one.score >= self.value).sum()) for one in found) / max(len(found), 1)
        excess = max(-1.0, min(1.0, passed / self.wanted - 1))
        self.value.add_(RATE * excess).clamp_(*RANGE)


class Taught(NamedTuple):
    """What a teacher says of one canvas.

    Attributes:
        objects: pseudo-labels; points that the teacher is not sure of are unknown.
        uncertain: (h, w) bool, cells where there may be an object that is not among them.
    """

    objects: Instances
    uncertain: Tensor


@torch.no_grad()
def taught(
    teacher: DetectorFree,
    canvases: Tensor,
    found: Sequence[Instances],
    heatmaps: Tensor,
    threshold: float,
    flip: Sequence[int] | None,
) -> list[Taught]:
    """Filter a teacher's objects.

    Args:
        teacher: in evaluation mode.
        canvases: (B, 3, H, W) uint8.
        found: B canvases' objects.
        heatmaps: (B, K, h, w) of the teacher.
        threshold: least score.
        flip: K indices, what each keypoint is in a mirror image; None where there is no valid one.

    Returns:
        B canvases' pseudo-labels.
    """
    views = [_scaled(teacher, canvases)]
    if flip is not None:
        views.append(_mirrored(teacher, canvases, flip))
    heat = heatmaps.amax(dim=1)  # (B, h, w)
    return [
        chosen(one, [view[index] for view in views], threshold, heat[index])
        for index, one in enumerate(found)
    ]


def chosen(found: Instances, views: Sequence[Instances], threshold: float, heat: Tensor) -> Taught:
    """The objects of a canvas that are good enough to be labels.

    Args:
        found: every keypoint has a location.
        views: objects of the same canvas, found in other views of it, in pixels of the canvas.
        threshold: least score.
        heat: (h, w) the highest of the teacher's heatmaps.
    """
    high = found.confidence >= POINT_CONFIDENCE  # (N, K)
    sure = high & (spread(found, high, views) <= MOST_SPREAD)
    enough = sure.sum(dim=1) >= min(LEAST_POINTS, sure.shape[1])
    accepted = enough & (found.score >= threshold)
    objects = found.take(accepted)
    presence = torch.where(sure[accepted], 1, UNKNOWN).to(torch.int8)
    doubtful = found.take(~accepted & (found.score >= UNSURE_SCORE))
    uncertain = _inside(doubtful.boxes / STRIDE, heat)
    uncertain |= _wider((heat >= UNSURE_HEIGHT) & ~_around(objects.xy[presence > 0], heat), REACH)
    if not len(objects.score):  # a teacher that knows no object here does not know the rest either
        uncertain[:] = True
    return Taught(objects._replace(presence=presence), uncertain)


def spread(found: Instances, counted: Tensor, views: Sequence[Instances]) -> Tensor:
    """(N, K) how far each point moves from view to view, as a share of the object's long side.

    The mean distance from its mean over the views. In each view the object counts whose points
    are nearest; where a view has no object, the spread is infinite.

    Args:
        found: N objects.
        counted: (N, K) by which points the nearest object is chosen.
        views: see `chosen`.
    """
    places = [found.xy]
    weight = counted.float()
    for view in views:
        if len(view.xy) == 0:
            return torch.full_like(found.confidence, torch.inf)
        apart = (found.xy[:, None] - view.xy).norm(dim=3)  # (N, M, K)
        places.append(view.xy[(apart * weight[:, None]).sum(dim=2).argmin(dim=1)])
    each = torch.stack(places)  # (V, N, K, 2)
    off = (each - each.mean(dim=0)).norm(dim=3).mean(dim=0)  # (N, K)
    sides = (found.boxes[:, 2:] - found.boxes[:, :2]).amax(dim=1, keepdim=True)
    return off / sides.clamp(min=STRIDE)


def in_view(
    said: Taught, affine: Tensor, mirrored: bool, flip: Sequence[int], size_hw: tuple[int, int]
) -> Taught:
    """What a teacher says of a canvas, in a view of it; outside of the canvas all is uncertain.

    Args:
        said: of the canvas.
        affine: (2, 3) from canvas to view pixels.
        mirrored: whether it mirrors.
        flip: see `heatmap_consistency`.
        size_hw: of a canvas, in pixels.
    """
    height, width = size_hw
    objects = said.objects
    if mirrored:
        columns = list(flip)
        objects = objects._replace(
            xy=objects.xy[:, columns],
            presence=objects.presence[:, columns],
            confidence=objects.confidence[:, columns],
        )
    xy = move(objects.xy, affine.to(objects.xy.device))
    outside = ((xy < 0) | (xy >= xy.new_tensor([width, height]))).any(dim=2)
    presence = objects.presence.masked_fill(outside & (objects.presence > 0), 0)
    objects = objects._replace(xy=xy, presence=presence).take((presence > 0).any(dim=1))
    certain = (~said.uncertain).float()[None, None]
    return Taught(objects, warp(certain, affine[None], size_hw)[0, 0] < 0.99)


def unlabelled_loss(
    strategy: Strategy,
    student: DetectorFree,
    teacher: DetectorFree,
    canvases: Tensor,
    threshold: ScoreThreshold,
    flip: Sequence[int],
    mirror: bool,
    generator: torch.Generator,
) -> tuple[Tensor, int]:
    """What unlabelled canvases say, before its weight.

    Args:
        strategy: which signals count.
        student: is trained.
        teacher: see `teacher_of`.
        canvases: (B, 3, H, W) uint8, the weak views.
        threshold: of pseudo-labels; it adapts.
        flip: see `heatmap_consistency`.
        mirror: whether a mirror image with renamed keypoints is valid.
        generator: of the strong views, on the CPU.

    Returns:
        Scalar loss, and the number of pseudo-labels.
    """
    size_hw = (canvases.shape[2], canvases.shape[3])
    with torch.no_grad():
        said = teacher(teacher.pixels(canvases))
        heatmaps = teacher.heatmaps(said)
    view = random_view(len(canvases), size_hw, mirror, generator)
    with keeping_statistics(student):
        output = student(student.pixels(strong_pixels(canvases, view, generator)))
    loss, count = student.heatmaps(output).sum() * 0.0, 0
    if strategy.heatmaps:
        of_student = student.heatmaps(output)
        loss = loss + heatmap_consistency(of_student, heatmaps, view, flip, size_hw)
    if strategy.instances:
        found, swap = teacher.decode(said), flip if mirror else None
        known = taught(teacher, canvases, found, heatmaps, float(threshold.value), swap)
        threshold.adapt(found)
        seen = [
            in_view(one, affine, bool(mirrored), flip, size_hw)
            for one, affine, mirrored in zip(known, view.affine, view.mirrored, strict=True)
        ]
        counts = torch.stack([~one.uncertain for one in seen])
        loss = loss + student.loss(output, [one.objects for one in seen], counts)
        count = sum(len(one.objects.score) for one in known)
    return loss, count


def _scaled(teacher: DetectorFree, canvases: Tensor) -> list[Instances]:
    """Objects found in magnified canvases, in pixels of the canvases."""
    size = [round(side * SCALED / CANVAS_CELL) * CANVAS_CELL for side in canvases.shape[2:]]
    larger = F.interpolate(canvases.float(), size, mode="bilinear").round().to(torch.uint8)
    factors = [now / was for now, was in zip(size, canvases.shape[2:], strict=True)]
    return [
        one._replace(xy=one.xy / one.xy.new_tensor(factors[::-1])) for one in teacher.find(larger)
    ]


def _mirrored(teacher: DetectorFree, canvases: Tensor, flip: Sequence[int]) -> list[Instances]:
    """Objects found in mirrored canvases, in pixels of the canvases."""
    width, columns = canvases.shape[3], list(flip)
    return [
        one._replace(
            xy=torch.stack((width - one.xy[..., 0], one.xy[..., 1]), dim=2)[:, columns],
            confidence=one.confidence[:, columns],
        )
        for one in teacher.find(canvases.flip(3))
    ]


def _wider(cells: Tensor, reach: int) -> Tensor:
    """(..., h, w) bool, everything within some cells of the given ones."""
    flat = cells.float().flatten(0, -3)[:, None] if cells.dim() > 2 else cells.float()[None, None]
    return (F.max_pool2d(flat, 2 * reach + 1, 1, reach) > 0).view(cells.shape)


def _around(xy: Tensor, like: Tensor) -> Tensor:
    """(h, w) bool, cells within reach of some (P, 2) points in canvas pixels."""
    cells = torch.zeros_like(like, dtype=torch.bool)
    column, row = (xy / STRIDE).floor().long().T
    cells[row.clamp(0, like.shape[0] - 1), column.clamp(0, like.shape[1] - 1)] = True
    return _wider(cells, REACH)


def _inside(boxes: Tensor, like: Tensor) -> Tensor:
    """(h, w) bool, cells in any of (N, 4) boxes: left, top, right, bottom in cells."""
    row = torch.arange(like.shape[0], device=like.device)
    column = torch.arange(like.shape[1], device=like.device)
    left, top, right, bottom = boxes[..., None].unbind(dim=1)  # (N, 1) each
    across = (column + 1 > left) & (column < right)  # (N, w)
    down = (row + 1 > top) & (row < bottom)  # (N, h)
    return (down[:, :, None] & across[:, None, :]).any(dim=0)
