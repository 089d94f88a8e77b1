"""What a model says about each instance, and the Parquet file that keeps it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from labelkit.domain.pose import VISIBLE, Pose
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import FormatError, InputError, SkeletonError
from labelkit.files.parquet import fixed_lists, open_parquet, parquet_writer

FORM = "labelkit-predictions-1"
_ROWS_PER_GROUP = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """One instance as a model sees it.

    Attributes:
        instance_id: of the instance.
        pose: the best place of *every* keypoint, in upright image pixels, with a score each. A
            keypoint whose visibility is 0 has no place and is scored as lost; doubt about its
            presence belongs into `presence`.
        presence: (K,) float64, 0 surely absent ... 1 surely there; NaN where there is no opinion.
        score: 0 lost ... 1 sure, of the whole instance: the mean score of the keypoints that the
            model sees as present. The queue is sorted by it; it ranks, and is no probability.

    Raises:
        InputError: if the lengths differ or the score is not finite.
    """

    instance_id: str
    pose: Pose
    presence: NDArray[np.float64]
    score: float

    def __post_init__(self) -> None:
        presence = np.array(self.presence, dtype=np.float64)
        if presence.shape != (len(self.pose),):
            raise InputError(
                f"Prediction {self.instance_id}: {len(self.pose)} keypoints but presence "
                f"{presence.shape}."
            )
        if not np.isfinite(self.score):
            raise InputError(f"Prediction {self.instance_id}: the score is {self.score}.")
        presence.flags.writeable = False
        object.__setattr__(self, "presence", presence)

    @property
    def xy(self) -> NDArray[np.float64]:
        """(K, 2) places in image pixels, NaN where the pose has none."""
        return np.where(self.pose.present[:, None], self.pose.xy, np.nan)


def blind_predictions(
    instance_ids: Sequence[str], xy: ArrayLike, presence: ArrayLike
) -> dict[str, Prediction]:
    """Give poses that nobody looked up in the picture the form of a model's predictions.

    Every keypoint counts as visible, and every instance gets the same score: nothing ranks them.

    Args:
        instance_ids: N ids.
        xy: (N, K, 2) in image pixels.
        presence: (K,) the same presence scores for all, NaN where there is no opinion.
    """
    shared = np.asarray(presence, dtype=np.float64)
    visibility, score = np.full(len(shared), VISIBLE), np.ones(len(shared))
    return {
        instance_id: Prediction(instance_id, Pose(points, visibility, score), shared, 1.0)
        for instance_id, points in zip(instance_ids, np.asarray(xy), strict=True)
    }


def _schema(count: int) -> pa.Schema:
    return pa.schema(
        [
            ("instance_id", pa.string()),
            ("xy", pa.list_(pa.float64(), 2 * count)),
            ("visibility", pa.list_(pa.int8(), count)),
            ("keypoint_score", pa.list_(pa.float64(), count)),
            ("presence", pa.list_(pa.float64(), count)),
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
    """Write predictions as they come, a row group at a time, and return how many there were.

    Memory does not grow with their number, and `path` is replaced only when all are written.

    Raises:
        SkeletonError: if a prediction has another number of keypoints.
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

    Raises:
        FormatError: if the file is missing, damaged or something else.
        SkeletonError: if it was written for other keypoints.
    """
    for batch in _batches(path, skeleton):
        yield from _predictions(batch, range(len(batch)), len(skeleton))


def find_predictions(
    path: Path, skeleton: Skeleton, instance_ids: Collection[str]
) -> dict[str, Prediction]:
    """The predictions of some instances, those that there are; see `iter_predictions`."""
    found = {}
    for batch in _batches(path, skeleton):
        ids = batch.column("instance_id").to_pylist()
        rows = [index for index, id_ in enumerate(ids) if id_ in instance_ids]
        for prediction in _predictions(batch, rows, len(skeleton)):
            found[prediction.instance_id] = prediction
    return found


def _batches(path: Path, skeleton: Skeleton) -> Iterator[pa.RecordBatch]:
    file, header = open_parquet(path, FORM)
    with file:
        if header["keypoints"] != list(skeleton.keypoints):
            raise SkeletonError(
                f"{path} was written for the keypoints {', '.join(header['keypoints'])}; skeleton "
                f"{skeleton.name!r} has {', '.join(skeleton.keypoints)}.",
                "Train again with this skeleton: labelkit retrain",
            )
        try:
            yield from file.iter_batches(_ROWS_PER_GROUP)
        except (pa.ArrowInvalid, OSError) as error:
            raise FormatError(
                f"{path} is damaged: its rows cannot be read.",
                "Run the command that writes it again: labelkit retrain",
            ) from error


def _predictions(batch: pa.RecordBatch, rows: Iterable[int], count: int) -> Iterator[Prediction]:
    def array(column: str, *shape: int) -> NDArray[np.generic]:
        # Arrow's own to_numpy imports pandas, which takes longer than reading the file.
        return np.from_dlpack(batch.column(column).flatten()).reshape(len(batch), *shape)

    ids, scores = batch.column("instance_id").to_pylist(), batch.column("score").to_pylist()
    xy, presence = array("xy", count, 2), array("presence", count)
    visibility, keypoint_score = array("visibility", count), array("keypoint_score", count)
    for row in rows:
        pose = Pose(xy[row], visibility[row], keypoint_score[row])
        yield Prediction(ids[row], pose, presence[row], scores[row])


def read_predictions(path: Path, skeleton: Skeleton) -> dict[str, Prediction]:
    """All predictions of a file by instance id; see `iter_predictions`."""
    return {row.instance_id: row for row in iter_predictions(path, skeleton)}
