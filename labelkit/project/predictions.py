"""The Parquet files of a round's predictions: of its own instances, and of those added later."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from labelkit.domain.pose import ABSENT, Pose
from labelkit.domain.prediction import Prediction
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import SkeletonError
from labelkit.files.parquet import (
    RowPlaces,
    fixed_lists,
    naming_damage,
    open_parquet,
    parquet_writer,
    parts,
)

FORM = "labelkit-predictions-1"
_ROWS_PER_GROUP = 1024

#: Row groups that stay in memory while predictions are asked for one by one.
_GROUPS = 32


def _schema(keypoints: int) -> pa.Schema:
    return pa.schema(
        [
            ("instance_id", pa.string()),
            ("xy", pa.list_(pa.float64(), 2 * keypoints)),
            ("visibility", pa.list_(pa.int8(), keypoints)),
            ("keypoint_score", pa.list_(pa.float64(), keypoints)),
            ("presence", pa.list_(pa.float64(), keypoints)),
            ("score", pa.float64()),
        ]
    )


def _record_batch(rows: Sequence[Prediction], schema: pa.Schema) -> pa.RecordBatch:
    def lists(column: str, arrays: list[NDArray[np.generic]]) -> pa.Array:
        return fixed_lists(np.stack(arrays), schema.field(column).type)

    return pa.record_batch(
        [
            pa.array([row.instance_id for row in rows], pa.string()),
            lists("xy", [row.pose.xy for row in rows]),
            lists("visibility", [row.pose.visibility.astype(np.int8) for row in rows]),
            lists("keypoint_score", [row.pose.score for row in rows]),
            lists("presence", [row.presence for row in rows]),
            pa.array([row.score for row in rows], pa.float64()),
        ],
        names=schema.names,
    )


def write_predictions(path: Path, predictions: Iterable[Prediction], skeleton: Skeleton) -> int:
    """Write predictions as they come, a row group at a time.

    Memory does not grow with their number, and `path` is replaced only when all are written.

    Returns:
        how many there were.

    Raises:
        SkeletonError: if a prediction has a different number of keypoints.
    """
    schema = _schema(len(skeleton))
    header = {"skeleton": skeleton.name, "keypoints": list(skeleton.keypoints)}
    stream, total = iter(predictions), 0
    with parquet_writer(path, schema, FORM, header) as writer:
        while rows := list(islice(stream, _ROWS_PER_GROUP)):
            for row in rows:
                if len(row.pose) != len(skeleton):
                    raise SkeletonError(
                        f"Prediction {row.instance_id} has {len(row.pose)} keypoints, skeleton "
                        f"{skeleton.name!r} has {len(skeleton)}."
                    )
            writer.write_batch(_record_batch(rows, schema))
            total += len(rows)
    return total


def iter_predictions(path: Path, skeleton: Skeleton) -> Iterator[Prediction]:
    """Read predictions in the order they were written, a row group at a time.

    Those of instances that were added later, in files beside `path`, come last. Keypoints are
    found by their present or former names; those that the skeleton got later are unknown.

    Raises:
        FormatError: if the file is missing, damaged or holds something else.
        SkeletonError: if it has none of the skeleton's keypoints.
    """
    for batch, columns in _batches(path, skeleton):
        yield from _predictions(batch, range(len(batch)), columns)


@dataclass(frozen=True, slots=True, eq=False)
class PredictionTable:
    """Some predictions as arrays, for what reads very many; see `Prediction`.

    Attributes:
        ids: B instance ids.
        xy: (B, K, 2) in image pixels, NaN where a pose has no location.
        keypoint_score: (B, K)
        presence: (B, K), NaN where it is not predicted.
        score: (B,) of the whole instances.
    """

    ids: Sequence[str]
    xy: NDArray[np.float64]
    keypoint_score: NDArray[np.float64]
    presence: NDArray[np.float64]
    score: NDArray[np.float64]


def iter_tables(path: Path, skeleton: Skeleton) -> Iterator[PredictionTable]:
    """Read predictions like `iter_predictions`, a row group at a time.

    Raises:
        FormatError, SkeletonError: see `iter_predictions`.
    """
    for batch, columns in _batches(path, skeleton):
        xy, visibility, keypoint_score, presence, score = _arrays(batch)
        index = np.array(columns)
        has_place = (visibility[:, index] > ABSENT) & (index >= 0)
        yield PredictionTable(
            batch["instance_id"].to_pylist(),
            np.where(has_place[..., None], xy[:, index], np.nan),
            np.where(index >= 0, keypoint_score[:, index], 0.0),
            np.where(index >= 0, presence[:, index], np.nan),
            score,
        )


def find_predictions(
    path: Path, skeleton: Skeleton, instance_ids: Collection[str]
) -> dict[str, Prediction]:
    """The predictions of some instances by id, as far as there are any.

    Raises:
        FormatError, SkeletonError: see `iter_predictions`.
    """
    found: dict[str, Prediction] = {}
    for part in parts(path):
        file, columns = _opened(part, skeleton)
        with file, naming_damage(part):
            for group in range(file.num_row_groups):
                # By hand: a filter of Arrow's imports pandas, which takes longer than reading.
                ids = file.read_row_group(group, ["instance_id"])["instance_id"].to_pylist()
                rows = [index for index, id_ in enumerate(ids) if id_ in instance_ids]
                if rows:
                    (batch,) = file.read_row_group(group).combine_chunks().to_batches()
                    found |= {it.instance_id: it for it in _predictions(batch, rows, columns)}
    return found


def later_ids(path: Path) -> set[str]:
    """Ids of the instances that were predicted after the round of a file was complete.

    Raises:
        FormatError: see `iter_predictions`.
    """
    ids: set[str] = set()
    for part in parts(path)[1:]:
        with open_parquet(part, FORM)[0] as file:
            ids.update(file.read(["instance_id"])["instance_id"].to_pylist())
    return ids


#: Rows, and the place of each of the skeleton's keypoints in them, -1 where they lack it.
_Batch = tuple[pa.RecordBatch, tuple[int, ...]]


def _batches(path: Path, skeleton: Skeleton) -> Iterator[_Batch]:
    for part in parts(path):
        yield from _batches_of_part(part, skeleton)


def _batches_of_part(path: Path, skeleton: Skeleton) -> Iterator[_Batch]:
    file, columns = _opened(path, skeleton)
    with file, naming_damage(path):
        for group in range(file.num_row_groups):  # iter_batches has the whole file in memory
            yield from ((batch, columns) for batch in file.read_row_group(group).to_batches())


def _opened(path: Path, skeleton: Skeleton) -> tuple[pq.ParquetFile, tuple[int, ...]]:
    """A file, and the place of each of the skeleton's keypoints in it, -1 where it lacks one."""
    file, header = open_parquet(path, FORM)
    columns = skeleton.columns_in(header["keypoints"])
    if max(columns) < 0:
        file.close()
        raise SkeletonError(
            f"{path} was written for the keypoints {', '.join(header['keypoints'])}; skeleton "
            f"{skeleton.name!r} has {', '.join(skeleton.keypoints)}.",
            "Train again with this skeleton: labelkit retrain",
        )
    return file, columns


