"""Whatever is wrong with a label file, the error names the file and says what to do."""

import copy
import csv
import io
import json

import pytest
import yaml
from builders import make_instance, make_pose, stick_skeleton

from labelkit.domain.skeleton import make_skeleton
from labelkit.errors import InputError
from labelkit.formats.sleap import write_sleap
from labelkit.workflows.intake.label_files import read_box_file, read_label_file, read_skeleton

STICK = stick_skeleton()

#: What may stand where something else belongs.
ODD = [
    None,
    True,
    0,
    -1,
    7,
    1.5,
    1e300,
    "",
    "x",
    "7",
    [],
    [[]],
    [1, 2, 3],
    ["a", "b"],
    {},
    {"a": 1},
]

COCO = {
    "images": [{"id": 1, "file_name": "0.png", "width": 32, "height": 24}],
    "annotations": [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 1,
            "keypoints": [5, 4, 2, 4, 10, 2, 15, 10, 2, 10, 20, 2],
            "keypoint_scores": [1, 1, 1, 1],
            "num_keypoints": 4,
            "bbox": [2, 2, 20, 18],
            "area": 300,
            "iscrowd": 0,
        },
        {"id": 2, "image_id": 1, "category_id": 2, "bbox": [2, 2, 20, 18], "area": 3},
    ],
    "categories": [
        {
            "id": 1,
            "name": "stick",
            "keypoints": list(STICK.keypoints),
            "skeleton": [[1, 2], [1, 3]],
        },
        {"id": 2, "name": "cage"},
    ],
}
OWN = copy.deepcopy(COCO)
OWN["categories"][0]["labelkit"] = {
    "pairs": [["left_paw", "right_paw"]],
    "sigmas": [0.1, 0.1, 0.1, 0.1],
    "layout": [[0, 0], [0, 1], [1, 0], [1, 1]],
}
_SIZE = {"original_width": 32, "original_height": 24, "image_rotation": 0}
STUDIO = [
    {
        "id": 1,
        "data": {"image": "/data/upload/1/0.png"},
        "annotations": [
            {
                "id": 11,
                "was_cancelled": False,
                "ground_truth": False,
                "updated_at": "2024-01-01T00:00:00Z",
                "result": [
                    {
                        "id": "b",
                        "type": "rectanglelabels",
                        "value": {
                            "x": 10,
                            "y": 10,
                            "width": 50,
                            "height": 50,
                            "rotation": 0,
                            "rectanglelabels": ["x"],
                        },
                        **_SIZE,
                    },
                    {
                        "id": "k",
                        "type": "keypointlabels",
                        "value": {"x": 20, "y": 20, "width": 0.2, "keypointlabels": ["nose"]},
                        "parentID": "b",
                        **_SIZE,
                    },
                    {"id": "k", "type": "choices", "value": {"choices": ["Occluded"]}, **_SIZE},
                    {"type": "relation", "from_id": "k", "to_id": "b"},
                ],
            }
        ],
    }
]
YOLO = {
    "path": ".",
    "kpt_shape": [4, 3],
    "names": {0: "stick"},
    "kpt_names": {0: list(STICK.keypoints)},
    "flip_idx": [0, 2, 1, 3],
    "train": "images",
}
CONFIG = {
    "Task": "stick",
    "multianimalproject": False,
    "bodyparts": list(STICK.keypoints),
    "skeleton": [["nose", "tail"]],
}
TABLE = (
    "scorer,a,a,a,a\nbodyparts,nose,nose,tail,tail\ncoords,x,y,x,y\n0.png,1,2,3,4\n1.png,1,2,,\n"
)
ANIMALS = (
    "scorer,,,a,a,a,a\nindividuals,,,m,m,n,n\nbodyparts,,,nose,nose,nose,nose\n"
    "coords,,,x,y,x,y\nlabeled-data,v,0.png,1,2,3,4\n"
)
OCCLUDED = (
    "scorer,a,a,a,a,a,a\nbodyparts,nose,nose,nose,tail,tail,tail\n"
    "coords,x,y,visible,x,y,visible\n0.png,1,2,2,3,4,1\n1.png,1,2,2,,,0\n"
)
ANSWERS = "image,instance,nose,left_paw,right_paw,tail\n0.png,0,1,1,0,1\n1.png,,yes,no,1,0\n"


def damaged(document):
    """The document with one part gone or replaced, for every part, and where that was."""
    for path in places(document):
        for value in [KeyError, *ODD]:
            changed = copy.deepcopy(document)
            target = changed
            for key in path[:-1]:
                target = target[key]
            if value is KeyError:
                del target[path[-1]]
            else:
                target[path[-1]] = value
            yield changed, (path, value)


def places(part, path=()):
    if path:
        yield path
    rows = (
        part.items()
        if isinstance(part, dict)
        else enumerate(part)
        if isinstance(part, list)
        else ()
    )
    for key, below in rows:
        yield from places(below, (*path, key))


