"""A project of elongated objects, from its first training to the crops that reviewers see."""

import json
from pathlib import Path

import numpy as np
import pytest
from builders import write_picture
from command_line import TINY, labelkit

from labelkit.progress import Silent
from labelkit.project.project import open_project
from labelkit.project.response_maps import MapReader
from labelkit.project.rounds import latest_complete
from labelkit.store.label_store import LabelStore
from labelkit.workflows.reviewing.contact_sheet import sheet_items
from labelkit.workflows.rounds.networks import load_network, predict_instances

pytestmark = pytest.mark.slow


def fish(folder: Path, count: int) -> Path:
    """Pictures of 160 x 40 pixels, an object from end to end in each."""
    images, annotations = [], []
    for number in range(count):
        write_picture(folder / "images" / f"{number}.png", (160, 40), seed=number)
        images.append({"id": number, "file_name": f"{number}.png", "width": 160, "height": 40})
        annotations.append(
            {
                "id": number + 1,
                "image_id": number,
                "category_id": 1,
                "bbox": [0.0, 0.0, 160.0, 40.0],
                "keypoints": [5, 20, 2, 155, 20, 2 if number % 2 else 0],
            }
        )
    category = {"id": 1, "name": "fish", "keypoints": ["nose", "tail"], "skeleton": [[1, 2]]}
    document = {"images": images, "annotations": annotations, "categories": [category]}
    (folder / "keypoints.json").write_text(json.dumps(document))
    return folder / "keypoints.json"


def test_crops_fit_elongated_objects_in_training_prediction_and_review(tmp_path: Path):
    labels = fish(tmp_path, 12)
    places = ("--images", tmp_path / "images", "--project", tmp_path / "p")
    outcome = labelkit("bootstrap", *places, "--labels", labels, "--labeled", "50%", *TINY)
    assert outcome.code == 0, outcome.err
    project = open_project(tmp_path / "p")
    newest = latest_complete(project)
    assert newest is not None
    assert newest.plan.settings["input_size"] == [64, 256]
    assert "256 x 64" in outcome.err

    with MapReader(newest.path / "maps" / "maps.parquet") as maps:
        shapes = {maps.get(id_).read.shape for id_ in maps}
    assert shapes == {(2, 16, 64)}
    (item, *_) = sheet_items(project, newest, 1, {})
    assert item.image.size == (640, 160)  # ten pixels a cell

    with LabelStore.open(project.store_url) as store:
        instances = store.instances()
    network, _ = load_network(newest.path / "model.safetensors", project.skeleton)
    again = list(predict_instances(project, network, newest.plan.settings, instances, Silent()))
    # A crop is 200 pixels wide, 64 cells: both ends of the object are in it.
    ends = again[0].to_cells @ np.array([(0, 80, 160), (20, 20, 20), (1, 1, 1)])
    assert ends[0] == pytest.approx([6.4, 32.0, 57.6])
    assert ends[1] == pytest.approx([8.0] * 3)

    later = labelkit("retrain", "--project", tmp_path / "p", "--seed", "3", "--now")
    assert later.code == 0, later.err
    after = latest_complete(project)
    assert after is not None
    assert (after.plan.number, after.plan.settings["input_size"]) == (1, [64, 256])
    assert "256 x 64" not in later.err
