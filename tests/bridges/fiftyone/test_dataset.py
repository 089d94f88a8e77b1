"""A dataset in a real MongoDB: FiftyOne reads what we wrote, and we read its edits back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import make_project
from reviewed import IMAGE, SKELETON, make_item

from labelkit.bridges.fiftyone import dataset as bridge
from labelkit.bridges.fiftyone.edits import edits
from labelkit.bridges.fiftyone.private import samples_of
from labelkit.bridges.fiftyone.samples import image_document
from labelkit.bridges.fiftyone.views import dress, save_views, views
from labelkit.project.project import Project

URL = "http://127.0.0.1:5152/{}/{}/{}.png".format
ONE = make_item().instance.id


def documents(*items: Any) -> list[dict[str, Any]]:
    return [image_document(IMAGE, "/images/a.png", items or [make_item()], SKELETON, URL)]


@pytest.fixture
def project(fiftyone_database: None, tmp_path: Path) -> Iterator[Project]:
    bridge.quiet_fiftyone()
    yield make_project(tmp_path)
    import fiftyone as fo

    for name in fo.list_datasets():
        fo.delete_dataset(name)


def opened(project: Project, **options: Any) -> Any:
    options = {"instances": False, "rounds": ["round_000"], "with_maps": True} | options
    return bridge.open_dataset(project, **options)[0]


def test_fiftyone_stores_the_same_documents_as_we_do(project: Project):
    import fiftyone as fo

    ours = documents()[0]
    (box,), (points,) = ours["boxes"]["detections"], ours["round_000"]["keypoints"]
    link = fo.Instance(id=str(box["instance"]["_id"]))
    label = {"labelkit_id": ONE, "instance": link}
    detection = fo.Detection(
        id=str(box["_id"]),
        label="object",
        bounding_box=box["bounding_box"],
        box_source="given",
        can_be_seen=["nose", "left_paw", "right_paw"],
        cannot_be_seen=["tail"],
        **label,
    )
    details = ("points", "confidence", "visibility", "written", "presence")
    keypoint = fo.Keypoint(
        id=str(points["_id"]), label="stick", **label, **{name: points[name] for name in details}
    )
    sample = fo.Sample(
        filepath="/images/a.png",
        metadata=fo.ImageMetadata(width=100, height=80),
        tags=["labelled"],
        boxes=fo.Detections(detections=[detection]),
        round_000=fo.Keypoints(keypoints=[keypoint]),
        map_nose=fo.Heatmap(id=str(ours["map_nose"]["_id"]), map_path=ours["map_nose"]["map_path"]),
    )
    theirs = fo.Dataset()
    theirs.add_sample(sample, dynamic=True)
    stored = samples_of(theirs).find_one()
    names = ("filepath", "tags", "boxes", "round_000", "map_nose", "metadata", "_media_type")
    assert {name: plain(ours[name]) for name in names} == {n: plain(stored[n]) for n in names}
    assert set(stored) - set(ours) == {"_id", "_dataset_id", "created_at", "last_modified_at"}


def plain(value: Any) -> Any:
    """Without nulls, which FiftyOne treats as missing, and with a NaN that equals itself."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return "NaN" if value != value else value


def test_fiftyone_reads_boxes_keypoints_and_maps(project: Project):
    dataset = opened(project)
    bridge.upsert(dataset, documents(), None)
    sample = dataset.first()
    assert sample.metadata.width == 100
    assert sample.boxes.detections[0].label == "object"
    assert sample.human.keypoints[0].points[1] == [0.5, 0.5]
    assert sample.round_000.keypoints[0].confidence == [0.5, 0.25, 0.75, 1.0]
    assert sample.map_nose.map_path == f"http://127.0.0.1:5152/response/0/{IMAGE.id}.png"
    assert sample.boxes.detections[0].instance.id == sample.human.keypoints[0].instance.id
    assert dataset.default_skeleton.labels == list(SKELETON.keypoints)
    schema = dataset.get_field_schema(flat=True)
    assert {"round_000.keypoints.presence", "boxes.detections.can_be_seen"} <= set(schema)


