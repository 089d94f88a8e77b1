"""Which predicted pose is of which object."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
from foreign import THEIRS, Foreign, make_foreign

from labelkit.domain.instance import Box
from labelkit.errors import FormatError, SkeletonError
from labelkit.store.objects import NewInstance
from labelkit.workflows.intake.predicted_objects import PredictedObjects, read_predicted


@pytest.fixture(scope="module")
def foreign(tmp_path_factory) -> Iterator[Foreign]:
    made = make_foreign(tmp_path_factory.mktemp("foreign"), pictures=3)
    with made.store:
        yield made


def read(foreign: Foreign, document, name="p.json", **more) -> PredictedObjects:
    path = foreign.folder / name
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return read_predicted(foreign.project, foreign.store, path, **more)


def results(foreign: Foreign, ids: str = "path"):
    """COCO results: poses without boxes, so that the extents of keypoints tell the objects."""
    instances = foreign.store.instances()
    return [
        {
            "image_id": instances[id_].image.path if ids == "path" else number,
            "category_id": 1,
            "keypoints": np.column_stack([xy, np.full(6, 0.9)]).ravel().tolist(),
            "score": 0.9,
        }
        for number, (id_, xy) in enumerate(foreign.poses.items())
    ]


def test_a_pose_belongs_to_the_object_that_it_lies_in(foreign):
    found = read(foreign, results(foreign))
    assert found.predictions.keys() == foreign.poses.keys()
    for id_, xy in foreign.poses.items():
        assert np.allclose(found.predictions[id_].xy, xy)
    assert (found.unmatched, found.elsewhere) == (0, 0)


def test_a_second_pose_of_an_object_and_one_beside_all_match_none(foreign):
    rows = results(foreign)
    rows += [rows[0], {**rows[0], "keypoints": [1, 1, 0.9, 2, 2, 0.9] * 3}]
    found = read(foreign, rows)
    assert len(found.predictions) == 6
    assert found.unmatched == 2


def test_poses_of_other_pictures_are_counted(foreign):
    rows = results(foreign)
    found = read(foreign, [*rows, {**rows[0], "image_id": "elsewhere.png"}])
    assert (len(found.predictions), found.elsewhere) == (6, 1)


def test_ids_and_names_come_from_the_coco_file_of_the_images(foreign):
    instances = foreign.store.instances()
    ids = {
        "images": [
            {"id": n, "file_name": instances[id_].image.path, "width": 100, "height": 80}
            for n, id_ in enumerate(foreign.poses)
        ],
        "annotations": [],
        "categories": [{"id": 1, "name": "beast", "keypoints": list(THEIRS)}],
    }
    path = foreign.folder / "ids.json"
    path.write_text(json.dumps(ids))
    found = read(foreign, results(foreign, "number"), ids=path)
    assert found.skeleton.keypoints == THEIRS
    assert len(found.predictions) == 6


def test_keypoints_without_names_are_numbered_or_named_by_the_user(foreign):
    found = read(foreign, results(foreign))
    assert found.skeleton.keypoints[0] == "keypoint 1"
    toml = foreign.folder / "theirs.toml"
    toml.write_text(f'name = "beast"\nkeypoints = {json.dumps(list(THEIRS))}\n')
    assert read(foreign, results(foreign), skeleton=str(toml)).skeleton.keypoints == THEIRS
    with pytest.raises(SkeletonError, match="17"):
        read(foreign, results(foreign), skeleton="coco17")


def test_as_many_keypoints_as_ours_without_names_are_taken_as_ours_and_that_is_said(foreign):
    rows = [{**row, "keypoints": row["keypoints"][:12]} for row in results(foreign)]
    found = read(foreign, rows)
    assert found.skeleton.keypoints == foreign.project.skeleton.keypoints
    assert "stick" in found.notes[0]


def test_a_folder_of_yolo_texts_is_read_in_shares_of_the_pictures(foreign):
    folder = foreign.folder / "labels"
    folder.mkdir()
    instances = foreign.store.instances()
    for id_, xy in foreign.poses.items():
        box = instances[id_].box
        cells = [0, (box.x + box.w / 2) / 100, (box.y + box.h / 2) / 80, box.w / 100, box.h / 80]
        cells += np.column_stack([xy / (100, 80), np.full(6, 0.7)]).ravel().tolist()
        file = folder / f"{instances[id_].image.path.removesuffix('.png')}.txt"
        with file.open("a") as text:
            text.write(" ".join(map(str, cells)) + " 0.8\n")
    found = read_predicted(foreign.project, foreign.store, folder)
    for id_, xy in foreign.poses.items():
        assert np.allclose(found.predictions[id_].xy, xy)


def test_what_the_tool_would_not_show_is_absent(foreign):
    instances = foreign.store.instances()
    id_, xy = next(iter(foreign.poses.items()))
    row = ",".join(f"{x},{y},{s}" for (x, y), s in zip(xy, [0.9, 0.59, 0.6, 0, 1, 1], strict=True))
    text = "\n".join(
        [
            "scorer" + ",net" * 18,
            "bodyparts," + ",".join(name for name in THEIRS for _ in range(3)),
            "coords" + ",x,y,likelihood" * 6,
            f"{instances[id_].image.path},{row}",
        ]
    )
    found = read(foreign, text, "t.csv").predictions[id_]
    assert (found.presence >= 0.5).tolist() == [True, False, True, False, True, True]


def test_in_a_whole_image_the_pose_with_the_highest_scores_counts(tmp_path):
    made = make_foreign(tmp_path, pictures=1)
    with made.store:
        image = made.store.images()[0]
        made.store.add_instances([NewInstance(image, Box(0, 0, 100, 80), "whole-image", 8000.0)])
        rows = [
            {"image_id": image.path, "keypoints": [60, 20, s, 90, 60, s]} for s in (0.4, 0.8, 0.6)
        ]
        whole = next(i.id for i in made.store.instances().values() if i.box_source == "whole-image")
        found = read(made, [*rows], "w.json")
        assert found.predictions[whole].pose.score[0] == pytest.approx(0.6)


@pytest.mark.parametrize("text", ["[]", '{"people": [], "version": 1}', "a,b\n1,2\n"])
def test_other_files_are_refused(foreign, text):
    with pytest.raises(FormatError):
        read(foreign, text, "other.json" if text[0] in "[{" else "other.csv")
