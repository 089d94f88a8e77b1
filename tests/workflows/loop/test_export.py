import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import sleap_io
import yaml
from builders import make_project
from trained import FIGURES

from labelkit.domain.instance import Box
from labelkit.domain.selection import DevDraw, control_arm
from labelkit.errors import ImageError, UsageError, WaitingForLabels
from labelkit.formats.coco import read_coco
from labelkit.formats.cvat import read_cvat
from labelkit.formats.deeplabcut.tables import read_deeplabcut_csv
from labelkit.progress import Silent
from labelkit.project.project import remember
from labelkit.store.journal import KEYPOINTS, SKIP, Entry
from labelkit.store.label_store import LabelStore
from labelkit.store.objects import NewInstance
from labelkit.workflows.loop.export import FORMATS, export
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.queue_file import CONTROL_SHARE
from labelkit.workflows.sync.pull_file import pull_file


def run(trained, form="coco", predictions=False, output=None, dry_run=False, overwrite=False):
    return export(
        trained.project,
        trained.store,
        Silent(),
        form=form,
        predictions=predictions,
        output=output,
        dry_run=dry_run,
        overwrite=overwrite,
    )


@pytest.fixture
def corrected(trained):
    pull_file(trained.project, trained.store, trained.corrections())
    return trained


def test_coco_holds_every_human_pose_exactly(corrected):
    report = run(corrected)
    poses = corrected.store.poses(corrected.project.skeleton)
    document = json.loads(report.file.read_text())
    back = read_coco(document, "export")
    assert (report.labelled, report.predicted) == (len(poses), 0)
    by_id = dict(
        zip([row["labelkit_id"] for row in document["annotations"]], back.annotations, strict=True)
    )
    for id_, pose in poses.items():
        assert np.array_equal(by_id[id_].pose.xy, pose.xy)
        assert np.array_equal(by_id[id_].pose.visibility, pose.visibility)


def test_labels_that_came_in_go_out_unchanged(trained, tmp_path):
    """The way through the store loses no digit, box or area."""
    trained.bootstrap(trained.truth_file)
    report = run(trained, output=tmp_path / "out.json")
    first = read_coco(json.loads(trained.truth_file.read_text()), "in")
    second = read_coco(json.loads(report.file.read_text()), "out")
    assert second.skeleton.keypoints == trained.project.skeleton.keypoints
    order = [first.skeleton.index(name) for name in second.skeleton.keypoints]
    came = {a.image_path: a for a in first.annotations}
    assert len(second.annotations) == FIGURES
    for out in second.annotations:
        into = came[out.image_path]
        assert (out.box, out.area) == (into.box, into.area)
        assert np.array_equal(out.pose.xy, into.pose.xy[order])
        assert np.array_equal(out.pose.visibility, into.pose.visibility[order])


def test_predictions_are_exported_for_instances_that_no_human_corrected(corrected):
    report = run(corrected, predictions=True)
    rows = json.loads(report.file.read_text())["annotations"]
    assert report.labelled + report.predicted == len(rows) == FIGURES
    labelled = corrected.store.poses(corrected.project.skeleton)
    for row in rows:
        assert (row["score"] == 1.0) == (row["labelkit_id"] in labelled)


def test_what_people_label_without_pre_annotation_is_predicted_only_for_programs(corrected):
    store, project = corrected.store, remember(corrected.project, unshown=["head_top"])
    poses, snapshot = store.poses(project.skeleton), read_snapshot(project, store)
    image = next(it for id_, it in store.instances().items() if id_ not in poses).image
    store.keep_dev_draw(DevDraw(0.0, frozenset([image.id])))
    arm = control_arm(snapshot.instances, project.seed, CONTROL_SHARE)
    blank = {id_ for id_ in arm | {f"{image.id}-0"} if id_ not in poses}
    corrected = corrected._replace(project=project)
    report = run(corrected, form="cvat", predictions=True)
    assert report.labelled + report.predicted == FIGURES - len(blank)
    assert any("labelkit label" in note for note in report.notes)
    found = read_cvat((report.file / "annotations.xml").read_text(), "export")
    predicted = [it for it in found.annotations if it.reference not in poses]
    assert blank.isdisjoint(it.reference for it in predicted)
    head_top = found.skeleton.index("head_top")
    assert predicted
    assert not any(it.pose.present[head_top] for it in predicted)
    assert run(corrected, predictions=True).predicted == FIGURES - report.labelled


