"""Response maps and heatmaps of a whole round in one compact file, each readable on its own.

A map is stored as bytes relative to its own maximum, with that maximum beside it: the largest
error is 1/510 of the maximum, and the peak itself is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from labelkit.domain.skeleton import Skeleton, make_skeleton
from labelkit.errors import FormatError
from labelkit.files.parquet import RowPlaces, RowWriter, naming_damage, open_parquet, parts
from labelkit.project.rounds import ROUND_FILE, read_from, read_round

FORM = "labelkit-maps-2"
#: Until 2026-11-29: without heatmaps, in whose place `response` held them once they were read.
FORMER = "labelkit-maps-1"
#: Rows that are read together; 64 crops of 256x192 with 17 keypoints are 4 MB.
_ROWS_PER_GROUP = 64

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class ResponseMaps:
    """The maps in which a model locates each keypoint of one instance.

    Attributes:
        instance_id: of the instance.
        crop: six numbers (a, b, c, d, e, f) that take image pixels to cells of `read`:
            column = a x + b y + c, row = d x + e y + f; (0, 0) is the outer corner of the
            first cell.
        response: (K, h, w) attention of the decoder. (K, 0, 0) in a round of an earlier version
            that kept its heatmaps instead.
        heatmap: (K, h, w) what locations have trained; (K, 0, 0) before the first ones.
        cam: (K, h2, w2) class activation maps over the same crop; (K, 0, 0) if the model has none.
    """

    instance_id: str
    crop: tuple[float, ...]
    response: Floats
    heatmap: Floats
    cam: Floats

    @property
    def read(self) -> Floats:
        """(K, h, w) the maps that the keypoints were read from: heatmaps, once there are any."""
        return self.heatmap if self.heatmap.size else self.response


def _squeeze(maps: Floats) -> tuple[bytes, Floats]:
    """(K, h, w) maps as bytes, and the (K,) maxima that 255 stands for."""
    scale = np.asarray(maps.max(axis=(1, 2), initial=0.0), dtype=np.float32)
    divisor = np.where(scale > 0, scale, 1.0)[:, None, None]
    levels = np.rint(np.clip(maps, 0.0, None) / divisor * 255.0)
    return levels.astype(np.uint8).tobytes(), scale


def _restore(content: bytes, scale: Sequence[float], size: Sequence[int]) -> Floats:
    levels = np.frombuffer(content, dtype=np.uint8).reshape(len(scale), *size)
    # In this order 255 gives exactly the maximum.
    share = levels.astype(np.float32) / np.float32(255)
    return share * np.asarray(scale, dtype=np.float32)[:, None, None]


def take_maps(maps: Floats, columns: NDArray[np.int64]) -> Floats:
    """Maps of other keypoints: (K,) index of each in `maps`; -1 for one without, whose map is 0."""
    return np.where((columns >= 0)[:, None, None], maps[columns], np.float32(0))


class MapWriter(RowWriter):
    """Collect response maps in one file, which appears when the `with` block succeeds.

    Args:
        path: of the file.
        keypoints: K names, in the order of the maps.
    """

    def __init__(self, path: Path, keypoints: Sequence[str]) -> None:
        count = self._count = len(keypoints)
        schema = pa.schema(
            [
                ("instance_id", pa.string()),
                ("crop", pa.list_(pa.float64(), 6)),
                ("response", pa.binary()),
                ("response_scale", pa.list_(pa.float32(), count)),
                ("response_size", pa.list_(pa.int32(), 2)),
                ("heatmap", pa.binary()),
                ("heatmap_scale", pa.list_(pa.float32(), count)),
                ("heatmap_size", pa.list_(pa.int32(), 2)),
                ("cam", pa.binary()),
                ("cam_scale", pa.list_(pa.float32(), count)),
                ("cam_size", pa.list_(pa.int32(), 2)),
            ]
        )
        super().__init__(path, schema, FORM, {"keypoints": list(keypoints)}, _ROWS_PER_GROUP)

    def add(
        self,
        instance_id: str,
        crop: Sequence[float],
        response: ArrayLike,
        heatmap: ArrayLike,
        cam: ArrayLike,
    ) -> None:
        """Add the maps of one instance; see `ResponseMaps`.

        Args:
            instance_id: of the instance, once in a file.
            crop: (6,) image pixels to cells of `response` and `heatmap`.
            response, heatmap: (K, h, w) not negative.
            cam: (K, h2, w2) not negative. Any array without elements stands for no maps of a kind.

        Raises:
            ValueError: if maps have the wrong shape, or NaN or infinite cells.
        """
        count = self._count
        row: dict[str, Any] = {"instance_id": instance_id, "crop": [float(v) for v in crop]}
        for name, values in (("response", response), ("heatmap", heatmap), ("cam", cam)):
            maps = np.asarray(values, dtype=np.float32)
            if maps.size == 0:
                maps = np.zeros((count, 0, 0), dtype=np.float32)
            if maps.ndim != 3 or len(maps) != count:
                raise ValueError(f"{name} of {instance_id} needs ({count}, h, w), not {maps.shape}")
            if not np.isfinite(maps).all():
                raise ValueError(f"{name} of {instance_id} has NaN or infinite cells.")
            row[name], row[f"{name}_scale"] = _squeeze(maps)
            row[f"{name}_size"] = maps.shape[1:]
        self.add_row(row)


class MapReader:
    """Response maps by instance id; only the row group with the instance is read.

    Args:
        path: a file that `MapWriter` wrote. Those beside it, of instances that were added later,
            are read too.
        skeleton: whose keypoints the maps are for, in its order; the maps of one that the file
            does not have are 0. None takes the file's own keypoints.

    Attributes:
        keypoints: K names, in the order of the maps.

    Raises:
        FormatError: if it is missing, damaged or holds something else.
    """

    def __init__(self, path: Path, skeleton: Skeleton | None = None) -> None:
        self._path = path
        self._files = []
        self._is_former: list[bool] = []
        self._columns: list[NDArray[np.int64]] = []  # of the keypoints, in each file
        for part in parts(path):
            file, header = open_parquet(part, FORM, FORMER)
            self._files.append(file)
            self._is_former.append(header["form"] == FORMER)
            skeleton = skeleton or make_skeleton("maps", header["keypoints"])
            self.keypoints: tuple[str, ...] = skeleton.keypoints
            self._columns.append(np.array(skeleton.columns_in(header["keypoints"])))
        self._place = RowPlaces(path, self._files)
        self._group = (-1, -1)
        self._table: pa.Table | None = None

    def __enter__(self) -> MapReader:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, instance_id: object) -> bool:
        return instance_id in self._place

    def __iter__(self) -> Iterator[str]:
        """Instance ids in the order they were added."""
        return iter(self._place)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Which of "response", "heatmap" and "cam" there are, judged by the first instance."""
        first = [self.get(id_) for id_ in list(self)[:1]]
        return tuple(k for k in ("response", "heatmap", "cam") for m in first if getattr(m, k).size)

    def get(self, instance_id: str) -> ResponseMaps:
        """The maps of one instance.

        Raises:
            FormatError: if the file has none.
        """
        if instance_id not in self._place:
            raise FormatError(
                f"{self._path} has no response maps of instance {instance_id}.",
                "It was added after this round. Type: labelkit retrain",
            )
        number, group, index = self._place[instance_id]
        if self._table is None or (number, group) != self._group:
            with naming_damage(self._path):
                self._table = self._files[number].read_row_group(group)
            self._group = (number, group)
        row = self._table.slice(index, 1).to_pylist()[0]
        columns = self._columns[number]

        def maps(kind: str) -> Floats:
            stored = (row[kind], row[f"{kind}_scale"], row[f"{kind}_size"])
            return take_maps(_restore(*stored), columns)

        response = maps("response")
        if not self._is_former[number]:
            heatmap = maps("heatmap")
        else:
            heatmap = np.zeros((len(columns), 0, 0), dtype=np.float32)
            if _kept_heatmaps(self._path):
                response, heatmap = heatmap, response
        return ResponseMaps(instance_id, tuple(row["crop"]), response, heatmap, maps("cam"))


@cache
def _kept_heatmaps(path: Path) -> bool:
    """Whether a round of an earlier version kept the heatmaps, off which it read keypoints."""
    folder = path.parent.parent
    if not (folder / ROUND_FILE).is_file():
        return False
    return read_from(read_round(folder).facts.get("training", {})) == "heatmaps"
