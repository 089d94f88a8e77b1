"""Scores of one trained network: accuracy, calibration of its confidence, response maps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from labelkit.domain.geometry import apply_affine
from labelkit.domain.instance import Instance
from labelkit.domain.pose import Pose
from labelkit.domain.prediction import Prediction
from labelkit.domain.skeleton import Skeleton
from labelkit.metrics.calibration import Calibration
from labelkit.metrics.quality import expected_calibration_error, spearman
from labelkit.metrics.table import evaluate_row, json_measures
from labelkit.progress import Progress
from labelkit.project.project import Project
from labelkit.workflows.intake.evaluation_set import EvaluationSet
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot
from labelkit.workflows.rounds.networks import predict_instances
from labelkit.workflows.rounds.run_round import mean_error

if TYPE_CHECKING:
    from labelkit.workflows.network.inference import PredictionWithMaps

#: A keypoint is correct within this share of the box's long side, as in pck@0.1.
CORRECT = 0.1
#: Number of instances whose response maps are drawn.
DRAWN = 4


def scores_of(
    project: Project,
    network: Any,
    settings: Mapping[str, Any],
    labels: LabelSnapshot,
    test: EvaluationSet,
    progress: Progress,
    pictures: Path | None,
) -> dict[str, Any]:
    """Score a network on the test set; confidence is calibrated on the dev set.

    Where the dev set itself is the test set, each half is calibrated on the other.

    Args:
        project: of the training instances.
        network: see `load_network`.
        settings: of its training.
        labels: of the project, for its dev set.
        test: the test set.
        progress: shows a bar.
        pictures: a folder for pictures; None for none.

    Returns:
        JSON values; NaN (undefined) becomes None.
    """
    from labelkit.workflows.benchmarking.pictures import draw

    skeleton = project.skeleton
    responses: list[NDArray[np.float64]] = []
    predictions: dict[str, Prediction] = {}
    drawn: list[PredictionWithMaps] = []
    for item in predict_instances(test.project, network, settings, test.instances, progress):
        id_ = item.prediction.instance_id
        predictions[id_] = item.prediction
        responses.append(response_at(item, test.truth[id_]))
        if len(drawn) < DRAWN:
            drawn.append(item)
    result = _scores(predictions, test.truth, test.instances, skeleton)
    dev = {item: labels.instances[item] for item in sorted(labels.dev) if item in labels.poses}
    if test.project is project:
        ids = list(dev)
        even, odd = (_confidence(predictions, test.truth, dev, ids[n::2]) for n in (0, 1))
        parts = [(even, odd), (odd, even)]
    else:
        on_dev = {
            item.prediction.instance_id: item.prediction
            for item in predict_instances(project, network, settings, dev, progress)
        }
        parts = [
            (
                _confidence(on_dev, labels.poses, dev, list(dev)),
                _confidence(predictions, test.truth, test.instances, list(test.instances)),
            )
        ]
    calibrated = [Calibration.fit(*known).apply(new[0]) for known, new in parts]
    correct = np.concatenate([new[1] for _, new in parts])
    result["ece_calibrated"] = expected_calibration_error(np.concatenate(calibrated), correct)
    at_joint = np.stack(responses)  # (N, K)
    known = ~np.isnan(at_joint)
    mean = np.nansum(at_joint, axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
    result["response"] = dict(zip(skeleton.keypoints, map(float, mean), strict=True))
    if pictures is not None:
        draw(test.project, network, drawn, test, pictures)
    return _json(result)


def prior_scores(
    predictions: Mapping[str, Prediction], test: EvaluationSet, skeleton: Skeleton
) -> dict[str, Any]:
    """Scores of poses made without the image; they have no confidence."""
    row = evaluate_row("", None, predictions, test.truth, test.instances, skeleton)
    return json_measures(row.measures)


def response_at(item: PredictionWithMaps, truth: Pose) -> NDArray[np.float64]:
    """(K,) response at the true keypoints, as a share of each map's peak; NaN where absent."""
    height, width = item.response.shape[1:]
    column, row = np.floor(apply_affine(item.to_cells, truth.xy)).astype(int).T
    inside = truth.present & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    result = np.where(truth.present, 0.0, np.nan)
    index = np.flatnonzero(inside)
    peak = item.response.max(axis=(1, 2)).clip(1e-12)  # heatmaps differ in height
    result[index] = item.response[index, row[index], column[index]] / peak[index]
    return result


def _scores(
    predictions: Mapping[str, Prediction],
    truth: Mapping[str, Pose],
    instances: Mapping[str, Instance],
    skeleton: Skeleton,
) -> dict[str, Any]:
    row = evaluate_row("", None, predictions, truth, instances, skeleton)
    located = [item for item in truth if truth[item].present.any()]
    error = [mean_error(predictions[item], truth[item], instances[item]) for item in located]
    confidence, correct = _confidence(predictions, truth, instances, list(truth))
    return {
        **json_measures(row.measures),
        "spearman": spearman([predictions[item].score for item in located], error),
        "ece": expected_calibration_error(confidence, correct),
    }


def _confidence(
    predictions: Mapping[str, Prediction],
    truth: Mapping[str, Pose],
    instances: Mapping[str, Instance],
    ids: list[str],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(N,) confidence of present keypoints, and whether each is correct."""
    scores: list[NDArray[np.float64]] = [np.zeros(0)]
    correct: list[NDArray[np.bool_]] = [np.zeros(0, dtype=bool)]
    for id_ in ids:
        pose, found = truth[id_], predictions[id_].pose
        distance = np.linalg.norm(found.xy - pose.xy, axis=1)[pose.present]
        scores.append(found.score[pose.present])
        correct.append(distance <= CORRECT * instances[id_].box.long_side)
    return np.concatenate(scores), np.concatenate(correct)


def _json(values: Mapping[str, Any]) -> dict[str, Any]:
    """NaN becomes None, also one level down."""
    return {
        key: _json(value)
        if isinstance(value, Mapping)
        else None
        if isinstance(value, float) and np.isnan(value)
        else value
        for key, value in values.items()
    }
