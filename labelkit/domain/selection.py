"""Which instances go where: dev set, labelled set, control arm, correction queue.

Everything is drawn by hashing an id with the seed: the same on every machine, independent of
the order of the input, and unchanged when other images are added.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from labelkit.domain.instance import Instance
from labelkit.errors import UsageError


def _draw(purpose: str, item_id: str, seed: int) -> int:
    """A 64-bit random number, independent for every purpose, id and seed."""
    text = f"{purpose}:{seed}:{item_id}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")


def _draws(purpose: str, ids: Iterable[str], seed: int) -> NDArray[np.uint64]:
    """(N,) the number that `_draw` gives for each of N ids."""
    prefix, numbers = f"{purpose}:{seed}:", bytearray()
    for item in ids:
        numbers += hashlib.sha256((prefix + item).encode()).digest()[:8]
    return np.frombuffer(numbers, ">u8").astype(np.uint64)


def draws(purpose: str, ids: Iterable[str], seed: int) -> NDArray[np.float64]:
    """(N,) random numbers, 0 ... 1, independent for every purpose, id and seed."""
    return _draws(purpose, ids, seed).astype(np.float64) / 2.0**64


def coin(purpose: str, item_id: str, seed: int, share: float) -> bool:
    """True for about `share` of all ids; a larger share contains a smaller one."""
    return _draw(purpose, item_id, seed) < share * 2**64


def coins(purpose: str, ids: Iterable[str], seed: int, share: float) -> NDArray[np.bool_]:
    """(N,) the `coin` of each of N ids."""
    numbers, below = _draws(purpose, ids, seed), math.ceil(share * 2**64)
    return (
        numbers <= np.uint64(below - 1) if 0 < below <= 2**64 else np.full(len(numbers), below > 0)
    )


def stable_order(ids: Iterable[str], seed: int) -> tuple[str, ...]:
    """The ids once each, in a random order that depends on the seed alone."""
    every = sorted(set(ids))
    return tuple(every[place] for place in stable_places(every, seed).tolist())


def stable_places(ids: Iterable[str], seed: int) -> NDArray[np.intp]:
    """(N,) the places of N ids, which are sorted, in the order of `stable_order`."""
    return np.argsort(_draws("order", ids, seed), kind="stable")


@dataclass(frozen=True, slots=True)
class DevDraw:
    """Which images are in the dev set, also of those that a project does not hold yet.

    Attributes:
        share: 0 ... 1, of the images that are drawn.
        added: ids of images that are in it without being drawn, so that it is large enough, and of
            frames that are drawn with their video.
        left_out: ids of images that are not in it although they are drawn: they gave locations to
            a round, or it is large enough without them. Also of frames whose video is not in it.
    """

    share: float
    added: frozenset[str] = frozenset()
    left_out: frozenset[str] = frozenset()

    def holds(self, image_id: str, seed: int) -> bool:
        """Whether an image is in the dev set."""
        drawn = coin("dev", image_id, seed, self.share)
        return image_id in self.added or (drawn and image_id not in self.left_out)

    def held(self, image_ids: Sequence[str], seed: int) -> NDArray[np.bool_]:
        """(N,) whether each of N images is in the dev set."""
        added, left_out = (
            np.array([image in some for image in image_ids], np.bool_)
            for some in (self.added, self.left_out)
        )
        return added | (coins("dev", image_ids, seed, self.share) & ~left_out)


def dev_set(instances: Iterable[Instance], seed: int, draw: DevDraw) -> tuple[str, ...]:
    """Ids of the instances for model selection, never trained on, in a random order.

    Whole images are drawn, with all their instances: about `draw.share` of the images, in a small
    project possibly none. Adding images later moves none in or out.

    Args:
        instances: of the project.
        seed: of the project.
        draw: which images.
    """
    return stable_order((i.id for i in instances if draw.holds(i.image.id, seed)), seed)


def grow_dev_set(
    objects: Counter[str],
    seed: int,
    before: DevDraw,
    share: float,
    size: int,
    trained_on: Collection[str],
    *,
    exactly: bool,
    videos: Mapping[str, str],
) -> DevDraw:
    """The dev set with more images; those that were in it stay.

    Images enter in the order of their random numbers, so that a larger dev set holds a smaller one.
    Frames of one video enter together, also those that come later.

    Args:
        objects: of the project, their number by the id of their image.
        seed: of the project.
        before: the dev set until now.
        share: of the images that come later, 0 ... 1; at least that of `before`.
        size: number of instances to reach, as far as there are enough.
        trained_on: ids of images that gave locations to a round; they never enter, not even if
            they are removed from the project now and come back later.
        exactly: stop at `size`, even where more images are drawn.
        videos: the video, or the piece of one, by id of an image that is a frame of it.
    """
    together = defaultdict(set)  # images that enter together
    frames = objects.keys() & videos.keys()
    for image in frames:
        together[videos[image]].add(image)
    alone = objects.keys() - frames
    inside, never = {image for image in alone if before.holds(image, seed)}, set(trained_on)
    for images in together.values():
        if images & before.added:
            inside |= images - never | images & before.added
    count = sum(objects[image] for image in inside)
    numbers = {unit: _draw("dev", unit, seed) for unit in alone | together.keys()}
    for unit in sorted(numbers, key=numbers.__getitem__):
        if count >= size and (exactly or numbers[unit] >= share * 2**64):
            break
        images = together.get(unit, {unit})
        if images.isdisjoint(inside) and images.isdisjoint(never):
            inside |= images
            count += sum(objects[image] for image in images)
    drawn = {image for image in alone if numbers[image] < share * 2**64}
    drawn |= {image for image in frames if coin("dev", image, seed, share)}
    added = before.added.difference(objects) | (inside - drawn) | (inside & frames)
    left_out = before.left_out.union(trained_on).difference(objects)
    return DevDraw(share, added, left_out | (drawn - inside) | (frames - inside))


def control_arm(ids: Iterable[str], seed: int, share: float) -> frozenset[str]:
    """About `share` of the ids, to be served without pre-annotation so that savings are measured.

    Args:
        ids: of instances.
        seed: of the project.
        share: 0 ... 1.
    """
    return frozenset(item for item in ids if coin("control", item, seed, share))


def parse_percent(text: str) -> float:
    """The percent, 0 ... 100, of a text such as "10%", "10" or "0.5%".

    Raises:
        UsageError: if it is not a number from 0 to 100, or may be a share.
    """
    written = text.strip()
    try:
        percent = float(written.removesuffix("%"))
        if 0 < percent < 1 and not written.endswith("%"):
            raise UsageError(
                f"{text!r} could be a share or a percentage.",
                f"Type {format_percent(100 * percent)} or {format_percent(percent)}.",
            )
    except ValueError:
        percent = math.nan
    if not 0 <= percent <= 100:
        raise UsageError(
            f"{text!r} is not a percentage from 0% to 100%.",
            "Type for example 10% or 0.5%.",
        )
    return percent


def format_percent(percent: float) -> str:
    """The shortest text of a percent, 0 ... 100, that `parse_percent` reads back: "0.5%"."""
    return f"{int(percent) if percent == int(percent) else percent}%"


def labelled_count(project_size: int, percent: float) -> int:
    """How many instances a percentage of a project is: halves round up, at least 1 above 0 %.

    Args:
        project_size: number of instances.
        percent: 0 ... 100.
    """
    if percent == 0 or project_size == 0:
        return 0
    exact = Fraction(str(percent)) * project_size / 100
    return max(1, math.floor(exact + Fraction(1, 2)))


def labelled_set(
    labelled_ids: Collection[str],
    project_size: int,
    percent: float,
    locked: Sequence[str],
    seed: int,
) -> tuple[str, ...]:
    """The instances whose locations are trained on at a labelled percentage, in nested order.

    The set of a smaller percentage is a prefix of that of a larger one, and what earlier rounds
    locked stays at the front. It has fewer than `labelled_count` ids where too few instances are
    labelled.

    Args:
        labelled_ids: instances with human keypoints, without the dev set.
        project_size: number of instances that the percentage refers to.
        percent: 0 ... 100.
        locked: ids of earlier rounds in their order; those no longer labelled are dropped.
        seed: of the project.
    """
    labelled = set(labelled_ids)
    first = [item for item in dict.fromkeys(locked) if item in labelled]
    rest = stable_order(labelled.difference(first), seed)
    return (*first, *rest)[: labelled_count(project_size, percent)]


@dataclass(frozen=True, slots=True)
class QueueItem:
    """One instance to correct.

    Attributes:
        instance_id: of the instance.
        reason: "dev" (model selection), "unsure" (drawn by the strategy), "random" (drawn from all
            alike), "chosen" (by a person), "new" (it came after the newest round), "incomplete"
            (it has keypoints, but lacks some that the skeleton got later) or "second" (another
            person has labelled it).
        control: True if it is served without pre-annotation.
    """

    instance_id: str
    reason: str
    control: bool


def unasked(
    ids: Iterable[str], *, done: Collection[str], dev: Collection[str], seed: int
) -> tuple[QueueItem, ...]:
    """What can be labelled before a project needs it: the dev set first, the rest at random.

    Args:
        ids: instances of the project.
        done: instances that already have human keypoints.
        dev: instances of the dev set.
        seed: of the project.
    """
    finished, first = set(done), set(dev)
    waiting = [item for item in stable_order(ids, seed) if item not in finished]
    return (
        *(QueueItem(item, "dev", False) for item in waiting if item in first),
        *(QueueItem(item, "random", False) for item in waiting if item not in first),
    )
