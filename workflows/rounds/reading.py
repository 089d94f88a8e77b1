"""How keypoints are read off a network that had no locations, chosen on those of the dev set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from labelkit.progress import Silent
from labelkit.project.project import Project
from labelkit.workflows.rounds.gain import gain_between
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot
from labelkit.workflows.rounds.networks import predict_instances
from labelkit.workflows.rounds.served import COMPARABLE

#: Standard deviations of keypoints around the pose prior that are compared, see `PoseReader`.
SPREADS = (0.0, 0.16, 0.3)


def choose_reading(
    project: Project,
    network: Any,
    header: dict[str, Any],
    settings: Mapping[str, Any],
    labels: LabelSnapshot,
    model: Path,
) -> bool:
    """Read other maps, or with another pose prior, if that is clearly better on the dev set.

    Compared are the preset's way and every kind of response map with every spread. The former stays
    where the dev set is small, or nothing is clearly better (`gain_between`).
    What was chosen is kept with the weights, so it is made once.

    Args:
        project: of the round.
        network, header: see `load_network`; changed in place.
        settings: of the training.
        labels: of the round.
        model: file of the weights.

    Returns:
        whether anything was compared.
    """
    from labelkit.models.checkpoint import save_checkpoint

    truth = {item: pose for item, pose in labels.poses.items() if item in labels.dev}
    training, preset = header["training"], header["network"]["preset"]["lofr"]
    if training["located"] or "chosen_on" in training or len(truth) < COMPARABLE:
        return False
    dev = {item: labels.instances[item] for item in truth}

    def read(read_from: str, response: str, spread: float) -> dict[str, Any]:
        network.reader.read_from, network.response = read_from, response
        network.reader.pose_prior = spread
        found = predict_instances(project, network, settings, dev, Silent())
        return {item.prediction.instance_id: item.prediction for item in found}

    best = (network.reader.read_from, network.response, network.reader.pose_prior)
    predictions = read(*best)
    for other in _ways(project.skeleton.has_layout):
        if other == best:
            continue
        gain = gain_between(predictions, found := read(*other), truth, dev)
        if gain is not None and gain.is_clear and gain.difference > 0:
            best, predictions = other, found
    network.reader.read_from, network.response, network.reader.pose_prior = best
    training["read_from"], preset["response"], preset["pose_prior"] = best
    training["chosen_on"] = len(dev)
    save_checkpoint(model, network, header)
    return True


def _ways(has_layout: bool) -> Iterator[tuple[str, str, float]]:
    """Maps, kind of response map and spread around the prior, if there is one."""
    from labelkit.models.lofr import ABLATIONS

    for response in ABLATIONS["response"]:
        for spread in SPREADS if has_layout else (0.0,):
            yield "response", str(response), spread