def test_a_second_upsert_changes_nothing(project: Project):
    dataset = opened(project)
    assert bridge.upsert(dataset, documents(), None) == bridge.Upserted(1, 0, 0, 0)
    again = bridge.upsert(opened(project), documents(), None)
    assert again == bridge.Upserted(0, 0, 1, 0)
    assert len(dataset) == 1


def test_an_update_keeps_ids_tags_of_the_user_and_fields_of_the_user(project: Project):
    import fiftyone as fo

    dataset = opened(project)
    bridge.upsert(dataset, documents(), None)
    dataset.add_sample_field("mine", fo.StringField)
    sample = dataset.first()
    sample.tags += ["my tag"]
    sample["mine"] = "kept"
    sample.boxes.detections[0].tags = ["odd"]
    sample.save()
    changed = replace(make_item(uncertainty=0.5), tags=("dev",))
    assert bridge.upsert(dataset, documents(changed), None) == bridge.Upserted(0, 1, 0, 0)
    after = dataset.first()
    assert after.id == sample.id
    assert after.tags == ["my tag", "dev"]
    assert after["mine"] == "kept"
    assert after.boxes.detections[0].tags == ["odd"]
    assert after.boxes.detections[0].id == sample.boxes.detections[0].id
    assert after.uncertainty == 0.5


def test_a_sample_that_left_the_project_leaves_the_dataset(project: Project):
    dataset = opened(project)
    bridge.upsert(dataset, documents(), None)
    assert bridge.upsert(dataset, [], ["another"]) == bridge.Upserted(0, 0, 0, 1)
    assert len(dataset) == 0


def test_two_projects_of_one_name_have_two_datasets(project: Project, tmp_path: Path):
    first = opened(project)
    other = make_project(tmp_path / "other")
    assert other.name == project.name
    second = opened(other)
    assert second.name != first.name
    assert opened(project).name == first.name


def test_a_project_that_was_moved_keeps_its_dataset(project: Project, tmp_path: Path):
    name = opened(project).name
    moved = replace(project, root=tmp_path / "elsewhere" / "frames-labelkit")
    moved.root.parent.mkdir()
    project.root.rename(moved.root)
    assert opened(moved).name == name


def test_a_project_that_is_gone_keeps_its_dataset_from_others_of_its_name(
    project: Project, tmp_path: Path
):
    name = opened(project).name
    shutil.rmtree(project.root)
    other = replace(project, root=tmp_path / "another" / "frames-labelkit")
    other.root.mkdir(parents=True)
    assert opened(other).name != name


@pytest.mark.parametrize("name", ["Ω", "<b>&", "a" * 150])
def test_a_project_of_any_name_has_a_dataset(project: Project, name: str):
    assert opened(replace(project, name=name)).name


def test_tags_are_read_from_samples_and_from_single_boxes(project: Project):
    dataset = opened(project)
    one, two = make_item(0), make_item(1)
    bridge.upsert(dataset, documents(one, two), None)
    sample = dataset.first()
    sample.boxes.detections[1].tags = ["exclude"]
    sample.tags += ["label-next"]
    sample.save()
    found, present = bridge.tagged(dataset, ["label-next", "exclude"])
    assert found == {"label-next": {one.instance.id, two.instance.id}, "exclude": {two.instance.id}}
    assert present == {one.instance.id, two.instance.id}


def test_tags_are_put_on_the_sample_if_all_its_instances_have_them(project: Project):
    dataset = opened(project)
    one, two = make_item(0), make_item(1)
    ids = [one.instance.id, two.instance.id]
    bridge.upsert(dataset, documents(one, two), None)
    bridge.put_tags(dataset, {"label-next": ids, "exclude": ids[1:]})
    sample = dataset.first()
    assert sample.tags == ["labelled", "label-next"]
    assert [box.tags for box in sample.boxes.detections] == [[], ["exclude"]]
    bridge.put_tags(dataset, {"label-next": [], "exclude": []})
    sample = dataset.first()
    assert sample.tags == ["labelled"]
    assert [box.tags for box in sample.boxes.detections] == [[], []]


