"""What the page shows of an image: upright, re-encoded, and no larger than a screen."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache
from threading import Lock

from PIL import Image as Picture

from labelkit.domain.instance import Box, Image, Instance
from labelkit.project.images import image_file, open_upright
from labelkit.workflows.labelling.work import Work

#: Long side of what is shown, in pixels; anything larger is scaled down.
LARGEST = 2560

#: Of the JPEG.
QUALITY = 92

#: Margin of a close-up on each side, as a share of the box's long side.
MARGIN = 0.5


def close_up(instance: Instance) -> Box | None:
    """The part of a large image around an object, in whole pixels; None if all of it is shown."""
    image, box = instance.image, instance.box
    if max(image.width, image.height) <= LARGEST:
        return None
    margin = MARGIN * box.long_side
    left, top = max(0, int(box.x - margin)), max(0, int(box.y - margin))
    right = min(image.width, int(box.x + box.w + margin) + 1)
    bottom = min(image.height, int(box.y + box.h + margin) + 1)
    return Box(left, top, right - left, bottom - top)


class Pictures:
    """JPEG pictures of a project's images; the latest stay in memory. Threads may share it.

    Args:
        work: whose project has the images.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._lock = Lock()  # one large image is decoded at a time
        self._upright: Callable[[str], Picture.Image] = lru_cache(2)(self._open)
        self._encoded: Callable[[Image, Box | None], bytes] = lru_cache(24)(self._encode)

    def get(self, image: Image, part: Box | None) -> bytes:
        """An image, or a part of it.

        Args:
            image: of the project.
            part: in whole pixels of the image; None for all of it.

        Raises:
            ImageError: if the image cannot be read.
        """
        with self._lock:
            return self._encoded(image, part)

    def _open(self, path: str) -> Picture.Image:
        return open_upright(image_file(self._work.project.images_root, path))

    def _encode(self, image: Image, part: Box | None) -> bytes:
        picture = self._upright(image.path)
        if part is None:
            picture = picture.copy()
        else:
            left, top, right, bottom = map(int, part.corners)
            picture = picture.crop((left, top, right, bottom))
        picture.thumbnail((LARGEST, LARGEST), Picture.Resampling.LANCZOS, reducing_gap=2.0)
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=QUALITY, subsampling=0)
        return stream.getvalue()