def test_a_skipped_instance_is_not_exported_as_predicted(corrected):
    store = corrected.store
    id_ = next(
        id_ for id_ in store.instances() if id_ not in store.poses(corrected.project.skeleton)
    )
    store.record([Entry(id_, SKIP, {}, "label-studio", "1", "1")])
    report = run(corrected, predictions=True)
    assert report.labelled + report.predicted == FIGURES - 1
    rows = json.loads(report.file.read_text())["annotations"]
    assert id_ not in {row["labelkit_id"] for row in rows}


def test_predicted_keypoints_stay_within_the_visibility_answers(trained):
    report = run(trained, predictions=True)
    answers = trained.store.presences(trained.project.skeleton)
    for row in json.loads(report.file.read_text())["annotations"]:
        shown = np.array(row["keypoints"]).reshape(-1, 3)[:, 2] > 0
        assert shown.tolist() == answers[row["labelkit_id"]].tolist()


def test_the_answers_come_as_csv_that_bootstrap_reads(trained):
    report = run(trained, form="visibility")
    rows = list(csv.DictReader(report.file.read_text(encoding="utf-8").splitlines()))
    answers = trained.store.presences(trained.project.skeleton)
    assert report.labelled == len(rows) == FIGURES
    for row in rows:
        written = [row[name] == "1" for name in trained.project.skeleton.keypoints]
        assert written == answers[row["instance"]].tolist()
    again = trained.bootstrap(report.file)
    assert again.registered.images == FIGURES


def test_yolo_is_a_folder_with_the_labelled_images_and_one_file_for_each(corrected):
    report = run(corrected, form="yolo")
    settings = yaml.safe_load((report.file / "data.yaml").read_text())
    assert settings["kpt_shape"] == [14, 3]
    labelled = set(corrected.store.poses(corrected.project.skeleton))
    paths = {corrected.store.instances()[id_].image.path for id_ in labelled}
    assert len(paths) == report.labelled
    for path in paths:
        copy = report.file / "images" / path
        assert copy.read_bytes() == (corrected.images / path).read_bytes()
        assert (report.file / "labels" / path).with_suffix(".txt").is_file()
    assert len(list((report.file / "images").rglob("*.*"))) == len(paths)


def test_the_dev_set_of_a_project_validates_in_yolo(corrected):
    report = run(corrected, form="yolo")
    snapshot = read_snapshot(corrected.project, corrected.store)
    for split in ("train", "val"):
        lines = (report.file / f"{split}.txt").read_text().splitlines()
        wanted = {
            f"./images/{snapshot.instances[id_].image.path}"
            for id_ in snapshot.poses
            if (id_ in snapshot.dev) == (split == "val")
        }
        assert set(lines) == wanted
        assert wanted


def test_dlc_is_a_deeplabcut_project_that_comes_back_to_the_digit(corrected):
    report = run(corrected, form="dlc")
    (table,) = report.file.glob("labeled-data/*/CollectedData_labelkit.csv")
    assert table.parent.name == corrected.images.name
    config = yaml.safe_load((report.file / "config.yaml").read_text())
    assert config["bodyparts"] == list(corrected.project.skeleton.keypoints)
    assert f"convertcsv2h5({str(report.file / 'config.yaml')!r}" in report.text()
    poses = corrected.store.poses(corrected.project.skeleton)
    by_path = {corrected.store.instances()[id_].image.path: pose for id_, pose in poses.items()}
    _, annotations, _ = read_deeplabcut_csv(table.read_text(), "it")
    assert len(annotations) == report.labelled
    for item in annotations:
        pose = by_path[item.image_path.rpartition("/")[2]]
        assert np.array_equal(item.pose.xy, pose.xy)
        picture = report.file / item.image_path
        assert picture.read_bytes() == (corrected.images / picture.name).read_bytes()


def test_what_deeplabcut_wrote_into_its_configuration_stays(corrected):
    path = run(corrected, form="dlc").file / "config.yaml"
    config = yaml.safe_load(path.read_text()) | {"iteration": 2, "date": "Oct30"}
    path.write_text(yaml.safe_dump(config))  # as DeepLabCut does: without comments
    before = path.read_bytes()
    run(corrected, form="dlc", output=path.parent)
    assert path.read_bytes() == before


def test_the_scorer_of_imported_tables_goes_out_again(corrected):
    id_ = next(iter(corrected.store.poses(corrected.project.skeleton)))
    found = next(e for e in corrected.store.latest([KEYPOINTS]) if e.instance_id == id_)
    corrected.store.record([replace(found, source="file:CollectedData_anna.csv")])
    report = run(corrected, form="dlc")
    assert list(report.file.glob("labeled-data/*/CollectedData_anna.csv"))


