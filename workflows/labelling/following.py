"""Fix one keypoint, the rest follows: the page's way to the files of the newest round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelkit.domain.instance import Instance
from labelkit.domain.pose import UNKNOWN, Pose, human_pose
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import LabelkitError
from labelkit.project.following import ForeignFollower, RoundFollower
from labelkit.project.project import remember
from labelkit.project.response_maps import MapReader
from labelkit.project.rounds import read_round
from labelkit.workflows.labelling.work import Work
from labelkit.workflows.serving.requests import RequestError

#: (K, 2) places of an object's keypoints, given those that a person placed; None for no answer.
Follow = Callable[[Instance, Pose], NDArray[np.float64] | None]


class Following:
    """Reads the other keypoints of an object again. Threads may share it.

    Args:
        work: whose newest round is read.
    """

    def __init__(self, work: Work) -> None:
        self._work, self._lock = work, Lock()
        self._round: tuple[str, Skeleton | None] = "", None
        self._opened: Follow | None = None
        self.is_on = bool(work.project.options.get("follow", True))

    def switch(self, on: bool) -> None:
        """Switch it on or off; the project remembers that."""
        remember(self._work.project, follow=on)
        self.is_on = on

    def follow(self, instance: Instance, placed: Pose) -> list[list[float] | None] | None:
        """Where the keypoints are, given those that a person placed.

        Args:
            instance: predicted by the newest round.
            placed: by the person; unknown where nothing was placed.

        Returns:
            K times [x, y] in image pixels, or null; None if the round cannot say.
        """
        with self._lock:
            follow = self._open()
            xy = follow(instance, placed) if follow is not None else None
        if xy is None:
            return None
        size_wh = instance.image.width, instance.image.height
        rows = np.clip(xy, 0, size_wh).round(2).tolist()
        return [row if np.isfinite(row).all() else None for row in rows]

    def _open(self) -> Follow | None:
        """What the newest round says of an object; None if it cannot say."""
        project, instances = self._work.project, self._work.instances
        if self._round != (self._work.round, project.skeleton):
            self._round, self._opened = (self._work.round, project.skeleton), None
            path = project.rounds_root / self._work.round.removeprefix("round-")
            poses = self._work.store.poses(project.skeleton)
            labelled = [(instances[id_], pose) for id_, pose in poses.items() if id_ in instances]
            with suppress(LabelkitError):  # a network without a tree, or maps that were deleted
                plan = read_round(path).plan
                if plan.is_foreign:
                    found = ForeignFollower(path, project.skeleton, labelled, set(plan.labelled))
                    self._opened = self._foreign(found)
                else:
                    self._opened = _network(path, project.skeleton, labelled)
        return self._opened

    def _foreign(self, follower: ForeignFollower) -> Follow:
        def follow(instance: Instance, placed: Pose) -> NDArray[np.float64] | None:
            shown = self._work.prediction(instance.id)
            return None if shown is None else follower.follow(instance, shown.pose, placed)

        return follow


def _network(path: Path, skeleton: Skeleton, labelled: Sequence[tuple[Instance, Pose]]) -> Follow:
    follower = RoundFollower(path / "model.safetensors", skeleton, labelled)
    maps = MapReader(path / "maps" / "maps.parquet", skeleton)

    def follow(instance: Instance, placed: Pose) -> NDArray[np.float64] | None:
        if instance.id not in maps:
            return None
        return follower.follow(instance, maps.get(instance.id), placed)

    return follow


def read_placed(rows: Any, skeleton: Skeleton) -> Pose:
    """The placed keypoints from the page's JSON: K times [x, y, v], or null.

    Raises:
        RequestError: if they are something else.
    """
    try:
        if len(rows) != len(skeleton):
            raise ValueError("another number of keypoints")
        filled = [(0.0, 0.0, UNKNOWN) if row is None else row for row in rows]
        xy = [(float(x), float(y)) for x, y, _ in filled]
        return human_pose(xy, np.array([int(v) for *_, v in filled]))
    except (TypeError, ValueError, OverflowError, LabelkitError) as error:
        raise RequestError(f'"placed" is malformed ({error!r:.200}).') from None
