"""Label files as people have them, on their way into the label store."""

import json
import shutil

import numpy as np
import pytest
from builders import stick_skeleton, write_picture

from labelkit.domain.instance import Box
from labelkit.domain.skeleton import load_skeleton
from labelkit.errors import FormatError, MissingDependencyError
from labelkit.progress import Silent
from labelkit.project.project import create_project
from labelkit.store.label_store import LabelStore
from labelkit.workflows.intake import person_detector
from labelkit.workflows.intake.label_files import read_label_file
from labelkit.workflows.intake.label_matching import Handling
from labelkit.workflows.intake.register import register

SIZE = (100, 80)
STICK = stick_skeleton()
POINTS = [20, 30, 2, 40, 30, 2, 30, 40, 1, 0, 0, 0]


class Place:
    """A folder of pictures 0.png, 1.png, ... and a project of the stick skeleton."""

    def __init__(self, folder, skeleton=STICK):
        self.folder, self.frames = folder, folder / "frames"
        for number in range(3):
            write_picture(self.frames / f"{number}.png", SIZE, seed=number)
        self.project = create_project(folder / "project", self.frames, skeleton)

    def take(self, *documents, boxes=None, **handling):
        """Register label files; what was reported."""
        files = []
        for number, document in enumerate(documents):
            path = self.folder / f"{number}.json"
            path.write_text(json.dumps(document))
            files.append(read_label_file(path, self.project.skeleton))
        with LabelStore.open(self.project.store_url) as store:
            return register(
                self.project,
                store,
                Silent(),
                labels=files,
                boxes=boxes,
                skip_unreadable=False,
                handling=Handling(**handling),
            )

    def instances(self):
        """(path, box, its source) of each object."""
        with LabelStore.open(self.project.store_url) as store:
            found = store.instances().values()
        return [(item.image.path, item.box, item.box_source) for item in found]

    def poses(self):
        with LabelStore.open(self.project.store_url) as store:
            return list(store.poses(self.project.skeleton).values())


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture
def no_detector(monkeypatch):
    def refuse(on_notice):
        raise AssertionError("the person detector was asked")

    monkeypatch.setattr(person_detector, "load_detector", refuse)


def coco(*rows, images=3, keypoints=STICK.keypoints, size=SIZE):
    return {
        "images": [
            {"id": n, "file_name": f"{n}.png", "width": size[0], "height": size[1]}
            for n in range(images)
        ],
        "categories": [{"id": 1, "name": "stick", "keypoints": list(keypoints)}],
        "annotations": [{"id": 10 + n, "category_id": 1, **row} for n, row in enumerate(rows)],
    }


def row(image=0, **more):
    return {"image_id": image, "keypoints": POINTS, "bbox": [10, 20, 50, 40], **more}


def without(key, **more):
    return {name: value for name, value in row(**more).items() if name != key}


# Boxes


@pytest.mark.parametrize(
    ("bbox", "keypoints", "expected"),
    [
        # 20 x 10 around (20..40, 30..40), .15 of 20 wider on each side
        ([0, 0, 0, 0], POINTS, Box(17, 27, 26, 16)),
        ([20, 30, 20, 0], POINTS, Box(17, 27, 26, 16)),
        # one keypoint: a tenth of the image's long side
        ([50, 50, 0, 0], [50, 40, 2] + [0] * 9, Box(45, 35, 10, 10)),
    ],
)
def test_a_box_without_area_is_put_around_the_keypoints_and_counted(
    place, bbox, keypoints, expected
):
    report = place.take(coco(row(bbox=bbox, keypoints=keypoints), row(1), row(2)))
    assert place.instances()[0] == ("0.png", expected, "keypoints")
    (note,) = report.notes
    assert "1 object of 0.json" in note


@pytest.mark.parametrize("has_option", [True, False])
def test_boxes_that_change_nothing_are_noted_where_a_user_gave_them(place, has_option):
    everywhere = coco(row(), row(1), row(2))
    report = place.take(everywhere, boxes="whole-image", can_choose=has_option)
    assert [("--boxes" in note) for note in report.notes] == [True] * has_option


def test_objects_without_any_box_are_whole_images_or_around_their_keypoints(place):
    place.take(coco(without("bbox"), row(1, bbox=[]), row(1, bbox=None), row(2)))
    assert [source for _, _, source in place.instances()] == [
        "whole-image",
        "keypoints",
        "keypoints",
        "given",
    ]


