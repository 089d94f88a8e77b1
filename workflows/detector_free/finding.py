"""Find the objects of whole images, also of those that are far larger than a network's input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from pathlib import Path

import torch

from labelkit.domain.geometry import apply_affine, invert_affine
from labelkit.domain.instance import Box, Image
from labelkit.models.detector_free.instances import Instances, alikeness
from labelkit.models.detector_free.interface import SCORE_FLOOR, DetectorFree
from labelkit.project.images import image_file, open_upright
from labelkit.workflows.detector_free.canvases import fit_affine, windows
from labelkit.workflows.network.crops import cut

#: Canvases that are read at a time.
AT_A_TIME = 8
#: Objects of two windows with a higher OKS are the same.
SAME_OKS = 0.5


def find(
    network: DetectorFree,
    images: Iterable[Image],
    root: Path,
    size_hw: tuple[int, int],
    tile: float = 0.0,
    least_score: float = SCORE_FLOOR,
) -> Iterator[tuple[Image, Instances]]:
    """The objects of images one after another, in image pixels and on the CPU, best first.

    An object at the border of a tile, which may cut it, is left to the tiles that overlap this one,
    to larger tiles, and to the whole image.

    Args:
        network: in evaluation mode.
        images: to read, each once.
        root: folder below which they lie.
        size_hw: rows and columns of a canvas.
        tile: see `tile_sides`.
        least_score: of the objects.

    Raises:
        ImageError: if an image cannot be read.
    """
    views = ((image, window) for image in images for window in windows(image, tile, size_hw))
    seen = _seen(network, views, root, size_hw, least_score)
    for _, parts in groupby(seen, key=lambda view: view[0].id):
        of_image = list(parts)
        image, _, found = of_image[0]
        if len(of_image) > 1:
            inside = [one.take(_uncut(one, window, image)) for _, window, one in of_image]
            found = _merged(inside, network.sigmas)
        yield image, found


def _seen(
    network: DetectorFree,
    views: Iterator[tuple[Image, Box]],
    root: Path,
    size_hw: tuple[int, int],
    least_score: float,
) -> Iterator[tuple[Image, Box, Instances]]:
    """What each part of an image shows, in image pixels."""
    device = next(network.parameters()).device
    opened, picture = "", None
    while some := list(islice(views, AT_A_TIME)):
        canvases, affines = [], [fit_affine(window, size_hw) for _, window in some]
        for (image, _), affine in zip(some, affines, strict=True):
            if picture is None or image.id != opened:
                opened, picture = image.id, open_upright(image_file(root, image.path))
            pixels = cut(picture, affine, size_hw, network.pixels.interpolation)
            canvases.append(torch.from_numpy(pixels.copy()).permute(2, 0, 1))
        with torch.inference_mode():
            found = network.find(torch.stack(canvases).to(device))
        for (image, window), affine, one in zip(some, affines, found, strict=True):
            good = one.take(one.score >= least_score)
            objects = Instances(*(values.double().cpu() for values in good))
            xy = apply_affine(invert_affine(affine), objects.xy.numpy())
            yield image, window, objects._replace(xy=torch.from_numpy(xy))


def _uncut(found: Instances, window: Box, image: Image) -> torch.Tensor:
    """(N,) bool, the objects that no border of a window cuts, but for those of the image."""
    left, top, right, bottom = found.boxes.unbind(dim=1)
    x, y, right_end, bottom_end = window.corners
    return (
        ((left >= x) | (x <= 0))
        & ((top >= y) | (y <= 0))
        & ((right <= right_end) | (right_end >= image.width))
        & ((bottom <= bottom_end) | (bottom_end >= image.height))
    )


def _merged(parts: list[Instances], sigmas: tuple[float, ...]) -> Instances:
    """The objects of all windows, each once: of those that are the same, the best stays."""
    kept, *others = parts
    for more in others:
        same = alikeness(more, kept, sigmas, 1.0) > SAME_OKS  # (n, N)
        worse = (same & (kept.score >= more.score[:, None])).any(dim=1)
        beaten = same[~worse].any(dim=0)
        both = zip(kept.take(~beaten), more.take(~worse), strict=True)
        kept = Instances(*(torch.cat(values) for values in both))
    return kept.take(kept.score.argsort(descending=True, stable=True))
