"""CVAT's own format for images (version 1.1): skeletons in an XML file."""

from __future__ import annotations

import html
import json
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from itertools import count
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from labelkit.domain.annotation import Annotation, image_path_from
from labelkit.domain.instance import Box, Instance, category_names
from labelkit.domain.pose import ABSENT, OCCLUDED, VISIBLE, Pose, human_pose
from labelkit.domain.skeleton import Skeleton
from labelkit.domain.text import named
from labelkit.errors import FormatError
from labelkit.formats.coco_categories import skeleton_from_category
from labelkit.formats.folder_export import FolderExport

#: Attributes of a skeleton in CVAT: which object it is, its box, and who it is.
ID, BOX, INDIVIDUAL = "labelkit_id", "box", "individual"

#: How an XML file of CVAT begins.
START = re.compile(r"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<annotations\b", re.DOTALL)

#: Files of an export: annotations, and the labels that their task needs.
FILE, LABELS = "annotations.xml", "labels.json"

#: The comment that marks a file of ours.
HEADING = "Written by labelkit export."
_AS_IMAGES = "In CVAT, export the task as CVAT for images 1.1."


class CvatLabels(NamedTuple):
    """What an XML file of CVAT holds.

    Attributes:
        skeleton: of its labels, all their keypoints in their order.
        annotations: objects, in pixels of `image_sizes`.
        image_paths: every image of the task, with objects or without.
        image_sizes: (width, height) by path.
        notes: what was left out, a sentence each.
    """

    skeleton: Skeleton
    annotations: list[Annotation]
    image_paths: tuple[str, ...]
    image_sizes: dict[str, tuple[int, int]]
    notes: tuple[str, ...]


def read_cvat(text: str, origin: str) -> CvatLabels:
    """Read the skeletons of a CVAT task.

    A point that is outside is absent, one that is occluded is occluded. A skeleton's box is its
    attribute "box" or the rectangle of its group.

    Args:
        text: content of the file.
        origin: name of the file, for messages.

    Raises:
        FormatError: if it is damaged, of a video, or without skeletons.
        SkeletonError: if its labels make no skeleton.
    """
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise FormatError(f"{origin} is damaged: {error}.", "Export it from CVAT again.") from error
    if root.find("track") is not None:
        raise FormatError(
            f"{origin} is of a video: it counts frames and does not name images.", _AS_IMAGES
        )
    images = root.findall("image")
    found = [(image, item) for image in images for item in image.findall("skeleton")]
    keypoints = _keypoints(root, [item for _, item in found])
    if not keypoints:
        raise FormatError(
            f"{origin} has no skeletons.",
            "In CVAT, label keypoints as points of a skeleton. For boxes alone, export the task as "
            "COCO: --boxes FILE",
        )
    category = {"name": _first_label(root, found), "keypoints": keypoints, "skeleton": _links(root)}
    skeleton, notes = skeleton_from_category(category, origin)
    left_out = Counter(
        each.tag for image in images for each in image if each.tag not in ("skeleton", "box")
    )
    if left_out:
        what = named([f"{number} x {tag}" for tag, number in left_out.most_common()])
        notes.append(f"{origin}: left out what is not of a skeleton: {what}.")
    numbers = count(1)
    annotations = [
        _annotation(image, item, skeleton, f"{origin}: skeleton {number}", str(number))
        for (image, item), number in zip(found, numbers, strict=False)
    ]
    return CvatLabels(
        skeleton,
        annotations,
        tuple(_path(image, origin) for image in images),
        {_path(image, origin): _size(image) for image in images},
        tuple(notes),
    )