@pytest.mark.parametrize("form", ["yolo", "dlc"])
def test_images_are_copied_once_and_one_that_is_gone_is_named(corrected, form):
    report = run(corrected, form=form)
    copies = {path: path.stat().st_ino for path in report.file.rglob("*.jpg")}
    assert len(copies) == report.labelled
    run(corrected, form=form)
    assert {path: path.stat().st_ino for path in copies} == copies
    gone = next(iter(copies))
    (corrected.images / gone.name).unlink()
    gone.unlink()
    with pytest.raises(ImageError, match=gone.name):
        run(corrected, form=form)


@pytest.mark.parametrize("form", ["coco", "yolo", "dlc"])
def test_objects_without_keypoints_beside_labelled_ones_are_counted(corrected, form):
    id_ = next(iter(corrected.store.poses(corrected.project.skeleton)))
    image = corrected.store.instances()[id_].image
    corrected.store.add_instances([NewInstance(image, Box(1, 1, 9, 9), "given", 81.0)])
    (note,) = [note for note in run(corrected, form=form).notes if "1 object" in note]
    assert note in run(corrected, form=form).text()


def test_a_dry_run_writes_nothing(corrected):
    for form in FORMATS:
        report = run(corrected, form=form, dry_run=True)
        assert report.dry_run
        assert not report.file.exists()


def test_exporting_twice_writes_the_same(corrected):
    first = run(corrected).file.read_bytes()
    assert run(corrected).file.read_bytes() == first


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_replaces_an_earlier_one_in_the_file_that_the_user_names(corrected, form):
    target = corrected.folder / "out"
    run(corrected, form=form, output=target)
    assert run(corrected, form=form, output=target).file == target


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("coco", "keypoints.json"),
        ("yolo", "yolo"),
        ("dlc", "dlc"),
        ("cvat", "cvat"),
        ("sleap", "labels.slp"),
        ("visibility", "visibility.csv"),
    ],
)
def test_a_file_of_the_user_is_replaced_only_with_overwrite(corrected, form, name):
    target = corrected.folder / name
    path = target
    if form == "yolo":
        labelled = next(iter(corrected.store.poses(corrected.project.skeleton)))
        image = corrected.store.instances()[labelled].image.path
        path = (target / "labels" / image).with_suffix(".txt")
        path.parent.mkdir(parents=True)
        path.write_text("0 0.5 0.5 1 1\n")
    if form == "dlc":
        path = target / f"labeled-data/{corrected.images.name}/CollectedData_labelkit.csv"
        path.parent.mkdir(parents=True)
        path.write_text("scorer,anna\n")
    if form == "cvat":
        path = target / "annotations.xml"
        path.parent.mkdir()
        path.write_text("<annotations></annotations>\n")
    if form == "sleap":
        run(corrected, form=form, output=target)
        sleap_io.save_slp(sleap_io.load_slp(str(target), open_videos=False), str(target))
    before = path.read_bytes()
    for dry_run in (True, False):
        with pytest.raises(UsageError, match=f"{path}(?s:.*)--overwrite"):
            run(corrected, form=form, output=target, dry_run=dry_run)
    assert path.read_bytes() == before
    run(corrected, form=form, output=target, overwrite=True)
    assert path.read_bytes() != before


@pytest.mark.parametrize("name", ["", "new.json"])
def test_nothing_is_written_among_the_images(corrected, name):
    first = min(corrected.images.iterdir())
    target = corrected.images / (name or first.name)
    before = first.read_bytes()
    with pytest.raises(UsageError, match=f"{target}.*{corrected.images}"):
        run(corrected, output=target, overwrite=True)
    assert first.read_bytes() == before
    assert not (corrected.images / "new.json").exists()


def test_without_human_labels_there_is_nothing_to_export(tmp_path):
    project = make_project(tmp_path)
    with (
        LabelStore.open(project.store_url) as store,
        pytest.raises(WaitingForLabels, match="labelkit push"),
    ):
        export(project, store, Silent(), form="coco", predictions=False, output=None, dry_run=False)


@pytest.mark.parametrize("form", ["coco", "yolo"])
def test_visibility_answers_alone_are_exported_as_such(trained, form):
    with pytest.raises(WaitingForLabels, match=f"{FIGURES} .*labelkit export --format visibility"):
        run(trained, form=form)


def test_an_unknown_format_names_the_known_ones(trained):
    with pytest.raises(
        UsageError, match=r"'voc'(?s:.*)coco, yolo, dlc, lightning-pose, cvat, sleap, visibility"
    ):
        run(trained, form="voc")
