"""A project without a round, and a model of other keypoints that predicts its objects."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from builders import stick_skeleton, write_picture

from labelkit.domain.instance import Box
from labelkit.domain.pose import Pose, human_pose
from labelkit.domain.selection import DevDraw
from labelkit.project.images import scan_images
from labelkit.project.project import Project, create_project
from labelkit.store.journal import KEYPOINTS, Entry, keypoints_content
from labelkit.store.label_store import LabelStore
from labelkit.store.objects import NewInstance
from labelkit.store.ownership import open_store
from labelkit.workflows.loop.predictions import PredictionsReport, add_predictions
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot, read_snapshot

#: Keypoints of the model. Of ours, "nose" has the same name; a paw is a hand; the tail lies between
#: rump and tip.
THEIRS = ("tip", "nose", "hand L", "hand R", "rump", "ear")
OURS_FROM_THEIRS = np.array(
    [[0, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0], [0.5, 0, 0, 0, 0.5, 0]]
)


class Foreign(NamedTuple):
    """Objects of 100 x 80 pictures, two in each, with the model's poses of them."""

    folder: Path
    project: Project
    store: LabelStore
    poses: Mapping[str, np.ndarray]

    @property
    def snapshot(self) -> LabelSnapshot:
        return read_snapshot(self.project, self.store)

    @property
    def trainable(self) -> list[str]:
        """Ids outside the dev set."""
        return [id_ for id_ in self.poses if id_ not in self.snapshot.dev]

    @property
    def dev(self) -> list[str]:
        return sorted(self.snapshot.dev)

    def truth(self, id_: str) -> Pose:
        return human_pose(OURS_FROM_THEIRS @ self.poses[id_], [2] * 4)

    def label(self, ids: Sequence[str]) -> None:
        names = self.project.skeleton
        self.store.record(
            Entry(
                id_, KEYPOINTS, keypoints_content(names, self.truth(id_)), "label-studio", id_, "1"
            )
            for id_ in ids
        )

    def file(self, name: str = "poses.json", names: Sequence[str] = THEIRS, **more: Any) -> Path:
        """A COCO file of the model's poses with scores; `more` -> see `document`."""
        path = self.folder / name
        path.write_text(json.dumps(self.document(names, **more)))
        return path

    def document(
        self, names: Sequence[str] = THEIRS, without: Sequence[str] = (), score: float = 0.9
    ) -> dict[str, Any]:
        instances = self.store.instances()
        images = sorted({item.image.path for item in instances.values()})
        places = [THEIRS.index(name) for name in names]
        rows = []
        for id_, xy in self.poses.items():
            if id_ not in without:
                triplets = np.column_stack([xy[places], np.full(len(places), 2.0)])
                row = {
                    "id": len(rows) + 1,
                    "image_id": images.index(instances[id_].image.path) + 1,
                    "category_id": 1,
                    "bbox": list(instances[id_].box),
                    "keypoints": triplets.ravel().tolist(),
                    "keypoint_scores": [score] * len(places),
                }
                rows.append(row)
        return {
            "images": [
                {"id": number, "file_name": path, "width": 100, "height": 80}
                for number, path in enumerate(images, 1)
            ],
            "categories": [{"id": 1, "name": "beast", "keypoints": list(names)}],
            "annotations": rows,
        }

    def add(self, file: Path | None = None, name: str = "beast-net") -> PredictionsReport:
        return add_predictions(self.project, self.store, file or self.file(), name=name)


def make_foreign(folder: Path, pictures: int = 15, seed: int = 0, dev_pictures: int = 2) -> Foreign:
    """See `Foreign`; the dev set has the objects of the first pictures."""
    for number in range(pictures):
        write_picture(folder / "frames" / f"{number:02d}.png", (100, 80), seed=number)
    project = create_project(
        folder / "frames-labelkit", folder / "frames", stick_skeleton(), seed=seed
    )
    store = open_store(project)
    images = scan_images(project.images_root).images
    store.add_images(images)
    store.keep_dev_draw(DevDraw(0.0, frozenset(image.id for image in images[:dev_pictures])))
    boxes = (Box(5.0, 10.0, 40.0, 60.0), Box(55.0, 10.0, 40.0, 60.0))
    store.add_instances(
        NewInstance(image, box, "given", box.w * box.h) for image in images for box in boxes
    )
    rng = np.random.default_rng(seed)
    shape = np.array([(0.5, 0.95), (0.5, 0.1), (0.2, 0.4), (0.8, 0.4), (0.5, 0.8), (0.6, 0.05)])
    poses = {}
    for id_, instance in store.instances().items():
        box = instance.box
        turned = shape + rng.normal(scale=0.06, size=shape.shape)
        poses[id_] = np.clip(turned, 0, 1) * (box.w, box.h) + (box.x, box.y)
    return Foreign(folder, project, store, poses)
