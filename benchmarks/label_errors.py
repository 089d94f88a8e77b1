"""Which planted label errors `labelkit check` finds, and whether the promised precision holds.

Into the labels of a set go 2 % swaps (every other one of the whole pose), 2 % jumps to a place in
the box, and 2 % slips of 1 to 2 OKS sigmas, an error an object. Then objects are put side by side,
two a picture, and in 2 % of the pictures both exchange a keypoint. Beside `check`: a Gaussian
mixture over distances and angles, its threshold the best in hindsight; and Benjamini-Hochberg on
p-values of an exponential tail. Errors that the sets had before count as false alarms. The data is
not downloaded (see few_shots.py). Predictions that know nothing of the labels come from COCO files,
as `labelkit predict --with mediapipe-pose` writes them, one object an image, and are adapted on the
other folds. With --folds, so do predictions and maps of short trainings on the other folds, errors
included, as `labelkit check --folds` makes them; a row without their maps comes beside.

    python benchmarks/label_errors.py [--set faces] [--predictions lspet=blazepose.json] [--folds 2]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from few_shots import DATA, SETS, FewShots, registered
from machine import machine

from labelkit.domain.adapter import learn_adapter
from labelkit.domain.pose import ABSENT, VISIBLE, human_pose
from labelkit.files.documents import load_json
from labelkit.formats.coco import read_coco
from labelkit.metrics.exchanged_parts import find_exchanges
from labelkit.metrics.label_errors import KINDS, Labels, find_errors, no_maps, score_labels
from labelkit.metrics.table import markdown
from labelkit.progress import Console
from labelkit.workflows.reviewing.folds import train_folds
from labelkit.workflows.reviewing.independent import independent
from labelkit.workflows.reviewing.suspects import frames_of, labels_of
from labelkit.workflows.rounds.settings import TrainingOptions

SHARE, FOLDS, SIGMA = 0.02, 5, 0.08
ERRORS = ("whole swap", "pair swap", "jump", "slip")
#: Of the 68 points of `faces`, which have no names.
FACE_PAIRS = (
    *((k, 16 - k) for k in range(8)),
    *((17 + k, 26 - k) for k in range(5)),
    *((36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46), (31, 35), (32, 34)),
    *((48, 54), (49, 53), (50, 52), (59, 55), (58, 56), (60, 64), (61, 63), (67, 65)),
)


def read(name: str, folder: Path, file: Path | None, most: int) -> tuple[Labels, list[str]]:
    """The labels of a set, at most so many, and the ids of their objects."""
    shots = registered(name, SETS[name], folder / name)
    labels, skeleton = shots.labels, shots.project.skeleton
    ids = [id_ for id_, pose in labels.poses.items() if pose.present.any()][:most]
    instances = [labels.instances[id_] for id_ in ids]
    result = labels_of(skeleton, instances, [labels.poses[id_] for id_ in ids], [])
    if name == "faces":
        result = replace(result, pairs=FACE_PAIRS)
    if file is None:
        return result, ids
    found = {it.image_path: it.pose for it in read_coco(load_json(file), str(file)).annotations}
    there = np.array([instance.image.path in found for instance in instances])
    rows = [found[it.image.path] for it in instances if it.image.path in found]
    frames = frames_of(instances)[there]
    foreign = (np.array([row.xy for row in rows]) - frames[:, None, :2]) / frames[:, None, 2:]
    scores, own = np.array([row.score for row in rows]), result.xy[there]
    adapted, sure = np.full(own.shape, np.nan), np.zeros(own.shape[:2])
    for out in range(FOLDS):
        mine = np.arange(len(rows)) % FOLDS == out
        adapter = learn_adapter(foreign[~mine], own[~mine])
        adapted[mine] = adapter(foreign[mine])
        sure[mine] = scores[mine][:, np.maximum(adapter.start, 0)]
    predicted, confidence = np.full(result.xy.shape, np.nan), np.zeros(result.xy.shape[:2])
    predicted[there], confidence[there] = adapted, sure
    return replace(
        result, predicted=predicted[None], confidence=confidence[None], maps=(no_maps,)
    ), ids


def beside_folds(
    labels: Labels,
    ids: list[str],
    shots: FewShots,
    folds: int,
    options: TrainingOptions,
    files: ExitStack,
) -> Labels:
    """Labels beside what networks of folds say, which learned from the others, errors included."""
    instances = [shots.labels.instances[id_] for id_ in ids]
    poses = {}
    for id_, xy, frame in zip(ids, labels.xy, frames_of(instances), strict=True):
        there = np.isfinite(xy[:, 0])
        visibility = np.where(there, VISIBLE, ABSENT)
        poses[id_] = human_pose(np.nan_to_num(xy * frame[2] + frame[:2]), visibility)
    snapshot = replace(shots.labels, poses=poses, dev=frozenset())
    train_folds(shots.project, snapshot, folds, options, Console())
    heard = independent(shots.project, ids, files)
    ours = labels_of(shots.project.skeleton, instances, list(poses.values()), heard)
    return replace(
        labels,
        predicted=np.concatenate([ours.predicted, labels.predicted]),
        confidence=np.concatenate([ours.confidence, labels.confidence]),
        maps=(*ours.maps, *labels.maps),
    )


def with_errors(labels: Labels, seed: int) -> tuple[Labels, np.ndarray]:
    """Labels with errors, and (N,) the index of each object's in `ERRORS`; -1 without one."""
    random = np.random.default_rng(seed)
    xy, kinds = labels.xy.copy(), np.full(len(labels.xy), -1)
    there = np.isfinite(xy[..., 0])
    order = iter(random.permutation(len(xy)))
    each = round(SHARE * len(xy))
    plan = ["jump", "slip"] * each
    if labels.pairs:
        plan += ["whole swap", "pair swap"] * (each // 2)
    for kind in plan:
        possible: Sequence[tuple[int, int]] = ()
        while True:
            row = next(order)
            possible = [pair for pair in labels.pairs if there[row, list(pair)].all()]
            if possible or "swap" not in kind:
                break
        known = np.flatnonzero(there[row])
        if kind == "whole swap":
            flip = np.arange(xy.shape[1])
            for left, right in labels.pairs:
                flip[[left, right]] = right, left
            xy[row] = xy[row, flip]
        elif kind == "pair swap":
            pair = list(possible[random.integers(len(possible))])
            xy[row, pair] = xy[row, pair[::-1]]
        else:
            k = random.choice(known)
            low, high = xy[row, known].min(axis=0), xy[row, known].max(axis=0)
            area = np.prod(high - low)
            angle, size = random.uniform(0, 2 * np.pi), random.uniform(1, 2) * SIGMA * area**0.5
            step = size * np.array([np.cos(angle), np.sin(angle)])
            xy[row, k] = random.uniform(low, high) if kind == "jump" else xy[row, k] + step
        kinds[row] = ERRORS.index(kind)
    return replace(labels, xy=xy), kinds


def exchanged(labels: Labels, seed: int) -> tuple[Labels, np.ndarray, np.ndarray, np.ndarray]:
    """Objects two by two in one picture, of which some exchange a keypoint.

    Returns:
        labels; (N, 3) middle and long side of each box; (E, 2) rows of each picture; (E,) whether
        the two exchanged a keypoint.
    """
    random = np.random.default_rng(seed)
    pairs = random.permutation(len(labels.xy) // 2 * 2).reshape(-1, 2)
    frames = np.zeros((len(labels.xy), 3))
    frames[:, 2] = 1.0
    frames[pairs[:, 1], 0] = random.uniform(0.3, 0.8, len(pairs))  # side by side
    xy, wrong = labels.xy.copy(), np.zeros(len(pairs), dtype=bool)
    both = np.isfinite(xy[pairs[:, 0], :, 0]) & np.isfinite(xy[pairs[:, 1], :, 0])
    for row in np.flatnonzero(both.any(axis=1))[: round(SHARE * len(pairs))]:
        one, two = pairs[row]
        k = random.choice(np.flatnonzero(both[row]))
        apart = frames[two, :2] - frames[one, :2]
        xy[one, k], xy[two, k] = xy[two, k] + apart, xy[one, k] - apart
        wrong[row] = True
    return replace(labels, xy=xy), frames, pairs, wrong


def usual_features(labels: Labels) -> np.ndarray:
    """(N, F) distances and directions of keypoints from the middle and from the one before."""
    xy = labels.xy - np.nanmean(labels.xy, axis=1, keepdims=True)
    steps = np.concatenate([xy, np.diff(xy, axis=1)], axis=1)
    length = np.linalg.norm(steps, axis=2)
    turned = steps / np.maximum(length, 1e-9)[..., None]
    features = np.concatenate([length, turned.reshape(len(xy), -1)], axis=1)
    mean, spread = np.nanmean(features, axis=0), np.nanstd(features, axis=0)
    return np.nan_to_num((features - mean) / np.maximum(spread, 1e-9))


def oddity(labels: Labels) -> np.ndarray:
    """(N,) how unusual an object is under a Gaussian mixture of the other folds."""
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    features = usual_features(labels)
    odd = np.zeros(len(features))
    for out in range(FOLDS):
        mine = np.arange(len(features)) % FOLDS == out
        parts = min(20, features.shape[1], (~mine).sum())
        shrink = PCA(parts, random_state=0).fit(features[~mine])
        mixture = GaussianMixture(3, reg_covar=1e-3, random_state=0)
        mixture.fit(shrink.transform(features[~mine]))
        left = features[mine] - shrink.inverse_transform(shrink.transform(features[mine]))
        odd[mine] = -mixture.score_samples(shrink.transform(features[mine]))
        odd[mine] += (left**2).sum(axis=1) / 2
    return odd


def best_in_hindsight(scores: np.ndarray, wrong: np.ndarray, precision: float) -> np.ndarray:
    """(N,) what is flagged at the lowest threshold whose precision is what was asked for."""
    order = np.argsort(-scores)
    reached = np.flatnonzero(np.cumsum(wrong[order]) / np.arange(1, len(order) + 1) >= precision)
    flagged = np.zeros(len(scores), dtype=bool)
    flagged[order[: reached[-1] + 1 if len(reached) else 0]] = True
    return flagged


def benjamini_hochberg(scores: np.ndarray, precision: float) -> np.ndarray:
    """(N,) what is flagged if right labels have an exponential tail beyond 70 %, up to 95 %."""
    usable = np.isfinite(scores)
    if usable.sum() < FOLDS:
        return np.zeros(len(scores), dtype=bool)
    low, high = np.quantile(scores[usable], (0.7, 0.95))
    slope = np.log(0.3 / 0.05) / max(high - low, 1e-9)
    p = np.where(usable, np.minimum(0.3 * np.exp(-slope * np.clip(scores - low, 0, None)), 1), 1)
    order = np.argsort(p)
    good = np.flatnonzero(p[order] <= (1 - precision) * np.arange(1, len(p) + 1) / len(p))
    flagged = np.zeros(len(scores), dtype=bool)
    flagged[order[: good[-1] + 1 if len(good) else 0]] = True
    return flagged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("scratch/few_shots"))
    parser.add_argument("--set", action="append", choices=SETS, help="default: all")
    parser.add_argument("--predictions", action="append", default=[], metavar="SET=FILE")
    parser.add_argument("--objects", type=int, default=1000)
    parser.add_argument("--precision", type=float, default=0.8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folds", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=12, help="of a fold")
    parser.add_argument("--input-size", default="96", help="of a fold's crops")
    given = parser.parse_args()
    print(f"{machine()}\n")
    size, epochs = given.input_size, given.epochs
    short = TrainingOptions("tiny", epochs=epochs, pretrained=True, input_size=size)
    predictions = dict(text.split("=", 1) for text in given.predictions)
    rows, pictures = [], []
    for name in given.set or SETS:
        if not (DATA / SETS[name].images).is_dir():
            print(f"Left out: {name} is not in {DATA}. Set LABELKIT_DATA.")
            continue
        file = Path(predictions[name]) if name in predictions else None
        clean, ids = read(name, given.folder, file, given.objects)
        title = f"{name}, {len(clean.xy)}" + (f", {file.stem}" if file else "")
        counts: dict[str, np.ndarray] = {}
        for seed in range(given.seeds):
            labels, kinds = with_errors(clean, seed)
            ways: dict[str, np.ndarray] = {}
            promised: dict[str, list[float]] = {}
            with ExitStack() as files:
                heard = {"check": labels}
                if given.folds:
                    shots = registered(name, SETS[name], given.folder / f"{name}-folds-{seed}")
                    both = beside_folds(labels, ids, shots, given.folds, short, files)
                    points = replace(both, maps=(no_maps,) * len(both.maps))
                    heard |= {"check, folds": points, "check, folds with maps": both}
                for way, seen in heard.items():
                    found = find_errors(seen, given.precision, seed)
                    of = {way: found} | {
                        f"{way}, {kind}": [it for it in found if it.kind == kind] for kind in KINDS
                    }
                    for part, items in of.items():
                        promised[part] = [item.wrong for item in items]
                        ways[part] = np.isin(np.arange(len(kinds)), [it.row for it in items])
            own, _ = score_labels(labels, seed)
            ways["exponential tail, BH"] = np.any(
                [benjamini_hochberg(own.best(k), given.precision) for k in KINDS], axis=0
            )
            odd = best_in_hindsight(oddity(labels), kinds >= 0, given.precision)
            ways["Gaussian mixture, hindsight"] = odd
            for way, chosen in ways.items():
                row = [chosen.sum(), (chosen & (kinds >= 0)).sum(), sum(promised.get(way, []))]
                for error in range(len(ERRORS)):
                    row += [(chosen & (kinds == error)).sum(), (kinds == error).sum()]
                counts[way] = counts.get(way, 0) + np.array(row, dtype=float)
        rows += [(title, way, *cells(row, way)) for way, row in counts.items()]
        pictures += exchange_rows(title, clean, given.precision, given.seeds)
    head = ("set, objects", "way", *ERRORS, "flagged", "precision", "promised")
    print(markdown((head, *rows)))
    head = ("two in a picture", "way", "exchanged", "flagged", "precision", "promised")
    print("\n" + markdown((head, *pictures)))


def exchange_rows(title: str, clean: Labels, precision: float, seeds: int) -> list[tuple[str, ...]]:
    """Pictures of two that exchanged a keypoint: how many are found, and what else is flagged."""
    counts = {"check": np.zeros(4), "Gaussian mixture, hindsight": np.zeros(4)}
    for seed in range(seeds):
        labels, frames, pairs, wrong = exchanged(clean, seed)
        found = find_exchanges(labels, frames, pairs, precision, seed)
        rows = {item.rows for item in found}
        flagged = np.array([tuple(pair) in rows for pair in pairs.tolist()])
        odd = best_in_hindsight(oddity(labels)[pairs].max(axis=1), wrong, precision)
        promised = sum(item.wrong for item in found)
        for row, chosen in zip(counts.values(), (flagged, odd), strict=True):
            row += chosen.sum(), (chosen & wrong).sum(), promised, wrong.sum()
    return [
        (title, way, *cells(row[[0, 1, 2, 1, 3]], way))  # of one kind of error
        for way, row in counts.items()
    ]


def cells(row: np.ndarray, way: str) -> tuple[str, ...]:
    """Recall of each error, objects flagged, and precision, measured and promised."""
    found = [
        f"{hit:.0f}/{of:.0f}" if of else "-" for hit, of in zip(row[3::2], row[4::2], strict=True)
    ]
    share = [f"{part / row[0]:.2f}" if row[0] else "-" for part in row[1:3]]
    return (*found, f"{row[0]:.0f}", share[0], share[1] if way.startswith("check") else "-")


if __name__ == "__main__":
    main()
