"""Instances as FiftyOne samples, and back: pure conversion.

Samples are built as the documents that FiftyOne stores. Its own objects take more than ten times
as long to make, check and write. A test compares both.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelkit.domain.geometry import apply_affine, invert_affine
from labelkit.domain.instance import Image
from labelkit.domain.pose import ABSENT, VISIBLE, Pose, human_pose
from labelkit.domain.skeleton import Skeleton
from labelkit.metrics.findings import ReviewItem
from labelkit.project.response_pictures import CAM, HEATMAP, KINDS, RESPONSE

BOXES, HUMAN = "boxes", "human"

#: Tags that labelkit sets and removes. All others belong to the user.
STATE_TAGS = frozenset({"labelled", "queued", "dev", "control", "suspicious"})

#: Tags for the user's choices; `labelkit queue --from-review` reads them.
LABEL_NEXT, EXCLUDE = "label-next", "exclude"

#: Slices of a group: the crop of an instance, and its image.
CROP_SLICE, IMAGE_SLICE = "instance", "image"

_PREFIX = {RESPONSE: "map", HEATMAP: "heatmap", CAM: "cam"}

Floats = NDArray[np.float64]
#: (kind, keypoint index, id of an instance or image) -> address of its map; None without one.
MapUrl = Callable[[str, int, str], str | None]


@dataclass(frozen=True, slots=True)
class Picture:
    """The picture of a sample.

    Attributes:
        path: of its file.
        size_wh: in its pixels.
        frame: (6,) affine map from image pixels to shares (0..1) of this picture's width and
            height, row by row.
    """

    path: str
    size_wh: tuple[int, int]
    frame: tuple[float, ...]


def whole_picture(image: Image, path: str) -> Picture:
    """A whole image as the picture of a sample."""
    frame = (1 / image.width, 0.0, 0.0, 0.0, 1 / image.height, 0.0)
    return Picture(path, (image.width, image.height), frame)


def round_field(number: int) -> str:
    """Name of the field that holds a round's predictions."""
    return f"round_{number:03d}"


def map_fields(skeleton: Skeleton, kind: str) -> tuple[str, ...]:
    """K different field names that FiftyOne accepts.

    Args:
        skeleton: of the project.
        kind: of maps, see `KINDS`.
    """
    names: list[str] = []
    for index, keypoint in enumerate(skeleton.keypoints):
        plain = re.sub(r"[^a-z0-9]+", "_", keypoint.lower()).strip("_")
        name = f"{_PREFIX[kind]}_{plain or index}"
        names.append(f"{name}_{index}" if name in names else name)
    return tuple(names)


def image_document(
    image: Image,
    path: str,
    items: Sequence[ReviewItem],
    skeleton: Skeleton,
    map_url: MapUrl | None,
) -> dict[str, Any]:
    """A sample of a whole image with all its instances.

    Args:
        image: of all instances.
        path: of the image's file.
        items: the instances.
        skeleton: of the project.
        map_url: addresses of the maps; None leaves them out.
    """
    return _document(image.id, whole_picture(image, path), items, skeleton, image.id, map_url)


