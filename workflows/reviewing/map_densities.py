"""How likely the maps of networks that never saw a label make its places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from labelkit.project.response_maps import MapReader

Floats = NDArray[np.float64]


class MapDensities:
    """Densities that maps give to places, read from their files object by object.

    A heatmap is taken as the density of its keypoint: what minimises the squared error to Gaussians
    around the truth is the density of the truth, blurred by that Gaussian.

    Args:
        readers: of the maps, by id of the object; None where it has none.
        ids: of N objects.
        frames: (N, 3) middle of each box, x and y, and its long side, in pixels.
        flip: (K,) the partner of each keypoint, itself for one without.
    """

    def __init__(
        self,
        readers: Mapping[str, MapReader | None],
        ids: Sequence[str],
        frames: Floats,
        flip: Sequence[int],
    ) -> None:
        self.readers, self.ids, self.frames, self.flip = readers, ids, frames, list(flip)

    def __call__(self, xy: Floats, rows: NDArray[np.int64]) -> Floats:
        """(2, n, K) densities on the keypoint's own map and on its partner's.

        Per squared length of the box's long side; NaN where an object has no maps or a keypoint no
        place, 0 outside the crop.

        Args:
            xy: (n, K, 2) relative to the middle of the box, in lengths of its long side.
            rows: (n,) of the objects.
        """
        found = np.full((2, *xy.shape[:2]), np.nan)
        for place in np.argsort(rows, kind="stable").tolist():  # maps lie in this order
            row = rows[place]
            id_ = self.ids[row]
            if (reader := self.readers.get(id_)) is None or id_ not in reader:
                continue
            kept = reader.get(id_)
            if not kept.read.size:
                continue
            to_cells = np.reshape(kept.crop, (2, 3))
            middle, side = self.frames[row, :2], self.frames[row, 2]
            cells = (xy[place] * side + middle) @ to_cells[:, :2].T + to_cells[:, 2]
            mass = kept.read.sum(axis=(1, 2), dtype=np.float64)
            cells_per_side = abs(np.linalg.det(to_cells[:, :2])) * side**2
            share = kept.read * (cells_per_side / np.where(mass > 0, mass, np.nan))[:, None, None]
            found[0, place] = _between(share, cells)
            found[1, place] = _between(share[self.flip], cells)
        return found


def _between(maps: Floats, cells: Floats) -> Floats:
    """(K,) values of (K, h, w) maps at (K, 2) places, bilinear between the middles of cells."""
    height, width = maps.shape[1:]
    k = np.arange(len(maps))
    first = np.floor(np.nan_to_num(cells, nan=-9.0) - 0.5).astype(int)
    weight = cells - 0.5 - first
    total = np.zeros(len(maps))
    for down in (0, 1):
        for right in (0, 1):
            column, row = first[:, 0] + right, first[:, 1] + down
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            value = maps[k, row.clip(0, height - 1), column.clip(0, width - 1)] * inside
            x, y = (weight[:, 0], weight[:, 1])
            total += value * (x if right else 1 - x) * (y if down else 1 - y)
    return total
