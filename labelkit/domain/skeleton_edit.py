"""A skeleton that changes: keypoints come, go and get other names; all else follows by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from labelkit.domain.skeleton import (
    DEFAULT_SIGMA,
    Skeleton,
    pairs_of_names,
    skeleton_from_table,
)
from labelkit.errors import SkeletonError


class Difference(NamedTuple):
    """What became of the keypoints of a skeleton in a later one.

    Attributes:
        added, removed: names.
        renamed: (former, present) names.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]


def difference(before: Skeleton, after: Skeleton) -> Difference:
    """What became of the keypoints of `before` in `after`."""
    now = {name: after.present_name(name) for name in before.keypoints}
    return Difference(
        tuple(name for name in after.keypoints if name not in now.values()),
        tuple(name for name in before.keypoints if now[name] not in after.keypoints),
        tuple(item for item in now.items() if item[0] != item[1] and item[1] in after.keypoints),
    )


def edited(before: Skeleton, table: Mapping[str, Any], origin: str) -> Skeleton:
    """A skeleton with changes.

    What the table leaves out stays: links, pairs, sigmas, layout and descriptions follow their
    keypoints. A new keypoint has no link, the partner that its name tells, the default sigma, and
    the middle of the layout.

    Args:
        before: the skeleton until now.
        table: as in a skeleton file. A keypoint under another name is a new one, unless `renamed`
            says what it was called before.
        origin: name of the file, for messages.

    Raises:
        SkeletonError: if the changes contradict each other, or two keypoints would share labels.
    """
    given = [(before.present_name(a), b) for a, b in pairs_of_names(table, "renamed", origin)]
    renames = {former: present for former, present in given if former != present}
    own = [renames.get(name, name) for name in before.keypoints]
    for name in own:
        if own.count(name) > 1:
            raise SkeletonError(
                f"{origin}: {name!r} is a keypoint already: no other can take that name.",
                "Choose another name.",
            )
    aliases = {former: renames.get(now, now) for former, now in before.renamed} | renames
    changes = {
        "name": before.name,
        "keypoints": own,
        **table,
        "renamed": [[former, now] for former, now in aliases.items() if former != now],
    }
    after = skeleton_from_table(changes, origin)
    column = [own.index(name) if name in own else -1 for name in after.keypoints]
    place = {old: new for new, old in enumerate(column) if old >= 0}

    def follow(joined: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
        return tuple((place[a], place[b]) for a, b in joined if a in place and b in place)

    kept: dict[str, Any] = {
        "links": follow(before.links),
        "pairs": follow(before.pairs),
        "sigmas": tuple(DEFAULT_SIGMA if old < 0 else before.sigmas[old] for old in column),
        "layout": tuple((0.5, 0.5) if old < 0 else before.layout[old] for old in column),
        "descriptions": tuple(
            (after.present_name(name), text)
            for name, text in before.descriptions
            if after.present_name(name) in after.keypoints
        ),
    }
    paired = {index for pair in kept["pairs"] for index in pair}
    kept["pairs"] += tuple(
        pair
        for pair in after.pairs
        if paired.isdisjoint(pair) and any(column[index] < 0 for index in pair)
    )
    return replace(after, **{key: value for key, value in kept.items() if key not in table})
