"""The table that compares a model with the pose priors."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from labelkit.domain.instance import Instance
from labelkit.domain.pose import Pose
from labelkit.domain.prediction import Prediction
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import InputError, MissingDependencyError
from labelkit.metrics.accuracy import oks_ap, pck, pck_lr_agnostic, presence_map

#: Key in the JSON document -> attribute of `ResultRow`, in the order of the columns.
METRICS = {
    "pck@0.2": "pck_02",
    "pck@0.1": "pck_01",
    "pck@0.2_lr_agnostic": "pck_02_lr_agnostic",
    "oks_ap": "oks_ap",
    "presence_map": "presence_map",
}


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One source of poses, scored on the evaluation set.

    Attributes:
        name: of the source, such as "mean pose".
        labeled: percentage of instances whose keypoints it used, such as "10%"; None if it uses
            no labels.
        pck_02, pck_01: 0 ... 1, share of keypoints within .2 and .1 of the box's long side.
        pck_02_lr_agnostic: 0 ... 1, the same at .2 if left and right may be exchanged.
        oks_ap: 0 ... 1, COCO's keypoint AP; NaN if pycocotools is not installed.
        presence_map: 0 ... 1, mean average precision of keypoint presence.
    """

    name: str
    labeled: str | None
    pck_02: float
    pck_01: float
    pck_02_lr_agnostic: float
    oks_ap: float
    presence_map: float

    def as_dict(self) -> dict[str, Any]:
        """The row for the JSON document; NaN (undefined) becomes None."""
        numbers = {key: getattr(self, attribute) for key, attribute in METRICS.items()}
        return {
            "name": self.name,
            "labeled": self.labeled,
            **{key: None if math.isnan(value) else value for key, value in numbers.items()},
        }


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
        """The heading and every row as text, with three decimals and "-" for undefined."""
        heading = ("name", "labeled", *METRICS)
        return (heading, *(tuple(map(_text, row.as_dict().values())) for row in self.rows))

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


def _text(value: str | float | None) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.3f}"


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
        return ResultRow(name, labeled, *[math.nan] * len(METRICS))
    chosen = [predictions[item] for item in ids]
    found = np.stack([item.xy for item in chosen])
    xy = np.stack([truth[item].xy for item in ids])
    present = np.stack([truth[item].present for item in ids])
    long_side = np.array([instances[item].box.long_side for item in ids])
    presence = np.stack([item.presence for item in chosen])
    try:
        similarity = oks_ap(
            found,
            xy,
            present,
            area=[instances[item].area for item in ids],
            box_xywh=[instances[item].box for item in ids],
            image_ids=[instances[item].image.id for item in ids],
            score=[item.score for item in chosen],
            sigmas=skeleton.sigmas,
        )
    except MissingDependencyError:  # training must work without pycocotools
        similarity = math.nan
    return ResultRow(
        name,
        labeled,
        pck_02=pck(found, xy, present, long_side, 0.2),
        pck_01=pck(found, xy, present, long_side, 0.1),
        pck_02_lr_agnostic=pck_lr_agnostic(found, xy, present, long_side, 0.2, skeleton.pairs),
        oks_ap=similarity,
        presence_map=math.nan if np.isnan(presence).any() else presence_map(presence, present),
    )
