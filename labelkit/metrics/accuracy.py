"""The accuracy of predicted keypoints and presence: PCK, OKS, OKS-AP, presence mAP.

Every number is NaN if it is undefined (nothing to score), never 0 by convention.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labelkit.metrics.official.oks_curves import AT_50, AT_75, LARGEST_AREA, oks_curves
from labelkit.metrics.official.people import People, Results

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def _distance(pred: ArrayLike, true: ArrayLike, present: ArrayLike) -> tuple[Floats, Bools]:
    """(N, K) distances in pixels, infinite where the prediction is NaN, and what to score."""
    pred, true = np.asarray(pred, dtype=np.float64), np.asarray(true, dtype=np.float64)
    mask = np.asarray(present, dtype=bool)
    if mask.ndim != 2 or pred.shape != (*mask.shape, 2) or true.shape != pred.shape:
        raise ValueError(
            f"pred and true need (N, K, 2), present (N, K); got {pred.shape}, {true.shape}, "
            f"{mask.shape}."
        )
    distance = np.hypot(pred[..., 0] - true[..., 0], pred[..., 1] - true[..., 1])
    return np.where(np.isnan(distance), np.inf, distance), mask


def _limit(reference_px: ArrayLike, threshold: float, count: int) -> Floats:
    """(N, 1) largest distance in pixels that is still a hit."""
    reference = np.asarray(reference_px, dtype=np.float64)
    if reference.shape != (count,):
        raise ValueError(f"reference_px needs ({count},), got {reference.shape}.")
    return (threshold * reference)[:, None]


def pck(
    pred: ArrayLike, true: ArrayLike, present: ArrayLike, reference_px: ArrayLike, threshold: float
) -> float:
    """0 all missed ... 1 all hit: the share of present keypoints found.

    A keypoint is found if it lies at most `threshold` times the reference length away.

    Args:
        pred: (N, K, 2) in pixels; NaN counts as missed.
        true: (N, K, 2) in pixels.
        present: (N, K), which true keypoints have a location; the others are not scored.
        reference_px: (N,) lengths: the box's long side, the torso, or the head size.
        threshold: in reference lengths, such as .2.
    """
    distance, mask = _distance(pred, true, present)
    hit = distance <= _limit(reference_px, threshold, len(mask))
    return float(hit[mask].mean()) if mask.any() else float("nan")


def pck_lr_agnostic(
    pred: ArrayLike,
    true: ArrayLike,
    present: ArrayLike,
    reference_px: ArrayLike,
    threshold: float,
    pairs: Sequence[tuple[int, int]],
) -> float:
    """0 all missed ... 1 all hit: PCK that forgives an exchange of left and right.

    For each left/right pair of each instance, the predictions count as they are or exchanged,
    whichever finds more of the pair's present keypoints. Keypoints without a side count as in
    `pck`. It is at least `pck`, and more lenient than exchanging the whole pose: the difference
    is what confusion of sides costs.

    Args:
        pred, true, present, reference_px, threshold: as in `pck`.
        pairs: (left, right) indices, as a skeleton gives them.
    """
    pred = np.asarray(pred, dtype=np.float64)
    distance, mask = _distance(pred, true, present)
    exchange = np.arange(mask.shape[1])
    for left, right in pairs:
        exchange[left], exchange[right] = right, left
    exchanged, _ = _distance(pred[:, exchange], true, mask)
    limit = _limit(reference_px, threshold, len(mask))
    hit = (distance <= limit) & mask
    hit_exchanged = (exchanged <= limit) & mask
    found = hit.sum(axis=1, dtype=np.int64)
    for left, right in pairs:
        both = [left, right]
        gain = hit_exchanged[:, both].sum(axis=1, dtype=np.int64) - hit[:, both].sum(axis=1)
        found += np.maximum(gain, 0)
    return float(found.sum() / mask.sum()) if mask.any() else float("nan")


def oks(
    pred: ArrayLike, true: ArrayLike, present: ArrayLike, area: ArrayLike, sigmas: Sequence[float]
) -> Floats:
    """(N,) 0 lost ... 1 exact: COCO's object keypoint similarity of each instance.

    The mean over present keypoints of exp(-d^2 / (2 area (2 sigma)^2)); NaN for an instance
    without present keypoints.

    Args:
        pred, true: (N, K, 2) in pixels; NaN in pred counts as infinitely far away.
        present: (N, K), which true keypoints have a location.
        area: (N,) segment areas in square pixels.
        sigmas: K numbers, as a skeleton gives them.
    """
    distance, mask = _distance(pred, true, present)
    scale = 2.0 * np.asarray(area, dtype=np.float64)[:, None] * (2.0 * np.asarray(sigmas)) ** 2
    similarity = np.where(mask, np.exp(-(distance**2) / scale), 0.0)
    count = mask.sum(axis=1)
    return np.where(count > 0, similarity.sum(axis=1) / np.maximum(count, 1), np.nan)


class CocoScores(NamedTuple):
    """0 ... 1, higher is better: COCO's keypoint summary over all object sizes.

    Attributes:
        ap: average precision, mean over OKS .50, .55, ... .95.
        ap50, ap75: at one OKS threshold.
        ar: average recall, mean over the same thresholds.
    """

    ap: float
    ap50: float
    ap75: float
    ar: float


def coco_scores(
    pred: ArrayLike,
    true: ArrayLike,
    present: ArrayLike,
    area: ArrayLike,
    box_xywh: ArrayLike,
    image_ids: Sequence[str],
    score: ArrayLike,
    sigmas: Sequence[float],
    *,
    max_detections: int = 20,
) -> CocoScores:
    """COCO keypoint AP and AR as pycocotools computes them, one prediction for each instance.

    Instances without present keypoints are ignored, as are predictions that match them.

    Args:
        pred, true, present, area, sigmas: as in `oks`.
        box_xywh: (N, 4) boxes of the instances; pycocotools uses them for ignored instances.
        image_ids: N names; predictions compete with those of the same image.
        score: (N,) confidence of each predicted instance; only its order matters.
        max_detections: predictions scored in an image, best first; 20 in COCO.

    Raises:
        MissingDependencyError: if pycocotools is not installed.
    """
    _, mask = _distance(pred, true, present)
    # Far outside any image: OKS 0 without NaN in pycocotools' arithmetic.
    pred = np.nan_to_num(np.asarray(pred, dtype=np.float64), nan=1e9)
    true, area = np.asarray(true, dtype=np.float64), np.asarray(area, dtype=np.float64)
    boxes, confidence = np.asarray(box_xywh, dtype=np.float64), np.asarray(score, dtype=np.float64)
    if boxes.shape != (len(mask), 4) or not confidence.shape == area.shape == (len(mask),):
        raise ValueError(
            f"{len(mask)} instances, but boxes {boxes.shape}, scores {confidence.shape}, areas "
            f"{area.shape}."
        )
    if np.isnan(confidence).any():
        raise ValueError("A score is NaN: COCO sorts predictions by score.")
    places = {image: place for place, image in enumerate(dict.fromkeys(image_ids))}
    image = np.array([places[image] for image in image_ids], dtype=np.int64)
    people = People(
        image_ids=tuple(places),
        crowd_index=np.full(len(places), np.nan),
        category_ids=(1,),
        category=np.zeros(len(mask), dtype=np.int64),
        image=image,
        keypoints=np.dstack([true, np.where(mask, 2.0, 0.0)]),
        labelled=mask.sum(axis=1),
        box_xywh=boxes,
        area=area,
        crowd=np.zeros(len(mask), dtype=bool),
    )
    poses = np.dstack([pred, np.ones(mask.shape)])
    found = Results(image, people.category, poses, confidence, area, area)
    all_sizes = {"all": (0.0, LARGEST_AREA)}
    curves = oks_curves(people, found, sigmas, all_sizes, max_results=max_detections)
    return CocoScores(
        ap=curves.ap(),
        ap50=curves.ap(threshold=AT_50),
        ap75=curves.ap(threshold=AT_75),
        ar=curves.ar(),
    )


def oks_ap(
    pred: ArrayLike,
    true: ArrayLike,
    present: ArrayLike,
    area: ArrayLike,
    box_xywh: ArrayLike,
    image_ids: Sequence[str],
    score: ArrayLike,
    sigmas: Sequence[float],
) -> float:
    """0 ... 1, higher is better: COCO's keypoint AP; arguments as in `coco_scores`."""
    return coco_scores(pred, true, present, area, box_xywh, image_ids, score, sigmas).ap


