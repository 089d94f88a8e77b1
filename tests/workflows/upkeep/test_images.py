"""Images that are added, deleted, renamed and moved while a project is being labelled."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from builders import write_picture
from command_line import TINY, Outcome, labelkit
from team import Team, answer_everything, journal
from trained import FIGURES

from labelkit.errors import ImageError, UsageError
from labelkit.progress import Silent
from labelkit.project.predictions import read_predictions
from labelkit.project.project import open_project
from labelkit.project.response_maps import MapReader
from labelkit.project.rounds import latest_complete, rounds
from labelkit.store.label_store import LabelStore
from labelkit.store.ownership import open_store
from labelkit.workflows.loop.export import export
from labelkit.workflows.loop.retrain import retrain
from labelkit.workflows.loop.status import status
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.queue_file import read_queue
from labelkit.workflows.rounds.settings import TrainingOptions
from labelkit.workflows.upkeep.images import images


@pytest.fixture
def team(tmp_path) -> Team:
    """Three pictures in frames/, and answers to all of them."""
    from builders import stick_skeleton

    for number in range(3):
        write_picture(tmp_path / "frames" / f"{number}.png", (32, 24), seed=number)
    (tmp_path / "stick.toml").write_text(stick_skeleton().to_toml())
    found = Team(tmp_path)
    assert found.bootstrap("--skeleton", tmp_path / "stick.toml").code == 3
    pulled = labelkit(
        "pull", "--file", answer_everything(found.project), "--project", found.project
    )
    assert pulled.code == 0, pulled
    return found


def run(team: Team, action: str, *paths, dry_run=False):
    project = open_project(team.project)
    with open_store(project) as store:
        return images(project, store, Silent(), action, paths, dry_run=dry_run)


def store_of(team: Team) -> LabelStore:
    return open_store(open_project(team.project))


# Deleted


def test_a_deleted_image_is_noticed_before_a_training(team):
    (team.frames / "1.png").unlink()
    for command in (
        ("bootstrap", "--images", team.frames, *TINY),
        ("retrain", "--project", team.project, *TINY),
    ):
        outcome = labelkit(*command)
        assert outcome.code == 1
        assert "1.png" in outcome.err
        assert "labelkit images relocate" in outcome.err
        assert "labelkit images remove" in outcome.err
    assert rounds(open_project(team.project)) == []


def test_a_file_that_holds_another_picture_now_is_noticed_before_a_training(team):
    write_picture(team.frames / "1.png", (32, 24), seed=99)
    outcome = labelkit("retrain", "--project", team.project, *TINY)
    assert outcome.code == 1
    assert "1.png" in outcome.err
    assert "labelkit images remove" in outcome.err
    shutil.copy(team.frames / "0.png", team.frames / "copy.png")
    (team.frames / "copy.png").replace(team.frames / "0.png")  # the same content, touched
    assert run(team, "list").changed == ("1.png",)


def test_removing_keeps_the_labels_in_the_journal(team):
    before = journal(team.project)
    (team.frames / "1.png").unlink()
    assert run(team, "list").gone == ("1.png",)
    assert run(team, "remove", dry_run=True).done == ("1.png",)
    assert run(team, "list").images == 3
    report = run(team, "remove")
    assert (report.done, report.labels, report.images, report.gone) == (("1.png",), 1, 2, ())
    assert report.removed == ("1.png",)
    assert journal(team.project) == before
    project = open_project(team.project)
    with store_of(team) as store:
        assert [image.path for image in store.images()] == ["0.png", "2.png"]
        snapshot = read_snapshot(project, store)
        assert len(snapshot.instances) == len(snapshot.presences) == 2
        counts = store.counts()
        assert (counts.images, counts.instances, counts.entries) == (2, 2, 3)
        assert status(project, store).removed_images == 1
        written = export(
            project,
            store,
            form="visibility",
            predictions=False,
            output=None,
            dry_run=False,
            overwrite=False,
            progress=Silent(),
        )
        assert "1.png" not in written.file.read_text()


def test_after_removing_it_the_project_trains(team):
    (team.frames / "1.png").unlink()
    run(team, "remove")
    assert team.bootstrap().code == 0
    (done,) = rounds(open_project(team.project))
    with store_of(team) as store:
        predicted = read_predictions(
            done.path / "predictions.parquet", open_project(team.project).skeleton
        )
        assert predicted.keys() == store.instances().keys()


def test_a_removed_image_stays_out_until_it_is_restored_with_its_labels(team):
    report = run(team, "remove", team.frames / "1.png")
    assert report.done == ("1.png",)
    outcome = team.bootstrap()
    assert outcome.code == 0
    assert "labelkit images restore" in outcome.out
    with store_of(team) as store:
        assert len(store.images()) == 2
    assert run(team, "restore").done == ("1.png",)
    project = open_project(team.project)
    with store_of(team) as store:
        assert len(read_snapshot(project, store).presences) == 3


def test_a_folder_of_images_is_removed_at_once_and_an_unknown_path_is_named(team, monkeypatch):
    for number in (7, 8):
        write_picture(team.frames / "blurred" / f"{number}.png", (32, 24), seed=number)
    assert team.bootstrap().code == 3  # two of five are not ticked
    monkeypatch.chdir(team.frames)
    outcome = labelkit("images", "remove", "blurred", "--project", team.project, "--json")
    assert json.loads(outcome.out)["done"] == ["blurred/7.png", "blurred/8.png"]
    with pytest.raises(ImageError, match=r"nowhere\.png"):
        run(team, "remove", team.frames / "nowhere.png")


def test_images_are_not_removed_because_their_folder_is_not_there(team):
    team.frames.rename(team.folder / "elsewhere")
    with pytest.raises(ImageError, match="labelkit images relocate"):
        run(team, "remove")
    team.frames.mkdir()
    with pytest.raises(ImageError, match="labelkit images relocate"):
        run(team, "remove")


def test_an_edited_picture_is_a_new_image_once_the_former_is_removed(team):
    write_picture(team.frames / "1.png", (32, 24), seed=99)
    outcome = team.bootstrap()
    assert outcome.code == 1
    assert "labelkit images remove" in outcome.err
    run(team, "remove")
    assert team.bootstrap().code == 3  # it is not ticked
    with store_of(team) as store:
        assert [image.path for image in store.images()] == ["0.png", "1.png", "2.png"]
        assert len(store.presences(open_project(team.project).skeleton)) == 2
    with pytest.raises(ImageError, match=r"1\.png"):
        run(team, "restore")


def test_labels_of_removed_images_in_a_file_or_an_export_do_not_stop_it(team):
    run(team, "remove", team.frames / "1.png")
    names = "nose,left_paw,right_paw,tail"
    rows = "".join(f"{n}.png,0,1,0,1\n" for n in range(3))
    answers = team.write("more.csv", f"image,{names}\n{rows}")
    assert team.bootstrap("--labels", answers).code == 0
    tasks = team.project / "label_studio" / "visibility_tasks.json"
    assert "1.png" in tasks.read_text()
    export_ = answer_everything(team.project)
    again = labelkit("pull", "--file", export_, "--project", team.project)
    assert again.code == 0, again


# Renamed and moved


def test_renamed_and_moved_images_are_found_by_content(team):
    before = journal(team.project)
    (team.frames / "0.png").rename(team.frames / "1b.png")
    (team.frames / "1.png").rename(team.frames / "0.png")
    (team.frames / "deep" / "er").mkdir(parents=True)
    (team.frames / "2.png").rename(team.frames / "deep" / "er" / "2.png")
    report = run(team, "relocate")
    assert sorted(report.moved) == [
        ("0.png", "1b.png"),
        ("1.png", "0.png"),
        ("2.png", "deep/er/2.png"),
    ]
    assert (report.images, report.gone, report.changed, report.new) == (3, (), (), ())
    assert run(team, "relocate").moved == ()
    assert journal(team.project) == before
    assert team.bootstrap().code == 0


def test_a_renamed_folder_becomes_the_images_folder(team):
    renamed = team.folder / "photographs"
    team.frames.rename(renamed)
    outcome = labelkit("retrain", "--project", team.project, *TINY)
    assert outcome.code == 1
    assert f"{team.frames} is gone" in outcome.err
    assert "labelkit images relocate" in outcome.err
    with store_of(team) as store:
        step = status(open_project(team.project), store).next_step
    assert step.endswith("labelkit images relocate NEW_FOLDER")
    outcome = labelkit("bootstrap", "--images", team.frames, *TINY)
    assert outcome.code == 1
    assert f"labelkit images relocate FOLDER --project {team.project}" in outcome.err
    report = run(team, "relocate", renamed)
    assert (report.folder, report.images, report.gone) == (renamed, 3, ())
    assert (report.found, report.moved) == (3, ())
    assert "3 images" in report.text().splitlines()[0]
    outcome = labelkit("bootstrap", "--images", team.frames, *TINY)
    assert f"labelkit bootstrap --images {renamed} --project {team.project}" in outcome.err
    assert open_project(team.project).images_root == renamed
    assert labelkit("bootstrap", "--images", renamed, *TINY).code == 0
    assert not (team.folder / "photographs-labelkit").exists()


def test_no_second_project_is_made_for_a_renamed_folder(team):
    renamed = team.folder / "photographs"
    team.frames.rename(renamed)
    for more in ((), ("--project", team.project)):
        outcome = labelkit("bootstrap", "--images", renamed, *more, *TINY)
        assert outcome.code == 2
        assert f"labelkit images relocate {renamed} --project {team.project}" in outcome.err
    assert not (team.folder / "photographs-labelkit").exists()


def test_a_folder_without_the_images_is_refused(team):
    write_picture(team.folder / "others" / "a.png", (32, 24), seed=50)
    shutil.copy(team.frames / "0.png", team.folder / "others" / "0.png")
    with pytest.raises(ImageError, match="1 of the 3 images"):
        run(team, "relocate", team.folder / "others")
    with pytest.raises(ImageError, match="nowhere"):
        run(team, "relocate", team.folder / "nowhere")
    with pytest.raises(UsageError, match="2"):
        run(team, "relocate", team.folder, team.frames)
    assert open_project(team.project).images_root == team.frames


def test_what_cannot_be_found_is_named_and_the_rest_moves(team):
    renamed = team.folder / "photographs"
    team.frames.rename(renamed)
    (renamed / "1.png").unlink()
    report = run(team, "relocate", renamed)
    assert (report.gone, report.folder) == (("1.png",), renamed)
    assert "labelkit images remove" in report.text()


# Added


def add(trained, count: int) -> None:
    for number in range(count):
        write_picture(trained.images / f"later-{number:02d}.png", (96, 96), seed=1000 + number)


def register_more(trained, boxes: str = "whole-image") -> Outcome:
    where = ("--images", trained.images, "--project", trained.project.root)
    return labelkit("bootstrap", *where, *(("--boxes", boxes) if boxes else ()))


def test_the_boxes_option_is_remembered_and_what_its_file_does_not_name_is_noted(trained):
    add(trained, 2)
    outcome = register_more(trained, boxes="")
    assert outcome.code == 0
    assert "2 images without a box in keypoints.json" in outcome.out
    assert len(trained.store.instances()) == FIGURES
    assert register_more(trained).code == 0
    add(trained, 4)  # two more
    assert register_more(trained, boxes="").code == 0
    later = [i for i in trained.store.instances().values() if "later" in i.image.path]
    assert [item.box_source for item in later] == ["whole-image"] * 4


@pytest.mark.parametrize("after_a_retrain", [False, True])
def test_added_images_are_registered_predicted_by_the_newest_round_queued_and_counted(
    trained, after_a_retrain
):
    from labelkit.workflows.sync.pull_file import pull_file

    if after_a_retrain:
        pull_file(trained.project, trained.store, trained.corrections())
        options = TrainingOptions()
        retrain(trained.project, trained.store, Silent(), percent=None, now=False, options=options)
    newest = latest_complete(trained.project)
    assert newest is not None
    before = (newest.path / "predictions.parquet").read_bytes()
    add(trained, 20)
    assert status(trained.project, trained.store).new_images == 20
    step = status(trained.project, trained.store).next_step
    assert step.endswith(f"labelkit bootstrap --images {trained.images}")

    for again in (False, True):
        outcome = register_more(trained)
        assert outcome.code == 0, outcome
        assert ("20 new" in outcome.out) is not again
        assert ("Predicted 20 new" in outcome.out) is not again
        assert latest_complete(trained.project) == newest
        new = {i.id for i in trained.store.instances().values() if "later" in i.image.path}
        assert len(new) == 20
        path = newest.path / "predictions.parquet"
        assert path.read_bytes() == before
        predictions = read_predictions(path, trained.project.skeleton)
        assert new < predictions.keys()
        assert len(predictions) == FIGURES + 20
        with MapReader(newest.path / "maps" / "maps.parquet") as maps:
            assert set(maps) == set(predictions)
        queued = {item.instance_id: item.reason for item in read_queue(trained.project)}
        assert new <= queued.keys()
        assert {queued[item] for item in new} <= {"new", "dev"}
    assert status(trained.project, trained.store).new_images == 0


def test_a_killed_prediction_of_added_images_is_made_again(trained):
    add(trained, 3)
    assert register_more(trained).code == 0
    newest = latest_complete(trained.project)
    assert newest is not None
    (newest.path / "maps" / "maps-2.parquet").unlink()  # the predictions come first
    outcome = register_more(trained)
    assert "Predicted 3 new" in outcome.out
    with MapReader(newest.path / "maps" / "maps.parquet") as maps:
        assert len(maps) == FIGURES + 3


def test_a_large_addition_is_queued_at_the_labelled_percentage(trained, monkeypatch):
    monkeypatch.setattr("labelkit.workflows.rounds.queue_file.ALL_NEW", 2)
    add(trained, 30)
    assert register_more(trained).code == 0
    queued = read_queue(trained.project)
    new = [i for i in queued if "later" in trained.store.instances()[i.instance_id].image.path]
    # 10 % of 54 to train on and the dev set; among them at least 10 % of the 30 new ones.
    assert 3 <= len(new) < 15


def test_copies_that_were_left_out_are_not_new(team):
    shutil.copy(team.frames / "0.png", team.frames / "copy.png")
    assert run(team, "list").new == ("copy.png",)
    assert team.bootstrap().code == 0
    assert run(team, "list").new == ()


def test_the_list_takes_no_path(team):
    with pytest.raises(UsageError):
        run(team, "list", team.frames)


def test_the_store_of_the_images_is_locked_to_its_project(team, monkeypatch):
    monkeypatch.setenv("LABELKIT_DB", open_project(team.project).own_store_url)
    write_picture(team.folder / "others" / "a.png", (32, 24), seed=50)
    outcome = labelkit(
        *(
            "bootstrap",
            "--images",
            team.folder / "others",
            "--skeleton",
            team.folder / "stick.toml",
        ),
        *TINY,
    )
    assert outcome.code == 1
    assert "'frames'" in outcome.err
    assert not (team.folder / "others-labelkit").exists()
    with store_of(team) as store:
        assert len(store.images()) == 3
        assert np.all([image.path.endswith(".png") for image in store.images()])
