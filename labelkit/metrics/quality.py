"""Whether scores can be trusted, and which visibility answers teach nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import ArrayLike

from labelkit.domain.skeleton import Skeleton
from labelkit.domain.text import named

#: Shares of instances. A keypoint that is present more or less often than the first two, or that
#: agrees with another one more often than the third, gives a presence loss nearly nothing.
ALWAYS_ABOVE, NEVER_BELOW, SAME_ABOVE = 0.97, 0.03, 0.95

#: How far, from chance (0) to perfect (1), a network must predict presence before its locations,
#: learned from presence alone, mean anything (benchmarks/README.md, "From random
#: weights").
LEARNED = 0.25


def spearman(score: ArrayLike, error: ArrayLike) -> float:
    """-1 perfect ... 0 useless ... 1 misleading: rank correlation of a score with the error.

    A score that ranks well decreases as the error grows. NaN with fewer than two samples, or if
    one of the two is constant.

    Args:
        score: (N,) higher is more certain.
        error: (N,) higher is worse.
    """
    a, b = np.asarray(score, dtype=np.float64), np.asarray(error, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"score and error need (N,), got {a.shape}, {b.shape}.")
    if np.isnan(a).any() or np.isnan(b).any():
        raise ValueError("A score or error is NaN.")
    if len(set(a)) < 2 or len(set(b)) < 2:
        return float("nan")
    from scipy.stats import spearmanr  # slow to import

    return float(spearmanr(a, b).statistic)


def expected_calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = 10) -> float:
    """0 calibrated ... 1 wrong: the distance of the confidence from the share that is correct.

    The mean over equally wide bins of |mean confidence - share correct|, weighted by count.
    NaN without samples.

    Args:
        confidence: (N,) in 0 ... 1.
        correct: (N,) bool.
        bins: number of bins; a value on a border belongs to the upper one.
    """
    values, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if values.shape != right.shape or values.ndim != 1:
        raise ValueError(f"confidence and correct need (N,), got {values.shape}, {right.shape}.")
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("A confidence lies outside 0 ... 1.")
    if len(values) == 0:
        return float("nan")
    index = np.minimum((values * bins).astype(np.int64), bins - 1)
    # The |sum of differences| of a bin is its count times its |mean difference|.
    gap = np.abs(np.bincount(index, weights=values - right, minlength=bins))
    return float(gap.sum() / len(values))


def answer_bits(presence: ArrayLike) -> float:
    """0 (each keypoint always or never present) ... 1: the entropy of visibility answers in bits.

    The mean over keypoints of -p log2 p - (1 - p) log2 (1 - p), where p is the share of instances
    in which the keypoint is present. A keypoint that is present in 97 % of them has 0.19 bits.
    NaN without answers.

    Args:
        presence: (N, K) 1 present, 0 absent, negative where no one answered.
    """
    answers = np.asarray(presence, dtype=np.int8)
    answered = (answers >= 0).sum(axis=0)
    share = (answers > 0).sum(axis=0)[answered > 0] / answered[answered > 0]
    share = np.stack([share, 1 - share])
    bits = -(share * np.log2(np.where(share > 0, share, 1.0))).sum(axis=0)
    return float(bits.mean()) if bits.size else float("nan")


def hardly_learned(presence_map: float | None, chance: float | None) -> bool:
    """Whether a network predicts presence so badly that its locations mean nothing.

    False if either number is undefined.

    Args:
        presence_map: mean average precision of its presence, 0 ... 1; None if undefined.
        chance: the same of a constant score; None if undefined.
    """
    if presence_map is None or chance is None:
        return False
    return presence_map - chance < LEARNED * (1 - chance)


@dataclass(frozen=True, slots=True)
class UninformativeKeypoint:
    """A keypoint whose visibility answers teach a model little or nothing.

    Attributes:
        keypoint: its name.
        kind: "always" present, "never" present, or the "same" as another keypoint.
        share: of instances, 0 ... 1, in which it is present; for "same", in which the two agree.
        other: name of the other keypoint; empty unless kind is "same".
    """

    keypoint: str
    kind: str
    share: float
    other: str


def notes_on(found: Sequence[UninformativeKeypoint]) -> list[str]:
    """One note on those present nearly always or never, and one on those answered alike."""
    extreme = [f"{i.keypoint} ({100 * i.share:.1f} %)" for i in found if i.kind != "same"]
    notes = []
    if extreme:
        notes.append(
            "present in nearly all instances, or in nearly none: "
            f"{named(extreme)}. Visibility answers cannot teach where they are; labelled "
            "keypoints can."
        )
    groups: list[list[str]] = []
    for item in found:
        if item.kind == "same":
            pair = [item.keypoint, item.other]
            joined = [group for group in groups if not set(pair).isdisjoint(group)]
            groups = [group for group in groups if group not in joined]
            groups.append(list(dict.fromkeys([*chain(*joined), *pair])))
    if groups:
        alike = "; ".join(" = ".join(group) for group in groups)
        notes.append(
            f"answered alike in nearly all instances: {alike}. Corrections will tell them apart; "
            "there is nothing to do."
        )
    return notes


def uninformative_keypoints(presence: ArrayLike, skeleton: Skeleton) -> list[UninformativeKeypoint]:
    """The keypoints that visibility answers cannot teach.

    First those present nearly always or nearly never, then the pairs that are nearly always
    answered alike, without those in which one of the former occurs.

    Args:
        presence: (N, K) human answers, -1 unknown, 0 absent, 1 present; empty without any.
        skeleton: names the K columns.
    """
    answers = np.asarray(presence, dtype=np.int8).reshape(-1, len(skeleton))
    known = answers >= 0
    found, telling = [], []
    for index in np.flatnonzero(known.any(axis=0)).tolist():
        share = float(answers[known[:, index], index].mean())
        if share > ALWAYS_ABOVE or share < NEVER_BELOW:
            kind = "always" if share > ALWAYS_ABOVE else "never"
            found.append(UninformativeKeypoint(skeleton.keypoints[index], kind, share, ""))
        else:
            telling.append(index)
    for position, a in enumerate(telling):
        for b in telling[position + 1 :]:
            both = answers[known[:, a] & known[:, b]]
            alike = float((both[:, a] == both[:, b]).mean()) if len(both) else 0.0
            if alike > SAME_ABOVE:
                names = skeleton.keypoints[a], skeleton.keypoints[b]
                found.append(UninformativeKeypoint(names[0], "same", alike, names[1]))
    return found