def average_precision(score: ArrayLike, truth: ArrayLike) -> float:
    """0 ... 1, higher is better: area under the precision-recall steps.

    Equal scores count together, so the order of the samples does not matter: a constant score
    gives the share of positives. NaN without positives.

    Args:
        score: (N,) higher is more likely positive.
        truth: (N,) bool.
    """
    values = np.asarray(score, dtype=np.float64)
    positive = np.asarray(truth, dtype=bool)
    if values.shape != positive.shape or values.ndim != 1:
        raise ValueError(f"score and truth need (N,), got {values.shape}, {positive.shape}.")
    if np.isnan(values).any():
        raise ValueError("A score is NaN.")
    if not positive.any():
        return float("nan")
    order = np.argsort(-values, kind="stable")
    values, positive = values[order], positive[order]
    last_of_tie = np.append(np.diff(values) != 0, True)
    hits = np.cumsum(positive)[last_of_tie]
    precision = hits / (np.flatnonzero(last_of_tie) + 1)
    recall_gain = np.diff(hits, prepend=0) / positive.sum()
    return float((precision * recall_gain).sum())


def presence_map(scores: ArrayLike, truth: ArrayLike) -> float:
    """0 ... 1, higher is better: mean average precision of the keypoints' presence.

    The mean over keypoints that are present in some instances and absent in others. NaN if there
    is no such keypoint.

    Args:
        scores: (N, K) presence scores; NaN where there is none, which is not scored.
        truth: (N, K) human answers, -1 unknown (not scored), 0 absent, 1 present.
    """
    values, answers = np.asarray(scores, dtype=np.float64), np.asarray(truth, dtype=np.int8)
    if values.shape != answers.shape or values.ndim != 2:
        raise ValueError(f"scores and truth need (N, K), got {values.shape}, {answers.shape}.")
    each = []
    for score, answer in zip(values.T, answers.T, strict=True):
        counts = (answer >= 0) & ~np.isnan(score)
        if len(set(answer[counts])) == 2:
            each.append(average_precision(score[counts], answer[counts] > 0))
    return float(np.mean(each)) if each else float("nan")
