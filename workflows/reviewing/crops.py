"""A picture of each instance: what the network saw of it, on disk once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures

from labelkit.bridges.fiftyone.samples import Picture
from labelkit.domain.instance import Instance
from labelkit.files.atomic import atomic_path
from labelkit.project.images import image_file, open_upright
from labelkit.project.project import Project
from labelkit.project.response_maps import MapReader

#: Long side of a crop in pixels; about what the App's modal shows.
CROP_SIDE = 384

#: Crop side over box side where no network has said how it looks.
PADDING = 1.25


def crop_frame(
    instance: Instance, seen: Sequence[float] | None, cells_hw: tuple[int, int]
) -> tuple[tuple[float, ...], tuple[int, int]]:
    """What a crop shows, and its size.

    Args:
        instance: to be cropped.
        seen: (6,) image pixels to cells of its response maps; None without maps.
        cells_hw: size of these.

    Returns:
        (6,) image pixels to shares of the crop, and its width and height in pixels.
    """
    if seen is None or 0 in cells_hw:
        box, side = instance.box, instance.box.long_side * PADDING
        left, top = box.x + (box.w - side) / 2, box.y + (box.h - side) / 2
        return (1 / side, 0.0, -left / side, 0.0, 1 / side, -top / side), (CROP_SIDE, CROP_SIDE)
    height, width = cells_hw
    scale = CROP_SIDE / max(width, height)
    frame = np.reshape(seen, (2, 3)) / ((width,), (height,))
    return tuple(frame.ravel().tolist()), (round(width * scale), round(height * scale))


def cut(
    picture: Pictures.Image, frame: Sequence[float], size_wh: tuple[int, int]
) -> Pictures.Image:
    """The part of a picture that a frame shows, grey where it lies outside.

    Args:
        picture: RGB.
        frame: (6,) picture pixels to shares of the crop.
        size_wh: of the crop.
    """
    to_shares = np.vstack([np.reshape(frame, (2, 3)), (0.0, 0.0, 1.0)])
    to_crop = np.diag([size_wh[0], size_wh[1], 1.0]) @ to_shares
    back: NDArray[np.float64] = np.linalg.inv(to_crop)[:2]  # crop pixels to picture pixels
    factor = int(np.sqrt(abs(np.linalg.det(back[:, :2]))))
    if factor > 1:  # one crop pixel covers several: average them first
        whole = picture.size
        picture = picture.reduce(factor)
        back = back * ((picture.width / whole[0],), (picture.height / whole[1],))
    return picture.transform(
        size_wh,
        Pictures.Transform.AFFINE,
        back.ravel().tolist(),
        Pictures.Resampling.BILINEAR,
        fillcolor=(124, 116, 104),
    )


def crops(
    project: Project, instances: Iterable[Instance], maps: Path | None
) -> Iterator[tuple[Instance, Picture]]:
    """Each instance with its crop, cut now if it was not before.

    Args:
        project: where images and crops are.
        instances: those of one image in a row are read together.
        maps: file of the round whose crops to take; None for padded boxes.
    """
    folder = project.root / "review" / "crops"
    opened: tuple[str, Pictures.Image] | None = None
    with MapReader(maps) if maps is not None else nullcontext() as reader:
        for instance in instances:
            seen: Sequence[float] | None = None
            cells: tuple[int, ...] = (0, 0)
            if reader is not None and instance.id in reader:
                found = reader.get(instance.id)
                seen, cells = found.crop, found.response.shape[1:]
            frame, size = crop_frame(instance, seen, (cells[0], cells[1]))
            name = hashlib.sha256(repr((frame, size)).encode()).hexdigest()[:8]
            path = folder / f"{instance.id}-{name}.jpg"
            if not path.is_file():
                if opened is None or opened[0] != instance.image.id:
                    file = image_file(project.images_root, instance.image.path)
                    opened = (instance.image.id, open_upright(file))
                with atomic_path(path) as beside:
                    cut(opened[1], frame, size).save(beside, format="JPEG", quality=88)
            yield instance, Picture(str(path), size, frame)
