"""Read keypoints again off a complete round's files, given what a human placed; without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelkit.domain.following import PoseFollower
from labelkit.domain.geometry import apply_affine
from labelkit.domain.instance import Instance
from labelkit.domain.pose import Pose
from labelkit.domain.pose_priors import skeleton_in_box
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import CheckpointError
from labelkit.project.response_maps import MapReader

#: Exponent of the densities in trained weights, see `labelkit.models.reading`.
TRAINED_PRIOR = 0.5


class RoundFollower:
    """Moves keypoints of a round's predictions after those that a human placed.

    Args:
        weights: of the round, `model.safetensors`.
        maps: of its instances; stays open.
        skeleton: of the project today.
        prior: how much poses count beside the maps: the exponent of the tree's densities. The
            round itself was read with `TRAINED_PRIOR`.

    Raises:
        CheckpointError: if the weights cannot be read, or hold no kinematic tree.
    """

    def __init__(
        self, weights: Path, maps: MapReader, skeleton: Skeleton, prior: float = 1.0
    ) -> None:
        edges, log_density, header = _read_tree(weights)
        self._follower = PoseFollower(edges, np.exp(log_density * (prior / TRAINED_PRIOR)))
        self._spread = _spread_without_locations(header)
        self._maps = maps
        self._skeleton = skeleton
        self._columns = np.array(skeleton.columns_in(maps.keypoints))  # of the project, in the maps

    def follow(self, instance: Instance, placed: Pose) -> NDArray[np.float64]:
        """Locations of all keypoints of one instance.

        Args:
            instance: of the round, or predicted later with its network.
            placed: by a human; unknown where nothing was placed.

        Returns:
            (K, 2) in image pixels: placed keypoints exactly where they are; NaN for absent ones
            and for those that the round does not know.

        Raises:
            FormatError: if the round has no maps of this instance.
        """
        found = self._maps.get(instance.id)
        maps: NDArray[np.floating] = found.response
        if self._spread and self._skeleton.has_layout:
            maps = maps * self._near_prior(instance, found.crop)
            maps = maps / np.maximum(maps.max(axis=(1, 2), keepdims=True), 1e-12)
        known = self._columns >= 0
        in_project = np.full(len(maps), -1)
        in_project[self._columns[known]] = np.flatnonzero(known)
        xy = np.full((len(placed), 2), np.nan)
        followed = self._follower(maps, found.crop, placed.take(in_project))
        xy[known] = followed[self._columns[known]]
        xy[placed.present] = placed.xy[placed.present]
        return xy

    def _near_prior(self, instance: Instance, to_cells: tuple[float, ...]) -> NDArray[np.float64]:
        """(K, h, w) of the round's keypoints: how near each cell is to the skeleton layout."""
        rows, columns = self._follower.size_hw
        xy = apply_affine(to_cells, skeleton_in_box([instance.box], self._skeleton)[0])
        squared = (np.arange(columns) + 0.5 - xy[:, :1])[:, None] ** 2
        squared = squared + (np.arange(rows) + 0.5 - xy[:, 1:])[:, :, None] ** 2
        sigma = self._spread * max(rows, columns)
        known = self._columns >= 0
        near = np.ones((len(self._maps.keypoints), rows, columns))
        near[self._columns[known]] = np.exp(-0.5 / sigma**2 * squared[known])
        return near


def _read_tree(weights: Path) -> tuple[NDArray[Any], NDArray[Any], Mapping[str, Any]]:
    """Edges, log densities and the header of a network's file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, framework="np") as file:
            header = json.loads((file.metadata() or {})["labelkit"])
            tree = (file.get_tensor(f"reader.tree.{name}") for name in ("edges", "log_density"))
            return *tree, header
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"{weights} holds no kinematic tree ({error}): no keypoint can follow another.",
            "Train a round with one: labelkit retrain --preset plus, or --preset tiny",
        ) from error


def _spread_without_locations(header: Mapping[str, Any]) -> float:
    """Spread around the pose prior as a share of a map, 0 for none; see `PoseReader`."""
    training = header.get("training", {})
    earlier = "heatmaps" if training.get("located") else "response"  # until 2026-11-28
    if training.get("read_from", earlier) == "heatmaps":
        return 0.0
    network = header["network"]
    reading = network["preset"][network["kind"]]
    return float(reading.get("pose_prior", reading.get("textbook", 0.0)))
