"""The table that compares a model with the pose priors."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from labelkit.domain.instance import Instance
from labelkit.domain.pose import Pose
from labelkit.domain.prediction import Prediction
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import InputError, MissingDependencyError
from labelkit.metrics.accuracy import oks_ap, pck, pck_lr_agnostic, presence_map

#: Shares of the reference length at which PCK is taken, finest first.
THRESHOLDS = (0.02, 0.05, 0.1, 0.2)
_AGNOSTIC = "pck@0.2_lr_agnostic"

#: Measures by their key in JSON documents, in the order of the columns, and their headings.
METRICS = {
    "median_px": "median px",
    "p90_px": "p90 px",
    "median": "median",
    "p90": "p90",
    **{f"pck@{share}": f"pck@{share}" for share in THRESHOLDS},
    _AGNOSTIC: "@0.2 l/r",
    "oks_ap": "oks_ap",
    "presence_map": "presence_map",
}
#: Decimals of the measures in text; three elsewhere.
DECIMALS = {"median_px": 1, "p90_px": 1}


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One source of poses, scored on the evaluation set.

    Attributes:
        name: of the source, such as "mean pose".
        labeled: percentage of instances whose keypoints it used, such as "10%"; None if it uses
            no labels.
        measures: by the keys of `METRICS`; NaN where undefined.
            median_px, p90_px: median and 90th percentile of the error of a keypoint, in pixels.
            median, p90: the same as shares of the reference length, see `reference_lengths`.
            pck@T: 0 ... 1, share of keypoints within T reference lengths.
            pck@0.2_lr_agnostic: 0 ... 1, the same at .2 if left and right may be exchanged; only
                where the skeleton has pairs.
            oks_ap: 0 ... 1, COCO's keypoint AP; NaN if pycocotools is not installed.
            presence_map: 0 ... 1, mean average precision of keypoint presence.
    """

    name: str
    labeled: str | None
    measures: Mapping[str, float]

    def __getitem__(self, key: str) -> float:
        return self.measures[key]

    def as_dict(self) -> dict[str, Any]:
        """The row for the JSON document; NaN (undefined) becomes None."""
        return {"name": self.name, "labeled": self.labeled, **json_measures(self.measures)}


def json_measures(measures: Mapping[str, float]) -> dict[str, float | None]:
    """Measures for a JSON document; NaN (undefined) and infinity become None."""
    return {key: value if math.isfinite(value) else None for key, value in measures.items()}


