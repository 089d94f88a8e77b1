"""Labels that are probably wrong: exchanged sides and keypoints that jumped.

Each suspicion is a hypothesis, "this label would be right if it were altered so", and its score is
how much likelier the altered label is: under the poses of the other labels (`PoseDensity`), and
under predictions that know nothing of the label, whose errors are as heavy-tailed as they are on
this project.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelkit.metrics.pose_density import PoseDensity, log_t
from labelkit.metrics.promised_precision import Mixture, threshold

Floats = NDArray[np.float64]
#: (n, K, 2) places of the objects in (n,) rows -> (2, n, K) densities that the maps of a predictor
#: give to each place, on the keypoint's own map and on its partner's; NaN where there is no map.
Maps = Callable[[Floats, NDArray[np.int64]], Floats]

WHOLE_SWAP, PAIR_SWAP, JUMP = KINDS = ("whole swap", "pair swap", "jump")

_FOLDS = 5
#: Fewer labels do not tell what is usual.
FEWEST = 30
#: Labels into which errors are planted, at most.
PLANTED = 1000
#: Planted jumps, in lengths of the box's long side.
_NEAR, _AFAR = 0.05, 0.5
#: Degrees of freedom of a prediction's error, bins of its confidence, and from how many usual
#: errors on it tells nothing.
_FREEDOM, _BINS, _LOST = 2.0, 5, 10.0
#: Least usual error, in lengths of the box's long side.
_LEAST = 2e-3
#: Of the estimate of a mixture's shares.
_STEPS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Labelled poses, and what others predict of the same objects.

    Places are relative to the middle of the box, in lengths of its long side.

    Attributes:
        xy: (N, K, 2) NaN where a keypoint is not present; one at least is in each.
        predicted: (M, N, K, 2) by M predictors that know nothing of the labels; NaN where they
            predict nothing.
        confidence: (M, N, K) of the predictions: larger is better, in any unit.
        maps: of the M predictors, `no_maps` for one without.
        pairs: (left, right) indices of keypoints.
    """

    xy: Floats
    predicted: Floats
    confidence: Floats
    maps: tuple[Maps, ...]
    pairs: tuple[tuple[int, int], ...]


def no_maps(xy: Floats, rows: NDArray[np.int64]) -> Floats:
    """The densities of a predictor without maps: see `Maps`."""
    return np.full((2, *xy.shape[:2]), np.nan)


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A label that is probably wrong.

    Attributes:
        row: of the object.
        kind: `WHOLE_SWAP`, `PAIR_SWAP` or `JUMP`.
        keypoints: indices of those that are concerned.
        score: log likelihood of the altered label, less that of the label.
        wrong: 0 right ... 1 wrong: the probability.
    """

    row: int
    kind: str
    keypoints: tuple[int, ...]
    score: float
    wrong: float


@dataclass(frozen=True, slots=True, eq=False)
class _Scores:
    """Scores of hypotheses about N labels; -inf where there is none."""

    whole: Floats  # (N,)
    pair: Floats  # (N, P)
    jump: Floats  # (N, K)

    def best(self, kind: str) -> Floats:
        """(N,) of each label's likeliest hypothesis of a kind."""
        table = {WHOLE_SWAP: self.whole[:, None], PAIR_SWAP: self.pair, JUMP: self.jump}[kind]
        return table.max(axis=1, initial=-np.inf)


