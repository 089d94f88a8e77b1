"""Draw what is labelled next: a strategy's best object, and now and then one at random."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelkit.domain.selection import coin, draws
from labelkit.store.ids import Ids

#: How objects are chosen. "manual" leaves it to people: nothing is drawn.
MIXED, UNCERTAIN, DIVERSE, RANDOM, MANUAL = STRATEGIES = (
    "mixed",
    "uncertain",
    "diverse",
    "random",
    "manual",
)

#: Share of the draws that are random, whatever the strategy: every object may be drawn.
RANDOM_SHARE = 0.2

#: A strategy compares objects within blocks of so many, drawn at random, in turns: the time of a
#: draw does not grow with the project.
BLOCK = 4096

#: A block is compared with so many labelled objects at a time: 8 MB.
_CENTRES = 512

#: Objects at less than this share of the usual distance are nearly the same.
SAME = 0.1

#: Frames of one video that are at most so many seconds apart are nearly the same.
SAME_SECONDS = 1.0

#: The largest distance that counts, as a share of the usual one; what near-duplicates lose.
_FAR, _LAST = 100.0, 1e6

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """What strategies know of N objects.

    Attributes:
        ids: of the N instances.
        uncertainty: (N,) 0 certain ... 1, see `labelkit.workflows.choosing.signals`.
        rarity: (N,) 0 ... 1, how rarely the rarest of its keypoints has been labelled.
        feature: (N, D) float16; near where objects look alike.
        image: (N,) int64 number of its image.
        video: (N,) int64 number of its image's video, -1 for none.
        seconds: (N,) of its image in the video.
    """

    ids: Ids
    uncertainty: Floats
    rarity: Floats
    feature: NDArray[np.float16]
    image: Places
    video: Places
    seconds: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Drawn:
    """One object, drawn from those that were left.

    Attributes:
        place: of the object in `Objects`.
        probability: with which this draw took it rather than another one.
        at_random: False if it is the strategy's best.
    """

    place: int
    probability: float
    at_random: bool


def draw(
    objects: Objects, waiting: Bools, labelled: Bools, count: int, strategy: str, seed: int
) -> Iterator[Drawn]:
    """Draw objects one after the other.

    Each draw is random with probability `RANDOM_SHARE`, all that are left alike, and else takes
    the best object of the strategy. So the probability of each draw is known, and
    `labelkit.metrics.sampling` can tell what holds for all from those drawn. Coins and random
    draws depend on the seed and the ids alone.

    Near-duplicates of what is labelled or drawn come after all others of their block, unless a
    random draw takes them.

    Args:
        objects: of the project.
        waiting: (N,) which of them may be drawn.
        labelled: (N,) which of them have keypoints.
        count: at most so many are drawn.
        strategy: "uncertain" by uncertainty; "diverse" what is farthest from all that is labelled
            or drawn (k-centre greedy: Sener and Savarese, ICLR 2018); "mixed" by the product of
            both, more for rare keypoints, less for images that are labelled already; "random";
            "manual" draws nothing.
        seed: of the project.
    """
    left = int(waiting.sum())
    count = 0 if strategy == MANUAL else min(count, left)
    places = np.flatnonzero(waiting)
    numbers = draws("random share", Ids(objects.ids.array[places]), seed)
    lottery = map(int, places[np.argsort(numbers, kind="stable")])
    chooser = _Chooser(objects, waiting, labelled, strategy, seed) if count else None
    share = 1.0 if strategy == RANDOM else RANDOM_SHARE
    for turn in range(count):
        assert chooser is not None
        best = chooser.best(turn)
        at_random = coin("coin", f"{turn} of {left}", seed, share)
        place = next(filter(chooser.is_left, lottery)) if at_random else best
        probability = share / (left - turn) + (1 - share) * (place == best)
        chooser.take(place)
        yield Drawn(place, probability, at_random)


class _Chooser:
    """The best object of a strategy, given all that were taken; arguments as `draw`."""

    def __init__(
        self, objects: Objects, waiting: Bools, labelled: Bools, strategy: str, seed: int
    ) -> None:
        self._objects, self._strategy = objects, strategy
        self._left = waiting.copy()
        self._seen = np.zeros(len(waiting), dtype=bool)  # near-duplicates of what is taken
        self._in_image = np.zeros(int(objects.image.max(initial=-1)) + 1, dtype=np.int32)
        np.add.at(self._in_image, objects.image[labelled], 1)
        self._by_time = np.lexsort((objects.seconds, objects.video))
        self._times = np.stack([objects.video, objects.seconds], axis=1)[self._by_time]
        self._blocks = _blocks(objects, waiting, seed)
        self._block_of = np.zeros(len(waiting), dtype=np.int64)
        for number, block in enumerate(self._blocks):
            self._block_of[block] = number
        self._counts = [len(block) for block in self._blocks]
        # To the nearest that is labelled or drawn, as a share of the usual distance.
        self._distance = np.full(len(waiting), np.inf, dtype=np.float32)
        centres = np.flatnonzero(labelled)
        if len(centres) > BLOCK:
            numbers = draws("centres", Ids(objects.ids.array[centres]), seed)
            centres = centres[np.argsort(numbers, kind="stable")[:BLOCK]]
        self._unit = _usual_distance(objects.feature, np.flatnonzero(waiting | labelled))
        for some in (centres[at : at + _CENTRES] for at in range(0, len(centres), _CENTRES)):
            for block in self._blocks:
                self._come_near(block, objects.feature[some])
        if objects.video.max(initial=-1) >= 0:
            for place in np.flatnonzero(labelled):
                self._see_neighbours(place)

    def is_left(self, place: int) -> bool:
        return bool(self._left[place])

    def best(self, turn: int) -> int:
        """The best object of the block whose turn it is, and that has any left."""
        count = len(self._blocks)
        number = next(n % count for n in range(turn, turn + count) if self._counts[n % count])
        block = self._blocks[number]
        is_same = self._seen[block] | (self._distance[block] < SAME)
        value = self._value(block) - _LAST * is_same
        return int(block[np.where(self._left[block], value, -np.inf).argmax()])

    def take(self, place: int) -> None:
        self._left[place] = False
        self._in_image[self._objects.image[place]] += 1
        number = self._block_of[place]
        self._counts[number] -= 1
        if self._strategy != RANDOM:
            self._come_near(self._blocks[number], self._objects.feature[place][None])
            self._see_neighbours(place)

    def _value(self, block: Places) -> NDArray[np.floating]:
        """Higher is better; at most a few."""
        objects = self._objects
        distance = np.minimum(self._distance[block], _FAR)
        if self._strategy == RANDOM:
            return np.zeros(len(block), dtype=np.float32)
        if self._strategy == UNCERTAIN:
            return objects.uncertainty[block]
        if self._strategy == DIVERSE:
            return distance
        value = objects.uncertainty[block] * distance * (1 + objects.rarity[block])
        return value / (1 + self._in_image[objects.image[block]])

    def _come_near(self, block: Places, centres: NDArray[np.float16]) -> None:
        """Note how near the objects of a block lie to new (C, D) centres."""
        x, y = self._objects.feature[block].astype(np.float32), centres.astype(np.float32)
        squared = (x**2).sum(axis=1)[:, None] - 2 * x @ y.T + (y**2).sum(axis=1)
        nearest = np.sqrt(np.maximum(squared.min(axis=1), 0)) / self._unit
        self._distance[block] = np.minimum(self._distance[block], nearest)

    def _see_neighbours(self, place: int) -> None:
        """Note which frames are next to that of an object."""
        video, seconds = self._objects.video[place], self._objects.seconds[place]
        if video < 0:
            return
        start, end = np.searchsorted(self._times[:, 0], (video, video + 1))
        inside = self._times[start:end, 1]
        first = start + np.searchsorted(inside, seconds - SAME_SECONDS, "left")
        last = start + np.searchsorted(inside, seconds + SAME_SECONDS, "right")
        self._seen[self._by_time[first:last]] = True


def _blocks(objects: Objects, waiting: Bools, seed: int) -> list[Places]:
    """The objects that wait, in random blocks; those of an image or a video are neighbours."""
    places = np.flatnonzero(waiting)
    group = np.where(objects.video >= 0, -1 - objects.video, objects.image)[places]
    unit, number = np.unique(group, return_inverse=True)
    shuffled = np.argsort(draws("block", map(str, unit.tolist()), seed), kind="stable")
    rank = np.empty(len(unit), dtype=np.int64)
    rank[shuffled] = np.arange(len(unit))
    ordered = places[np.argsort(rank[number], kind="stable")]
    return np.array_split(ordered, -(-len(ordered) // BLOCK)) if len(ordered) else []


def _usual_distance(features: NDArray[np.float16], places: Places) -> float:
    """The median distance between two of some (N, D) features, by at most 512 of them."""
    some = features[places[:: -(-len(places) // 512) or 1]].astype(np.float32)
    pairs = np.linalg.norm(some[:, None] - some[None], axis=2)[np.triu_indices(len(some), 1)]
    return float(np.median(pairs)) or 1.0 if len(pairs) else 1.0
