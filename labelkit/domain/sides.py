"""Left and right: in keypoint names, which two are each other's mirror image; and in poses."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from labelkit.domain.pose import Pose

#: Mirror images so many times farther from other poses than the poses themselves are unlike them.
#: On 20 draws of ten labelled objects: faces 6 to 11, fish that swim one way 6 to 9, people at most
#: 1.5, who turn their left and their right side.
UNLIKE = 2.0
#: Fewer poses do not tell, and more than so many take longer.
_LEAST, _MOST = 3, 200

#: A token of a name that says a side, and what it is called on the other side.
_WORDS = {"left": "right", "right": "left", "lt": "rt", "rt": "lt", "lft": "rgt", "rgt": "lft"}
_LETTERS = {"l": "r", "r": "l"}
#: What says a side also where no keypoint has the other one: a word, also grown together with
#: another (hindleft), or a letter of its own.
_PLAIN = re.compile(r"l|r|left.*|right.*|.*left|.*right")
#: Words that only sound so.
_NO_SIDE = {"bright", "upright", "fright", "wright", "cleft"}
#: Two-letter tokens of legs and wheels: a side and front, hind, back, rear or middle.
_ENDS = "fhbrm"
#: A side letter that is part of a word counts from so many further letters on: lArm, but not lip.
_LETTERS_BESIDE = 3

_TOKEN = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_]+")


class Sides(NamedTuple):
    """What names tell about left and right.

    Attributes:
        pairs: (left, right) indices, in the order of the left keypoints.
        unpaired: indices of keypoints whose name says a side and that have no partner.
    """

    pairs: tuple[tuple[int, int], ...]
    unpaired: tuple[int, ...]


class _Swap(NamedTuple):
    """One way to read a side out of a name.

    Attributes:
        other: tokens of the name on the other side.
        is_left: which side the name itself is on.
        strength: 3 a word, 2 a letter of its own, 1 a letter or word inside a token.
        place: of the token, from the start and from the end.
    """

    other: tuple[str, ...]
    is_left: bool
    strength: int
    place: tuple[int, int]


def find_sides(keypoints: Sequence[str]) -> Sides:
    """Pair keypoints by name: words, camel case, single letters, wherever they stand.

    `left_ear` and `right_ear`, `leftEar` and `rightEar`, `RShoulder` and `LShoulder`, `wingL` and
    `wingR`, `F_L_Hip` and `F_R_Hip`, `pupil_top_r` and `pupil_top_l`, `FL` and `FR`. Two keypoints
    are a pair only if both exist and each is the other's one partner; `bright_spot` has no side.

    Args:
        keypoints: K names.
    """
    tokens = [tuple(token.lower() for token in _TOKEN.findall(name)) for name in keypoints]
    at = {name: index for index, name in enumerate(tokens)}
    found: list[list[_Swap]] = []
    for name in tokens:
        swaps = [swap for swap in _swaps(name) if swap.other in at]
        strongest = max((swap.strength for swap in swaps), default=0)
        found.append([swap for swap in swaps if swap.strength == strongest])
    usual = Counter(place for swaps in found if len(swaps) == 1 for place in swaps[0].place)
    chosen = [_choose(swaps, usual) for swaps in found]
    pairs = []
    for index, swap in enumerate(chosen):
        if swap is None or not swap.is_left:
            continue
        partner = at[swap.other]
        back = chosen[partner]
        if back is not None and not back.is_left and at[back.other] == index:
            pairs.append((index, partner))
    paired = {index for pair in pairs for index in pair}
    unpaired = (
        i for i, name in enumerate(tokens) if i not in paired and any(map(_says_side, name))
    )
    return Sides(tuple(pairs), tuple(unpaired))


def _says_side(token: str) -> bool:
    return token not in _NO_SIDE and _PLAIN.fullmatch(token) is not None


def _choose(swaps: list[_Swap], usual: Counter[int]) -> _Swap | None:
    """The one reading of a name; of several, the one whose place other names use too."""
    if len(swaps) < 2:
        return swaps[0] if swaps else None
    votes = [sum(usual[place] for place in swap.place) for swap in swaps]
    best = max(votes)
    return swaps[votes.index(best)] if votes.count(best) == 1 else None


def _swaps(name: tuple[str, ...]) -> Iterator[_Swap]:
    """Every way to read a side out of the tokens of a name."""
    for number, token in enumerate(name):
        place = (number, number - len(name))
        for mirrored, is_left, strength in _mirrored(token):
            yield _Swap((*name[:number], mirrored, *name[number + 1 :]), is_left, strength, place)


def _mirrored(token: str) -> Iterator[tuple[str, bool, int]]:
    """A token as it is on the other side, whether it says left, and how plainly."""
    if token in _WORDS:
        yield _WORDS[token], token[0] == "l", 3
        return
    if token in _LETTERS:
        yield _LETTERS[token], token == "l", 2
        return
    for word, other in (("left", "right"), ("right", "left")):
        if token.startswith(word) or token.endswith(word):
            yield token.replace(word, other), word == "left", 1
    legs = len(token) == 2
    if token[0] in _LETTERS and (token[1] in _ENDS if legs else len(token) > _LETTERS_BESIDE):
        yield _LETTERS[token[0]] + token[1:], token[0] == "l", 1
    if token[-1] in _LETTERS and (token[0] in _ENDS if legs else len(token) > _LETTERS_BESIDE):
        yield token[:-1] + _LETTERS[token[-1]], token[-1] == "l", 1


def are_one_sided(poses: Sequence[Pose]) -> bool:
    """Whether mirror images of poses are unlike all of them, if keypoints keep their names.

    So are those of faces, and those of fish that all swim one way. Poses may be turned and scaled.

    Args:
        poses: with the same keypoints.

    Returns:
        False where fewer than three poses have keypoints enough to tell.
    """
    poses = poses[:: -(-len(poses) // _MOST) or 1]
    if len(poses) < _LEAST:
        return False
    there = np.stack([pose.present for pose in poses])
    xy = np.stack([pose.xy for pose in poses])
    points = np.where(there, xy[..., 0] + 1j * xy[..., 1], 0)
    near = np.array(
        [
            (_nearest(points, there, row, pose), _nearest(points, there, row, pose.conj()))
            for row, pose in enumerate(points)
        ]
    )
    near = near[np.isfinite(near).all(axis=1)]
    if len(near) < _LEAST:
        return False
    of_pose, of_mirror_image = np.median(near, axis=0)
    return bool(of_mirror_image > UNLIKE * of_pose)


def _nearest(
    points: NDArray[np.complex128], there: NDArray[np.bool_], row: int, pose: NDArray[np.complex128]
) -> float:
    """Procrustes distance 0 ... 1 from `pose`, in place of row `row`, to the nearest other row."""
    common = there & there[row]
    count = common.sum(axis=1)

    def standard(values: NDArray[np.complex128]) -> NDArray[np.complex128]:
        mean = (values * common).sum(axis=1) / np.maximum(count, 1)
        centred = (values - mean[:, None]) * common
        length = np.linalg.norm(centred, axis=1, keepdims=True)
        return np.asarray(centred / np.maximum(length, 1e-12))

    both = standard(np.broadcast_to(pose, points.shape)).conj() * standard(points)
    apart = np.sqrt(np.maximum(1 - np.abs(both.sum(axis=1)) ** 2, 0))
    apart[(count < _LEAST) | (np.arange(len(points)) == row)] = np.inf
    return float(apart.min())
