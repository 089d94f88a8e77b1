"""Labelled pictures for measurements, split into what a project holds and what it never sees.

They are folders in LABELKIT_DATA (default: ../shared/data) and are not downloaded.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

DATA = Path(os.environ.get("LABELKIT_DATA", "../shared/data"))


class Part(NamedTuple):
    """What `labelkit bootstrap` takes: a folder of images, and their labels."""

    images: Path
    labels: Path


def open_set(name: str, folder: Path, objects: int) -> tuple[Part, Part] | None:
    """The pictures to train on and those to score on; None if the set is not there.

    Args:
        name: of a folder with train/ and val/, each with images/ and keypoints.json (COCO), as
            `lspet` and `faces`; or with a YOLO data set, as `fish`; or with labeled-data/ of
            DeepLabCut, as `lips`, whose videos with TEST in their name are scored on.
        folder: for copies: of what is trained on, and of what cannot be split otherwise.
        objects: at most so many images of a COCO set are trained on.
    """
    source = DATA / name
    if not source.is_dir():
        return None
    if (source / "labeled-data").is_dir():
        return _by_video(source / "labeled-data", folder)
    if (source / "data.yaml").is_file():
        return _yolo_part(source, folder / "train"), _yolo_part(source, folder / "unseen", "val")
    labels = _some_of(source / "train", folder / "train", objects)
    val = source / "val"
    return Part(labels.with_name("images"), labels), Part(val / "images", val / "keypoints.json")


def _some_of(source: Path, target: Path, count: int) -> Path:
    """Copy some images of a COCO set and their labels, unless that is done. The label file."""
    file = target / "keypoints.json"
    if not file.is_file():
        coco = json.loads((source / "keypoints.json").read_text("utf-8"))
        order = np.random.default_rng(0).permutation(len(coco["images"]))
        coco["images"] = [coco["images"][index] for index in sorted(order[:count].tolist())]
        chosen = {image["id"] for image in coco["images"]}
        coco["annotations"] = [row for row in coco["annotations"] if row["image_id"] in chosen]
        (target / "images").mkdir(parents=True, exist_ok=True)
        for image in coco["images"]:
            shutil.copy(source / "images" / image["file_name"], target / "images")
        file.write_text(json.dumps(coco), "utf-8")
    return file


def _yolo_part(source: Path, target: Path, part: str = "train") -> Part:
    """Copy one part of a YOLO data set; keypoints without names are p0, p1, ..."""
    file = target / "data.yaml"
    if not file.is_file():
        data = yaml.safe_load((source / "data.yaml").read_text("utf-8"))
        names = [f"p{k}" for k in range(data["kpt_shape"][0])]
        kept = {key: data[key] for key in ("path", part, "names", "kpt_shape")}
        for kind in ("images", "labels"):
            shutil.copytree(source / kind / part, target / kind / part, dirs_exist_ok=True)
        named = {"kpt_names": dict.fromkeys(data["names"], names)}
        file.write_text(yaml.safe_dump(named | kept, sort_keys=False), "utf-8")
    return Part(target / "images", file)


def _by_video(source: Path, folder: Path) -> tuple[Part, Part]:
    train, unseen = folder / "train", folder / "unseen"
    for video in sorted(source.iterdir()):
        part = unseen if "TEST" in video.name else train
        shutil.copytree(video, part / video.name, dirs_exist_ok=True)
    return Part(train, train), Part(unseen, unseen)
