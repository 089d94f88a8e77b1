"""Another model's poses as a teacher: what a network learns from, and what it is read beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelkit.domain.instance import Instance
from labelkit.domain.prediction import Prediction
from labelkit.errors import UsageError
from labelkit.project.predictions import find_predictions, read_predictions
from labelkit.project.project import Project
from labelkit.project.rounds import COMPLETE, read_round, rounds

#: Standard deviation, in long sides of the box, where the model's error is not known.
USUAL = 0.05

#: Median of a Rayleigh distribution, the distance of an error, in its standard deviations.
_RAYLEIGH = 1.1774


def teacher_named(project: Project, name: str) -> dict[str, Any]:
    """The teacher as the settings of a training keep it: the newest round of a model's predictions.

    Raises:
        UsageError: if there is none of that name.
    """
    foreign = [it for it in rounds(project) if it.status == COMPLETE and it.plan.is_foreign]
    newest = {it.plan.settings["name"]: it.plan.number for it in foreign}
    if name not in newest:
        known = f"There are: {', '.join(newest)}." if newest else "There are none yet."
        raise UsageError(
            f"There are no predictions of {name!r}. {known}",
            f"Add them: labelkit predictions add FILE --name {name}",
        )
    return {"name": name, "round": newest[name]}


def lessons(project: Project, settings: Mapping[str, Any]) -> dict[str, Prediction]:
    """What the teacher of a training predicts, by instance id; nothing without a teacher.

    Scores of keypoints are what they weigh.
    """
    if not settings.get("teacher"):
        return {}
    folder = project.rounds_root / f"{settings['teacher']['round']:03d}"
    return {
        id_: item
        for id_, item in read_predictions(folder / "predictions.parquet", project.skeleton).items()
        if item.pose.present.any()
    }


def evidence(
    project: Project, settings: Mapping[str, Any], instances: Sequence[Instance]
) -> NDArray[np.float64] | None:
    """Where the teacher of a network has keypoints, and how far off it may be.

    Args:
        project: of the instances; one that does not hold the teacher's round has no evidence.
        settings: of the training.
        instances: N.

    Returns:
        (N, K, 3) x, y and a standard deviation in image pixels, NaN where there is no evidence;
        None if there is none at all.
    """
    if not settings.get("teacher"):
        return None
    folder = project.rounds_root / f"{settings['teacher']['round']:03d}"
    if not folder.is_dir():
        return None
    ours, facts = project.skeleton, read_round(folder).facts["keypoints"]
    errors = {ours.present_name(name): row["error"] for name, row in facts.items()}
    spread = np.array(
        [USUAL if errors.get(k) is None else errors[k] / _RAYLEIGH for k in ours.keypoints]
    )
    ids = [instance.id for instance in instances]
    found = find_predictions(folder / "predictions.parquet", ours, set(ids))
    result = np.full((len(ids), len(ours), 3), np.nan)
    for row, instance in enumerate(instances):
        if instance.id in found:
            sigma = np.maximum(spread, USUAL / 2) * instance.box.long_side
            there = found[instance.id].pose.present
            result[row, there] = np.column_stack([found[instance.id].xy, sigma])[there]
    return result