class Predictor:
    """How far a predictor is usually off, and how often it exchanges sides.

    Where it has maps, a place is as likely as a mixture of the map and of a heavy-tailed error
    around the prediction make it, in the shares that suit the labels best.
    """

    def __init__(self, labels: Labels, number: int) -> None:
        self.xy, self.pairs = labels.predicted[number], labels.pairs
        self.flip = _flip(self.xy.shape[1], self.pairs)
        self.maps, self.share = labels.maps[number], 0.0
        apart = _apart(labels.xy, self.xy)
        usual = np.maximum(_median(apart, 0), _LEAST)  # (K,)
        usual = np.where(np.isfinite(usual), usual, 1.0) * np.ones_like(apart)
        confidence = labels.confidence[number]
        there = np.isfinite(apart)
        edges = np.quantile(confidence[there], np.arange(1, _BINS) / _BINS) if there.any() else []
        bins = np.digitize(confidence, edges)
        for number in range(_BINS):
            chosen = there & (bins == number)
            if chosen.any():
                usual[bins == number] *= np.median(apart[chosen] / usual[chosen])
        usual = np.maximum(usual, _LEAST)
        # Where a prediction is off altogether, none of its keypoints tells much.
        nearer = np.fmin(apart, _apart(labels.xy, self.xy[:, self.flip]))
        self.usual = usual * np.fmax(_median(nearer / usual, 1), 1.0)[:, None]
        self.lost = ((nearer / self.usual > _LOST).sum(axis=0) + 1) / (there.sum(axis=0) + 2)
        rows = np.arange(len(labels.xy))
        around, mapped = self._around(labels.xy, rows), self.maps(labels.xy, rows)
        self.share = _share(mapped[0], around[0])
        self.of_labels = self._mixed(around, mapped)
        mine, others = self._sums(*self.of_labels)
        self.sure, self.exchanged = exchanged_sides(mine - others)

    def _around(self, xy: Floats, rows: NDArray[np.int64]) -> Floats:
        """(2, n, K) densities of labels around their predictions and those of their partners."""
        usual, predicted = self.usual[rows], self.xy[rows]

        def log_at(places: Floats) -> Floats:
            distance = (_apart(xy, places) / usual) ** 2
            return log_t(distance, 4 * np.log(usual), 2, _FREEDOM)

        return np.exp([log_at(predicted), log_at(predicted[:, self.flip])])

    def _mixed(self, around: Floats, mapped: Floats) -> Floats:
        """(2, n, K) log densities: the share of the maps, where there are any."""
        mixed = (1 - self.share) * around + self.share * mapped
        return np.asarray(np.log(np.where(np.isfinite(mixed), mixed, around)))

    def _sums(self, own: Floats, other: Floats) -> tuple[Floats, Floats]:
        """(n, 1 + P) of all pairs together and of each; 0 where a keypoint is missing."""
        both = np.isfinite(own) & np.isfinite(other)
        own, other = np.where(both, own, 0.0), np.where(both, other, 0.0)
        left = np.array([a for a, _ in self.pairs], dtype=int)
        right = np.array([b for _, b in self.pairs], dtype=int)
        mine, others = own[:, left] + own[:, right], other[:, left] + other[:, right]
        whole = mine.sum(axis=1, keepdims=True), others.sum(axis=1, keepdims=True)
        return np.hstack([whole[0], mine]), np.hstack([whole[1], others])

    def logs(self, xy: Floats, rows: NDArray[np.int64]) -> Floats:
        """(2, n, K) log densities of other places than the labels, which are in `of_labels`."""
        return self._mixed(self._around(xy, rows), self.maps(xy, rows))

    def gains(self, logs: Floats) -> tuple[Floats, Floats]:
        """(n, 1 + P) of exchanging all pairs and each one, and (n, K) of any other place."""
        own, other = logs
        mine, others = self._sums(own, other)
        exchanged = self._exchanged_at(np.abs(mine - others))
        as_is, turned = np.log1p(-exchanged), np.log(exchanged)
        gain = np.logaddexp(as_is + others, turned + mine)
        gain -= np.logaddexp(as_is + mine, turned + others)
        swapped = np.full(own.shape[1], 0.0)
        for column, pair in enumerate(self.pairs):
            swapped[list(pair)] = self.exchanged[0, 1 + column]
        known = np.isfinite(own)
        own = np.where(known, own, 0.0)
        other = np.where(np.isfinite(other), other, own)
        placed = np.logaddexp(np.log1p(-swapped) + own, np.log(np.maximum(swapped, 1e-9)) + other)
        likely = np.logaddexp(np.log1p(-self.lost) + placed, np.log(self.lost))
        return gain, np.where(known, -likely, 0.0)

    def _exchanged_at(self, sure: Floats) -> Floats:
        """(n, 1 + P) how often sides are exchanged where they are told so surely."""
        columns = zip(self.sure.T, self.exchanged.T, sure.T, strict=True)
        found = [rate[np.searchsorted(known[1:], at, "right")] for known, rate, at in columns]
        return np.stack(found, axis=1)


