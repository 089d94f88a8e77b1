"""Files of other formats are named by their content, and the advice leads somewhere."""

import json

import pytest

from labelkit.errors import FormatError
from labelkit.formats.recognise import (
    is_studio_export,
    refuse_binary,
    refuse_other_json,
    refuse_other_text,
)
from labelkit.workflows.intake.label_files import read_label_file


@pytest.mark.parametrize(
    ("head", "name", "what", "advice"),
    [
        (b"\x89HDF\r\n\x1a\n\0", "l .slp", "HDF5", "--labels 'l .slp'"),
        (b"PK\x03\x04\0", "l.xlsx", "Excel", "CSV"),
        (b"PK\x03\x04\0", "coco.json.zip", "zip", "Unpack"),
        (b"\x1f\x8b\x08", "my labels.json.gz", "gzip", "gunzip -k 'my labels.json.gz'"),
        (b"\0" * 257 + b"ustar", "l.tar", "tar", "tar -xf l.tar"),
        (b"MATLAB 5.0 MAT-file", "l.mat", "MATLAB", "docs/formats.md"),
        (b"\xff\xd8\xff\xe0", "a.jpg", "image", "--images"),
        (b"\x89PNG\r\n", "a.png", "image", "--images"),
        (b"\0\0\0\x18ftypmp42", "a.mp4", "video", "--images"),
        (b"\x80\x04\x95", "l.pickle", "pickle", "docs/formats.md"),
        (b"SQLite format 3\0", "l.db", "database", "Export"),
    ],
)
def test_a_file_that_is_not_text_is_named_by_its_first_bytes(head, name, what, advice):
    with pytest.raises(FormatError) as caught:
        refuse_binary(head, name)
    assert caught.value.problem.startswith(f"{name} is")
    assert what in caught.value.problem
    assert advice in caught.value.next_step


@pytest.mark.parametrize("head", [b"", b"{", b"scorer,me", b"\xef\xbb\xbfimage,nose"])
def test_text_is_not_refused_by_its_first_bytes(head):
    refuse_binary(head, "f")


XML = '<?xml version="1.0" encoding="utf-8"?>\n'


@pytest.mark.parametrize(
    ("text", "what", "advice"),
    [
        ("<annotation>\n<folder>", "Pascal VOC", "docs/formats.md"),
        (f"{XML}<?xml-stylesheet href='x'?>\n<dataset>", "dlib", "docs/formats.md"),
        ("<!DOCTYPE html><title>404", "web page", "Download"),
        (f"{XML}<svg/>", "XML", "docs/formats.md"),
        ("0 0.5 0.5 1 1 0.1 0.1 2\n", "YOLO", "--labels data.yaml"),
        ("filename,file_size,file_attributes\n", "VIA", "docs/formats.md"),
        ("annotation_id,annotator,image,lead_time\n", "Label Studio", "JSON"),
        ("track,frame_idx,instance.score\n", "SLEAP", "--labels FILE.slp"),
        ("image;nose;tail\n1.jpg;1;0\n", "semicolons", "commas"),
        ("scorer\tme\tme\n", "tabs", "commas"),
        ("version https://git-lfs.github.com/spec/v1\n", "Git LFS", "git lfs pull"),
    ],
)
def test_text_of_another_format_is_named_and_leads_to_what_to_export(text, what, advice):
    with pytest.raises(FormatError) as caught:
        refuse_other_text(text, "f.txt")
    assert caught.value.problem.startswith("f.txt is")
    assert what in caught.value.problem
    assert advice in caught.value.next_step


@pytest.mark.parametrize(
    ("text", "what", "advice"),
    [
        ('{"data_row": {"id": "c"}}\n{"data_row": {}}', "Labelbox", "docs/formats.md"),
        ('{"type": "dataset", "task": "pose"}\n{}', "NDJSON", "--labels data.yaml"),
    ],
)
def test_lines_of_json_of_another_format_are_named(text, what, advice, tmp_path):
    (tmp_path / "f.json").write_text(text)
    with pytest.raises(FormatError) as caught:
        read_label_file(tmp_path / "f.json", None)
    assert what in caught.value.problem
    assert advice in caught.value.next_step


@pytest.mark.parametrize(
    "text", ["image,nose\na,1\n", "scorer,me,me\n", "image,instance,a;b\n", "\ufeffimage,nose\n"]
)
def test_tables_that_labelkit_reads_pass(text):
    refuse_other_text(text, "f.csv")


@pytest.mark.parametrize(
    ("document", "what", "advice"),
    [
        ({"version": "5.4.1", "shapes": [], "imagePath": "a.jpg"}, "labelme", "docs/formats.md"),
        ({"_via_settings": {}, "_via_img_metadata": {}}, "VIA", "docs/formats.md"),
        ({"a.jpg123": {"filename": "a.jpg", "regions": []}}, "VIA", "docs/formats.md"),
        (
            {"project": {}, "config": {}, "attribute": {}, "file": {}, "metadata": {}, "view": {}},
            "VIA 3",
            "docs/formats.md",
        ),
        ({"infos": {}, "categories": {}, "items": []}, "Datumaro", "COCO Keypoints 1.0"),
        ([{"data_row": {}, "media_attributes": {}, "projects": {}}], "Labelbox", "docs/formats.md"),
        ({"version": "2.0", "schema_ref": "", "item": {}, "annotations": []}, "V7", "docs/formats"),
        ({"metadata": {}, "instances": [], "tags": []}, "SuperAnnotate", "docs/formats.md"),
        ({"project_name": "p", "images": [], "label_classes": []}, "Hasty", "COCO"),
        ([{"label_hash": "a", "data_hash": "b"}], "Encord", "COCO"),
        ({"meta_info": {}, "instance_info": []}, "MMPose", "docs/formats.md"),
        ({"classes": [], "tags": [], "projectType": "images"}, "Supervisely", "COCO Keypoints"),
        ({"version": 1.3, "people": []}, "OpenPose", "docs/formats.md"),
        ({"objects": [], "size": {}, "tags": []}, "Supervisely", "COCO Keypoints"),
        (
            [{"image_id": 1, "category_id": 1, "keypoints": [], "score": 0.5}],
            "predictions",
            "labelkit score --predictions f.json",
        ),
        ([{"id": 1, "image": "a.jpg", "kp": [], "annotation_id": 3}], "JSON-MIN", "JSON"),
    ],
)
def test_json_of_another_format_is_named_and_leads_to_what_to_export(document, what, advice):
    with pytest.raises(FormatError) as caught:
        refuse_other_json(document, "f.json")
    assert caught.value.problem.startswith("f.json is")
    assert what in caught.value.problem
    assert advice in caught.value.next_step


@pytest.mark.parametrize("document", [{}, [], {"images": []}, 3, None, [3], {"a": 1}])
def test_what_may_be_coco_or_is_nothing_known_passes(document):
    refuse_other_json(document, "f.json")


def test_a_list_of_tasks_is_a_label_studio_export():
    task = {"id": 1, "data": {"image": "a.jpg"}, "annotations": []}
    assert is_studio_export([task])
    assert not any(map(is_studio_export, [[], {}, [3], "[]", json.loads("[[]]"), [{"id": 1}]]))
