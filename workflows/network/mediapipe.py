"""Poses of objects by a network of MediaPipe, kept as they come."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from contextlib import suppress
from itertools import groupby
from pathlib import Path

import numpy as np

from labelkit.bridges.mediapipe.networks import OWN, Found, Network, find_turned
from labelkit.domain.geometry import Affine, apply_affine, invert_affine
from labelkit.domain.instance import Box, Instance
from labelkit.progress import Progress
from labelkit.project.images import image_file, open_upright
from labelkit.workflows.network.crops import cut

#: Long side of the picture that the network gets, in pixels, at most; it scales it to 256.
LARGEST = 1280


def find_poses(
    network: Network,
    images_root: Path,
    instances: Iterable[Instance],
    kept: Path,
    progress: Progress,
) -> list[tuple[Instance, Found | None]]:
    """The pose of each object in its box with a margin, or None where it is not found.

    Args:
        network: that finds them; its environment is made if need be.
        images_root: the images folder.
        instances: the objects.
        kept: file of the poses so far; those that it has are not predicted again.
        progress: shows a bar.

    Raises:
        MissingDependencyError: if MediaPipe cannot be installed.
        ServiceError: if it stops.
        ImageError: if an image cannot be read.
    """
    if not OWN.is_complete:
        OWN.make(progress.line)
    ordered = sorted(instances, key=lambda item: (item.image.path, item.ordinal))
    before = _read(kept)
    left = [item for item in ordered if _key(network, item) not in before]
    if len(left) < len(ordered):
        progress.line(f"Predicted before: {len(ordered) - len(left)} of {len(ordered)} objects.")
    with network.running() as find, kept.open("a", encoding="utf-8") as file:
        bar = progress.track(left, f"Predicting with {network.name}", len(left))
        for image, items in groupby(bar, key=lambda item: item.image):
            picture = open_upright(image_file(images_root, image.path))
            for item in items:
                affine, size_hw = _crop(item.box, network.margin)
                found = find_turned(find, cut(picture, affine, size_hw))
                if found is not None:
                    xy = apply_affine(invert_affine(affine), found[:, :2])
                    found = np.column_stack([xy, found[:, 2]]).round(3)
                before[_key(network, item)] = found
                row = [_key(network, item), None if found is None else found.tolist()]
                file.write(f"\n{json.dumps(row)}")  # first a new line: the last one may be cut
                file.flush()
    return [(item, before[_key(network, item)]) for item in ordered]


def _crop(box: Box, margin: float) -> tuple[Affine, tuple[int, int]]:
    """The box with a margin, which may reach out of the image, and no larger than `LARGEST`.

    Returns:
        (2, 3) from image pixels to those of the crop, and its rows and columns.
    """
    more = margin * box.long_side
    w, h = box.w + 2 * more, box.h + 2 * more
    scale = min(1.0, LARGEST / max(w, h))
    affine = scale * np.array([[1.0, 0.0, more - box.x], [0.0, 1.0, more - box.y]])
    return affine, (math.ceil(h * scale), math.ceil(w * scale))


def _key(network: Network, instance: Instance) -> str:
    return f"{network.name} {OWN.version} {instance.image.sha256} {tuple(instance.box)}"


def _read(kept: Path) -> dict[str, Found | None]:
    """What interrupted calls kept; a line may be cut."""
    found: dict[str, Found | None] = {}
    if kept.is_file():
        for line in kept.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):
                key, rows = json.loads(line)
                found[key] = None if rows is None else np.array(rows)
    return found
