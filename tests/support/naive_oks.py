"""OKS AP and AR in plain loops, written from the definition, to check the real ones against."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

# Spaced as in the official code: some levels are a rounding error above n / 100, out of reach of
# a recall of exactly n / 100.
THRESHOLDS = np.linspace(0.5, 0.95, 10).tolist()
LEVELS = np.linspace(0.0, 1.0, 101).tolist()


def similarity(person: dict[str, Any], found: dict[str, Any], sigmas, area: float) -> float:
    """OKS; without labelled keypoints, how close the result is to twice the person's box."""
    truth, places = person["keypoints"], found["keypoints"]
    terms = []
    labelled = [k for k in range(len(sigmas)) if truth[3 * k + 2] > 0]
    left, top, width, height = person["bbox"]
    for k in labelled or range(len(sigmas)):
        x, y = places[3 * k], places[3 * k + 1]
        if labelled:
            dx, dy = x - truth[3 * k], y - truth[3 * k + 1]
        else:
            dx = max(0.0, left - width - x) + max(0.0, x - (left + 2 * width))
            dy = max(0.0, top - height - y) + max(0.0, y - (top + 2 * height))
        terms.append(math.exp(-(dx**2 + dy**2) / (2 * area * (2 * sigmas[k]) ** 2)))
    return sum(terms) / len(terms)


def matches(people, found, sigmas, area_of, threshold: float) -> list[tuple[float, str]]:
    """The score of each result in an image, and whether it is "right", "wrong" or "ignored"."""
    ranked = sorted(found, key=lambda row: -row["score"])[:20]
    free = list(range(len(people)))
    outcome = []
    for row in ranked:
        kind = "wrong"
        for ignored in (False, True):
            best, choice = min(threshold, 1 - 1e-10), None
            for index in free:
                person = people[index]
                if bool(person["iscrowd"] or not person["num_keypoints"]) != ignored:
                    continue
                value = similarity(person, row, sigmas, area_of(person))
                if value >= best:
                    best, choice = value, index
            if choice is not None:
                kind = "ignored" if ignored else "right"
                if not people[choice]["iscrowd"]:
                    free.remove(choice)
                break
        outcome.append((row["score"], kind))
    return outcome


def ap_and_ar(document, results, sigmas, area_of, image_ids=None):
    """[AP, AP50, AP75, AR, AR50, AR75] of some images; NaN where there are no people."""
    keys = sorted(image["id"] for image in document["images"])
    keys = [key for key in keys if image_ids is None or key in image_ids]
    by_image = {
        key: (
            [row for row in document["annotations"] if row["image_id"] == key],
            [row for row in results if row["image_id"] == key],
        )
        for key in keys
    }
    expected = sum(
        bool(person["num_keypoints"] and not person["iscrowd"])
        for people, _ in by_image.values()
        for person in people
    )
    if not expected:
        return [math.nan] * 6
    precisions, recalls = [], []
    for threshold in THRESHOLDS:
        pooled = []
        for people, found in by_image.values():
            pooled += matches(people, found, sigmas, area_of, threshold)
        pooled = sorted(pooled, key=lambda item: -item[0])
        right = wrong = 0
        curve = []
        for _, kind in pooled:
            right += kind == "right"
            wrong += kind == "wrong"
            curve.append((right / expected, right / (right + wrong) if right + wrong else 0.0))
        at_levels = [max((p for r, p in curve if r >= level), default=0.0) for level in LEVELS]
        precisions.append(sum(at_levels) / 101)
        recalls.append(right / expected)
    return [
        *(sum(precisions) / 10, precisions[0], precisions[5]),
        *(sum(recalls) / 10, recalls[0], recalls[5]),
    ]
