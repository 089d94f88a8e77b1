"""A crop of each instance as the network saw it, cut once and kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path

from PIL import Image as Pictures

from labelkit.bridges.fiftyone.samples import Picture
from labelkit.domain.geometry import Affine, scale_affine
from labelkit.domain.instance import Instance
from labelkit.files.atomic import atomic_path
from labelkit.project.images import image_file, open_upright
from labelkit.project.project import Project
from labelkit.project.response_maps import MapReader, ResponseMaps
from labelkit.workflows.network.crops import crop_affine, cut

#: Long side of a crop in pixels, about that of the App's modal.
CROP_SIDE = 384


def crop_of(instance: Instance, maps: ResponseMaps | None) -> tuple[Affine, tuple[int, int]]:
    """The crop that response maps and heatmaps cover; without maps, the padded box in a square.

    Returns:
        (2, 3) image pixels to crop pixels, and the height and width of the crop.
    """
    if maps is None or not maps.read.size:
        size_hw = (CROP_SIDE, CROP_SIDE)
        return crop_affine(instance.box, size_hw), size_hw
    rows, columns = maps.read.shape[1:]
    scale = CROP_SIDE / max(rows, columns)
    height, width = round(rows * scale), round(columns * scale)
    return scale_affine(maps.crop, (width / columns, height / rows)), (height, width)


def crops(
    project: Project, instances: Iterable[Instance], maps: Path | None
) -> Iterator[tuple[Instance, Picture]]:
    """Each instance with its crop, cut now unless it is on disk already.

    Args:
        project: with the images; crops go into its folder.
        instances: consecutive ones of the same image read it once.
        maps: map file of the round whose crops are used; None for padded boxes.
    """
    folder = project.root / "review" / "crops"
    opened: tuple[str, Pictures.Image] | None = None
    with MapReader(maps) if maps is not None else nullcontext() as reader:
        for instance in instances:
            found = None
            if reader is not None and instance.id in reader:
                found = reader.get(instance.id)
            affine, size_hw = crop_of(instance, found)
            size_wh = size_hw[::-1]
            frame = tuple(scale_affine(affine, [1 / side for side in size_wh]).ravel().tolist())
            name = hashlib.sha256(repr((frame, size_wh)).encode()).hexdigest()[:8]
            path = folder / f"{instance.id}-{name}.jpg"
            if not path.is_file():
                if opened is None or opened[0] != instance.image.id:
                    file = image_file(project.images_root, instance.image.path)
                    opened = (instance.image.id, open_upright(file))
                with atomic_path(path) as beside:
                    crop = Pictures.fromarray(cut(opened[1], affine, size_hw))
                    crop.save(beside, format="JPEG", quality=88)
            yield instance, Picture(str(path), size_wh, frame)
