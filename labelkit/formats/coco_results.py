"""COCO results: a list of predicted people, which COCO and CrowdPose evaluate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from labelkit.domain.text import named
from labelkit.errors import FormatError
from labelkit.formats.coco import numbers
from labelkit.metrics.official.people import Ints, People, Results

_LAYOUT = (
    "COCO results are a list of {image_id, category_id, keypoints: [x, y, score of the joint, "
    "...], score}."
)
_ADVICE = "Write a finite number; every keypoint of a result needs a location and a score."
_NO_SCALE = "Write both, or leave scale out."

#: The unit of `scale` in the results of HRNet and its relatives, in pixels.
_SCALE_PX = 200.0


def read_results(document: Any, origin: str, people: People) -> Results:
    """Read parsed COCO results.

    Boxes are optional, for all results or none. The area of the crop comes from `area`, or the
    `scale` that HRNet writes, or else the box.

    Args:
        document: the parsed JSON; the list is empty if the method found no people.
        origin: name of the file, for messages.
        people: the truth.

    Raises:
        FormatError: on the first result that lacks something or belongs to no image.
    """
    if not isinstance(document, list):
        kind = "an object" if isinstance(document, Mapping) else repr(document)[:40]
        raise FormatError(f"{origin} is not a results file: it holds {kind}, not a list.", _LAYOUT)
    count = people.keypoints.shape[1]
    places = {key: index for index, key in enumerate(people.image_ids)}
    categories = {key: index for index, key in enumerate(people.category_ids)}
    image, category, keypoints, scores, areas, crops = [], [], [], [], [], []
    boxed = 0
    for number, row in enumerate(document, start=1):
        item = f"{origin}: result {number}"
        if not isinstance(row, Mapping):
            raise FormatError(f"{item} is {str(row)[:40]!r}, not an object.", _LAYOUT)
        image.append(_image(row, item, places))
        key = row.get("category_id")
        if isinstance(key, bool | list | dict) or key not in categories:
            raise FormatError(
                f"{item} has the category_id {key!r}; people in the truth have "
                f"{named([repr(known) for known in categories])}.",
                "Write the category_id of the truth, and leave out the results of other "
                "categories.",
            )
        category.append(categories[key])
        xys = _keypoints(row, count, item)
        keypoints.append(xys)
        if row.get("score") is None:
            raise FormatError(f"{item} has no score.", "Give each result a score: AP sorts by it.")
        scores += numbers([row["score"]], "score", item, _ADVICE)
        boxed += bool(row.get("bbox"))
        width, height = _box_wh(row, item) if row.get("bbox") else np.ptp(xys[:, :2], axis=0)
        areas.append(float(width * height))
        crops.append(_crop_area(row, item, areas[-1]))
    if 0 < boxed < len(document):
        raise FormatError(
            f"{origin}: {boxed} of {len(document)} results have a bbox.",
            "Give all of them a bbox, or none.",
        )
    return Results(
        image=np.array(image, dtype=np.int64),
        category=np.array(category, dtype=np.int64),
        keypoints=np.array(keypoints).reshape(-1, count, 3),
        score=np.array(scores),
        area=np.array(areas),
        crop_area=np.array(crops),
    )


def check_joint_scores(results: Results, origin: str) -> None:
    """Make sure that the third number of each keypoint is a score, not a visibility.

    Args:
        results: the result of `read_results`.
        origin: name of the results file, for messages.

    Raises:
        FormatError: if each of them is 0, 1 or 2.
    """
    if len(results) and np.isin(results.keypoints[..., 2], (0, 1, 2)).all():
        raise FormatError(
            f"{origin} has no joint scores: the third number of each keypoint is 0, 1 or 2.",
            "Write the score of each joint there, or leave --rescore out.",
        )


def one_result_each(people: People, results: Results, origin: str) -> tuple[Ints, Ints]:
    """Pair each labelled person with the only result of the same image, as PCK needs.

    Args:
        people: the truth, with at most one labelled person in an image.
        results: the result of `read_results`.
        origin: name of the results file, for messages.

    Returns:
        (P,) indices of the labelled people, and (P,) indices of their results.

    Raises:
        FormatError: if an image has several of either, or a labelled person has no result.
    """
    found: dict[int, int] = {}
    for place, image in enumerate(results.image.tolist()):
        if found.setdefault(image, place) != place:
            raise FormatError(
                f"{origin}: results {found[image] + 1} and {place + 1} are both for image "
                f"{people.image_ids[image]!r}.",
                "Keep one result for each image: PCK compares one pose with one person.",
            )
    labelled = np.flatnonzero(people.counted)
    images = people.image[labelled].tolist()
    for image, persons in Counter(images).items():
        name = repr(people.image_ids[image])
        if persons > 1:
            raise FormatError(
                f"The truth has several people in image {name}.",
                "PCK compares one pose with one person: cut the image around each.",
            )
        if image not in found:
            raise FormatError(
                f"{origin} has no result for image {name}.",
                "Predict every image that has a labelled person.",
            )
    return labelled, np.array([found[image] for image in images], dtype=np.int64)


def _image(row: Mapping[str, Any], item: str, places: Mapping[Any, int]) -> int:
    if "image_id" not in row:
        raise FormatError(f"{item} has no image_id.", _LAYOUT)
    key = row["image_id"]
    if isinstance(key, bool | list | dict) or key not in places:
        raise FormatError(
            f"{item} is for image {key!r}, which the truth does not list.",
            "Give the truth of the images that were predicted, and write ids the same way: 1 is "
            'not "1".',
        )
    return places[key]


def _keypoints(row: Mapping[str, Any], count: int, item: str) -> np.ndarray:
    """(K, 3) x, y, score of the joint."""
    if row.get("keypoints") is None:
        raise FormatError(f"{item} has no keypoints.", _LAYOUT)
    values = numbers(row["keypoints"], "keypoints", item, _ADVICE)
    if len(values) != 3 * count:
        raise FormatError(
            f"{item} has {len(values)} keypoint numbers; {count} keypoints need {3 * count}.",
            "Write x, y and score for each keypoint, in the order of the data set.",
        )
    return np.array(values).reshape(count, 3)


def _box_wh(row: Mapping[str, Any], item: str) -> tuple[float, float]:
    values = numbers(row["bbox"], "bbox", item, _ADVICE)
    if len(values) != 4:
        raise FormatError(
            f"{item}: bbox expects left, top, width, height, not {values}.",
            "Write these four numbers, or leave bbox out of all results.",
        )
    return values[2], values[3]


def _crop_area(row: Mapping[str, Any], item: str, otherwise: float) -> float:
    if row.get("area") is not None:
        return numbers([row["area"]], "area", item, _ADVICE)[0]
    if row.get("scale") is not None:
        scale = numbers(row["scale"], "scale", item, _ADVICE)
        if len(scale) != 2:
            raise FormatError(
                f"{item}: scale expects two numbers, in units of {_SCALE_PX:g} pixels.", _NO_SCALE
            )
        return scale[0] * scale[1] * _SCALE_PX**2
    return otherwise
