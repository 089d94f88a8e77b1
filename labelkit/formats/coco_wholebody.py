"""COCO-WholeBody: feet, face and hands, which its files keep beside the keypoints of the body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labelkit.domain.skeleton import Skeleton
from labelkit.domain.text import named
from labelkit.errors import FormatError

_FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")


def _hand(side: str) -> list[str]:
    """21 keypoints: the root, then each finger from its base to its tip."""
    fingers = [f"{side}_{finger}{joint}" for finger in _FINGERS for joint in (1, 2, 3, 4)]
    return [f"{side}_hand_root", *fingers]


#: Key of an annotation -> names of its keypoints, as MMPose gives them.
PARTS: Mapping[str, list[str]] = {
    "foot_kpts": [
        f"{side}_{part}" for side in ("left", "right") for part in ("big_toe", "small_toe", "heel")
    ],
    "face_kpts": [f"face-{number}" for number in range(68)],
    "lefthand_kpts": _hand("left"),
    "righthand_kpts": _hand("right"),
}

Rows = list[tuple[Mapping[str, Any], str]]


def with_parts(
    categories: Mapping[Any, Mapping[str, Any]], rows: Rows, origin: str, skeleton: Skeleton | None
) -> tuple[Mapping[Any, Mapping[str, Any]], Rows, list[str]]:
    """Append the keypoints of the parts to those of the body, as far as the skeleton has them.

    Args:
        categories: by id.
        rows: annotations, each with its name for messages.
        origin: name of the file, for messages.
        skeleton: of the project; None takes the body alone.

    Returns:
        categories and annotations with the keypoints of both, and notes on parts left out.

    Raises:
        FormatError: if a part has another number of keypoints than COCO-WholeBody.
    """
    held = {part: names for part, names in PARTS.items() if any(row.get(part) for row, _ in rows)}
    wanted = {
        part: [name for name in names if skeleton and name in skeleton.keypoints]
        for part, names in held.items()
    }
    notes = []
    if left := [part for part, names in wanted.items() if not names]:
        first = PARTS[left[0]]
        notes.append(
            f"Left out {named(left)} of {origin}: the skeleton has none of their keypoints. Name "
            f"those that you need with --skeleton FILE.toml ({first[0]} ... {first[-1]})."
        )
    names = [name for mine in wanted.values() for name in mine]
    if not names:
        return categories, rows, notes
    whole = {
        key: {**category, "keypoints": [*category["keypoints"], *names]}
        if isinstance(category.get("keypoints"), list) and category["keypoints"]
        else category
        for key, category in categories.items()
    }
    longer: Rows = []
    for row, item in rows:
        if isinstance(row.get("keypoints"), list) and row["keypoints"]:
            values = [value for part in wanted for value in _values(row, part, wanted[part], item)]
            row = {**row, "keypoints": [*row["keypoints"], *values]}
        longer.append((row, item))
    return whole, longer, notes


def _values(row: Mapping[str, Any], part: str, names: list[str], item: str) -> list[Any]:
    """x, y and v of the keypoints of a part; zeros where it is not labelled."""
    known = PARTS[part]
    values = row.get(part) or [0] * 3 * len(known)
    if not isinstance(values, list) or len(values) != 3 * len(known):
        raise FormatError(
            f"{item}: {part} is not a list of {3 * len(known)} numbers.",
            f"Write x, y, v of {len(known)} keypoints there, or remove it.",
        )
    places = [3 * known.index(name) for name in names]
    return [value for place in places for value in values[place : place + 3]]
