"""`labelkit labels add`: label files after the first import."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from builders import make_project, stick_skeleton
from command_line import labelkit

import labelkit as lk
from labelkit.progress import Silent
from labelkit.project.project import Project
from labelkit.store.journal import Entry
from labelkit.store.label_store import LabelStore

STICK = stick_skeleton()


@pytest.fixture
def project(tmp_path) -> Project:
    """Two pictures of 12 x 8 pixels without labels."""
    return make_project(tmp_path)


def coco(folder: Path, x: float, *, name: str = "labels.json", image: str = "0.png") -> Path:
    """A file of one object, its nose at `x`."""
    document = {
        "images": [{"id": 1, "file_name": image, "width": 12, "height": 8}],
        "categories": [{"id": 1, "name": "stick", "keypoints": list(STICK.keypoints)}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "bbox": [1, 1, 8, 6],
                "keypoints": [x, 2, 2, 4, 5, 1, 0, 0, 0, 6, 6, 2],
            }
        ],
    }
    path = folder / name
    path.write_text(json.dumps(document))
    return path


def noses(project: Project) -> list[float]:
    with LabelStore.open(project.store_url) as store:
        return [pose.xy[0, 0] for pose in store.poses(STICK).values()]


def test_labels_come_in_and_nothing_is_trained(project, tmp_path):
    done = labelkit("labels", "add", coco(tmp_path, 2.5), "--project", project.root)
    assert (done.code, done.err) == (0, "")
    assert "1 new label (0 known before)" in done.out
    assert noses(project) == [2.5]
    assert not (project.root / "rounds").exists()


def test_a_folder_and_several_files_are_one_import(project, tmp_path):
    (tmp_path / "more").mkdir()
    first = coco(tmp_path, 2.5)
    coco(tmp_path / "more", 3.5, image="1.png")
    done = labelkit("labels", "add", first, tmp_path / "more", "--project", project.root, "--json")
    assert json.loads(done.out)["registered"]["new_labels"] == 2
    assert noses(project) == [2.5, 3.5]


def test_the_same_file_again_changes_nothing(project, tmp_path):
    found = lk.open(project.root, progress=Silent())
    file = coco(tmp_path, 2.5)
    assert found.add_labels(file).registered.new_labels == 1
    again = found.add_labels(file).registered
    assert (again.new_labels, again.known_labels) == (0, 1)


def test_a_label_of_a_person_is_never_overwritten(project, tmp_path):
    found = lk.open(project.root, progress=Silent())
    found.add_labels(coco(tmp_path, 2.5))
    with LabelStore.open(project.store_url) as store:
        (id_,) = store.poses(STICK)
        content = {name: [5.0, 6.0, 2] for name in STICK.keypoints}
        store.record([Entry(id_, "keypoints", content, "label-studio", "7", "1", "ann")])
    report = found.add_labels(coco(tmp_path, 3.5))
    assert noses(project) == [5.0]
    assert any("labelkit status" in note for note in report.registered.notes)
    assert {row["instance"] for row in found.status().data()["conflicts"]} == {id_}


def test_an_unclear_label_studio_export_names_the_option_that_decides(project, tmp_path):
    def region(id_, kind, **value):
        size = {"original_width": 12, "original_height": 8, "image_rotation": 0}
        return {"id": id_, "type": kind, "value": {"x": 10, "y": 10, **value}, **size}

    boxes = [
        region(side, "rectanglelabels", width=side * 40, height=80, rectanglelabels=["stick"])
        for side in (1, 2)
    ]
    nose = region(3, "keypointlabels", width=1, keypointlabels=["nose"]) | {
        "value": {"x": 25, "y": 25, "width": 1, "keypointlabels": ["nose"]}
    }
    task = {"data": {"image": "0.png"}, "annotations": [{"id": 1, "result": [*boxes, nose]}]}
    file = tmp_path / "export.json"
    file.write_text(json.dumps([task]))
    refused = labelkit("labels", "add", file, "--project", project.root)
    assert refused.code == 1
    assert "--group box" in refused.err
    added = labelkit("labels", "add", file, "--group", "box", "--project", project.root)
    assert added.code == 0, added.err
    assert noses(project) == [3.0]


def test_labels_of_images_that_are_not_there_are_named_or_left_out(project, tmp_path):
    there = coco(tmp_path, 2.5)
    document = json.loads(there.read_text())
    document["images"].append({"id": 2, "file_name": "gone.png"})
    document["annotations"].append({**document["annotations"][0], "id": 2, "image_id": 2})
    there.write_text(json.dumps(document))
    refused = labelkit("labels", "add", there, "--project", project.root)
    assert refused.code == 1
    assert "gone.png" in refused.err
    assert "--skip-missing" in refused.err
    assert labelkit("labels", "add", there, "--skip-missing", "--project", project.root).code == 0
    assert noses(project) == [2.5]
