"""People of a COCO keypoints file as official scores need them: COCO, CrowdPose, LSPET."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from labelkit.domain.skeleton import Skeleton
from labelkit.errors import FormatError
from labelkit.formats.coco import numbers, tables
from labelkit.metrics.official.people import People

_OTHER_KEYPOINTS = (
    "Give the data set's own file. Any other keypoints are scored by: --metric oks, with sigmas "
    "from --skeleton FILE.toml"
)


def read_people(
    document: Mapping[str, Any],
    origin: str,
    skeleton: Skeleton,
    *,
    needs: Collection[str] = (),
) -> People:
    """Read a parsed COCO keypoints file as the truth for a score.

    Args:
        document: the parsed JSON: `images`, `annotations`, `categories`; CrowdPose's images
            carry `crowdIndex`.
        origin: name of the file, for messages.
        skeleton: of the data set; keypoint names in the file must agree with it. All categories
            that have them are scored.
        needs: any of "area" (which every annotation must have) and "crowdIndex" (every image).

    Raises:
        FormatError: on the first item that lacks something or contradicts itself.
    """
    images, categories, rows = tables(document, origin)
    category_ids = _categories(categories, origin, skeleton)
    category = {key: index for index, key in enumerate(category_ids)}
    rows = [(row, item) for row, item in rows if row["category_id"] in category]
    if len({type(key) for key in images.paths}) > 1:
        raise FormatError(
            f"{origin}: some image ids are numbers, others are text.", "Write all of them alike."
        )
    image_ids = tuple(sorted(images.paths))
    place = {key: index for index, key in enumerate(image_ids)}
    crowd_index = np.full(len(image_ids), np.nan)
    for entry in document["images"]:
        if "crowdIndex" in needs or entry.get("crowdIndex") is not None:
            crowd_index[place[entry["id"]]] = _crowd_index(entry, origin)
    keypoints = [_keypoints(row, len(skeleton), item) for row, item in rows]
    return People(
        image_ids=image_ids,
        crowd_index=crowd_index,
        category_ids=category_ids,
        category=np.array([category[row["category_id"]] for row, _ in rows], dtype=np.int64),
        image=np.array([place[row["image_id"]] for row, _ in rows], dtype=np.int64),
        keypoints=np.array(keypoints).reshape(-1, len(skeleton), 3),
        labelled=np.array(
            [_labelled(row, xyv, item) for (row, item), xyv in zip(rows, keypoints, strict=True)],
            dtype=np.int64,
        ),
        box_xywh=np.array([_box(row, item) for row, item in rows]).reshape(-1, 4),
        area=np.array([_area(row, item, "area" in needs) for row, item in rows]),
        crowd=np.array([bool(row.get("iscrowd", 0)) for row, _ in rows], dtype=bool),
    )


def _categories(
    categories: Mapping[Any, Mapping[str, Any]], origin: str, skeleton: Skeleton
) -> tuple[int | str, ...]:
    """Ids of the categories with names of keypoints, or of all where none has them."""
    chosen = [key for key, category in categories.items() if category.get("keypoints")]
    for key in chosen:
        found = categories[key]["keypoints"]
        if not isinstance(found, list):
            raise FormatError(
                f"{origin}: keypoints of the category must be a list of names, not {found!r}.",
                "Give the data set's own file.",
            )
        if found != list(skeleton.keypoints):
            raise FormatError(
                f"{origin} has the keypoints {', '.join(map(str, found))}; this metric scores only "
                f"those of {skeleton.name}, in its order: {', '.join(skeleton.keypoints)}.",
                _OTHER_KEYPOINTS,
            )
    return tuple(chosen or categories)


def _crowd_index(entry: Mapping[str, Any], origin: str) -> float:
    item = f"{origin}: image {entry['id']}"
    if entry.get("crowdIndex") is None:
        raise FormatError(
            f"{item} has no crowdIndex.",
            "Give one of CrowdPose's own files, which have one for each image.",
        )
    value = numbers([entry["crowdIndex"]], "crowdIndex", item, "Correct it.")[0]
    if value < 0:
        raise FormatError(f"{item} has the negative crowdIndex {value}.", "Correct it.")
    return value


def _keypoints(row: Mapping[str, Any], count: int, item: str) -> np.ndarray:
    """(K, 3) x, y, v."""
    if row.get("keypoints") is None:
        return np.zeros((count, 3))
    values = numbers(row["keypoints"], "keypoints", item)
    if len(values) != 3 * count:
        raise FormatError(
            f"{item} has {len(values)} keypoint numbers; {count} keypoints need {3 * count}.",
            _OTHER_KEYPOINTS,
        )
    return np.array(values).reshape(count, 3)


def _labelled(row: Mapping[str, Any], keypoints: np.ndarray, item: str) -> int:
    """The file's own count: CrowdPose's differs from its keypoints, and its code uses it."""
    if row.get("num_keypoints") is None:
        return int((keypoints[:, 2] > 0).sum())
    (count,) = numbers([row["num_keypoints"]], "num_keypoints", item, "Correct it.")
    if count < 0 or count != int(count):
        raise FormatError(f"{item} has {count:g} labelled keypoints.", "Correct num_keypoints.")
    return int(count)


def _box(row: Mapping[str, Any], item: str) -> list[float]:
    if row.get("bbox") is None:
        raise FormatError(f"{item} has no bbox.", "Give every annotation its box.")
    values = numbers(row["bbox"], "bbox", item, "Correct or remove the annotation.")
    if len(values) != 4:
        raise FormatError(
            f"{item}: bbox expects left, top, width, height, not {values}.",
            "Correct these four numbers, or remove the annotation.",
        )
    return values


def _area(row: Mapping[str, Any], item: str, needed: bool) -> float:
    if row.get("area") is None:
        if needed:
            raise FormatError(
                f"{item} has no area.",
                "Give each annotation the area of its segment in square pixels: COCO scores by it.",
            )
        return float("nan")
    return numbers([row["area"]], "area", item, "Correct it.")[0]
