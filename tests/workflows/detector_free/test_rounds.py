"""Rounds without boxes: bootstrap, corrections, retrain, new images, prediction of other ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from command_line import TINY, Outcome, labelkit
from sticks import Stick, by_colour, draw_sticks, sticks_as_coco

from labelkit.project.predictions import read_predictions
from labelkit.project.project import open_project
from labelkit.project.rounds import rounds
from labelkit.store.journal import KEYPOINTS, Entry
from labelkit.store.ownership import open_store
from labelkit.workflows.detector_free import rounds as made

__all__ = ["by_colour"]

pytestmark = pytest.mark.slow

PICTURES: dict[str, Sequence[Stick]] = {
    "a.png": [(10, 10, 30, 20)],
    "b.png": [(10, 10, 30, 20), (20, 44, 40, 54)],
    "c.png": [],
    "d.png": [(30, 10, 50, 20), (10, 40, 30, 50)],
    "e.png": [],
}
TRAINED = (*TINY, "--input-size", "64", "--no-mirror")


class Team:
    """A folder of pictures with labels of the first three, and its project."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "project"
        for seed, (name, sticks) in enumerate(PICTURES.items()):
            draw_sticks(folder / "frames" / name, sticks, seed=seed)
        labelled = {name: PICTURES[name] for name in ("a.png", "b.png", "c.png")}
        self.labels = sticks_as_coco(labelled, folder / "labels.json")

    def bootstrap(self, *more: str | Path) -> Outcome:
        images = ("--images", self.folder / "frames", "--project", self.root)
        return labelkit("bootstrap", *images, "--boxes", "none", *more)

    def retrain(self, *more: str) -> Outcome:
        return labelkit("retrain", "--project", self.root, *more)

    def objects(self) -> dict[str, list[str]]:
        """Source of each object by the path of its image."""
        found: dict[str, list[str]] = {}
        with open_store(open_project(self.root)) as store:
            for item in store.instances().values():
                found.setdefault(item.image.path, []).append(item.box_source)
        return found

    def queue(self) -> set[str]:
        return {
            row["instance"] for row in json.loads((self.root / "queue.json").read_text())["items"]
        }


@pytest.fixture
def team(tmp_path: Path, by_colour: None) -> Team:
    return Team(tmp_path)


def test_without_labels_people_are_asked_for_whole_images(team):
    asked = team.bootstrap("--model", "single-stage", "--skeleton", team.labels)
    assert asked.code == 3
    assert "labelkit label" in asked.out
    assert team.objects() == {name: ["whole-image"] for name in PICTURES}
    missing = team.retrain("--now")
    assert missing.code == 3
    assert "labelkit label" in missing.err


def test_no_boxes_are_for_networks_that_find_objects(team):
    refused = team.bootstrap("--skeleton", team.labels)
    assert refused.code == 2
    assert "--model single-stage" in refused.err
    assert not team.root.exists()
    ticks = team.bootstrap("--model", "bottom-up", "--start", "ticks")
    assert ticks.code == 2


@pytest.mark.parametrize("model", ["single-stage", "bottom-up"])
def test_labels_teach_and_what_is_found_is_to_be_corrected(team, model):
    done = team.bootstrap("--labels", team.labels, "--model", model, *TRAINED)
    assert done.code == 0, done
    assert team.objects() == {
        "a.png": ["whole-image"],  # labelled alone in it
        "b.png": ["keypoints", "keypoints"],
        "d.png": ["found", "found"],
        "e.png": ["whole-image"],
    }
    project = open_project(team.root)
    (only,) = rounds(project)
    assert (only.plan.kind, only.plan.settings["model"]) == ("detector-free", model)
    with open_store(project) as store:
        ids = {i.id: i for i in store.instances().values() if i.image.path in ("d.png", "e.png")}
    assert team.queue() == ids.keys()
    predictions = read_predictions(only.path / "predictions.parquet", project.skeleton)
    here = [p.xy.round().tolist() for p in predictions.values() if ids.get(p.instance_id)]
    assert sorted(here[:2]) == [[[10, 40], [30, 50]], [[30, 10], [50, 20]]]
    again = team.retrain()
    assert "nothing to train" in again.out
    assert len(rounds(project)) == 1