def _share(mapped: Floats, around: Floats) -> float:
    """0 ... 1 of maps in the mixture that makes labels likeliest: expectation maximization."""
    there = np.isfinite(mapped) & np.isfinite(around)
    if not there.any():
        return 0.0
    one, other, share = mapped[there], around[there], 0.5
    for _ in range(_STEPS):
        share = float(np.mean(share * one / (share * one + (1 - share) * other)))
    return share


def exchanged_sides(gap: Floats) -> tuple[Floats, Floats]:
    """How often a predictor exchanges sides, by how surely it tells them.

    It is the smallest share among the objects it is at least so sure of as of any that are less
    sure: the surer, the rarer.

    Args:
        gap: (N, C) log likelihood of the labelled sides, less that of the others; 0 if unknown.

    Returns:
        sure: (N, C) ascending sizes of the gap.
        share: (N, C) of objects whose sides are exchanged, from there on.
    """
    order = np.argsort(np.abs(gap), axis=0)
    gap = np.take_along_axis(gap, order, axis=0)
    told, turned = (np.cumsum(part[::-1], axis=0)[::-1] for part in (gap != 0, gap < 0))
    return np.abs(gap), np.minimum.accumulate((turned + 1) / (told + 2), axis=0)


def find_errors(labels: Labels, precision: float, seed: int) -> list[Suspicion]:
    """The labels that are probably wrong, most certain first; none of fewer than `FEWEST`.

    Args:
        labels: of at least one object.
        precision: 0 ... 1, the share of suspicions of each kind that is expected to be right.
        seed: of the planted errors.
    """
    count = len(labels.xy)
    if count < FEWEST:
        return []
    own, planted = score_labels(labels, seed)
    best = {kind: own.best(kind) for kind in KINDS}
    found = []
    for kind, scores in best.items():
        # Where another error explains the label better, it is not this one.
        others = np.max([best[other] for other in KINDS if other != kind], axis=0)
        usable = np.isfinite(scores) & ~((others > scores) & (others > 0))
        errors = planted[kind][np.isfinite(planted[kind])]
        if usable.sum() < FEWEST or not len(errors):
            continue
        mixture = Mixture.fit(scores[usable], errors)
        least = threshold(scores[usable], mixture, precision)
        for row in np.flatnonzero(usable & (scores >= least)).tolist():
            concerned, wrong = _concerned(labels, own, kind, row), mixture.wrong(scores[row])
            found.append(Suspicion(row, kind, concerned, float(scores[row]), float(wrong)))
    return sorted(found, key=lambda item: (-item.wrong, -item.score, item.row))


def _concerned(labels: Labels, scores: _Scores, kind: str, row: int) -> tuple[int, ...]:
    if kind == JUMP:
        return (int(scores.jump[row].argmax()),)
    if kind == PAIR_SWAP:
        return labels.pairs[int(scores.pair[row].argmax())]
    there = np.isfinite(labels.xy[row, :, 0])
    return tuple(k for pair in labels.pairs for k in pair if there[k])


