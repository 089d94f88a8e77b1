"""A small project of generated figures that has been through its location-free round."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from labelkit.domain.annotation import VisibilityAnswer
from labelkit.domain.instance import Box, Instance
from labelkit.domain.pose import Pose
from labelkit.domain.selection import DevDraw, dev_set
from labelkit.domain.skeleton import load_skeleton
from labelkit.files.documents import load_json
from labelkit.formats.coco import read_coco
from labelkit.formats.visibility_csv import write_visibility_csv
from labelkit.progress import Silent
from labelkit.project.images import scan_images
from labelkit.project.project import Project, create_project, open_project
from labelkit.store.label_store import LabelStore, NewInstance
from labelkit.store.ownership import open_store
from labelkit.workflows.loop.bootstrap import BootstrapReport, bootstrap
from labelkit.workflows.rounds.label_snapshot import DEV_SHARE
from labelkit.workflows.rounds.settings import TrainingOptions
from labelkit.workflows.sync.push_files import push_files
from labelkit.workflows.synthetic.figures import generate
from labelkit.workflows.synthetic.simulated_annotator import correct

FIGURES = 24
TINY = TrainingOptions(preset="tiny", backbone="test_resnet", epochs=1, pretrained=False)
SKIP_NOTHING = dict.fromkeys(("unreadable", "missing"), False)


class Trained(NamedTuple):
    """A folder with images/, keypoints.json (the truth), visibility.csv and project/."""

    folder: Path
    project: Project
    store: LabelStore

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def truth_file(self) -> Path:
        return self.folder / "keypoints.json"

    @property
    def truth(self) -> dict[str, Pose]:
        """True poses by instance id."""
        return true_poses(self.truth_file, self.store.instances())

    def bootstrap(self, labels: Path, boxes: Path | None = None) -> BootstrapReport:
        """Bootstrap with a label file, whose keypoints give no locations."""
        return bootstrap(
            self.images,
            Silent(),
            project_root=self.folder / "project",
            skeleton=None,
            labels=[labels],
            boxes=str(boxes) if boxes else None,
            percent=0.0,
            skip=SKIP_NOTHING,
            options=TINY,
        )

    def corrections(self, per_instance: bool | None = None) -> Path:
        """An export in which every queued instance is corrected."""
        report = push_files(self.project, self.store, dry_run=False, per_instance=per_instance)
        tasks = json.loads(report.files[1].read_text("utf-8"))
        path = self.folder / "export.json"
        rows = correct(tasks, self.store.instances(), self.truth, self.project.skeleton)
        path.write_text(json.dumps(rows), "utf-8")
        return path


def make_trained(folder: Path) -> Trained:
    """Draw figures and bootstrap them from visibility answers; the dev set has 2 to 4 figures."""
    generate(folder, FIGURES, seed=0, size=96)
    truth = read_coco(load_json(folder / "keypoints.json"), "keypoints.json")
    answers = [VisibilityAnswer(a.image_path, "", a.pose.present) for a in truth.annotations]
    (folder / "visibility.csv").write_text(
        write_visibility_csv(answers, truth.skeleton), encoding="utf-8"
    )
    create_project(
        folder / "project",
        folder / "images",
        load_skeleton("lsp14"),
        seed_with_a_dev_set(folder / "images"),
    )
    found = _opened(folder)
    found.bootstrap(folder / "visibility.csv", boxes=found.truth_file)
    return found


def copy_trained(trained: Trained, to: Path) -> Trained:
    """The same project in another place: only relative paths are kept, so it works there."""
    shutil.copytree(trained.folder, to, dirs_exist_ok=True)
    return _opened(to)


def with_store_at(trained: Trained, url: str) -> Trained:
    """The same project with its labels in another database; LABELKIT_DB has to name it."""
    before = trained.store
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABELKIT_DB", url)
        # An empty store is refused where there are rounds already: not in this folder.
        store = open_store(replace(trained.project, root=trained.folder / "new"))
    store.add_images(before.images())
    store.add_instances(
        NewInstance(item.image, item.box, item.box_source, item.area)
        for item in before.instances().values()
    )
    store.record(recorded.entry for recorded in before.entries())
    before.close()
    return trained._replace(store=store)


def _opened(folder: Path) -> Trained:
    project = open_project(folder / "project")
    return Trained(folder, project, open_store(project))


def seed_with_a_dev_set(images: Path, first: int = 1000) -> int:
    """The project seed, from `first` on, that draws 2 to 4 of these images into the dev set.

    Tests that need another seed type a small number.
    """
    box = Box(0.0, 0.0, 1.0, 1.0)
    found = [Instance(image, 0, box, "given", 1.0) for image in scan_images(images).images]
    return next(
        s
        for s in range(first, first + 1000)
        if 2 <= len(dev_set(found, s, DevDraw(DEV_SHARE))) <= 4
    )


def true_poses(keypoints: Path, instances: Mapping[str, Instance]) -> dict[str, Pose]:
    """Poses of a COCO file of one object an image, in the order of lsp14, by instance id."""
    truth = read_coco(load_json(keypoints), str(keypoints))
    order = [truth.skeleton.index(name) for name in load_skeleton("lsp14").keypoints]
    by_path = {item.image_path: item.pose for item in truth.annotations}
    poses = {id_: by_path[instance.image.path] for id_, instance in instances.items()}
    return {
        id_: Pose(pose.xy[order], pose.visibility[order], pose.score[order])
        for id_, pose in poses.items()
    }


def ticked(
    tasks: list[dict[str, Any]], truth: Mapping[str, Pose], keypoints: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Visibility tasks as Label Studio exports them after an annotator has ticked true answers."""
    export = []
    for number, task in enumerate(tasks, 1):
        boxes = task["predictions"][0]["result"]
        result = [box | {"origin": "prediction"} for box in boxes]
        for id_ in task["data"]["labelkit"]["instances"]:
            present = truth[id_].present
            ticks = [name for name, there in zip(keypoints, present, strict=True) if there]
            region = next((box for box in boxes if box["id"] == id_), {"id": f"of-{id_}"})
            choice = {
                "from_name": "presence",
                "to_name": "image",
                "type": "choices",
                "value": {"choices": ticks or ["(none of them)"]},
            }
            result.append(region | choice)
        annotation = {
            "id": number,
            "completed_by": {"email": "ann@example.org"},
            "was_cancelled": False,
            "created_at": "2026-01-01T10:00:00Z",
            "updated_at": "2026-01-01T10:00:00Z",
            "lead_time": 6.5,
            "result": result,
        }
        export.append({"id": number, "data": task["data"], "annotations": [annotation]})
    return export