def write_cvat(items: Sequence[tuple[Instance, Pose]], skeleton: Skeleton) -> FolderExport:
    """Annotations to upload to a CVAT task as *CVAT 1.1*, and the labels to make that task with.

    Keypoints that are absent or unknown are outside. Text attributes keep the id, the box and
    the individual of each object.

    Args:
        items: instances with their poses, in image pixels.
        skeleton: of all poses.
    """
    root = Element("annotations")
    root.append(ElementTree.Comment(f" {HEADING} "))
    SubElement(root, "version").text = "1.1"
    names = category_names((instance for instance, _ in items), skeleton.name)
    labels = [_label(name, skeleton) for name in dict.fromkeys(sorted(names.values()))]
    images: dict[str, Element] = {}
    for instance, pose in items:
        path = instance.image.path
        if path not in images:
            size = {"width": str(instance.image.width), "height": str(instance.image.height)}
            attributes = {"id": str(len(images)), "name": path, **size}
            images[path] = SubElement(root, "image", attributes)
        _add_skeleton(images[path], names[instance.category], instance, pose, skeleton)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    texts = {
        FILE: f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n',
        LABELS: json.dumps(labels, ensure_ascii=False, indent=2),
    }
    return FolderExport(texts, {})


def _keypoints(root: Element, skeletons: Sequence[Element]) -> list[str]:
    """Names of the keypoints: those of the labels first, then those that only objects have."""
    declared = (label for label in root.iter("label") if label.findtext("parent"))
    names = [label.findtext("name") or "" for label in declared]
    names += [point.get("label") or "" for item in skeletons for point in item.findall("points")]
    return [name for name in dict.fromkeys(names) if name]


def _first_label(root: Element, found: Sequence[tuple[Element, Element]]) -> str:
    used = [item.get("label") for _, item in found]
    declared = [
        label.findtext("name") for label in root.iter("label") if label.find("svg") is not None
    ]
    return next(filter(None, [*used, *declared]), "object")


def _links(root: Element) -> list[list[str]]:
    """Names at the ends of each line in the drawings of the labels."""
    links: dict[tuple[str, ...], None] = {}
    for label in root.iter("label"):
        drawing = html.unescape(label.findtext("svg") or "")
        nodes = {
            node: name
            for circle in re.findall(r"<circle\b[^>]*>", drawing)
            if (node := _of(circle, "data-node-id")) and (name := _of(circle, "data-label-name"))
        }
        for line in re.findall(r"<line\b[^>]*>", drawing):
            ends = [nodes.get(_of(line, f"data-node-{end}"), "") for end in ("from", "to")]
            if all(ends):
                links[tuple(ends)] = None
    return [list(ends) for ends in links]


def _of(tag: str, attribute: str) -> str:
    match = re.search(rf'\b{attribute}="([^"]*)"', tag)
    return html.unescape(match[1]) if match else ""


def _path(image: Element, origin: str) -> str:
    name = image.get("name")
    if not name:
        raise FormatError(f"{origin} has an image without a name.", _AS_IMAGES)
    return image_path_from(name)


def _size(image: Element) -> tuple[int, int]:
    width, height = (image.get(side, "0") for side in ("width", "height"))
    return int(width) if width.isdecimal() else 0, int(height) if height.isdecimal() else 0


def _annotation(
    image: Element, item: Element, skeleton: Skeleton, where: str, number: str
) -> Annotation:
    path = _path(image, where)
    where = f"{where} ({path})"
    xy, visibility = np.zeros((len(skeleton), 2)), np.full(len(skeleton), ABSENT)
    given: set[str] = set()
    for point in item.findall("points"):
        name = point.get("label") or ""
        if name in given or name not in skeleton.keypoints:
            raise FormatError(
                f"{where} has the keypoint {name!r} twice or without a name.", "Correct it."
            )
        given.add(name)
        if point.get("outside") == "1":
            continue
        index = skeleton.index(name)
        xy[index] = _numbers(point.get("points", ""), 2, f"{where}, {name}")
        visibility[index] = OCCLUDED if point.get("occluded") == "1" else VISIBLE
    attributes = {each.get("name"): each.text or "" for each in item.findall("attribute")}
    corners = _corners(image, item)
    if drawn := attributes.get(BOX):
        box = Box(*_numbers(drawn, 4, f"{where}, box"))
    elif corners:
        left, top, right, bottom = _numbers(corners, 4, f"{where}, box")
        box = Box(left, top, right - left, bottom - top)
    else:
        box = None
    reference = attributes.get(ID) or number
    category = item.get("label") or ""
    who = attributes.get(INDIVIDUAL, "")
    return Annotation(path, reference, box, None, human_pose(xy, visibility), False, category, who)