def test_a_selection_is_an_instance_or_all_instances_of_a_sample(project: Project):
    dataset = opened(project)
    one, two = make_item(0), make_item(1)
    bridge.upsert(dataset, documents(one, two), None)
    sample = dataset.first()
    assert bridge.instances_of(dataset, [sample.id], []) == [one.instance.id, two.instance.id]
    label = sample.round_000.keypoints[1].id
    assert bridge.instances_of(dataset, [], [label]) == [two.instance.id]
    assert bridge.instances_of(dataset, [], []) == []


def test_an_edited_point_is_found_and_an_untouched_dataset_has_none(project: Project):
    dataset = opened(project)
    bridge.upsert(dataset, documents(), None)
    assert edits(dataset) == []
    sample = dataset.first()
    sample.human.keypoints[0].points[0] = [0.75, 0.5]
    sample.save()
    (edit,) = edits(dataset)
    assert (edit.instance_id, edit.field) == (ONE, "human")
    assert edit.points[0] == (0.75, 0.5)
    assert edit.frame == (0.01, 0, 0, 0, 0.0125, 0)
    assert edit.modified_at.startswith("20")


def move_nose(dataset: Any, place: list[float]) -> None:
    """Move a point and save, as a person does in the App."""
    sample = dataset.first()
    sample.human.keypoints[0].points[0] = place
    sample.save()


def test_an_edit_that_was_not_read_is_not_overwritten(project: Project):
    dataset = opened(project)
    bridge.upsert(dataset, documents(), None)
    move_nose(dataset, [0.75, 0.5])
    read = edits(dataset)
    move_nose(dataset, [0.8, 0.5])
    changed = documents(make_item(uncertainty=0.5))
    left = bridge.upsert(dataset, changed, None, read)
    assert left == bridge.Upserted(0, 0, 1, 0)
    (edit,) = edits(dataset)
    assert edit.points[0] == (0.8, 0.5)
    assert bridge.upsert(dataset, changed, None, [edit]) == bridge.Upserted(0, 1, 0, 0)
    assert edits(dataset) == []


def test_an_edit_that_is_saved_while_a_chunk_fills_is_not_overwritten(project: Project):
    dataset = opened(project)
    bridge.upsert(dataset, documents(), None)

    def building() -> Iterator[dict[str, Any]]:
        yield from documents(make_item(uncertainty=0.5))
        move_nose(dataset, [0.75, 0.5])

    assert bridge.upsert(dataset, building(), None) == bridge.Upserted(0, 0, 1, 0)
    (edit,) = edits(dataset)
    assert edit.points[0] == (0.75, 0.5)


def test_an_edit_that_was_read_is_overwritten(project: Project):
    dataset = opened(project)
    bridge.upsert(dataset, documents(), None)
    move_nose(dataset, [0.75, 0.5])
    read = edits(dataset)
    assert bridge.upsert(dataset, documents(), None, read) == bridge.Upserted(0, 1, 0, 0)
    assert dataset.first().human.keypoints[0].points[0] == [0.1, 0.25]
    assert edits(dataset) == []


def test_every_view_opens_and_stays_as_the_user_left_it(project: Project):
    dataset = opened(project)
    item = make_item(uncertainty=0.5, swaps=("left_paw / right_paw",), correction=0.2)
    bridge.upsert(dataset, documents(item), None)
    wanted = ["ann@example.org", "ann example.org"]  # one slug
    names = save_views(dataset, views(dataset, SKELETON, wanted))
    counts = {name: len(dataset.load_saved_view(name)) for name in names}
    assert counts["most uncertain"] == counts["suspected left-right swaps"] == 1
    assert counts["largest corrections"] == counts["keypoint nose"] == 1
    assert counts["present but not found"] == counts["control arm"] == 0
    assert len(set(names)) == len(names)
    before = [str(doc.id) for doc in dataset._doc.saved_views]
    dataset.save_view("my own", dataset.limit(1))
    assert save_views(dataset, views(dataset, SKELETON, wanted)) == names
    after = [str(doc.id) for doc in dataset._doc.saved_views]
    assert after[: len(before)] == before


