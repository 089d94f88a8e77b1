"""Any labels, to each format and back: what docs/formats.md says is kept, is kept.

LABELKIT_LONG=1 tries 10,000 cases of each format.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from builders import make_image
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labelkit.domain.annotation import Annotation
from labelkit.domain.instance import Box, Instance
from labelkit.domain.pose import VISIBLE, Pose, human_pose
from labelkit.domain.skeleton import Skeleton, make_skeleton
from labelkit.formats import cvat
from labelkit.formats.coco import read_coco, write_coco
from labelkit.formats.cvat import read_cvat, write_cvat
from labelkit.formats.deeplabcut.lightning_pose import TABLE, write_lightning_pose
from labelkit.formats.deeplabcut.project import write_deeplabcut
from labelkit.formats.deeplabcut.tables import read_deeplabcut_csv
from labelkit.formats.sleap import read_sleap, write_sleap
from labelkit.formats.yolo import SETTINGS, read_yolo, write_yolo, yolo_settings

CASES = 10_000 if os.environ.get("LABELKIT_LONG") else 25

Items = list[tuple[Instance, Pose]]

#: What a format brings back: keypoints, and annotations in the order of the objects.
Back = tuple[Sequence[str], list[Annotation]]

NAMES = st.text(st.sampled_from("ab Lé,;'\"<&>猫_0."), min_size=1, max_size=6).map(
    lambda text: f"k{text}k"  # no format keeps blanks around a name
)


@st.composite
def labelled(draw) -> tuple[Skeleton, Items]:
    """A skeleton, and up to three objects in each of up to three images."""
    keypoints = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    skeleton = make_skeleton(draw(NAMES), keypoints)
    items: Items = []
    for name in draw(st.lists(st.sampled_from(["d/a", "d/b", "e f/a"]), min_size=1, unique=True)):
        image = make_image(f"{name}.png", draw(st.integers(20, 3000)), draw(st.integers(20, 3000)))
        size = np.array([image.width, image.height], dtype=float)
        objects = draw(st.integers(1, 3))
        who = draw(st.lists(NAMES, min_size=objects, max_size=objects, unique=True))
        for ordinal in range(objects):
            shares = st.floats(0.001, 0.999)
            xy = np.array([[draw(shares), draw(shares)] for _ in keypoints]) * size
            visibility = [draw(st.sampled_from([0, 1, 2])) for _ in keypoints]
            visibility[draw(st.integers(0, len(keypoints) - 1))] = VISIBLE
            x, y = draw(st.floats(0, 0.5)) * size[0], draw(st.floats(0, 0.5)) * size[1]
            w, h = draw(st.floats(0.1, 0.5)) * size[0], draw(st.floats(0.1, 0.5)) * size[1]
            category = draw(st.sampled_from(["", "cat", "dog"]))
            box = Box(float(x), float(y), float(w), float(h))
            instance = Instance(image, ordinal, box, "given", box.w * box.h, category, who[ordinal])
            items.append((instance, human_pose(xy, visibility)))
    return skeleton, items


def by_coco(skeleton: Skeleton, items: Items, folder: Path) -> Back:
    found = read_coco(json.loads(json.dumps(write_coco(items, skeleton))), "a.json")
    assert found.skeleton == skeleton
    return found.skeleton.keypoints, found.annotations


def by_yolo(skeleton: Skeleton, items: Items, folder: Path) -> Back:
    found = write_yolo(items, skeleton)
    data = yolo_settings(found.texts[SETTINGS], SETTINGS)
    assert data is not None
    texts = {
        place: found.texts[place.replace("images", "labels", 1).replace(".png", ".txt")]
        for place in found.pictures
    }
    read = read_yolo(data, texts, SETTINGS, None)
    sizes = {f"images/{i.image.path}": (i.image.width, i.image.height) for i, _ in items}
    annotations = []
    for item in read.annotations:
        size = np.array(sizes[item.image_path], dtype=float)
        assert item.box is not None
        box = Box(*(np.array(item.box) * [*size, *size]).tolist())
        pose = human_pose(item.pose.xy * size, item.pose.visibility)
        path = item.image_path.removeprefix("images/")
        annotations.append(Annotation(path, "", box, None, pose, False, item.category))
    return read.skeleton.keypoints, annotations


def by_cvat(skeleton: Skeleton, items: Items, folder: Path) -> Back:
    found = read_cvat(write_cvat(items, skeleton).texts[cvat.FILE], "a.xml")
    return found.skeleton.keypoints, found.annotations


def by_deeplabcut(skeleton: Skeleton, items: Items, folder: Path) -> Back:
    found = write_deeplabcut(items, skeleton, "anna", "frames")
    annotations = []
    for path, text in found.texts.items():
        if path.endswith(".csv"):
            read = read_deeplabcut_csv(text, path)
            for item in read.annotations:
                place = found.pictures[item.image_path]
                annotations.append(
                    Annotation(place, "", None, None, item.pose, False, "", item.individual)
                )
    return read.keypoints, annotations


def by_lightning_pose(skeleton: Skeleton, items: Items, folder: Path) -> Back:
    found = write_lightning_pose(items, skeleton, "anna", "frames")
    read = read_deeplabcut_csv(found.texts[TABLE], TABLE)
    paths = [found.pictures[item.image_path] for item in read.annotations]
    annotations = [
        Annotation(path, "", None, None, item.pose, False)
        for path, item in zip(paths, read.annotations, strict=True)
    ]
    return read.keypoints, annotations


def by_sleap(skeleton: Skeleton, items: Items, folder: Path) -> Back:
    write_sleap(items, skeleton, folder, (), folder / "a.slp")
    found = read_sleap(folder / "a.slp")
    pairs = {frozenset(pair) for pair in skeleton.pairs}
    assert {frozenset(pair) for pair in found.skeleton.pairs} == pairs
    assert set(found.skeleton.links) == set(skeleton.links)
    start = f"{folder.as_posix()}/"
    annotations = [
        Annotation(
            item.image_path.removeprefix(start),
            "",
            None,
            None,
            item.pose,
            False,
            item.category,
            item.individual,
        )
        for item in found.annotations
    ]
    return found.skeleton.keypoints, annotations


#: Format -> its way there and back, and what it keeps beside names and places.
FORMATS: dict[str, tuple[Callable[[Skeleton, Items, Path], Back], set[str]]] = {
    "coco": (by_coco, {"box", "visibility", "category", "individual"}),
    "yolo": (by_yolo, {"box", "visibility", "category"}),
    "cvat": (by_cvat, {"box", "visibility", "category", "individual"}),
    "dlc": (by_deeplabcut, {"individual"}),
    "lightning-pose": (by_lightning_pose, {"visibility"}),
    "sleap": (by_sleap, {"visibility", "category", "individual"}),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.timeout(0)
@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=labelled())
def test_labels_come_back(form: str, case: tuple[Skeleton, Items]):
    skeleton, items = case
    go, keeps = FORMATS[form]
    if form == "lightning-pose":  # has one object in an image
        items = list({instance.image.id: (instance, pose) for instance, pose in items}.values())
    with TemporaryDirectory() as folder:
        keypoints, annotations = go(skeleton, items, Path(folder))
    assert set(keypoints) == set(skeleton.keypoints)
    back: dict[str, list[Annotation]] = {}
    for item in annotations:
        back.setdefault(item.image_path, []).append(item)
    assert len(annotations) == len(items)
    only = {instance.category for instance, _ in items} - {""}
    for instance, pose in items:
        mine = back[instance.image.path]
        if "individual" in keeps:
            (one,) = [item for item in mine if item.individual == instance.individual]
        else:
            one = mine[instance.ordinal if len(mine) > 1 else 0]
        found = one.pose.take([keypoints.index(name) for name in skeleton.keypoints])
        expected = pose.visibility if "visibility" in keeps else np.where(pose.present, VISIBLE, 0)
        assert found.visibility.tolist() == expected.tolist()
        assert np.allclose(found.xy, pose.xy, rtol=0, atol=1e-9)
        if "box" in keeps:
            assert one.box is not None
            assert np.allclose(one.box, instance.box, rtol=0, atol=1e-9)
        if "category" in keeps and instance.category:
            assert one.category == instance.category
        elif "category" in keeps and form != "sleap":  # the only one there is, or the skeleton's
            assert one.category == (min(only) if len(only) == 1 else skeleton.name)
