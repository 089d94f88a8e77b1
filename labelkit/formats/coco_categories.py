"""Categories of a COCO file: which of them have keypoints, and the skeleton that they make."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from labelkit.domain.skeleton import BUILTIN, Skeleton, load_skeleton, make_skeleton
from labelkit.domain.text import counted
from labelkit.errors import FormatError, SkeletonError


class KeypointCategories(NamedTuple):
    """The categories whose annotations have keypoints.

    Attributes:
        ids: their ids in the file.
        skeleton: the one they share.
        notes: what was read differently or left out, a sentence each.
    """

    ids: frozenset[Any]
    skeleton: Skeleton
    notes: list[str]


def category_name(category: Mapping[str, Any]) -> str:
    """The name of a COCO category, or a word for those without one."""
    return str(category.get("name") or "object")


def keypoint_categories(
    categories: Mapping[Any, Mapping[str, Any]],
    annotations: Sequence[Mapping[str, Any]],
    origin: str,
    skeleton: Skeleton | None,
) -> KeypointCategories:
    """Find the categories with keypoints.

    Args:
        categories: by id.
        annotations: of the file.
        origin: name of the file, for messages.
        skeleton: chooses among categories with different keypoints, and names those of a file
            that has none; None without one.

    Raises:
        FormatError: if no category has keypoints, or several have different ones.
        SkeletonError: if the keypoints make no skeleton.
    """
    with_names = {key: c for key, c in categories.items() if c.get("keypoints")}
    if not with_names:
        return _without_names(annotations, origin, skeleton)
    if len({str(c["keypoints"]) for c in with_names.values()}) > 1:
        wanted = list(skeleton.keypoints) if skeleton else []
        fitting = {key: c for key, c in with_names.items() if c["keypoints"] == wanted}
        if not fitting:
            names = ", ".join(repr(category_name(c)) for c in with_names.values())
            raise FormatError(
                f"{origin} has several categories with different keypoints: {names}.",
                "Choose the keypoints of one with --skeleton FILE.toml, and make a project for "
                "each.",
            )
        with_names = fitting
    found, notes = skeleton_from_category(next(iter(with_names.values())), origin)
    return KeypointCategories(frozenset(with_names), found, notes)


def _without_names(
    annotations: Sequence[Mapping[str, Any]], origin: str, skeleton: Skeleton | None
) -> KeypointCategories:
    rows = [row for row in annotations if row.get("keypoints")]
    if not rows:
        raise FormatError(
            f"{origin} has no category with keypoints.",
            f"For boxes alone, type: --boxes {shlex.quote(origin)}",
        )
    values = rows[0]["keypoints"]
    count = len(values) // 3 if isinstance(values, list) else 0
    if skeleton is None or count != len(skeleton):
        given = f"; the skeleton {skeleton.name!r} has {len(skeleton)}" if skeleton else ""
        raise FormatError(
            f"{origin} gives {count} keypoints for each object, without their names{given}.",
            f"Name {counted(count, 'keypoint')} in that order: --skeleton FILE.toml, or a built-in "
            f"skeleton.",
        )
    note = (
        f"{origin} does not name its keypoints: they are taken in the order of the skeleton "
        f"{skeleton.name!r} ({', '.join(skeleton.keypoints)})."
    )
    return KeypointCategories(frozenset(row["category_id"] for row in rows), skeleton, [note])


def skeleton_from_category(category: Mapping[str, Any], origin: str) -> tuple[Skeleton, list[str]]:
    """The skeleton of a COCO category, and notes on links that were read differently or left out.

    If its keypoints are those of a built-in skeleton, in any order, the built-in pairs, sigmas and
    layout come with them.

    Args:
        category: with `keypoints`, and links in `skeleton` as pairs of numbers counted from 1.
        origin: name of the file, for messages.

    Raises:
        FormatError: if an entry has the wrong type.
        SkeletonError: if the entries contradict each other.
    """
    name, keypoints = category_name(category), category.get("keypoints")
    where = f"{origin}: category {name!r}"
    if not isinstance(keypoints, list) or not all(isinstance(k, str) for k in keypoints):
        raise FormatError(
            f"{where}: keypoints must be a list of names.", 'For example: ["nose", "tail"]'
        )
    links, notes = _links(category.get("skeleton") or [], keypoints, where)
    try:
        return _skeleton(name, keypoints, links, category.get("labelkit")), notes
    except SkeletonError as error:
        raise SkeletonError(
            f"{where}: {error.problem}", error.next_step or "Correct the category."
        ) from error
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise FormatError(
            f"{where} has a damaged entry 'labelkit' ({error}).", "Export it again, or remove that."
        ) from error


def _skeleton(
    name: str, keypoints: Sequence[str], links: Sequence[tuple[int, int]], extension: Any
) -> Skeleton:
    if isinstance(extension, Mapping):
        return Skeleton(
            str(extension.get("name") or name),
            tuple(keypoints),
            tuple(links),
            tuple((keypoints.index(a), keypoints.index(b)) for a, b in extension["pairs"]),
            tuple(map(float, extension["sigmas"])),
            tuple((float(x), float(y)) for x, y in extension["layout"]),
        )
    for builtin in map(load_skeleton, BUILTIN):
        if builtin.keypoints == tuple(keypoints):
            return builtin
        if set(builtin.keypoints) == set(keypoints) and len(builtin) == len(keypoints):
            order = [builtin.index(k) for k in keypoints]
            return make_skeleton(
                name,
                keypoints,
                [(order.index(a), order.index(b)) for a, b in builtin.links],
                [(order.index(a), order.index(b)) for a, b in builtin.pairs],
                [builtin.sigmas[i] for i in order],
                [builtin.layout[i] for i in order],
            )
    return make_skeleton(name, keypoints, links)


def _links(
    table: Any, keypoints: Sequence[str], where: str
) -> tuple[list[tuple[int, int]], list[str]]:
    """Links as pairs of indices, and notes. They are drawn only: a wrong one is left out."""
    rows = table if isinstance(table, list) else [table]
    numbers = {end for row in rows if isinstance(row, list) for end in row if isinstance(end, int)}
    first = 0 if 0 in numbers and len(keypoints) not in numbers else 1
    index: dict[str | int, int] = {name: at for at, name in enumerate(keypoints)}
    index |= {at + first: at for at in range(len(keypoints))}
    links, lost = [], []
    for row in rows:
        ends = row if isinstance(row, list) else []
        known = [index[end] for end in ends if isinstance(end, int | str) and end in index]
        if len(ends) == len(known) == 2 and known[0] != known[1]:
            links.append((known[0], known[1]))
        else:
            lost.append(str(row)[:40])
    notes = []
    if first == 0:
        notes.append(f"{where}: its links count the keypoints from 0, not from 1 as in COCO.")
    if lost:
        notes.append(
            f"{where}: left out {counted(len(lost), 'link')}, such as {lost[0]}: not two of its "
            f"keypoints, counted from {first}."
        )
    return links, notes