def test_corrections_teach_the_next_round_and_keep_their_objects(team):
    team.bootstrap("--labels", team.labels, "--model", "bottom-up", *TRAINED)
    with open_store(project := open_project(team.root)) as store:
        first, second = (i for i in store.instances().values() if i.image.path == "d.png")
        (empty,) = (i for i in store.instances().values() if i.image.path == "e.png")
        moved = {"red": [31.0, 11.0, 2], "blue": [50.0, 20.0, 2]}
        nothing = {"red": [0.0, 0.0, 0], "blue": [0.0, 0.0, 0]}
        store.record(
            Entry(id_, KEYPOINTS, content, "label", id_, "1")
            for id_, content in ((first.id, moved), (second.id, nothing), (empty.id, nothing))
        )
    done = team.retrain()
    assert done.code == 0, done
    last = rounds(project)[-1]
    assert last.plan.number == 1
    assert last.facts["training"]["labelled_images"] == 5
    with open_store(project) as store:
        known = {i.id for i in store.instances().values()}
    assert {first.id, second.id, empty.id} <= known
    predictions = read_predictions(last.path / "predictions.parquet", project.skeleton)
    assert predictions.keys() == known
    assert predictions[first.id].xy.round().tolist() == [[30, 10], [50, 20]]
    assert not predictions[empty.id].pose.present.any()


def test_new_images_are_read_by_the_round_that_there_is(team):
    team.bootstrap("--labels", team.labels, "--model", "single-stage", *TRAINED)
    draw_sticks(team.folder / "frames" / "f.png", [(10, 10, 30, 20)], seed=9)
    more = team.bootstrap()
    assert more.code == 0, more
    assert len(rounds(open_project(team.root))) == 1
    assert team.objects()["f.png"] == ["found"]
    assert team.bootstrap().out.count("Predicted") == 0


def test_other_pictures_are_predicted_without_boxes(team):
    team.bootstrap("--labels", team.labels, "--model", "single-stage", *TRAINED)
    draw_sticks(team.folder / "new" / "x.png", [(10, 10, 30, 20), (20, 44, 40, 54)], seed=9)
    draw_sticks(team.folder / "new" / "y.png", [], seed=10)
    at = ("--images", team.folder / "new", "--project", team.root)
    file = team.folder / "new.json"
    done = labelkit("predict", *at, "--output", file)
    assert done.code == 0, done
    found = json.loads(file.read_text())["annotations"]
    assert sorted(round(row["keypoints"][0]) for row in found) == [10, 20]
    assert labelkit("predict", *at, "--boxes", "whole-image").code == 2
    assert team.objects().keys() == PICTURES.keys() - {"c.png"}


def test_a_network_of_whole_images_is_no_onnx_file_and_needs_no_minutes_nor_devices(
    team, monkeypatch
):
    team.bootstrap("--labels", team.labels, "--model", "single-stage", *TRAINED)
    refused = labelkit("export", "--format", "onnx", "--project", team.root)
    assert refused.code == 2
    assert "--model lofr" in refused.err
    refused = team.retrain("--devices", "2")
    assert refused.code == 2
    assert "--devices" in refused.err
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")  # as torchrun has it
    refused = team.retrain()
    assert refused.code == 2
    assert "--devices" in refused.err
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    assert team.retrain("--minutes", "5").code == 2
    assert "minutes" not in open_project(team.root).options  # or the next command failed too


def test_a_round_that_was_killed_after_its_training_is_finished_without_another(team, monkeypatch):
    given = ("--labels", team.labels, "--model", "single-stage", *TRAINED)
    with monkeypatch.context() as patch:
        patch.setattr(made, "write_predictions", killed)
        with pytest.raises(Killed):
            team.bootstrap(*given)
    patched = team.objects()
    with monkeypatch.context() as patch:
        patch.setattr("labelkit.workflows.detector_free.networks.train", killed)
        done = team.bootstrap()
    assert done.code == 0, done
    assert "Continuing round 000" in done.err
    assert team.objects() == patched
    (only,) = rounds(open_project(team.root))
    assert only.status == "complete"


class Killed(Exception):
    pass


def killed(*_: object) -> None:
    raise Killed
