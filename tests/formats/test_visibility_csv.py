import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from labelkit.domain.annotation import VisibilityAnswer
from labelkit.domain.skeleton import make_skeleton
from labelkit.domain.skeleton_edit import edited
from labelkit.errors import FormatError
from labelkit.formats.visibility_csv import read_visibility_csv, write_visibility_csv

MOUSE = make_skeleton("mouse", ("nose", "left_ear", "right_ear"))


def contents(answers):
    return [(a.image_path, a.reference, a.presence.tolist()) for a in answers]


def test_columns_are_found_by_name_in_any_order():
    text = "right_ear,image,nose,left_ear\n0,a\\1.png,Yes,FALSE\n\n1,b.png,no,true\n"
    assert contents(read_visibility_csv(text, MOUSE, "f.csv")) == [
        ("a/1.png", "", [True, False, False]),
        ("b.png", "", [False, True, True]),
    ]


def test_objects_of_one_image_are_told_apart():
    text = "image,instance,nose,left_ear,right_ear\na.png,0,1,1,1\na.png,1,0,0,0\n"
    assert contents(read_visibility_csv(text, MOUSE, "f.csv")) == [
        ("a.png", "0", [True] * 3),
        ("a.png", "1", [False] * 3),
    ]


HEADER = "image,nose,left_ear,right_ear\n"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", ["empty"]),
        (HEADER, ["no rows"]),
        ("image,instance\na,0\n", ["no column 'nose'"]),
        ("nose,left_ear,right_ear\n1,1,1\n", ["no column 'image'"]),
        ("image,nose,left_ear,right_ear,tail\n", ["column 'tail'"]),
        ("image,nose,nose,left_ear,right_ear\n", ["column 'nose'", "twice"]),
        (HEADER + "a,1,1,1\nb,1,maybe,1\n", ["line 3", "'left_ear'", "'maybe'"]),
        (HEADER + "a,1,,1\n", ["line 2", "'left_ear'", "''"]),
        (HEADER + "a,1,1\n", ["line 2", "3 cells", "4"]),
        (HEADER + ",1,1,1\n", ["line 2", "image"]),
        (HEADER + "a,1,1,1\na,1,1,1\n", ["line 3", ": a "]),
        (HEADER + '"a,1,1,1\n', ["CSV"]),
    ],
)
def test_wrong_content_is_one_error_that_names_the_item(text, named):
    with pytest.raises(FormatError) as caught:
        read_visibility_csv(text, MOUSE, "f.csv")
    assert caught.value.problem.startswith("f.csv")
    assert [part for part in named if part not in caught.value.problem] == []


@pytest.mark.parametrize(
    ("text", "is_advised"),
    [
        ("image,nose,tail\n", True),
        ("nose,tail\n", False),  # something else may be wrong with it, too
        ("image,tail\n", False),
        ("not json\n", False),
        ("instance,tail\n", False),
    ],
)
def test_a_new_keypoint_is_advised_only_where_the_other_columns_match(text, is_advised):
    with pytest.raises(FormatError) as caught:
        read_visibility_csv(text, MOUSE, "f.csv")
    assert ("skeleton edit --add tail" in caught.value.next_step) == is_advised
    assert "--add 'not json'" not in caught.value.next_step


def test_the_formats_are_named_where_nothing_is_a_column_of_answers():
    with pytest.raises(FormatError) as caught:
        read_visibility_csv("not json\n", MOUSE, "labels.xyz")
    assert [name for name in ("COCO", "CVAT", "image") if name not in caught.value.next_step] == []


def test_a_keypoint_without_a_column_is_unknown_and_so_is_one_that_the_file_calls_so():
    text = "image,nose,right_ear\na.png,1,0\nb.png,unknown,1\n"
    answers = read_visibility_csv(text, MOUSE, "f.csv")
    assert contents(answers) == [("a.png", "", [1, -1, 0]), ("b.png", "", [-1, -1, 1])]
    written = write_visibility_csv(answers, MOUSE)
    assert contents(read_visibility_csv(written, MOUSE, "f.csv")) == contents(answers)


def test_a_column_may_have_the_former_name_of_its_keypoint():
    renamed = edited(MOUSE, {"renamed": [["nose", "snout"]]}, "m.toml")
    text = "image,nose,left_ear,right_ear\na.png,1,0,1\n"
    assert contents(read_visibility_csv(text, renamed, "f.csv")) == [("a.png", "", [1, 0, 1])]


def test_a_keypoint_named_like_another_column_cannot_be_written():
    with pytest.raises(FormatError, match="'image'"):
        write_visibility_csv([], make_skeleton("x", ("image",)))


@given(
    st.lists(st.text(min_size=1).filter(str.strip), min_size=1, unique_by=str.strip, max_size=4),
    st.lists(st.tuples(st.text(min_size=1).filter(str.strip), st.booleans()), min_size=1),
)
def test_answers_survive_whatever_names_look_like(names, rows):
    hostile = "\x00\\\ud800"
    names = [
        n for n in names if not set(n) & set(hostile) and n.strip() not in ("image", "instance")
    ]
    rows = {image: tick for image, tick in rows if not set(image) & set(hostile)}
    assume(names and rows)
    skeleton = make_skeleton("s", names, pairs=[])
    answers = [
        VisibilityAnswer(image, str(n), np.full(len(names), tick))
        for n, (image, tick) in enumerate(rows.items())
    ]
    text = write_visibility_csv(answers, skeleton)
    assert contents(read_visibility_csv(text, skeleton, "f")) == contents(answers)
