"""A project in Python: what the methods return, raise, show and leave open."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from trained import TINY, Trained

import labelkit as lk
from labelkit.project.project import lock_project
from labelkit.project.response_maps import MapReader


@pytest.fixture
def project(trained: Trained) -> lk.Project:
    """After its location-free round."""
    return lk.open(trained.project.root)


def test_a_folder_without_a_project_is_refused(tmp_path: Path):
    with pytest.raises(lk.ProjectError, match=str(tmp_path)):
        lk.open(tmp_path)


def test_without_a_folder_the_project_one_stands_in_is_opened(project, monkeypatch):
    monkeypatch.chdir(project.root / "rounds")
    assert lk.open().root == project.root


def test_a_project_knows_its_folder_images_and_skeleton(project, trained: Trained):
    assert repr(project) == f"Project({str(trained.project.root)!r})"
    assert project.images_root == trained.images
    assert project.skeleton == trained.project.skeleton
    assert project.bootstrap_report is None


def test_bootstrap_without_answers_returns_a_project_that_asks_for_them(tmp_path, trained: Trained):
    images = trained.images.rename(tmp_path / "frames")
    project = lk.bootstrap(images, skeleton="lsp14", boxes="whole-image", project=tmp_path / "own")
    assert project.root == tmp_path / "own"
    assert project.bootstrap_report.round is None
    assert project.status().instances == 24
    assert project.push(files=True).kind == "visibility"
    with pytest.raises(lk.WaitingForLabels):
        project.retrain()


def test_bootstrap_again_returns_the_project_and_its_round(trained: Trained):
    again = lk.bootstrap(trained.images, project=trained.project.root, labeled=0)
    assert again.bootstrap_report.round.round == 0
    assert not again.bootstrap_report.round.is_new


def test_bootstrap_refuses_a_share_that_could_be_a_percentage(trained: Trained):
    with pytest.raises(lk.UsageError, match=r"0\.1"):
        lk.bootstrap(trained.images, project=trained.project.root, labeled=0.1)


def test_retrain_raises_while_labels_are_missing_and_queues_what_to_label(project):
    with pytest.raises(lk.WaitingForLabels, match="2 more instances"):
        project.retrain("10%")
    report = project.push(files=True)
    assert report.kind == "correction"
    assert report.instances == project.queue().queued == len(project.to_dataframe("queue"))


def test_retrain_takes_the_percentage_as_text_or_number(project, trained: Trained):
    project.pull(file=trained.corrections())
    first = project.retrain("10%", epochs=TINY.epochs)
    assert (first.round, first.kind, first.labelled, first.is_new) == (1, "semi-weak", 2, True)
    again = project.retrain(10)
    assert (again.round, again.is_new) == (1, False)


def test_evaluate_scores_the_dev_set_and_says_where_the_numbers_are(project, trained: Trained):
    with pytest.raises(lk.WaitingForLabels):
        project.evaluate()
    project.pull(file=str(trained.corrections()))
    report = project.evaluate(supervised=False)
    names = [row.name for row in report.table.rows]
    assert names == ["skeleton in box", "mean pose", "LOFR location-free"]
    assert json.loads(report.file.read_text())["rows"][0]["name"] == "skeleton in box"


def test_export_and_review_write_where_they_are_told(project, trained: Trained, tmp_path: Path):
    with pytest.raises(lk.WaitingForLabels):
        project.export()
    answers = project.export("visibility", output=tmp_path / "answers.csv")
    assert (answers.labelled, answers.file) == (24, tmp_path / "answers.csv")
    page = project.review(html=tmp_path / "page.html", limit=3)
    assert (page.instances, page.file) == (3, tmp_path / "page.html")


def test_ipython_shows_a_report_as_the_command_prints_it(project):
    report = project.status()
    assert report._repr_mimebundle_(include=None, exclude=None) == {"text/plain": report.text()}
    assert report.data()["instances"] == 24


def test_a_push_without_a_server_says_what_to_set(project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("LABEL_STUDIO_URL", raising=False)
    with pytest.raises(lk.LabelkitError, match="LABEL_STUDIO_URL"):
        project.push()


def test_predictions_are_arrays_of_the_skeletons_size(project, trained: Trained):
    found = list(project.predictions())
    assert [p.instance.id for p in found] == list(trained.store.instances())
    for p in found:
        assert p.instance.image.path.endswith(".jpg")
        assert p.pose.xy.shape == (14, 2)
        assert p.pose.score.shape == p.presence.shape == (14,)
        assert 0 <= p.pose.score.min() <= p.pose.score.max() <= 1
        assert 0 <= p.presence.min() <= p.presence.max() <= 1
        assert 0 <= p.score <= 1


def test_response_maps_are_read_when_they_are_asked_for(project, trained: Trained, monkeypatch):
    opened = []
    open_maps = MapReader.__init__

    def spied(reader: MapReader, path: Path, skeleton: object = None) -> None:
        opened.append(path)
        open_maps(reader, path, skeleton)

    monkeypatch.setattr(MapReader, "__init__", spied)
    first, second, *_ = project.predictions()
    assert opened == []
    maps = first.maps
    assert maps.instance_id == first.instance.id
    assert maps.response.shape == (14, 32, 32)  # crops of 128 pixels, cells of 4
    assert maps.cam.shape == (14, 8, 8)  # cells of 16, where nothing has a location
    assert second.maps.instance_id == second.instance.id
    assert opened == [trained.project.rounds_root / "000" / "maps" / "maps.parquet"]
    with MapReader(opened[0]) as reader:
        assert np.array_equal(maps.response, reader.get(first.instance.id).response)


def test_predictions_of_a_round_that_is_not_there_name_those_that_are(project):
    assert len(list(project.predictions(round=0))) == 24
    with pytest.raises(lk.UsageError, match="round 3") as caught:
        project.predictions(round=3)
    assert caught.value.next_step == "Rounds: 0."


def test_predictions_before_the_first_round_raise_at_once(tmp_path, trained: Trained):
    project = lk.bootstrap(
        trained.images.rename(tmp_path / "frames"), boxes="whole-image", project=tmp_path / "own"
    )
    with pytest.raises(lk.ProjectError, match="status"):
        project.predictions()


def test_calls_keep_nothing_open_and_wait_for_no_lock_of_their_own(project, trained: Trained):
    project.queue()
    project.to_dataframe()
    with lock_project(trained.project):
        assert project.status().instances == 24  # reading needs no lock
        with pytest.raises(lk.ProjectError, match="Another labelkit command"):
            project.queue()
    project.queue()


def test_progress_is_shown_where_it_is_asked_for(trained: Trained, capsys):
    images, root = trained.images, trained.project.root
    lk.bootstrap(images, project=root, labels=trained.folder / "visibility.csv", labeled=0)
    assert capsys.readouterr() == ("", "")  # neither a terminal nor a notebook

    lines = []

    class Lines(lk.Silent):
        def line(self, text: str) -> None:
            lines.append(text)

    project = lk.bootstrap(images, project=root, labeled=0, progress=Lines())
    assert lines[-1] == project.bootstrap_report.text()
    project.pull(file=trained.corrections())
    project.retrain(now=True)
    assert any("step " in line for line in lines)
    assert capsys.readouterr() == ("", "")


def test_predict_returns_objects_of_pictures_that_are_in_no_project(project, trained: Trained):
    found = project.predict(trained.images, boxes="whole-image", output=trained.folder / "p.csv")
    assert len(found) == 24
    assert found[0].pose.xy.shape == (14, 2)
    assert (trained.folder / "p.csv").is_file()
    with pytest.raises(lk.FormatError, match="predictions"):
        _ = found[0].maps
