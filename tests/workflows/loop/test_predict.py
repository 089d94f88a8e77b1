"""Predictions for pictures that are in no project."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import stick_skeleton
from command_line import labelkit
from label_studio import point_home_at
from mediapipe_stub import make_stub, white_pixel
from PIL import Image as Picture
from trained import Trained

import labelkit as lk
from labelkit.domain.instance import Box
from labelkit.errors import ImageError, ProjectError, UsageError
from labelkit.files.documents import load_json
from labelkit.formats.coco import read_coco
from labelkit.progress import Silent
from labelkit.project.images import scan_images
from labelkit.project.predictions import read_predictions
from labelkit.project.project import create_project
from labelkit.project.rounds import ROUND_FILE, rounds
from labelkit.store.objects import NewInstance
from labelkit.store.ownership import open_store
from labelkit.workflows.loop.predict import PredictReport, predict

NAMES = ("00000.png", "00001.png")


@pytest.fixture
def new(trained: Trained, tmp_path: Path) -> Path:
    """A folder with two pictures that the project knows too, so what is right is known."""
    folder = tmp_path / "new"
    folder.mkdir()
    for source, name in zip(sorted(trained.images.iterdir()), NAMES, strict=False):
        shutil.copy2(source, folder / name)
    return folder


def run(trained: Trained, new: Path, **given: Any) -> PredictReport:
    given = {"boxes": str(trained.truth_file)} | given
    return predict(trained.project, trained.store, Silent(), images=new, **given)


def test_a_new_picture_gets_the_prediction_that_it_has_in_the_project(trained: Trained, new: Path):
    for file, source in zip(sorted(new.iterdir()), sorted(trained.images.iterdir()), strict=False):
        file.rename(new / source.name)
    report = run(trained, new)
    known = read_predictions(
        trained.project.rounds_root / "000" / "predictions.parquet", trained.project.skeleton
    )
    assert (report.round, report.images, report.instances) == (0, 2, 2)
    for instance, found in report.predictions:
        np.testing.assert_allclose(found.xy, known[instance.id].xy, atol=1e-3)
        np.testing.assert_allclose(found.presence, known[instance.id].presence, atol=1e-4)


def test_the_project_does_not_change(trained: Trained, new: Path, tmp_path: Path):
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    counts = trained.store.counts()
    run(trained, new, boxes="whole-image")
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before
    assert trained.store.counts() == counts


def test_a_whole_picture_is_one_object(trained: Trained, new: Path):
    report = run(trained, new, boxes="whole-image")
    assert [instance.box for instance, _ in report.predictions] == [Box(0, 0, 96, 96)] * 2


def test_an_unreadable_picture_is_named_and_the_others_are_predicted(trained: Trained, new: Path):
    (new / NAMES[1]).write_bytes(b"no picture")
    report = run(trained, new, boxes="whole-image")
    assert [instance.image.path for instance, _ in report.predictions] == [NAMES[0]]
    assert NAMES[1] in report.text()


def test_the_ending_of_the_file_is_its_format(trained: Trained, new: Path, tmp_path: Path):
    for name, form in (("out.json", "coco"), ("out.CSV", "csv")):
        report = run(trained, new, boxes="whole-image", output=tmp_path / name)
        assert (report.format, report.file) == (form, tmp_path / name)
    with pytest.raises(UsageError, match="--format"):
        run(trained, new, output=tmp_path / "out.h5")
    with pytest.raises(UsageError, match="tiff"):
        run(trained, new, output=tmp_path / "out.json", form="tiff")


def test_coco_holds_every_object_with_its_scores(trained: Trained, new: Path, tmp_path: Path):
    file = tmp_path / "out.json"
    report = run(trained, new, boxes="whole-image", output=file)
    document = load_json(file)
    assert [row["file_name"] for row in document["images"]] == list(NAMES)
    found = read_coco(document, str(file)).annotations
    for (_, prediction), item in zip(report.predictions, found, strict=True):
        there = prediction.presence > 0.5
        assert item.pose.present.tolist() == there.tolist()
    assert all(0 <= row["score"] <= 1 for row in document["annotations"])


def test_the_csv_has_a_row_for_each_keypoint(trained: Trained, new: Path, tmp_path: Path):
    report = run(trained, new, boxes="whole-image", output=tmp_path / "out.csv")
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text("utf-8").splitlines()))
    assert len(rows) == 2 * 14
    (instance, found), row = report.predictions[0], rows[3]
    assert (row["image"], row["instance"]) == (NAMES[0], instance.id)
    assert row["keypoint"] == trained.project.skeleton.keypoints[3]
    assert [float(row["x"]), float(row["y"])] == found.xy[3].tolist()
    assert float(row["presence"]) == found.presence[3]


def test_deeplabcut_reads_a_likelihood_beside_each_location(
    trained: Trained, new: Path, tmp_path: Path
):
    report = run(trained, new, boxes="whole-image", output=tmp_path / "out.csv", form="dlc")
    lines = (tmp_path / "out.csv").read_text("utf-8").splitlines()
    scorer, bodyparts, coords, first, second = csv.reader(lines)
    assert set(scorer[1:]) == {"labelkit-round-000"}
    assert bodyparts[1::3] == list(trained.project.skeleton.keypoints)
    assert coords == ["coords", *("x", "y", "likelihood") * 14]
    assert [first[0], second[0]] == list(NAMES)
    found = report.predictions[0][1]
    expected = [*found.xy[0], min(found.pose.score[0], found.presence[0])]
    assert [float(cell) for cell in first[1:4]] == expected


def test_only_a_file_of_its_own_is_replaced(trained: Trained, new: Path, tmp_path: Path):
    file = tmp_path / "out.csv"
    for form in ("csv", "dlc"):
        file.unlink(missing_ok=True)
        run(trained, new, boxes="whole-image", output=file, form=form)
        run(trained, new, boxes="whole-image", output=file, form=form)
    with pytest.raises(UsageError, match="--overwrite"):
        run(trained, new, boxes="whole-image", output=file, form="csv")
    with pytest.raises(UsageError, match="only read"):
        run(trained, new, boxes="whole-image", output=new / "out.json")


def test_boxes_come_from_where_the_project_got_its_own(trained: Trained, new: Path):
    animals = replace(trained.project.skeleton, name="beetle")
    project = replace(trained.project, skeleton=animals, options={"boxes": "whole-image"})
    report = predict(project, trained.store, Silent(), images=new)
    assert report.instances == 2
    with pytest.raises(UsageError, match="--boxes FILE"):
        predict(replace(project, options={}), trained.store, Silent(), images=new)


def test_what_cannot_predict_is_refused(trained: Trained, new: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="Rounds: 0"):
        run(trained, new, number=7)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ImageError):
        run(trained, empty)
    file = trained.project.rounds_root / "000" / ROUND_FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | {"status": "abandoned"}))
    with pytest.raises(ProjectError, match="labelkit status"):
        run(trained, new)


# With a network of MediaPipe


@pytest.fixture
def mediapipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of three pictures; a network finds the white pixel of the first, at (12, 3)."""
    point_home_at(tmp_path / "home", monkeypatch)
    make_stub()
    folder = tmp_path / "frames"
    white_pixel((40, 20), (12, 3), folder / "a.png")
    Picture.new("RGB", (40, 20)).save(folder / "b.png")
    (folder / "c.png").write_bytes(b"no picture")
    return folder