def describe(measures: Mapping[str, Any]) -> str:
    """The measures of one row in a line, for people; "" without any error measured.

    Rounds of earlier versions have fewer measures: those are described that are there.

    Args:
        measures: as `json_measures` gives them.
    """
    parts = []
    if measures.get("median_px") is not None:
        parts.append(
            f"error {measures['median_px']:.1f} px (median), {measures['p90_px']:.1f} px (90th "
            f"percentile), {measures['median']:.1%} and {measures['p90']:.1%} of the object"
        )
    for key in (*(f"pck@{share}" for share in THRESHOLDS), _AGNOSTIC, "oks_ap", "presence_map"):
        if measures.get(key) is not None:
            parts.append(f"{key} {measures[key]:.3f}")
            if key == "presence_map" and measures.get("presence_map_chance") is not None:
                parts[-1] += f" (chance {measures['presence_map_chance']:.3f})"
    return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class ResultTable:
    """Rows that were scored on the same instances.

    Attributes:
        rows: in display order.
    """

    rows: tuple[ResultRow, ...]

    def as_dict(self) -> dict[str, Any]:
        """{"rows": [...]} of JSON values."""
        return {"rows": [row.as_dict() for row in self.rows]}

    def to_json(self) -> str:
        """The table as a JSON document; undefined numbers are null."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def cells(self) -> tuple[tuple[str, ...], ...]:
        """The heading and every row as text, with "-" for undefined; columns that any row has."""
        keys = [key for key in METRICS if any(key in row.measures for row in self.rows)]
        heading = ("name", "labeled", *(METRICS[key] for key in keys))
        return (
            heading,
            *(
                (row.name, row.labeled or "-", *(format_measure(key, row[key]) for key in keys))
                for row in self.rows
            ),
        )

    def to_markdown(self) -> str:
        """The table in Markdown, columns aligned."""
        return markdown(self.cells())


def markdown(cells: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, columns aligned.

    Args:
        cells: the heading and then every row, equally long; only the first column is left-aligned.
    """
    table = [[text.replace("|", "\\|") for text in row] for row in cells]
    width = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    rule = ["-" * width[0], *("-" * (w - 1) + ":" for w in width[1:])]
    lines = [
        [row[0].ljust(width[0]), *map(str.rjust, row[1:], width[1:])]
        for row in (table[0], rule, *table[1:])
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def format_measure(key: str, value: float) -> str:
    """A measure as text: pixels with one decimal, others with three, "-" for NaN."""
    if math.isnan(value):
        return "-"
    return f"{value:.{DECIMALS.get(key, 3)}f}"


def reference_lengths(
    truth: Sequence[Pose], instances: Sequence[Instance]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N,) lengths in pixels that errors are measured against, and (N,) OKS areas.

    They are the box's long side and the object's area. A whole-image box says nothing about the
    size of its object: there the extent of the labelled keypoints counts, the long side of the
    smallest upright box around them. An extent below half the median of such objects (one or
    two keypoints present) counts as half the median; an area is .53 times the box's (CrowdPose's
    rule), whose sides count as at least a quarter of the length.

    Args:
        truth: N human poses.
        instances: N, in the same order.
    """
    length = np.array([instance.box.long_side for instance in instances])
    area = np.array([instance.area for instance in instances])
    sides = np.zeros((len(truth), 2))
    for number, pose in enumerate(truth):
        if pose.present.sum() > 1:
            sides[number] = np.ptp(pose.xy[pose.present], axis=0)
    whole = np.array([instance.box_source == "whole-image" for instance in instances], dtype=bool)
    extent = sides.max(axis=1)
    known = extent[whole & (extent > 0)]
    if known.size:
        extent = np.maximum(extent, np.median(known) / 2)
        length = np.where(whole, extent, length)
        shown = np.maximum(sides, extent[:, None] / 4)
        area = np.where(whole, 0.53 * shown[:, 0] * shown[:, 1], area)
    return length, area


def evaluate_row(
    name: str,
    labeled: str | None,
    predictions: Mapping[str, Prediction],
    truth: Mapping[str, Pose],
    instances: Mapping[str, Instance],
    skeleton: Skeleton,
) -> ResultRow:
    """Score predictions against human keypoints.

    Every instance of `truth` counts; predictions of other instances do not.

    Args:
        name, labeled: see `ResultRow`.
        predictions: by instance id. If any `presence` is NaN, presence is not scored.
        truth: human keypoints of the evaluation set, by instance id.
        instances: by id; box and area set the scale of each.
        skeleton: of all poses.

    Raises:
        InputError: if an instance of `truth` has no prediction.
    """
    ids = list(truth)
    missing = [item for item in ids if item not in predictions]
    if missing:
        raise InputError(
            f"{name}: {len(missing)} of {len(ids)} instances have no prediction; "
            f"the first is {missing[0]}.",
            "Predict the evaluation set again before you score it.",
        )
    if not ids:
        keys = [key for key in METRICS if skeleton.pairs or key != _AGNOSTIC]
        return ResultRow(name, labeled, dict.fromkeys(keys, math.nan))
    chosen = [predictions[item] for item in ids]
    found = np.stack([item.xy for item in chosen])
    xy = np.stack([truth[item].xy for item in ids])
    present = np.stack([truth[item].present for item in ids])
    length, area = reference_lengths([truth[i] for i in ids], [instances[i] for i in ids])
    presence = np.stack([item.presence for item in chosen])
    error = np.linalg.norm(found - xy, axis=2)
    try:
        similarity = oks_ap(
            found,
            xy,
            present,
            area=area,
            box_xywh=[instances[item].box for item in ids],
            image_ids=[instances[item].image.id for item in ids],
            score=[item.score for item in chosen],
            sigmas=skeleton.sigmas,
        )
    except MissingDependencyError:  # training must work without pycocotools
        similarity = math.nan
    in_px, in_lengths = error[present], (error / length[:, None])[present]
    measures = {
        "median_px": _percentile(in_px, 50),
        "p90_px": _percentile(in_px, 90),
        "median": _percentile(in_lengths, 50),
        "p90": _percentile(in_lengths, 90),
        **{f"pck@{share}": pck(found, xy, present, length, share) for share in THRESHOLDS},
    }
    if skeleton.pairs:
        measures[_AGNOSTIC] = pck_lr_agnostic(found, xy, present, length, 0.2, skeleton.pairs)
    measures["oks_ap"] = similarity
    measures["presence_map"] = presence_map(presence, [truth[item].presence for item in ids])
    return ResultRow(name, labeled, measures)


def _percentile(error: NDArray[np.float64], percent: float) -> float:
    """NaN without any keypoint; a keypoint without a prediction is infinitely far away."""
    error = np.where(np.isnan(error), np.inf, error)
    method: Literal["linear", "lower"] = "linear" if np.isfinite(error).all() else "lower"
    return float(np.percentile(error, percent, method=method)) if error.size else math.nan
