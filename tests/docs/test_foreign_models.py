"""The adapters of the page on other models, run on outputs in the form that each model writes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from builders import make_project
from pages import PAGES, blocks

from labelkit.domain.instance import Box
from labelkit.project.images import scan_images
from labelkit.store.objects import NewInstance
from labelkit.store.ownership import open_store
from labelkit.workflows.intake.predicted_objects import PredictedObjects, read_predicted

CODE = dict(blocks(PAGES["docs/foreign-models.md"], "python"))

#: (x, y, score) of two keypoints of the object in the second image, whose box is (1, 1, 6, 4).
POSE = [[2.5, 1.5, 0.9], [6.0, 4.25, 0.4]]


@pytest.fixture(autouse=True)
def frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with frames/0.png and frames/1.png, of 12 x 8 pixels."""
    make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(folder: Path, name: str) -> PredictedObjects:
    """What `labelkit predictions add` reads of a file."""
    project = make_project(folder / "again")
    with open_store(project) as store:
        images = scan_images(project.images_root).images
        store.add_images(images)
        store.add_instances([NewInstance(i, Box(1, 1, 6, 4), "given", 24.0) for i in images])
        return read_predicted(project, store, folder / name)


def check(found: PredictedObjects) -> None:
    (prediction,) = found.predictions.values()
    np.testing.assert_allclose(prediction.xy, np.array(POSE)[:, :2])
    np.testing.assert_allclose(prediction.pose.score, np.array(POSE)[:, 2])
    assert found.unmatched == 0


def run(name: str) -> dict[str, object]:
    space: dict[str, object] = {"__name__": name}
    exec(CODE[f"{name}.py"], space)
    return space


def test_rtmpose(frames: Path):
    (frames / "rtmpose").mkdir()
    found = {
        "keypoints": [row[:2] for row in POSE],
        "keypoint_scores": [row[2] for row in POSE],
        "bbox": [[1.0, 1.0, 7.0, 5.0]],
        "bbox_score": 0.8,
    }
    (frames / "rtmpose" / "0.json").write_text("[]")
    (frames / "rtmpose" / "1.json").write_text(json.dumps([found]))
    run("rtmpose")
    check(read(frames, "rtmpose.json"))


def test_superanimal(frames: Path):
    bodyparts = np.array([POSE, [[-1.0, -1.0, -1.0]] * 2])
    predictions = {
        "frames/0.png": {"bodyparts": np.full((2, 2, 3), -1.0), "bboxes": np.zeros((0, 4))},
        "frames/1.png": {"bodyparts": bodyparts, "bboxes": np.array([[1.0, 1.0, 6.0, 4.0]])},
    }
    run("superanimal")["save"](predictions)
    check(read(frames, "superanimal.json"))


def test_rf_detr(frames: Path):
    def predict(path: str) -> SimpleNamespace:
        count = int(path == "frames/1.jpg")
        return SimpleNamespace(
            xy=np.array([POSE])[:count, :, :2],
            keypoint_confidence=np.array([POSE])[:count, :, 2],
            detection_confidence=np.array([0.8])[:count],
            data={"xyxy": np.array([[1.0, 1.0, 7.0, 5.0]])[:count]},
        )

    for file in (frames / "frames").iterdir():
        file.rename(file.with_suffix(".jpg"))
    run("rf_detr")["save"](SimpleNamespace(predict=predict))
    text = (frames / "rf_detr.json").read_text().replace(".jpg", ".png")
    (frames / "rf_detr.json").write_text(text)
    check(read(frames, "rf_detr.json"))


def test_the_layout_of_the_page_is_read(frames: Path):
    ((_, layout),) = blocks(PAGES["docs/foreign-models.md"], "text")
    row = json.loads(layout)[0] | {"image_id": "1.png", "bbox": [1, 1, 6, 4]}
    row["keypoints"] = np.ravel(POSE).tolist()
    (frames / "results.json").write_text(json.dumps([row]))
    check(read(frames, "results.json"))


def test_every_adapter_is_short():
    assert set(CODE) == {"rtmpose.py", "superanimal.py", "rf_detr.py"}
    assert all(len(code.splitlines()) < 30 for code in CODE.values())