def score_labels(labels: Labels, seed: int) -> tuple[_Scores, dict[str, Floats]]:
    """Scores of labels, and of some of them with an error of each kind."""
    xy, count = labels.xy, len(labels.xy)
    random = np.random.default_rng(seed)
    predictors = [Predictor(labels, number) for number in range(len(labels.predicted))]
    fold = random.permutation(count) % _FOLDS
    sample = random.permutation(count)[:PLANTED]
    wrong = {kind: _plant(labels, kind, sample, random) for kind in KINDS}
    own = _Scores(
        np.full(count, -np.inf),
        np.full((count, len(labels.pairs)), -np.inf),
        np.full(xy.shape[:2], -np.inf),
    )
    planted: dict[str, Floats] = {kind: np.full(len(sample), np.nan) for kind in wrong}
    for out in range(_FOLDS):
        usual = PoseDensity.fit(xy[fold != out])
        rows = np.flatnonzero(fold == out)
        told = [it.gains(it.of_labels[:, rows]) for it in predictors]
        found = _score(labels, xy[rows], usual, told)
        own.whole[rows], own.pair[rows], own.jump[rows] = found.whole, found.pair, found.jump
        for kind, altered in wrong.items():
            mine = np.flatnonzero((fold[sample] == out) & np.isfinite(altered).any(axis=(1, 2)))
            if not len(mine):
                continue
            told = [it.gains(it.logs(altered[mine], sample[mine])) for it in predictors]
            found = _score(labels, altered[mine], usual, told)
            planted[kind][mine] = found.best(kind)
    return own, planted


def _score(
    labels: Labels,
    xy: Floats,
    usual: PoseDensity,
    told: Sequence[tuple[Floats, Floats]],
) -> _Scores:
    """Scores of (n, K, 2) places, of which predictors told these gains."""
    there = np.isfinite(xy[..., 0])
    as_is = usual.log_density(xy)
    flip = _flip(xy.shape[1], labels.pairs)
    paired = flip != np.arange(len(flip))
    whole = usual.log_density(xy[:, flip]) - as_is
    pair: Floats = np.full((len(xy), len(labels.pairs)), -np.inf)
    for column, (left, right) in enumerate(labels.pairs):
        both = np.flatnonzero(there[:, left] & there[:, right])
        altered = xy[both]
        altered[:, [left, right]] = altered[:, [right, left]]
        pair[both, column] = usual.log_density(altered) - as_is[both]
    jump = np.where(there, -usual.log_given_others(xy), -np.inf)
    for gain, away in told:
        whole, pair, jump = whole + gain[:, 0], pair + gain[:, 1:], jump + away
    # An object of which one pair is there has no other sides than those of the pair.
    enough = (there & paired).sum(axis=1) > 2
    return _Scores(np.where(enough, whole, -np.inf), pair, jump)


def _plant(
    labels: Labels, kind: str, sample: NDArray[np.int64], random: np.random.Generator
) -> Floats:
    """(n, K, 2) labels with an error each; NaN where one has nothing to alter."""
    altered = labels.xy[sample]
    if kind == WHOLE_SWAP:
        return altered[:, _flip(altered.shape[1], labels.pairs)]
    there = np.isfinite(altered[..., 0])
    for row in range(len(sample)):
        if kind == PAIR_SWAP:
            pairs = [list(pair) for pair in labels.pairs if there[row, list(pair)].all()]
            if not pairs:
                altered[row] = np.nan
                continue
            pair = pairs[random.integers(len(pairs))]
            altered[row, pair] = altered[row, pair[::-1]]
        else:
            distance = _NEAR * (_AFAR / _NEAR) ** random.uniform()
            angle = random.uniform(0, 2 * np.pi)
            step = distance * np.array([np.cos(angle), np.sin(angle)])
            altered[row, random.choice(np.flatnonzero(there[row]))] += step
    return altered


def _flip(count: int, pairs: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """(K,) the keypoint that each becomes when sides are exchanged."""
    flip = np.arange(count)
    for left, right in pairs:
        flip[left], flip[right] = right, left
    return flip


def _apart(one: Floats, other: Floats) -> Floats:
    return np.asarray(np.linalg.norm(one - other, axis=-1))


def _median(values: Floats, axis: int) -> Floats:
    """Median of the known values; NaN where there are none."""
    ordered = np.sort(values, axis=axis)  # NaN last
    count = np.isfinite(values).sum(axis=axis)
    middle = np.expand_dims(np.maximum(count - 1, 0) // 2, axis)
    return np.take_along_axis(ordered, middle, axis).squeeze(axis)
