"""Images as files that a browser shows: their own, or a copy of one that it cannot show."""

from __future__ import annotations

from pathlib import Path

from labelkit.domain.instance import Image
from labelkit.files.atomic import atomic_path
from labelkit.project.images import browsers_show, image_file, open_upright
from labelkit.project.project import Project


def shown_image(project: Project, image: Image) -> Path:
    """The file of an image for browsers; copies go into the project's folder, once.

    Raises:
        ImageError: if it leads out of the images folder, or has to be copied and cannot be read.
    """
    file = image_file(project.images_root, image.path)
    if browsers_show(file):
        return file
    copy = project.root / "review" / "images" / f"{image.id}.png"
    if not copy.is_file():
        copy.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(copy) as beside:
            open_upright(file).save(beside, format="PNG", compress_level=1)
    return copy
