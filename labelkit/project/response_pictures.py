"""Response maps as pictures, each made on request.

A round of 10,000 instances with 14 keypoints has 140,000 response maps, few of which are ever
viewed: they stay in the round's one compact file.
"""

from __future__ import annotations

import io
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures

from labelkit.domain.geometry import Affine, scale_affine
from labelkit.domain.instance import Image, Instance
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import InputError
from labelkit.project.response_maps import MapReader, ResponseMaps

RESPONSE, HEATMAP, CAM = "response", "heatmap", "cam"
#: Kinds of maps, and what people call them.
KINDS = {RESPONSE: "response maps", HEATMAP: "heatmaps", CAM: "CAMs"}

#: Pictures kept in memory; one of a crop takes about 1 kB, one of an image 10 kB.
CACHE_BYTES = 64 * 2**20

#: Long side of a map over a whole image, in pixels; viewers stretch it over the image.
IMAGE_SIDE = 320

#: Instances whose maps stay decoded: people view several keypoints of one.
_DECODED = 32


def map_levels(maps: ResponseMaps, kind: str, keypoint: int) -> NDArray[np.uint8]:
    """(h, w) one map over the crop, 0 nothing ... 255 strongest.

    A response map or heatmap is relative to its own maximum: it shows where, not whether. A class
    activation map is relative to the strongest one of the instance: a faint one means that the
    keypoint is predicted as absent.
    """
    every: NDArray[np.float32] = getattr(maps, kind)
    one = every[keypoint]
    top = every.max(initial=0.0) if kind == CAM else one.max(initial=0.0)
    if top <= 0:
        return np.zeros(one.shape, dtype=np.uint8)
    return np.rint(one * (255.0 / top)).astype(np.uint8)


def over_image(levels: NDArray[np.uint8], crop: Sequence[float], image: Image) -> Pictures.Image:
    """A map over a crop as a picture of the whole image, 0 outside the crop.

    Args:
        levels: (h, w) over the crop.
        crop: (6,) image pixels to cells of `levels`.
        image: that the crop is from.
    """
    scale = max(image.width, image.height) / IMAGE_SIDE
    size = (max(1, round(image.width / scale)), max(1, round(image.height / scale)))
    stretched = (image.width / size[0], image.height / size[1], 1)
    affine = np.reshape(crop, (2, 3)) * stretched
    return Pictures.fromarray(levels).transform(
        size, Pictures.Transform.AFFINE, affine.ravel().tolist(), Pictures.Resampling.BILINEAR
    )


class MapPictures:
    """PNG pictures of a round's maps on demand; the latest stay in memory, up to a limit.

    Several threads may use it.

    Args:
        path: the round's map file.
        instances: of the project.
        cache_bytes: limit of the pictures in memory.
        skeleton: whose keypoints are counted; None takes those of the file, see `MapReader`.

    Raises:
        FormatError: if the file is missing, damaged or holds something else.
    """

    def __init__(
        self,
        path: Path,
        instances: Iterable[Instance],
        cache_bytes: int = CACHE_BYTES,
        skeleton: Skeleton | None = None,
    ) -> None:
        self._reader = MapReader(path, skeleton)
        self._maps = lru_cache(_DECODED)(self._reader.get)
        self._of_image: dict[str, list[Instance]] = defaultdict(list)
        for instance in instances:
            if instance.id in self._reader:
                self._of_image[instance.image.id].append(instance)
        self._cache: OrderedDict[tuple[str, int, str], bytes] = OrderedDict()
        self._limit, self.cached_bytes = cache_bytes, 0
        self._lock = Lock()

    def __contains__(self, id_: object) -> bool:
        """Whether there is a map of an instance, or of any instance of an image."""
        return id_ in self._reader or id_ in self._of_image

    def place(self, instance_id: str) -> tuple[tuple[int, int], Affine, list[str]]:
        """Where the response maps and heatmaps of an instance lie.

        Returns:
            their width and height in cells, (2, 3) from image pixels to cells, and which of the
            two kinds there are.
        """
        with self._lock:
            maps = self._maps(instance_id)
        height, width = maps.read.shape[1:]
        kinds = [kind for kind in (RESPONSE, HEATMAP) if getattr(maps, kind).size]
        return (width, height), np.reshape(maps.crop, (2, 3)), kinds

    def get(self, kind: str, keypoint: int, id_: str) -> bytes:
        """A map over an instance's crop, or, for an image's id, over the image.

        Over an image, the stronger map shows where crops of its instances overlap.

        Args:
            kind: see `KINDS`.
            keypoint: 0-based index.
            id_: of an instance or image.

        Raises:
            InputError: if there is no such map.
        """
        key = (kind, keypoint, id_)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
            if kind not in KINDS or not 0 <= keypoint < len(self._reader.keypoints):
                raise InputError(f"There is no {kind} map of keypoint {keypoint}.")
            if id_ not in self:
                raise InputError(f"The round has no maps of {id_}.", "Type: labelkit retrain")
            content = self._draw(kind, keypoint, id_)
            self._keep(key, content)
            return content

    def _draw(self, kind: str, keypoint: int, id_: str) -> bytes:
        if id_ in self._reader:
            picture = Pictures.fromarray(map_levels(self._maps(id_), kind, keypoint))
        else:
            layers = []
            for instance in self._of_image[id_]:
                maps = self._maps(instance.id)
                levels = map_levels(maps, kind, keypoint)
                if levels.size:
                    crop = _crop_of(maps, levels.shape)
                    layers.append(np.asarray(over_image(levels, crop, instance.image)))
            picture = Pictures.fromarray(
                np.maximum.reduce(layers) if layers else np.zeros((1, 1), np.uint8)
            )
        if 0 in picture.size:
            picture = Pictures.new("L", (1, 1))
        stream = io.BytesIO()
        picture.save(stream, format="PNG")
        return stream.getvalue()

    def _keep(self, key: tuple[str, int, str], content: bytes) -> None:
        self._cache[key] = content
        self.cached_bytes += len(content)
        while self.cached_bytes > self._limit and self._cache:
            _, dropped = self._cache.popitem(last=False)
            self.cached_bytes -= len(dropped)


def _crop_of(maps: ResponseMaps, size_hw: Sequence[int]) -> tuple[float, ...]:
    """(6,) image pixels to cells of a map of another size over the same crop."""
    height, width = maps.read.shape[1:]
    affine = scale_affine(maps.crop, (size_hw[1] / width, size_hw[0] / height))
    return tuple(affine.ravel().tolist())
