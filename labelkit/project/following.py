"""Read keypoints again off a complete round's files, given what a human placed; without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelkit.domain.following import EVIDENCE, ErrorFollower, PoseFollower
from labelkit.domain.geometry import apply_affine
from labelkit.domain.instance import Instance
from labelkit.domain.pose import Pose
from labelkit.domain.pose_priors import GaussianPose, skeleton_in_box
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import CheckpointError
from labelkit.project.predictions import find_predictions
from labelkit.project.response_maps import ResponseMaps, take_maps
from labelkit.project.rounds import read_from

#: Predictions of a foreign round by adapters that had not learned from the object.
LEFT_OUT = "left-out.parquet"

#: Exponent of the densities in trained weights, see `labelkit.models.reading`, and the best one
#: next to a keypoint that a human placed; `benchmarks/clicks_until_right.py` measures it.
TRAINED_PRIOR, PLACED_PRIOR = 0.5, 1.5

#: Fewer labelled poses do not tell where keypoints are, given others; more take seconds to read.
FEWEST_POSES, MOST_POSES = 30, 500

#: How much labelled poses count beside the maps, and how far they leave a keypoint open, in cells.
_POSES, _OPEN_CELLS = 0.5, 0.7

Floats = NDArray[np.float32]


class RoundFollower:
    """Moves keypoints of a round's predictions after those that a human placed.

    Args:
        weights: of the round, `model.safetensors`.
        skeleton: of the project today.
        labelled: objects and their human keypoints, which say what poses there are, the first
            `MOST_POSES` of them; with fewer than `FEWEST_POSES` the tree alone does.
        prior, placed_prior: see `PoseFollower`; by default keypoints stay where the round read them
            until one is placed.

    Raises:
        CheckpointError: if the weights cannot be read, or hold no kinematic tree.
    """

    def __init__(
        self,
        weights: Path,
        skeleton: Skeleton,
        labelled: Sequence[tuple[Instance, Pose]] = (),
        prior: float = TRAINED_PRIOR,
        placed_prior: float = PLACED_PRIOR,
    ) -> None:
        edges, log_density, header = _read_tree(weights)
        density = np.exp(log_density / TRAINED_PRIOR)
        self._follower = PoseFollower(edges, density, prior, placed_prior)
        self._spread = _spread_without_locations(header) if skeleton.has_layout else 0.0
        self._skeleton = skeleton
        names = header["skeleton"]["keypoints"]
        self._in_network = np.array(skeleton.columns_in(names))
        known = self._in_network >= 0
        self._in_project = np.full(len(names), -1)
        self._in_project[self._in_network[known]] = np.flatnonzero(known)
        self._poses = _gaussian(labelled)

    def follow(self, instance: Instance, maps: ResponseMaps, placed: Pose) -> NDArray[np.float64]:
        """Locations of all keypoints of one instance.

        Args:
            instance: predicted by the round's network.
            maps: of the instance and the project's skeleton, see `MapReader`.
            placed: by a human; unknown where nothing was placed.

        Returns:
            (K, 2) in image pixels: placed keypoints exactly where they are; NaN for absent ones
            and for those that the network does not know.
        """
        read, turn = maps.read, np.asarray(maps.crop).reshape(2, 3)
        if self._spread:
            layout = skeleton_in_box([instance.box], self._skeleton)[0]
            spread = self._spread * max(self._follower.size_hw)
            blocks = np.broadcast_to(spread**2 * np.eye(2), (len(layout), 2, 2))
            read = _peak_one(read * self._near(apply_affine(turn, layout), blocks))
        if self._poses is not None and placed.present.any():
            xy, blocks = self._poses.given(placed, instance.box)
            blocks = turn[:, :2] @ blocks @ turn[:, :2].T + _OPEN_CELLS**2 * np.eye(2)
            near = self._near(apply_affine(turn, xy), blocks) ** (_POSES / EVIDENCE)
            read = _peak_one(read * near)
        found = self._follower(
            take_maps(read, self._in_project), maps.crop, placed.take(self._in_project)
        )
        xy = np.where(self._in_network[:, None] >= 0, found[self._in_network], np.nan)
        xy[placed.present] = placed.xy[placed.present]
        return xy

    def _near(self, xy: NDArray[np.float64], covariance: NDArray[np.float64]) -> Floats:
        """(K, h, w) Gaussians of height 1 around (K, 2) places, with (K, 2, 2) covariances."""
        rows, columns = self._follower.size_hw
        across = np.arange(columns) + 0.5 - xy[:, :1]  # (K, w)
        down = np.arange(rows) + 0.5 - xy[:, 1:]  # (K, h)
        (a, b), (_, c) = np.linalg.inv(covariance).transpose(1, 2, 0)[..., None]
        squared = (a * across**2)[:, None] + (c * down**2)[..., None]
        squared += 2 * (b * down)[..., None] * across[:, None]
        return np.exp(-0.5 * squared).astype(np.float32)


class ForeignFollower:
    """Moves keypoints of another model's predictions after those that a human placed.

    Args:
        found: folder of the round.
        skeleton: of the project today.
        labelled: objects and their human keypoints, which say what errors go together.
        learned_from: ids of those that the round's adapter learned from.
    """

    def __init__(
        self,
        found: Path,
        skeleton: Skeleton,
        labelled: Sequence[tuple[Instance, Pose]],
        learned_from: Set[str],
    ) -> None:
        ids = {instance.id for instance, _ in labelled}
        shown = _poses(found / "predictions.parquet", skeleton, ids - learned_from)
        if (found / LEFT_OUT).is_file():
            shown |= _poses(found / LEFT_OUT, skeleton, ids & learned_from)
        errors = [
            np.where((pose.present & shown[instance.id].present)[:, None], apart, np.nan)
            for instance, pose in labelled
            if instance.id in shown
            for apart in [(pose.xy - shown[instance.id].xy) / instance.box.long_side]
        ]
        self._follower = ErrorFollower.learn(errors)

    def follow(self, instance: Instance, shown: Pose, placed: Pose) -> NDArray[np.float64] | None:
        """Locations of all keypoints of one instance; None where none should follow.

        Args:
            instance: predicted in the round.
            shown: what the round has of it.
            placed: by a human; unknown where nothing was placed.

        Returns:
            (K, 2) in image pixels: placed keypoints exactly where they are; NaN for absent ones
            and for those that the model does not have.
        """
        if self._follower is None:
            return None
        both = placed.present & shown.present
        apart = np.where(both[:, None], placed.xy - shown.xy, np.nan)
        xy = shown.xy + instance.box.long_side * self._follower(apart / instance.box.long_side)
        xy[~shown.present | placed.known] = np.nan
        xy[placed.present] = placed.xy[placed.present]
        return xy


def _poses(file: Path, skeleton: Skeleton, ids: Set[str]) -> dict[str, Pose]:
    return {id_: found.pose for id_, found in find_predictions(file, skeleton, ids).items()}


def _peak_one(maps: Floats) -> Floats:
    peak_one: Floats = maps / np.maximum(maps.max(axis=(1, 2), keepdims=True), 1e-12)
    return peak_one


def _gaussian(labelled: Sequence[tuple[Instance, Pose]]) -> GaussianPose | None:
    """What the labelled poses say; None if they are too few, or never show some keypoint."""
    labelled = labelled[:MOST_POSES]
    poses = [pose for _, pose in labelled]
    if len(poses) < FEWEST_POSES or not np.any([pose.present for pose in poses], axis=0).all():
        return None
    return GaussianPose.fit(poses, [instance.box for instance, _ in labelled])


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
    if read_from(header.get("training", {})) == "heatmaps":
        return 0.0
    network = header["network"]
    reading = network["preset"][network["kind"]]
    return float(reading.get("pose_prior", reading.get("textbook", 0.0)))