def crop_documents(
    item: ReviewItem, crop: Picture, path: str, skeleton: Skeleton, map_url: MapUrl | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A group of two samples: an instance's crop with its own maps, and its image.

    Args:
        item: the instance.
        crop: its picture.
        path: of the image's file.
        skeleton: of the project.
        map_url: addresses of the maps; None leaves them out.
    """
    instance = item.instance
    whole = whole_picture(instance.image, path)
    close = _document(instance.id, crop, [item], skeleton, instance.id, map_url)
    far = _document(f"{instance.id}:image", whole, [item], skeleton, instance.image.id, map_url)
    for document, name in ((close, CROP_SLICE), (far, IMAGE_SLICE)):
        document["group"] = {
            "_id": _object_id("group", instance.id),
            "_cls": "Group",
            "name": name,
        }
    return close, far


def _document(
    key: str,
    picture: Picture,
    items: Sequence[ReviewItem],
    skeleton: Skeleton,
    map_id: str,
    map_url: MapUrl | None,
) -> dict[str, Any]:
    findings = [item.finding for item in items]

    def worst(name: str, choose: Callable[[list[float]], float] = max) -> float | None:
        values = [v for finding in findings if (v := getattr(finding, name)) is not None]
        return choose(values) if values else None

    def every(name: str) -> list[str]:
        return list(dict.fromkeys(v for finding in findings for v in getattr(finding, name)))

    document: dict[str, Any] = {
        "labelkit_id": key,
        "labelkit_frame": list(picture.frame),
        "filepath": picture.path,
        "_media_type": "image",
        "_rand": int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) / 2**32,
        "metadata": {
            "_cls": "ImageMetadata",
            "width": picture.size_wh[0],
            "height": picture.size_wh[1],
        },
        "tags": list(dict.fromkeys(tag for item in items for tag in item.tags)),
        "instances": len(items),
        "uncertainty": worst("uncertainty"),
        "error": worst("error"),
        "oks": worst("oks", min),
        "correction": worst("correction"),
        "doubt": np.max([finding.doubt for finding in findings], axis=0).tolist(),
        "swaps": every("swaps"),
        "map_disagrees": every("map_disagrees"),
        "not_found": every("not_found"),
        "answered_absent": every("answered_absent"),
        "suspicions": list(dict.fromkeys(text for item in items for text in item.suspicions)),
        "annotators": list(
            dict.fromkeys(who for finding in findings for who in finding.work.annotators)
        ),
        BOXES: {
            "_cls": "Detections",
            "detections": [_detection(item, picture, skeleton) for item in items],
        },
        HUMAN: _keypoints(
            HUMAN, [(i, i.human, None) for i in items if i.human is not None], picture, skeleton
        ),
    }
    for name in dict.fromkeys(name for item in items for name in item.predictions):
        rows = [(i, i.shown[name], i.predictions[name].presence) for i in items if name in i.shown]
        document[name] = _keypoints(name, rows, picture, skeleton)
    if map_url is not None:
        for kind in KINDS:
            for index, name in enumerate(map_fields(skeleton, kind)):
                address = map_url(kind, index, map_id)
                document[name] = address and {
                    "_id": _object_id(name, key),
                    "_cls": "Heatmap",
                    "tags": [],
                    "map_path": address,
                }
    return document


def _detection(item: ReviewItem, picture: Picture, skeleton: Skeleton) -> dict[str, Any]:
    box = item.instance.box
    corners = np.array([(box.x, box.y), (box.x + box.w, box.y + box.h)])
    (left, top), (right, bottom) = apply_affine(picture.frame, corners)
    detection: dict[str, Any] = {
        "_id": _object_id(BOXES, item.instance.id),
        "_cls": "Detection",
        "attributes": {},
        "tags": [],
        "label": item.instance.category or "object",
        "bounding_box": [left, top, right - left, bottom - top],
        "labelkit_id": item.instance.id,
        "box_source": item.instance.box_source,
        "instance": _link(item),
    }
    if item.answer is not None:
        for field, code in (("can_be_seen", 1), ("cannot_be_seen", 0)):
            detection[field] = [skeleton.keypoints[k] for k in np.flatnonzero(item.answer == code)]
    return detection


def _keypoints(
    name: str,
    rows: Sequence[tuple[ReviewItem, Pose, Floats | None]],
    picture: Picture,
    skeleton: Skeleton,
) -> dict[str, Any]:
    labels = []
    for item, pose, presence in rows:
        points = written_points(pose, picture.frame)
        visibility = pose.visibility.tolist()
        label: dict[str, Any] = {
            "_id": _object_id(name, item.instance.id),
            "_cls": "Keypoint",
            "attributes": {},
            "tags": [],
            "label": skeleton.name,
            "points": points,
            "confidence": pose.score.tolist(),
            "visibility": visibility,
            "labelkit_id": item.instance.id,
            "written": digest(points, visibility),
            "instance": _link(item),
        }
        if presence is not None:
            label["presence"] = presence.tolist()
        labels.append(label)
    return {"_cls": "Keypoints", "keypoints": labels}


def written_points(pose: Pose, frame: Sequence[float]) -> list[list[float]]:
    """K places as shares (0..1) of a picture; NaN for absent keypoints.

    Args:
        pose: in image pixels.
        frame: of the picture.
    """
    placed = np.where(pose.present[:, None], pose.xy, np.nan)
    points: list[list[float]] = apply_affine(frame, placed).tolist()
    return points


def edited_pose(
    points: Sequence[Sequence[float]],
    visibility: Sequence[int],
    frame: Sequence[float],
    before: Pose | None,
) -> tuple[Pose, tuple[str, ...]]:
    """A pose that a person edited in FiftyOne, in image pixels, and what happened to each keypoint.

    A point without a place is absent, or unknown if it was before. Untouched points come back to
    the last bit.

    Args:
        points: K places as shares of the sample's picture; NaN or None if absent.
        visibility: K codes, as written; a point that got a place is visible.
        frame: of the picture.
        before: the pose that was shown; None if unknown.

    Returns:
        the pose, and K of "untouched", "changed", "new", "removed" or "" (absent before and after).
    """
    shares = np.array([[_number(x), _number(y)] for x, y in points])
    placed = np.isfinite(shares).all(axis=1)
    xy = apply_affine(invert_affine(frame), shares)
    shown = np.asarray(visibility)
    # A keypoint that was unknown and got no place is unknown still.
    codes = np.where(placed, np.where(shown > ABSENT, shown, VISIBLE), np.minimum(shown, ABSENT))
    origins = ["new" if there else "" for there in placed]
    if before is not None:
        written = np.asarray(written_points(before, frame))
        for k, there in enumerate(placed):
            if before.present[k] and not there:
                origins[k] = "removed"
            elif before.present[k]:
                same = bool((shares[k] == written[k]).all())
                origins[k] = "untouched" if same else "changed"
                xy[k] = before.xy[k] if same else xy[k]
    return human_pose(np.where(placed[:, None], xy, 0.0), codes), tuple(origins)


def digest(points: Sequence[Sequence[float]], visibility: Sequence[int]) -> str:
    """A digest that changes when the points or their visibility are edited."""
    plain = [[_plain(x), _plain(y)] for x, y in points]
    return hashlib.sha256(json.dumps([plain, list(visibility)]).encode()).hexdigest()[:16]


def _plain(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _link(item: ReviewItem) -> dict[str, Any]:
    """The link by which the App joins the box and the keypoints of one instance."""
    return {"_id": _object_id("instance", item.instance.id), "_cls": "Instance"}


def _object_id(purpose: str, id_: str) -> Any:
    """The same id in every run, so that selections and tags in the App survive."""
    from bson import ObjectId

    return ObjectId(hashlib.sha256(f"{purpose}:{id_}".encode()).digest()[:12])
