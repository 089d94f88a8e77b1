"""Which poses a round serves as pre-annotations: its network's, the skeleton's, or earlier ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from labelkit.domain.instance import Instance
from labelkit.domain.pose import Pose
from labelkit.domain.pose_priors import skeleton_in_box
from labelkit.domain.prediction import Prediction, prior_predictions
from labelkit.domain.skeleton import Skeleton
from labelkit.metrics.table import evaluate_row, json_measures
from labelkit.project.rounds import Round

NETWORK, SKELETON = "network", "skeleton in box"

#: A keypoint this near, in reference lengths, need not be moved far: the measure of what is better.
DECISIVE = "pck@0.1"

#: With fewer located instances in the dev set, chance alone moves PCK by seven points or more. The
#: 235 of LSPET give it to 1.5 points (benchmarks/README.md).
COMPARABLE = 10


def skeleton_measures(
    located: Mapping[str, Pose], instances: Mapping[str, Instance], skeleton: Skeleton
) -> dict[str, float | None]:
    """What the skeleton in the box scores on the dev set; nothing for one without a layout.

    Args:
        located: human poses of the dev set, by instance id.
        instances: by id.
        skeleton: of the poses.
    """
    if not located or not skeleton.has_layout:
        return {}
    boxes = [instances[item].box for item in located]
    unknown = [float("nan")] * len(skeleton)
    guesses = prior_predictions(list(located), skeleton_in_box(boxes, skeleton), unknown)
    row = evaluate_row(SKELETON, None, guesses, located, instances, skeleton)
    return json_measures({k: v for k, v in row.measures.items() if k != "presence_map"})


def better(network: Mapping[str, Any], skeleton: Mapping[str, Any]) -> str:
    """`SKELETON` where it beats the network on a dev set that is large enough, else `NETWORK`.

    Args:
        network: measures of the round on the dev set, with the number of `located` instances.
        skeleton: see `skeleton_measures`.
    """
    ours, guessed = network.get(DECISIVE), skeleton.get(DECISIVE)
    if network.get("located", 0) < COMPARABLE or ours is None or guessed is None:
        return NETWORK
    return SKELETON if guessed > ours else NETWORK


def name_of(found: Round) -> str:
    """The name under which a later round serves the poses of this one."""
    return f"round {found.plan.number:03d}"


def served(found: Round) -> str:
    """`NETWORK`, `SKELETON` or the earlier round, as the round recorded it.

    Earlier versions served the network. The name of the model in a foreign round.
    """
    if found.plan.is_foreign:
        return str(found.plan.settings["name"])
    return str(found.facts.get("serves", NETWORK))


def as_served(
    prediction: Prediction,
    instance: Instance,
    skeleton: Skeleton,
    serves: str,
    earlier: Prediction | None = None,
) -> Prediction:
    """A network's prediction with the locations that its round serves.

    Presence and scores stay the network's: they tell what is visible, and what to correct first.

    Args:
        prediction: of the network.
        instance: that it is of.
        skeleton: of the poses.
        serves: see `served`.
        earlier: what an earlier round served for the instance, where `serves` names one. A keypoint
            that it had not is the network's.
    """
    if serves == SKELETON:
        (xy,) = skeleton_in_box([instance.box], skeleton)
    elif serves != NETWORK and earlier is not None:
        xy = np.where(earlier.pose.present[:, None], earlier.pose.xy, prediction.pose.xy)
    else:
        return prediction
    pose = Pose(xy, prediction.pose.visibility, prediction.pose.score)
    return replace(prediction, pose=pose)


def note_on_serving(found: Round) -> str:
    """That a round is worse than what was there before, and what is served; "" where it is not."""
    serves = served(found)
    if found.plan.is_foreign or serves == NETWORK:
        return ""
    number = found.plan.number
    if serves == SKELETON:
        where, ours, guessed = "the dev set", found.facts["dev"], found.facts["skeleton_in_box"]
        if both := found.facts.get("on_what_it_learned"):
            where, ours, guessed = "what it learned from", both[NETWORK], both[SKELETON]
        return (
            f"round {number:03d} is worse than the skeleton stretched over each box ({DECISIVE} "
            f"on {where}: {ours[DECISIVE]:.3f}, skeleton {guessed[DECISIVE]:.3f}), so the skeleton "
            "is what you correct."
        )
    ours = found.facts["dev"][DECISIVE]
    before = found.facts["earlier"][DECISIVE]
    return (
        f"round {number:03d} is worse than what {serves} served ({DECISIVE} on the dev set: "
        f"{ours:.3f}, {serves} {before:.3f}), so you keep correcting what {serves} served. New "
        f"images have poses of round {number:03d}."
    )
