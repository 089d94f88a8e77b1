import csv
import os
from pathlib import Path

import numpy as np
import pytest

from labelkit.domain.pose import human_pose
from labelkit.domain.skeleton import make_skeleton
from labelkit.errors import FormatError
from labelkit.files.documents import load_text
from labelkit.formats.deeplabcut.tables import read_deeplabcut_csv, skeleton_from_config

DATA = Path(os.environ.get("LABELKIT_DATA", Path(__file__).parents[3] / "shared" / "data"))
MOUSE = DATA / "openfield-mouse"

# Lightning Pose writes the same table: one animal, the path in one column.
SINGLE = """\
scorer,me,me,me,me
bodyparts,nose,nose,tail,tail
coords,x,y,x,y
labeled-data/v/1.png,250.05599999999998,1,3,4
labeled-data/v/2.png,,,NaN,nan
"""

MULTI = """\
scorer,,,me,me,me,me,me,me
individuals,,,m1,m1,m2,m2,single,single
bodyparts,,,nose,nose,nose,nose,corner,corner
coords,,,x,y,x,y,x,y
labeled-data,v,1.png,1.5,2,,,9,9
labeled-data,v,2.png,5,6,7,8,9,9
labeled-data,v,3.png,,,,,,
"""


def test_labels_of_one_animal_keep_every_digit_and_nan_is_absent():
    keypoints, (first, second), paths = read_deeplabcut_csv(SINGLE, "f.csv")
    assert keypoints == ("nose", "tail")
    assert paths == ("labeled-data/v/1.png", "labeled-data/v/2.png")
    assert (first.image_path, first.reference) == ("labeled-data/v/1.png",) * 2
    assert first.pose == human_pose([[250.05599999999998, 1], [3, 4]], [2, 2])
    assert (first.box, first.area, first.iscrowd) == (None, None, False)
    assert second.pose == human_pose([[0, 0], [0, 0]], [0, 0])


def test_animals_that_are_not_in_a_frame_and_unique_body_parts_are_left_out():
    notes: list[str] = []
    keypoints, annotations, paths = read_deeplabcut_csv(MULTI, "f.csv", notes.append)
    assert keypoints == ("nose",)
    assert paths[2] == "labeled-data/v/3.png"
    assert [a.individual for a in annotations] == ["m1", "m1", "m2"]
    (note,) = notes
    assert [part for part in ("2 locations", "corner", "f.csv") if part not in note] == []
    assert [(a.reference, a.pose.xy.tolist()) for a in annotations] == [
        ("labeled-data/v/1.png#m1", [[1.5, 2]]),
        ("labeled-data/v/2.png#m1", [[5, 6]]),
        ("labeled-data/v/2.png#m2", [[7, 8]]),
    ]
    assert annotations[0].image_path == "labeled-data/v/1.png"


def test_windows_paths_become_forward_slashes():
    _, (first, _), _ = read_deeplabcut_csv(SINGLE.replace("data/v/", "data\\v\\"), "f.csv")
    assert first.image_path == "labeled-data/v/1.png"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", ["'scorer'"]),
        ("image,nose\na,1\n", ["'scorer'"]),
        ("scorer,me\nbodyparts,nose\n", ["'coords'"]),
        ("\n".join(SINGLE.splitlines()[:3]), ["no images"]),
        (SINGLE.replace("x,y,x,y", "x,y,likelihood,x"), ["likelihood"]),
        (SINGLE.replace("x,y,x,y", "y,x,y,x"), ["'coords'", "x, y, x, y"]),
        (SINGLE.replace("nose,nose", "nose,tail"), ["column 2", "'nose'", "'tail'"]),
        (SINGLE.replace("tail,tail", "nose,nose"), ["'nose'", "twice"]),
        (SINGLE.replace("3,4", "3,"), ["line 4", "'tail'", "x and y"]),
        (SINGLE.replace("3,4", "3,four"), ["line 4", "'tail'", "'four'"]),
        (SINGLE.replace("3,4", "-3,4"), ["line 4", "'tail'", "(-3, 4)"]),
        (SINGLE.replace("3,4", "inf,4"), ["line 4", "'tail'", "(inf, 4)"]),
        (SINGLE.replace("3,4", "3"), ["line 4", "4 cells", "5"]),
        (SINGLE.replace("2.png", "1.png"), ["line 5", "labeled-data/v/1.png"]),
        (MULTI.replace("nose,nose,corner", "ear,ear,corner"), ["'m2' and 'm1'", "keypoints"]),
        (MULTI.replace("m2,m2,single,single", "m2,m2,m1,m1"), ["'m1'", "columns"]),
    ],
)
def test_wrong_content_is_one_error_that_names_the_item(text, named):
    with pytest.raises(FormatError) as caught:
        read_deeplabcut_csv(text, "f.csv")
    assert caught.value.problem.startswith("f.csv")
    assert [part for part in named if part not in caught.value.problem] == []
    assert caught.value.next_step