def _corners(image: Element, item: Element) -> str:
    """Corners of the one rectangle in the group of a skeleton; "" without one."""
    group = item.get("group_id", "0")
    boxes = [box for box in image.findall("box") if box.get("group_id", "0") == group != "0"]
    sides = ("xtl", "ytl", "xbr", "ybr")
    return ",".join(boxes[0].get(side, "") for side in sides) if len(boxes) == 1 else ""


def _numbers(text: str, how_many: int, where: str) -> list[float]:
    try:
        numbers = [float(each) for each in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != how_many or not np.isfinite(numbers).all():
        raise FormatError(f"{where} is at {text!r}, not {how_many} numbers.", "Correct it.")
    return numbers


def _label(name: str, skeleton: Skeleton) -> dict[str, Any]:
    """A label of the kind skeleton, as CVAT takes it under *Raw*."""
    attribute = {"mutable": False, "input_type": "text", "default_value": "", "values": [""]}
    return {
        "name": name,
        "type": "skeleton",
        "attributes": [{"name": kept, **attribute} for kept in (ID, BOX, INDIVIDUAL)],
        "svg": _drawing(skeleton),
        "sublabels": [
            {"name": keypoint, "type": "points", "attributes": []}
            for keypoint in skeleton.keypoints
        ],
    }


def _drawing(skeleton: Skeleton) -> str:
    """The skeleton as CVAT draws it, in a square of 100; points without a layout on a circle."""
    places = np.array(skeleton.layout) * 80 + 10
    if not skeleton.has_layout:
        turns = np.arange(len(skeleton)) / len(skeleton) * 2 * np.pi
        places = 50 + 40 * np.stack([np.sin(turns), -np.cos(turns)], axis=1)
    lines = [
        f'<line x1="{places[a][0]:.1f}" y1="{places[a][1]:.1f}" x2="{places[b][0]:.1f}" '
        f'y2="{places[b][1]:.1f}" data-type="edge" data-node-from="{a + 1}" '
        f'data-node-to="{b + 1}"></line>'
        for a, b in skeleton.links
    ]
    circles = [
        f'<circle r="1.5" cx="{x:.1f}" cy="{y:.1f}" data-type="element node" '
        f'data-element-id="{number}" data-node-id="{number}" '
        f'data-label-name="{html.escape(name)}"></circle>'
        for number, (name, (x, y)) in enumerate(
            zip(skeleton.keypoints, places.tolist(), strict=True), 1
        )
    ]
    return "\n".join([*lines, *circles])


def _add_skeleton(
    image: Element, label: str, instance: Instance, pose: Pose, skeleton: Skeleton
) -> None:
    item = SubElement(image, "skeleton", {"label": label, "source": "manual", "z_order": "0"})
    middle = instance.box.x + instance.box.w / 2, instance.box.y + instance.box.h / 2
    for name, xy, v in zip(
        skeleton.keypoints, pose.xy.tolist(), pose.visibility.tolist(), strict=True
    ):
        x, y = xy if v > ABSENT else middle
        flags = {"outside": str(int(v <= ABSENT)), "occluded": str(int(v == OCCLUDED))}
        SubElement(
            item, "points", {"label": name, "source": "manual", **flags, "points": f"{x!r},{y!r}"}
        )
    box = instance.box
    for name, value in (
        (ID, instance.id),
        (BOX, ",".join(map(repr, (box.x, box.y, box.w, box.h)))),
        (INDIVIDUAL, instance.individual),
    ):
        SubElement(item, "attribute", {"name": name}).text = value
