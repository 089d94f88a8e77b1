"""Pooled features of a round's objects: small vectors that tell which objects look alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from labelkit.files.parquet import RowWriter, open_parquet, parts

FORM = "labelkit-features-1"
FEATURES_FILE = "features.parquet"

#: Numbers of a feature.
LENGTH = 32

_ROWS_PER_GROUP = 4096
_SCHEMA = pa.schema([("instance_id", pa.string()), ("feature", pa.binary(2 * LENGTH))])


def projected(vectors: ArrayLike) -> NDArray[np.float16]:
    """Vectors of any length in `LENGTH` numbers, which nearly keep their distances.

    A projection on random directions, always the same (Johnson and Lindenstrauss, 1984).

    Args:
        vectors: (N, D).

    Returns:
        (N, LENGTH)
    """
    wide = np.asarray(vectors, dtype=np.float32)
    directions = np.random.default_rng(0).standard_normal((wide.shape[1], LENGTH))
    return (wide @ (directions / np.sqrt(LENGTH)).astype(np.float32)).astype(np.float16)


class FeatureWriter(RowWriter):
    """Collect features in one file, which appears when the `with` block succeeds.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _SCHEMA, FORM, {}, _ROWS_PER_GROUP)

    def add(self, instance_id: str, feature: NDArray[np.float16]) -> None:
        """Add the (LENGTH,) feature of one instance."""
        content = np.asarray(feature, dtype="<f2").tobytes()
        self.add_row({"instance_id": instance_id, "feature": content})


def iter_features(path: Path) -> Iterator[tuple[list[str], NDArray[np.float16]]]:
    """The features of a round's objects, some thousands at a time: B ids and (B, LENGTH) numbers.

    Args:
        path: of a round's file. Those beside it, of objects that were added later, are read too.
            Without any there is nothing: an earlier version made the round, or another model.

    Raises:
        FormatError: if a file is damaged or holds something else.
    """
    for part in parts(path):
        if not part.is_file():
            continue
        with open_parquet(part, FORM)[0] as file:
            for group in range(file.num_row_groups):  # iter_batches has the whole file in memory
                rows = file.read_row_group(group)
                content = b"".join(rows["feature"].to_pylist())
                features = np.frombuffer(content, dtype="<f2").reshape(-1, LENGTH)
                yield rows["instance_id"].to_pylist(), features