def test_what_an_earlier_version_called_otherwise_is_dropped_once(project: Project):
    dataset = opened(project)
    bridge.upsert(dataset, documents(make_item(answered_absent=("tail",))), None)
    move_nose(dataset, [0.75, 0.5])
    dataset.rename_sample_field("answered_absent", "said_absent")  # as until 2026-11-28
    dataset.save_view("found but said absent", dataset.exists("said_absent"))
    read = edits(dataset)

    dataset = opened(project)
    again = bridge.upsert(dataset, documents(make_item(answered_absent=("tail",))), None, read)
    save_views(dataset, views(dataset, SKELETON, []))

    assert again == bridge.Upserted(0, 1, 0, 0)
    assert "said_absent" not in dataset.get_field_schema()
    assert dataset.first().answered_absent == ["tail"]
    assert "found but said absent" not in dataset.list_saved_views()
    assert len(dataset.load_saved_view("found but answered absent")) == 1
    assert edits(dataset) == []


def test_the_app_shows_the_colours_of_label_studio_and_folds_the_maps_away(project: Project):
    from labelkit.domain.colours import keypoint_colours

    dataset = opened(project)
    bridge.upsert(dataset, documents(), None)
    dress(dataset, SKELETON, ["round_000"], True)
    config = dataset.app_config
    assert config.color_scheme.color_pool == list(keypoint_colours(SKELETON))
    fields = {row["path"]: row["fieldColor"] for row in config.color_scheme.fields}
    nose = {fields[name] for name in ("map_nose", "heatmap_nose", "cam_nose")}
    assert nose == {keypoint_colours(SKELETON)[0]}
    # The pool is for keypoints: a field without a colour of its own would take one first.
    assert fields.keys() >= set(dataset.get_field_schema())
    assert config.color_scheme.label_tags
    groups = {group.name: group for group in config.sidebar_groups}
    assert groups["response maps"].paths == [
        "map_nose",
        "map_left_paw",
        "map_right_paw",
        "map_tail",
    ]
    assert groups["heatmaps"].paths[0] == "heatmap_nose"
    for name in ("response maps", "heatmaps", "CAMs"):
        assert not groups[name].expanded
    assert config.active_fields.paths == ["boxes", "human", "round_000"]


def test_heatmaps_get_their_colours_in_a_dataset_of_an_earlier_version_too(project: Project):
    dataset = opened(project)
    dress(dataset, SKELETON, ["round_000"], True)
    scheme = dataset.app_config.color_scheme
    for part in ("fields", "colorscales"):
        kept = [row for row in getattr(scheme, part) if not row["path"].startswith("heatmap_")]
        setattr(scheme, part, kept)
    dataset.save()
    dress(dataset, SKELETON, ["round_000"], True)
    for part in ("fields", "colorscales"):
        paths = [row["path"] for row in getattr(dataset.app_config.color_scheme, part)]
        assert paths.count("heatmap_nose") == paths.count("map_nose") == 1


def test_the_users_ticks_stay_until_there_is_a_new_round(project: Project):
    dataset = opened(project)
    dress(dataset, SKELETON, ["round_000"], True)
    dataset.app_config.active_fields.paths = ["human"]
    dataset.save()
    dress(dataset, SKELETON, ["round_000"], True)
    assert dataset.app_config.active_fields.paths == ["human"]
    dataset = opened(project, rounds=["round_000", "round_001"])
    dataset.app_config.color_scheme.fields[0]["fieldColor"] = "#123456"
    dress(dataset, SKELETON, ["round_000", "round_001"], True)
    fields = {row["path"]: row["fieldColor"] for row in dataset.app_config.color_scheme.fields}
    assert "round_001" in fields
    assert "#123456" in fields.values()
    assert dataset.app_config.active_fields.paths == ["boxes", "human", "round_001"]
