"""A project with answers that must survive bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from command_line import TINY, Outcome, labelkit
from trained import ticked

from labelkit.domain.pose import human_pose
from labelkit.project.project import open_project
from labelkit.store.journal import Recorded
from labelkit.store.label_store import LabelStore

NAMES = ("nose", "left_paw", "right_paw", "tail")
SIZE = (32, 24)


class Team(NamedTuple):
    """frames/ with three pictures, stick.toml, and a project where ann has ticked all three."""

    folder: Path

    @property
    def frames(self) -> Path:
        return self.folder / "frames"

    @property
    def project(self) -> Path:
        return self.folder / "frames-labelkit"

    def bootstrap(self, *more: str | Path) -> Outcome:
        return labelkit("bootstrap", "--images", self.frames, *TINY, *more)

    def write(self, name: str, content: object) -> Path:
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        return path


def journal(project: Path) -> list[Recorded]:
    """Every answer in a project."""
    with LabelStore.open(open_project(project).store_url) as store:
        return list(store.entries())


def answer_everything(project: Path) -> Path:
    """Tick all keypoints in the tasks that a project pushed; the export."""
    tasks = json.loads((project / "label_studio" / "visibility_tasks.json").read_text("utf-8"))
    skeleton = open_project(project).skeleton
    pose = human_pose(np.ones((len(skeleton), 2)), [2] * len(skeleton))
    truth = {id_: pose for task in tasks for id_ in task["data"]["labelkit"]["instances"]}
    export = project.parent / "ticked.json"
    export.write_text(json.dumps(ticked(tasks, truth, skeleton.keypoints)), "utf-8")
    return export


def assert_refused(outcome: Outcome, *named: str, next_step: str, code: int = 1) -> None:
    """A command failed with one short error that holds these words and the next step."""
    assert outcome.code == code, outcome
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    assert outcome.err.count("error: ") == 1
    problem, _, advice = outcome.err.partition("error: ")[2].partition("\n")
    for words in named:
        assert words in problem
    assert next_step in advice
    assert len(advice.splitlines()) <= 2


def annotation(
    id_: int = 1,
    image_id: int = 1,
    category_id: int = 1,
    xyv: list[float] | None = None,
    bbox: tuple[float, ...] = (2, 2, 20, 18),
) -> dict[str, Any]:
    """A COCO annotation of an animal, correct by default."""
    xyv = [5, 4, 2, 4, 10, 2, 15, 10, 2, 10, 20, 2] if xyv is None else xyv
    return {
        "id": id_,
        "image_id": image_id,
        "category_id": category_id,
        "keypoints": xyv,
        "bbox": list(bbox),
    }


def coco(
    *annotations: dict[str, Any], names: tuple[str, ...] = NAMES, file_name: str = "0.png"
) -> dict[str, Any]:
    """A COCO file about one image."""
    return {
        "images": [{"id": 1, "file_name": file_name, "width": SIZE[0], "height": SIZE[1]}],
        "annotations": list(annotations) or [annotation()],
        "categories": [{"id": 1, "name": "animal", "keypoints": list(names), "skeleton": []}],
    }