def _predictions(
    batch: pa.RecordBatch, rows: Iterable[int], columns: tuple[int, ...]
) -> Iterator[Prediction]:
    ids, arrays = batch["instance_id"].to_pylist(), _arrays(batch)
    for row in rows:
        yield _prediction(ids[row], arrays, row, columns)


def _prediction(
    id_: str, arrays: tuple[NDArray[Any], ...], row: int, columns: tuple[int, ...]
) -> Prediction:
    xy, visibility, keypoint_score, presence, score = (array[row] for array in arrays)
    pose = Pose(xy, visibility, keypoint_score)
    prediction = Prediction(id_, pose, presence, float(score))
    same = columns == tuple(range(len(pose)))
    return prediction if same else prediction.take(columns)


def _arrays(batch: pa.RecordBatch) -> tuple[NDArray[Any], ...]:
    """Locations, visibilities, scores and presences of B predictions, and their own scores."""
    keypoints = batch.schema.field("presence").type.list_size

    def array(column: str, *shape: int) -> NDArray[Any]:
        # As above: Arrow's own to_numpy imports pandas.
        return np.from_dlpack(batch[column].flatten()).reshape(len(batch), *shape)

    return (
        array("xy", keypoints, 2),
        array("visibility", keypoints),
        array("keypoint_score", keypoints),
        array("presence", keypoints),
        np.array(batch["score"].to_pylist(), dtype=np.float64),
    )


class _Predictions(Mapping[str, Prediction]):
    """Predictions by instance id, each made when it is asked for.

    Only the row groups that were read last are in memory: what is asked for in the order of the
    files, or nearly, is read once.
    """

    def __init__(self, path: Path, skeleton: Skeleton) -> None:
        self._path, self._parts = path, [_opened(part, skeleton) for part in parts(path)]
        self._places = RowPlaces(path, [file for file, _ in self._parts])
        self._arrays = lru_cache(_GROUPS)(self._read)
        self._one_reader = Lock()  # a file is read by one thread at a time

    def _read(self, number: int, group: int) -> tuple[NDArray[Any], ...]:
        with self._one_reader, naming_damage(self._path):
            table = self._parts[number][0].read_row_group(group)
        return _arrays(table.combine_chunks().to_batches()[0])

    def __getitem__(self, instance_id: str) -> Prediction:
        number, group, row = self._places[instance_id]
        return _prediction(instance_id, self._arrays(number, group), row, self._parts[number][1])

    def __contains__(self, instance_id: object) -> bool:
        return instance_id in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def read_predictions(path: Path, skeleton: Skeleton) -> Mapping[str, Prediction]:
    """All predictions of a file by instance id, which are read from it when they are asked for.

    Memory hardly grows with their number. A few of them, in any order, are read faster by
    `find_predictions`.

    Raises:
        FormatError, SkeletonError: see `iter_predictions`; damaged rows, when they are asked for.
    """
    return _Predictions(path, skeleton)