def cells(text):
    """The table with one cell changed, for every cell."""
    rows = list(csv.reader(io.StringIO(text)))
    for y, row in enumerate(rows):
        for x in range(len(row)):
            for value in ("", "x", "-1", "nan", "inf", "1e999", "scorer", "coords", "0.png", '"'):
                changed = copy.deepcopy(rows)
                changed[y][x] = value
                yield "\n".join(",".join(line) for line in changed) + "\n", (y, x, value)
        yield "\n".join(",".join(line) for line in (*rows[:y], *rows[y + 1 :])) + "\n", (y, "gone")
        yield "\n".join(",".join(line[:-1]) for line in rows) + "\n", (y, "short")


def check(path, read, where):
    """Reading works, or fails with one error that names the file and a next step."""
    try:
        read()
    except InputError as error:
        if path.name not in error.problem or not error.next_step:
            pytest.fail(f"{where}: {error}")


@pytest.mark.parametrize("skeleton", [None, STICK], ids=["own", "given"])
@pytest.mark.parametrize("document", [COCO, OWN, STUDIO], ids=["coco", "ours", "studio"])
def test_json_with_any_part_gone_or_replaced(tmp_path, document, skeleton):
    path = tmp_path / "labels.json"
    for changed, where in damaged(document):
        path.write_text(json.dumps(changed))
        check(path, lambda: read_label_file(path, skeleton), where)


@pytest.mark.parametrize("read", [read_box_file, lambda path: read_skeleton(str(path))])
def test_json_of_boxes_or_of_a_skeleton_with_any_part_gone_or_replaced(tmp_path, read):
    path = tmp_path / "labels.json"
    for changed, where in damaged(COCO):
        path.write_text(json.dumps(changed))
        check(path, lambda: read(path), where)


@pytest.mark.parametrize("skeleton", [None, STICK], ids=["own", "given"])
def test_settings_of_yolo_with_any_part_gone_or_replaced(tmp_path, skeleton):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "0.txt").write_text("0 .5 .5 1 1" + " .5 .5 2" * 4)
    path = tmp_path / "data.yaml"
    for changed, where in damaged(YOLO):
        path.write_text(yaml.safe_dump(changed))
        check(path, lambda: read_label_file(path, skeleton), where)
        check(path, lambda: read_skeleton(str(path)), where)


@pytest.mark.parametrize("value", [*ODD, [1, 2, 2] * 6, ["x"] * 18], ids=repr)
@pytest.mark.parametrize("key", ["foot_kpts", "keypoints"])
def test_a_part_of_a_whole_body_that_is_odd(tmp_path, key, value):
    path = tmp_path / "labels.json"
    skeleton = make_skeleton("stick", [*STICK.keypoints, "left_heel"])
    for place in ("annotations", "categories"):
        document = copy.deepcopy(COCO)
        document["annotations"][0]["foot_kpts"] = [1, 2, 2] * 6
        document[place][0][key] = value
        path.write_text(json.dumps(document))
        check(path, lambda: read_label_file(path, skeleton), (place, key, value))


def test_a_sleap_project_with_any_byte_changed_or_cut_off(tmp_path):
    path = tmp_path / "labels.slp"
    write_sleap([(make_instance(), make_pose())], STICK, tmp_path, (), path)
    whole = path.read_bytes()
    for place in range(0, len(whole), 307):
        changed = bytearray(whole)
        changed[place] ^= 0xFF
        for content in (changed, whole[:place]):
            path.write_bytes(content)
            check(path, lambda: read_label_file(path, None), place)


def test_settings_of_deeplabcut_with_any_part_gone_or_replaced(tmp_path):
    path = tmp_path / "config.yaml"
    for changed, where in damaged(CONFIG):
        path.write_text(yaml.safe_dump(changed))
        check(path, lambda: read_skeleton(str(path)), where)


@pytest.mark.parametrize(
    "text",
    [TABLE, ANIMALS, OCCLUDED, ANSWERS],
    ids=["table", "animals", "occluded", "answers"],
)
def test_a_table_with_any_cell_changed_or_line_gone(tmp_path, text):
    path = tmp_path / "labels.csv"
    for changed, where in cells(text):
        path.write_text(changed)
        check(path, lambda: read_label_file(path, STICK if text is ANSWERS else None), where)


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"\xff\xfe\0", b"{", b"[", b"[1,", b"3", b'"x"', b"null", b"\n", b"<"]
)
@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.yaml", "a.toml", "a", "a.h5", "a.txt"])
def test_a_file_that_holds_next_to_nothing(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content)
    for read in (
        lambda: read_label_file(path, STICK),
        lambda: read_label_file(path, None),
        lambda: read_box_file(path),
        lambda: read_skeleton(str(path)),
    ):
        with pytest.raises(InputError) as caught:
            read()
        assert name in caught.value.problem
        assert caught.value.next_step