def test_a_network_predicts_pictures_without_a_project(mediapipe: Path, tmp_path: Path):
    file = tmp_path / "out.json"
    given = ("--with", "mediapipe-hands", "--images", mediapipe, "--output", file)
    outcome = labelkit("predict", *given, "--json")
    report = json.loads(outcome.out)
    assert (outcome.code, report["objects"], report["found"]) == (0, 2, 1)
    assert report["not_found"] == ["b.png"]
    assert "c.png" in " ".join(report["notes"])
    document = load_json(file)
    assert document["categories"][0]["keypoints"][:2] == ["wrist", "thumb_cmc"]
    (row,) = document["annotations"]
    assert row["bbox"] == [0, 0, 40, 20]
    np.testing.assert_allclose(row["keypoints"], [12.5, 3.5, 2] * 21)
    assert row["keypoint_scores"] == [0.75] * 21
    assert [path.name for path in tmp_path.glob("out*")] == ["out.json"]


def test_a_network_predicts_the_objects_of_a_project(mediapipe: Path, tmp_path: Path):
    (mediapipe / "c.png").unlink()
    project = create_project(tmp_path / "project", mediapipe, stick_skeleton())
    with open_store(project) as store:
        scanned = scan_images(mediapipe)
        store.add_images(scanned.images)
        rows = [NewInstance(scanned.images[0], Box(10, 0, 10, 10), "given", 100, "cub")]
        store.add_instances(rows)
    outcome = labelkit("predict", "--with", "mediapipe-pose", "--project", project.root)
    assert outcome.code == 0, outcome
    document = load_json(project.root / "predictions" / "mediapipe-pose.json")
    assert document["categories"][0]["name"] == "cub"
    (row,) = document["annotations"]
    assert row["bbox"] == [10, 0, 10, 10]
    np.testing.assert_allclose(row["keypoints"], [12.5, 3.5, 2] * 33)
    (added,) = rounds(project)
    assert (added.plan.is_foreign, added.plan.settings["name"]) == (True, "mediapipe-pose")
    found = read_predictions(added.path / "predictions.parquet", project.skeleton)
    assert [prediction.xy[0].tolist() for prediction in found.values()] == [[12.5, 3.5]]
    again = labelkit("predict", "--with", "mediapipe-pose", "--project", project.root)
    assert "Predicted before: 1 of 1" in again.err
    assert len(rounds(project)) == 1
    report = lk.open(project.root).predict_with("mediapipe-pose")
    assert (report.found, report.added.is_new) == (1, False)


@pytest.mark.parametrize(
    "options",
    [
        ("--with", "mediapipe-pose", "--images", "frames"),
        ("--with", "mediapipe-pose", "--round", "1"),
        ("--with", "mediapipe-pose", "--format", "csv"),
        ("--with", "mediapipe-pose", "--images", "frames", "--output", "frames/out.json"),
        ("--images", "frames"),
        (),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    mediapipe: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
):
    monkeypatch.chdir(mediapipe.parent)
    assert labelkit("predict", *options).code == 2
