"""Label files that come again, after corrections, in several parts, under other names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from builders import stick_skeleton, write_picture

from labelkit.domain.instance import Box
from labelkit.errors import FormatError
from labelkit.progress import Silent
from labelkit.project.project import create_project
from labelkit.store.conflicts import find_conflicts
from labelkit.store.journal import Entry
from labelkit.store.label_store import LabelStore
from labelkit.workflows.intake.label_matching import Handling
from labelkit.workflows.intake.label_sets import read_label_files
from labelkit.workflows.intake.register import Registered, register
from labelkit.workflows.loop.export import export

STICK = stick_skeleton()
SIZE = (100, 80)
FIRST = [20, 30, 2, 40, 30, 2, 30, 40, 1, 0, 0, 0]
SECOND = [70, 50, 2, 80, 60, 2, 75, 55, 2, 72, 70, 2]


class Desk:
    """A project of three pictures, and the label files that somebody keeps beside it."""

    def __init__(self, folder: Path, name: str = "project") -> None:
        self.folder, self.frames = folder, folder / "frames"
        for number in range(3):
            write_picture(self.frames / "v" / f"{number}.png", SIZE, seed=number)
        self.project = create_project(folder / name, self.frames, STICK)

    def write(self, name: str, document: object) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return path

    def take(self, *paths: Path, boxes: Path | str | None = None) -> Registered:
        with LabelStore.open(self.project.store_url) as store:
            return register(
                self.project,
                store,
                Silent(),
                labels=read_label_files(paths, STICK),
                boxes=None if boxes is None else str(boxes),
                skip_unreadable=False,
                handling=Handling(),
            )

    def objects(self) -> list[tuple[str, tuple[float, ...]]]:
        """(name of the picture, box) of each object."""
        return [(Path(i.image.path).stem, tuple(i.box)) for i in self.instances().values()]

    def instances(self):
        with LabelStore.open(self.project.store_url) as store:
            return store.instances()

    def x_of_nose(self) -> dict[str, float]:
        """By instance id."""
        with LabelStore.open(self.project.store_url) as store:
            return {id_: float(pose.xy[0, 0]) for id_, pose in store.poses(STICK).items()}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def extent(keypoints: list[float]) -> list[float]:
    """A box as CVAT writes it: the extent of the keypoints."""
    xs, ys, vs = keypoints[0::3], keypoints[1::3], keypoints[2::3]
    xs, ys = ([c for c, v in zip(cs, vs, strict=True) if v] for cs in (xs, ys))
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def labelled(image: int, keypoints: list[float], category: int = 1, **more: object) -> dict:
    box = extent(keypoints)
    return {
        "image_id": image,
        "keypoints": keypoints,
        "bbox": box,
        "category_id": category,
        "area": box[2] * box[3],
        **more,
    }


def coco(*rows: dict, images=range(3), categories=("stick",)) -> dict:
    return {
        "images": [
            {"id": n, "file_name": f"v/{n}.png", "width": 100, "height": 80} for n in images
        ],
        "categories": [
            {"id": n, "name": name, "keypoints": list(STICK.keypoints)}
            for n, name in enumerate(categories, 1)
        ],
        "annotations": [{"id": n, **row} for n, row in enumerate(rows, 1)],
    }


def moved(keypoints: list[float], by: float) -> list[float]:
    """With the first keypoint further left."""
    return [keypoints[0] - by, *keypoints[1:]]


# After a correction


def test_a_corrected_annotation_is_the_same_object_with_a_new_label_and_box(desk):
    file = desk.write("cvat.json", coco(labelled(0, FIRST), labelled(1, SECOND)))
    assert desk.take(file).new_labels == 2
    before = list(desk.instances())
    desk.write("cvat.json", coco(labelled(0, moved(FIRST, 8)), labelled(1, SECOND)))
    again = desk.take(file)
    assert (again.new_labels, again.known_labels) == (1, 1)
    assert list(desk.instances()) == before
    assert desk.objects()[0] == ("0", (12.0, 30.0, 28.0, 10.0))
    assert desk.x_of_nose() == {before[0]: 12.0, before[1]: 70.0}


def test_taking_a_file_again_changes_nothing(desk):
    file = desk.write("a.json", coco(labelled(0, FIRST), labelled(0, SECOND)))
    desk.take(file)
    before = desk.instances()
    again = desk.take(file, file)
    assert (again.new_labels, again.known_labels) == (0, 2)
    assert desk.instances() == before


def test_a_correction_under_another_name_and_number_is_known_by_its_keypoints(desk):
    desk.take(desk.write("a.json", coco(labelled(0, FIRST), labelled(0, SECOND))))
    before = list(desk.instances())
    # Three of four keypoints of the second stay; the other tool counts from its end.
    rows = [labelled(0, moved(SECOND, 9)), labelled(0, FIRST)]
    assert desk.take(desk.write("b.json", coco(*rows))).new_labels == 1
    assert list(desk.instances()) == before
    assert list(desk.x_of_nose().values()) == [20.0, 61.0]


def test_another_object_in_another_file_is_another_object(desk):
    desk.take(desk.write("a.json", coco(labelled(0, FIRST))))
    beside = [c + 12 * (n % 3 == 0) for n, c in enumerate(FIRST[:9])] + [0, 0, 0]
    desk.take(desk.write("b.json", coco(labelled(0, beside))))
    assert len(desk.instances()) == 2


def test_a_correction_of_what_annotators_changed_meanwhile_is_a_conflict(desk):
    file = desk.write("a.json", coco(labelled(0, FIRST)))
    desk.take(file)
    (id_,) = desk.instances()
    content = {name: [5, 6, 2] for name in STICK.keypoints}
    with LabelStore.open(desk.project.store_url) as store:
        store.record([Entry(id_, "keypoints", content, "label-studio", "7", "1", "ann")])
    desk.write("a.json", coco(labelled(0, moved(FIRST, 8))))
    report = desk.take(file)
    assert any("labelkit status" in note for note in report.notes)
    assert desk.x_of_nose() == {id_: 5.0}
    with LabelStore.open(desk.project.store_url) as store:
        (conflict,) = find_conflicts(store)
    assert conflict.theirs is not None
    assert conflict.theirs.content["nose"] == [12, 30, 2]


def test_boxes_that_were_corrected_move_their_objects(desk):
    boxes = desk.write("boxes.json", coco(labelled(0, FIRST), labelled(1, SECOND), images=[0, 1]))
    desk.take(boxes=boxes)
    before = list(desk.instances())
    desk.write("boxes.json", coco(labelled(0, moved(FIRST, 8)), labelled(1, SECOND), images=[0, 1]))
    desk.take(boxes=boxes)
    assert list(desk.instances()) == before
    assert desk.objects()[0] == ("0", (12.0, 30.0, 28.0, 10.0))


# Several files


def test_all_files_of_one_import_count(desk):
    a = desk.write("a.json", coco(labelled(0, FIRST), images=[0]))
    b = desk.write("b.json", coco(labelled(1, SECOND), labelled(2, FIRST), images=[1, 2]))
    assert desk.take(a, b).new_labels == 3
    assert [stem for stem, _ in desk.objects()] == ["0", "1", "2"]


def test_objects_of_a_later_file_take_the_place_of_whole_images(desk):
    desk.take(desk.write("train.json", coco(labelled(0, FIRST), labelled(0, SECOND), images=[0])))
    whole = (0.0, 0.0, 100.0, 80.0)
    assert [box == whole for _, box in desk.objects()] == [False, False, True, True]
    later = coco(labelled(1, FIRST), labelled(1, SECOND), labelled(2, FIRST), images=[1, 2])
    desk.take(desk.write("valid.json", later))
    assert [stem for stem, _ in desk.objects()] == ["0", "0", "1", "1", "2"]
    assert whole not in [box for _, box in desk.objects()]


def test_answers_count_the_objects_that_are_there(desk):
    desk.take(boxes="whole-image")
    desk.take(desk.write("a.json", coco(labelled(0, FIRST), labelled(0, SECOND))))
    answers = "image,instance,nose,left_paw,right_paw,tail\nv/0.png,0,1,1,1,0\nv/0.png,1,0,0,0,1\n"
    desk.take(desk.write("ticks.csv", answers))
    first, second = [id_ for id_, i in desk.instances().items() if i.image.path == "v/0.png"]
    with LabelStore.open(desk.project.store_url) as store:
        presences = store.presences(STICK)
    assert presences[first].tolist() == [1, 1, 1, 0]
    assert presences[second].tolist() == [0, 0, 0, 1]


def test_images_that_a_later_file_lists_without_objects_lose_their_whole_image(desk):
    desk.take(desk.write("a.json", coco(labelled(0, FIRST), images=[0])))
    assert len(desk.instances()) == 3
    desk.take(desk.write("b.json", coco(labelled(1, FIRST), images=[1, 2])))
    assert [stem for stem, _ in desk.objects()] == ["0", "1"]


def test_boxes_that_come_later_take_the_place_of_whole_images(desk):
    desk.take(boxes="whole-image")
    boxes = desk.write("boxes.json", coco(labelled(0, FIRST), labelled(1, SECOND), images=[0, 1]))
    desk.take(boxes=boxes)
    assert desk.objects() == [("0", tuple(extent(FIRST))), ("1", tuple(extent(SECOND)))]


def test_an_object_that_two_files_label_otherwise_is_noted_and_the_last_counts(desk):
    a = desk.write("a.json", coco(labelled(0, FIRST)))
    b = desk.write("b.json", coco(labelled(0, moved(FIRST, 8))))
    (note,) = [note for note in desk.take(a, b).notes if "a.json" in note]
    assert "b.json" in note
    assert list(desk.x_of_nose().values()) == [12.0]
    assert desk.take(a, b).new_labels == 0


def test_files_of_the_same_name_are_told_apart(desk):
    a = desk.write("train/labels.json", coco(labelled(0, FIRST)))
    b = desk.write("valid/labels.json", coco(labelled(0, SECOND)))  # number 1 in both
    desk.take(a, b)
    assert len(desk.instances()) == 2
    with LabelStore.open(desk.project.store_url) as store:
        assert store.sources() == {"file:train/labels.json", "file:valid/labels.json"}


def test_of_several_pictures_of_a_name_the_one_below_the_label_files_folder_is_meant(desk):
    files = []
    for part, seed, keypoints in (("train", 7, FIRST), ("val", 8, SECOND)):
        write_picture(desk.frames / part / "images" / "same.png", SIZE, seed=seed)
        document = coco(labelled(0, keypoints), images=[0])
        document["images"][0]["file_name"] = "same.png"
        files.append(desk.write(f"frames/{part}/keypoints.json", document))
    desk.take(*files)
    boxes = {it.image.path: tuple(it.box) for it in desk.instances().values()}
    assert boxes["train/images/same.png"] == tuple(extent(FIRST))
    assert boxes["val/images/same.png"] == tuple(extent(SECOND))
    ticks = "image,nose,left_paw,right_paw,tail\nsame.png,1,1,1,0\n"
    desk.take(desk.write("frames/val/ticks.csv", ticks))
    with LabelStore.open(desk.project.store_url) as store:
        *_, answer = store.entries()
    assert desk.instances()[answer.entry.instance_id].image.path == "val/images/same.png"
    elsewhere = desk.write("keypoints.json", document)
    with pytest.raises(FormatError, match="could mean"):
        desk.take(elsewhere)


# DeepLabCut


def table(*rows: str, animals: tuple[str, ...] = ("m1", "m2")) -> str:
    cells = [(who, name, axis) for who in animals for name in STICK.keypoints for axis in "xy"]
    lines = [
        ["scorer", *["anna"] * len(cells)],
        ["individuals", *(who for who, _, _ in cells)],
        ["bodyparts", *(name for _, name, _ in cells)],
        ["coords", *(axis for _, _, axis in cells)],
    ]
    return "\n".join([*map(",".join, lines), *rows]) + "\n"


def at(x: float) -> str:
    """Four keypoints of one animal, from `x` to `x` + 10 across and from 20 to 30 down."""
    return f"{x},20,{x + 10},20,{x},30,{x + 10},30"


NOWHERE = ",".join([""] * 8)


def test_animals_that_a_file_tells_apart_have_boxes_around_their_keypoints(desk):
    text = table(
        f"v/0.png,{at(10)},{at(60)}", f"v/1.png,{at(10)},{NOWHERE}", f"v/2.png,{NOWHERE},{NOWHERE}"
    )
    desk.take(desk.write("CollectedData_anna.csv", text))
    around = (8.5, 18.5, 13.0, 13.0)  # .15 of 10 wider on each side
    assert desk.objects() == [("0", around), ("0", (58.5, 18.5, 13.0, 13.0)), ("1", around)]
    assert [i.individual for i in desk.instances().values()] == ["m1", "m2", "m1"]


def test_a_swap_of_two_animals_that_was_corrected_swaps_their_labels(desk):
    path = desk.write("CollectedData_anna.csv", table(f"v/0.png,{at(10)},{at(60)}"))
    desk.take(path)
    first, second = [id_ for id_, i in desk.instances().items() if i.individual]
    desk.write("CollectedData_anna.csv", table(f"v/0.png,{at(60)},{at(10)}"))
    assert desk.take(path).new_labels == 2
    assert desk.x_of_nose() == {first: 60.0, second: 10.0}
    assert [i.individual for i in desk.instances().values() if i.individual] == ["m1", "m2"]


def test_individuals_go_out_and_come_back(desk):
    desk.take(desk.write("CollectedData_anna.csv", table(f"v/0.png,{at(10)},{at(60)}")))
    with LabelStore.open(desk.project.store_url) as store:
        made = export(
            desk.project, store, Silent(), form="dlc", predictions=False, output=None, dry_run=False
        )
    (written,) = made.file.glob("labeled-data/v/CollectedData_anna.csv")
    before = desk.instances()
    assert desk.take(written).new_labels == 0
    assert desk.instances() == before


# Categories


def test_categories_go_through_the_store_and_come_back(desk, tmp_path):
    document = coco(
        labelled(0, FIRST, 2), labelled(1, SECOND, 1), labelled(2, FIRST, 2), categories=("a", "b")
    )
    desk.take(desk.write("species.json", document))
    assert [i.category for i in desk.instances().values()] == ["b", "a", "b"]
    with LabelStore.open(desk.project.store_url) as store:
        made = export(
            desk.project,
            store,
            Silent(),
            form="coco",
            predictions=False,
            output=None,
            dry_run=False,
        )
    other = Desk(tmp_path, "other-project")
    other.take(made.file)
    assert [i.category for i in other.instances().values()] == ["b", "a", "b"]
    with LabelStore.open(other.project.store_url) as store:
        poses = store.poses(STICK)
    assert np.array_equal([pose.xy[0, 0] for pose in poses.values()], [20, 70, 20])
    assert other.instances().keys() == desk.instances().keys()
    assert Box(20, 30, 20, 10) in [i.box for i in other.instances().values()]


@pytest.mark.parametrize("form", ["visibility", "dlc"])
def test_categories_that_a_format_cannot_hold_are_counted_and_named(desk, form):
    document = coco(labelled(0, FIRST, 2), labelled(1, SECOND, 1), categories=("a", "b"))
    desk.take(desk.write("species.json", document))
    with LabelStore.open(desk.project.store_url) as store:
        report = export(
            desk.project,
            store,
            Silent(),
            form=form,
            predictions=False,
            output=None,
            dry_run=True,
        )
    assert any("1 x b, 1 x a" in note for note in report.notes)


def exported(desk: Desk, form: str) -> str:
    """What an export in that format says."""
    with LabelStore.open(desk.project.store_url) as store:
        return export(
            desk.project, store, Silent(), form=form, predictions=False, output=None, dry_run=True
        ).text()


@pytest.mark.parametrize(
    ("form", "lost"), [("coco", False), ("cvat", False), ("dlc", True), ("sleap", True)]
)
def test_boxes_that_a_format_cannot_hold_are_counted(desk, form, lost):
    desk.take(desk.write("a.json", coco(labelled(0, FIRST), labelled(1, SECOND))))
    assert ("Boxes of 2 objects" in exported(desk, form)) == lost


def test_individuals_that_a_format_cannot_hold_are_named(desk):
    desk.take(desk.write("CollectedData_anna.csv", table(f"v/0.png,{at(10)},{at(60)}")))
    assert "m1, m2" in exported(desk, "yolo")
    for form in ("coco", "cvat", "dlc", "sleap"):
        assert "m1, m2" not in exported(desk, form)