def test_a_config_gives_names_links_and_pairs():
    text = "Task: open\nbodyparts: [leftear, rightear, 3]\nskeleton: [[leftear, 3], [3, rightear]]"
    skeleton = skeleton_from_config(text, "config.yaml")
    assert skeleton.name == "open"
    assert skeleton.keypoints == ("leftear", "rightear", "3")
    assert skeleton.links == ((0, 2), (2, 1))
    assert skeleton.pairs == ((0, 1),)


def test_a_config_of_several_animals_names_their_body_parts_elsewhere():
    text = "multianimalproject: true\nbodyparts: MULTI!\nmultianimalbodyparts: [a, b]\nskeleton:"
    assert skeleton_from_config(text, "config.yaml").keypoints == ("a", "b")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "DeepLabCut"),
        ("a: [", "YAML"),
        ("Task: x", "'bodyparts'"),
        ("bodyparts: [no]", "bodyparts holds False"),
        ("bodyparts: [!!python/object/apply:os.getcwd []]", "YAML"),
    ],
)
def test_a_wrong_config_says_what_is_wrong(text, named):
    with pytest.raises(FormatError) as caught:
        skeleton_from_config(text, "config.yaml")
    assert caught.value.problem.startswith("config.yaml")
    assert named in caught.value.problem
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("written", "links", "left_out"),
    [
        ("[[bodypart1, bodypart2], [objectA, bodypart3]]", (), ["bodypart1-bodypart2", "objectA"]),
        ("[[a, c], [c, bodypart3]]", ((0, 2),), ["c-bodypart3"]),
        ("[[a, b, x, c, b]]", ((0, 1), (2, 1)), ["a-b-x-c-b"]),
        ("[[a, c], b]", ((0, 2),), ["b"]),
        ("[[a, c], [b]]", ((0, 2),), ["b"]),
        ("x", (), ["x"]),
    ],
)
def test_links_of_a_config_that_join_none_of_its_body_parts_are_left_out(written, links, left_out):
    notes = []
    text = f"bodyparts: [a, b, c]\nskeleton: {written}"
    skeleton = skeleton_from_config(text, "config.yaml", notes.append)
    assert skeleton == make_skeleton("animal", ("a", "b", "c"), links)
    (note,) = notes
    for words in ("config.yaml", *left_out):
        assert words in note


def test_a_config_has_the_pairs_that_its_names_tell_and_one_ear_is_unpaired():
    assert skeleton_from_config("bodyparts: [earL, tail, earR]", "config.yaml").pairs == ((0, 2),)
    one = skeleton_from_config("bodyparts: [left_ear, tail]", "config.yaml")
    assert (one.pairs, one.unpaired_sides) == ((), (0,))


@pytest.mark.skipif(not MOUSE.is_dir(), reason="no openfield-mouse under LABELKIT_DATA")
def test_the_open_field_project_is_read_to_the_last_digit():
    (path,) = MOUSE.glob("labeled-data/*/CollectedData_*.csv")
    keypoints, annotations, _ = read_deeplabcut_csv(load_text(path), path.name)
    skeleton = skeleton_from_config(load_text(MOUSE / "config.yaml"), "config.yaml")
    assert keypoints == skeleton.keypoints
    assert skeleton.pairs == ((1, 2),)
    assert len(annotations) == 116
    with path.open(newline="") as file:
        rows = list(csv.reader(file))[3:]
    for row, annotation in zip(rows, annotations, strict=True):
        assert (MOUSE / annotation.image_path).is_file()
        expected = np.array([float(cell or "nan") for cell in row[1:]]).reshape(-1, 2)
        present = ~np.isnan(expected).any(axis=1)
        assert annotation.pose.present.tolist() == present.tolist()
        assert annotation.pose.xy[present].tolist() == expected[present].tolist()


# Lightning Pose's columns `visible`

VISIBLE = """\
scorer,me,me,me,me,me,me
bodyparts,nose,nose,nose,tail,tail,tail
coords,x,y,visible,x,y,visible
labeled-data/v/1.png,1.5,2,2,3,4.25,1
labeled-data/v/2.png,,,1,3,4,0
labeled-data/v/3.png,5,6,,,,
"""


def test_columns_of_visibility_tell_occluded_keypoints():
    _, annotations, _ = read_deeplabcut_csv(VISIBLE, "f.csv")
    assert [item.pose.visibility.tolist() for item in annotations] == [[2, 1], [0, 0], [2, 0]]
    assert annotations[0].pose.xy.tolist() == [[1.5, 2], [3, 4.25]]


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [("2,3,4.25", "3,3,4.25", "3"), ("1.5,2,2", ",,2", "x and y"), ("2,3,4.25", "a,3,4.25", "'a'")],
)
def test_a_visibility_that_is_none_is_named_with_its_line(before, after, named):
    with pytest.raises(FormatError, match=named) as caught:
        read_deeplabcut_csv(VISIBLE.replace(before, after, 1), "f.csv")
    assert "line 4" in caught.value.problem
