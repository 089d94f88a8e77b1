"""Which frames of a video to label: different ones, by their small pictures."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from labelkit.files.video import SmallFrame

#: Two frames are near-duplicates if no pixel of their small pictures differs by more grey levels.
ALIKE = 4

#: Seconds between a frame and those that count as near it.
NEAR = 2.0

#: The most iterations of k-means.
_ITERATIONS = 30


def even_groups(count: int, groups: int) -> NDArray[np.intp]:
    """(count,) the number of each frame's group: so many stretches of time, equally long."""
    return np.arange(count) * groups // max(count, 1)


def kmeans_groups(frames: Sequence[SmallFrame], groups: int, seed: int) -> NDArray[np.intp]:
    """(F,) the number of each frame's group: clusters of small pictures, as DeepLabCut has them."""
    from scipy.cluster.vq import kmeans2

    pixels = _pixels(frames)
    pixels -= pixels.mean(axis=0)
    different = len(np.unique(pixels, axis=0))
    if different <= groups:
        return np.unique(pixels, axis=0, return_inverse=True)[1].ravel()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an empty cluster gives no frame
        _, labels = kmeans2(
            pixels, groups, iter=_ITERATIONS, minit="++", seed=np.random.default_rng(seed)
        )
    return np.asarray(labels, dtype=np.intp)


def near(
    frames: Sequence[SmallFrame], seconds: Sequence[float], taken: Collection[int]
) -> tuple[list[SmallFrame], NDArray[np.intp]]:
    """The frames near some times, and those that were taken before.

    Args:
        frames: of one video.
        seconds: T times since its first frame.
        taken: indices of frames that were taken before.

    Returns:
        the frames, and the number of each one's group: of the nearest time, 0 ... T - 1; -1 for the
        frame of a time itself, and for one that is near none.
    """
    times = np.array([frame.seconds for frame in frames])
    apart = np.abs(times[:, None] - np.asarray(seconds))
    groups = np.where(apart.min(axis=1) <= NEAR, apart.argmin(axis=1), -1)
    groups[apart.argmin(axis=0)] = -1
    kept = [at for at in range(len(frames)) if groups[at] >= 0 or frames[at].index in taken]
    return [frames[at] for at in kept], groups[kept]


def choose(
    frames: Sequence[SmallFrame], groups: NDArray[np.intp], taken: Collection[int]
) -> tuple[list[SmallFrame], int]:
    """One frame of each group that has none yet, without near-duplicates.

    It is the frame that is nearest to the mean of its group, the earlier one of equals.

    Args:
        frames: of one video.
        groups: (F,) the group of each.
        taken: indices of frames that were taken before.

    Returns:
        the new frames in the order of time, and how many near-duplicates were left out.
    """
    pixels = _pixels(frames)
    numbers = np.array([frame.index for frame in frames])
    kept = [at for at in range(len(frames)) if numbers[at] in taken]
    full = set(groups[kept].tolist())
    chosen, alike = [], 0
    for group in np.unique(groups):
        if int(group) in full:
            continue
        members = np.flatnonzero(groups == group)
        apart = ((pixels[members] - pixels[members].mean(axis=0)) ** 2).sum(axis=1)
        at = int(members[apart.argmin()])
        if kept and np.abs(pixels[kept] - pixels[at]).max(axis=1).min() <= ALIKE:
            alike += 1
            continue
        kept.append(at)
        chosen.append(at)
    return [frames[at] for at in sorted(chosen)], alike


def _pixels(frames: Sequence[SmallFrame]) -> NDArray[np.float32]:
    """(F, pixels) grey levels."""
    return np.stack([frame.grey.ravel() for frame in frames]).astype(np.float32)