def test_a_box_that_reaches_far_out_of_its_picture_is_cut_with_a_note(place):
    report = place.take(coco(row(bbox=[60, 40, 80, 60]), row(1, bbox=[-1, 20, 50, 40]), row(2)))
    assert [box for _, box, _ in place.instances()][:2] == [Box(60, 40, 40, 40), Box(0, 20, 49, 40)]
    (note,) = report.notes
    assert "1 object of 0.json" in note


@pytest.mark.parametrize("image", [0, 1])
def test_an_annotation_that_says_nothing_is_left_out_wherever_it_is(place, image):
    empty = {"image_id": image, "keypoints": [0] * 12}
    report = place.take(coco(row(), empty, row(2)))
    assert [path for path, *_ in place.instances()] == ["0.png", "2.png"]
    assert any("1 annotation of " in note for note in report.notes)


def test_a_box_in_another_place_than_the_image_names_file_and_annotation(place):
    with pytest.raises(FormatError, match=r"0\.json: annotation 10: 0\.png") as caught:
        place.take(coco(row(bbox=[200, 2, 10, 10])))
    assert caught.value.next_step


# Images without objects


@pytest.mark.usefixtures("no_detector")
def test_images_that_a_file_lists_without_annotations_have_no_object(tmp_path):
    person = load_skeleton("coco17")
    place = Place(tmp_path, person)
    labels = coco(row(keypoints=[20, 30, 2] * 17), keypoints=person.keypoints)
    crowd = {"image_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 1}
    labels["annotations"].append({"id": 99, "category_id": 1, **crowd})
    report = place.take(labels)
    assert [path for path, *_ in place.instances()] == ["0.png"]
    assert any("2 images" in note and "--boxes" in note for note in report.notes)
    place.take()  # again, without labels
    assert [path for path, *_ in place.instances()] == ["0.png"]


def test_labels_come_in_offline_though_other_images_wait_for_the_detector(tmp_path, monkeypatch):
    def offline(on_notice):
        raise MissingDependencyError("No network.", "Take --boxes whole-image.")

    monkeypatch.setattr(person_detector, "load_detector", offline)
    person = load_skeleton("coco17")
    place = Place(tmp_path, person)
    labels = coco(row(keypoints=[20, 30, 2] * 17), keypoints=person.keypoints, images=1)
    report = place.take(labels)
    assert [path for path, *_ in place.instances()] == ["0.png"]
    assert any("2 images" in note and "--boxes whole-image" in note for note in report.notes)
    with pytest.raises(MissingDependencyError):
        place.take(boxes="detect")


def test_boxes_are_still_found_in_them_if_the_user_asks(place):
    place.take(coco(row()))
    place.take(boxes="whole-image")
    assert [(path, source) for path, _, source in place.instances()] == [
        ("0.png", "given"),
        ("1.png", "whole-image"),
        ("2.png", "whole-image"),
    ]


def test_images_that_no_file_lists_get_boxes_as_before(place):
    place.take(coco(row(), images=2))
    assert [(path, source) for path, _, source in place.instances()] == [
        ("0.png", "given"),
        ("2.png", "whole-image"),
    ]


def test_whole_images_that_stood_in_go_where_a_file_knows_of_no_object(place):
    place.take()
    place.take(coco(row()))
    assert [path for path, *_ in place.instances()] == ["0.png"]


def test_images_that_only_the_file_has_are_not_missed_if_they_have_no_labels(place):
    place.take(coco(row(), images=30))
    assert [path for path, *_ in place.instances()] == ["0.png"]


# Sizes


def test_labels_of_another_size_come_in_scaled_or_are_refused_by_name(place):
    wide = row(keypoints=[300, 200, 2, *POINTS[3:]], bbox=[40, 80, 300, 200])
    report = place.take(coco(wide, row(1), row(2), size=(400, 320)))
    assert place.instances()[0][1] == Box(10, 20, 75, 50)
    assert place.poses()[0].xy[0].tolist() == [75, 50]
    assert any("400 x 320" in note for note in report.notes)
    with pytest.raises(FormatError, match=r"400 x 320.*100 x 80"):
        place.take(coco(row(), size=(400, 320)))


def test_the_size_of_a_file_of_boxes_is_compared_too(place):
    path = place.folder / "boxes.json"
    path.write_text(json.dumps(coco(row(bbox=[40, 80, 300, 200]), size=(400, 320))))
    place.take(boxes=str(path))
    assert place.instances()[0][1] == Box(10, 20, 75, 50)


# Copies


def test_a_copy_is_taken_once_with_a_note_and_its_labels_are_compared(place):
    shutil.copy(place.frames / "0.png", place.frames / "copy.png")
    document = coco(row(), row(1), row(2), row(3, keypoints=[23, 34, 2, *POINTS[3:]]), images=4)
    document["images"][3]["file_name"] = "copy.png"
    report = place.take(document)
    assert report.images == 3
    assert [path for path, *_ in place.instances()] == ["0.png", "1.png", "2.png"]
    assert place.poses()[0].xy[0].tolist() == [20, 30]
    assert any("copy.png (of 0.png)" in note for note in report.notes)
    assert any("copy.png (of 0.png: 5.0 pixels)" in note for note in report.notes)


# Folders


def test_a_label_file_that_names_a_former_folder_means_the_images_beside_it(place):
    video = place.frames / "video renamed"
    write_picture(video / "img1.png", SIZE, seed=9)
    table = "scorer,a,a\nbodyparts,nose,nose\ncoords,x,y\nlabeled-data/video/img1.png,5,6\n"
    (video / "CollectedData_a.csv").write_text(table)
    file = read_label_file(video / "CollectedData_a.csv", None)
    place.project = create_project(place.folder / "dlc", place.frames, file.skeleton)
    with LabelStore.open(place.project.store_url) as store:
        report = register(
            place.project,
            store,
            Silent(),
            labels=[file],
            boxes=None,
            skip_unreadable=False,
            handling=Handling(),
        )
    assert place.poses()[0].xy.tolist() == [[5, 6]]
    assert ("video renamed/img1.png", Box(0, 0, 100, 80), "whole-image") in place.instances()
    assert any("labeled-data/video/img1.png" in note for note in report.notes)


# Label Studio


def studio(**change):
    def region(id_, kind, **value):
        size = {"original_width": 100, "original_height": 80, "image_rotation": 0}
        return {"id": id_, "type": kind, "value": value, **size}

    box = region("b", "rectanglelabels", x=10, y=25, width=50, height=50, rectanglelabels=["x"])
    nose = region("k", "keypointlabels", x=20, y=50, width=0.2, keypointlabels=["nose"])
    result = [box, {**nose, "parentID": "b"}]
    annotation = {"id": 11, "was_cancelled": False, "result": result}
    data = {"image": "/data/upload/1/0a1b2c3d-0.png", **change}
    return [{"id": 1, "data": data, "annotations": [annotation]}]


@pytest.mark.parametrize(
    "address",
    ["/data/upload/1/0a1b2c3d-0.png", "/data/local-files/?d=frames/0.png", "s3://bucket/x/0.png"],
)
def test_a_label_studio_export_is_matched_by_file_name(place, address):
    place.take(studio(image=address))
    assert place.instances()[0] == ("0.png", Box(10, 20, 50, 40), "given")
    (pose,) = place.poses()
    assert (pose.xy[0].tolist(), int(pose.present.sum())) == ([20, 40], 1)


def test_an_uploaded_file_is_found_by_the_name_that_label_studio_makes_of_its_own(place):
    (place.frames / "0.png").rename(place.frames / "my photo (1).png")
    place.take(studio(image="/data/upload/1/0a1b2c3d-my_photo_1.png"))
    assert place.instances()[-1] == ("my photo (1).png", Box(10, 20, 50, 40), "given")


def test_an_uploaded_file_that_could_be_two_is_refused_by_name(place):
    for folder in "ab":
        write_picture(place.frames / folder / "x y.png", SIZE, seed=ord(folder))
    with pytest.raises(FormatError, match=r"a/x y\.png or b/x y\.png"):
        place.take(studio(image="/data/upload/1/0a1b2c3d-x_y.png"))


def test_a_smaller_copy_in_label_studio_gives_the_same_places(place):
    document = studio()
    for item in document[0]["annotations"][0]["result"]:
        item |= {"original_width": 50, "original_height": 40}
    report = place.take(document)
    assert place.instances()[0][1] == Box(10, 20, 50, 40)
    assert report.notes == ()


def test_no_answer_is_lost_by_taking_a_file_twice(place):
    first = place.take(coco(row(), row(1)))
    again = place.take(coco(row(), row(1)))
    assert (first.new_labels, again.new_labels, again.known_labels) == (2, 0, 2)
    assert len(place.instances()) == 2
    assert np.array_equal(place.poses()[0].xy, place.poses()[1].xy)
