"""A newcomer's folder, and what people answer in Label Studio, for commands typed as printed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from coco_documents import annotation, result, truth
from trained import seed_with_a_dev_set, ticked, true_poses

from labelkit.domain.skeleton import load_skeleton
from labelkit.project.project import open_project
from labelkit.store.label_store import LabelStore
from labelkit.workflows.synthetic.figures import generate
from labelkit.workflows.synthetic.simulated_annotator import correct


def fill(folder: Path) -> None:
    """Write every file that the documentation names.

    frames/ has 24 figures, of which at least two fall into the dev set; keypoints.json labels one
    of them, as an object that fills its image; val/ and val.json are for evaluation; results.json
    is scored with crowdpose_test.json.
    """
    for number in range(100):
        generate(folder, 24, number, size=96)
        if seed_with_a_dev_set(folder / "images", first=0) == 0:
            break
        shutil.rmtree(folder)
    (folder / "images").rename(folder / "frames")
    document = json.loads((folder / "keypoints.json").rename(folder / "truth.json").read_text())
    for row in document["annotations"]:
        row["bbox"] = [0, 0, 96, 96]
    document["annotations"] = document["annotations"][:1]
    (folder / "keypoints.json").write_text(json.dumps(document))

    generate(folder / "other", 4, 100, size=96)
    (folder / "other" / "images").rename(folder / "val")
    (folder / "other" / "keypoints.json").rename(folder / "val.json")

    image = {"id": 1, "file_name": "1.jpg", "crowdIndex": 0.5}
    place = {12: (5.0, 5.0)}
    crowd = truth(load_skeleton("crowdpose14"), [annotation(14, place)], [image])
    (folder / "crowdpose_test.json").write_text(json.dumps(crowd))
    (folder / "results.json").write_text(json.dumps([result(14, place)]))


def answer(folder: Path) -> None:
    """Answer the tasks that `labelkit push --files` wrote last, as export.json."""
    project = open_project(folder / "frames-labelkit")
    with LabelStore.open(project.store_url) as store:
        instances = store.instances()
    poses = true_poses(folder / "truth.json", instances)
    correction = project.root / "label_studio" / "correction_tasks.json"
    if correction.is_file():
        rows = correct(json.loads(correction.read_text()), instances, poses, project.skeleton)
    else:
        tasks = json.loads((project.root / "label_studio" / "visibility_tasks.json").read_text())
        rows = ticked(tasks, poses, project.skeleton.keypoints)
    (folder / "export.json").write_text(json.dumps(rows), "utf-8")
