"""What a file is, by its content. A format that labelkit does not read is named, with a way in."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from labelkit.errors import FormatError
from labelkit.formats.hdf5 import SIGN

#: Bytes of a file that `refuse_binary` needs.
HEAD = 512

_CONVERT = "Convert it to COCO keypoints; docs/formats.md shows what one object needs."
_CVAT = "In CVAT, export the task as COCO Keypoints 1.0, which takes points that make a skeleton."
_NO_LABELS = "Give the folder of images as --images, and a file of labels as --labels."

#: (first bytes, their place, what such a file is, advice).
_SIGNATURES = (
    (SIGN, 0, "an HDF5 file", "Give labels of SLEAP or DeepLabCut as --labels {file}"),
    (b"PK\x03\x04", 0, "a zip archive", "Unpack it, and give the file of labels in it."),
    (b"\x1f\x8b", 0, "compressed with gzip", "Unpack it: gunzip -k {file}"),
    (b"BZh", 0, "compressed with bzip2", "Unpack it: bunzip2 -k {file}"),
    (b"\xfd7zXZ", 0, "compressed with xz", "Unpack it: unxz -k {file}"),
    (b"7z\xbc\xaf\x27\x1c", 0, "a 7-Zip archive", "Unpack it, and give the file of labels in it."),
    (b"ustar", 257, "a tar archive", "Unpack it: tar -xf {file}"),
    (b"MATLAB", 0, "a MATLAB file", _CONVERT),
    (b"PAR1", 0, "a Parquet file", _CONVERT),
    *((b"\x80" + bytes([protocol]), 0, "a pickle", _CONVERT) for protocol in range(2, 6)),
    (b"\x93NUMPY", 0, "a NumPy array", _CONVERT),
    (b"SQLite format 3", 0, "a database", "Export the labels from its program."),
    (b"%PDF", 0, "a PDF", _NO_LABELS),
    (b"\xff\xd8\xff", 0, "an image", _NO_LABELS),
    (b"\x89PNG", 0, "an image", _NO_LABELS),
    (b"ftyp", 4, "a video", _NO_LABELS),
    (b"RIFF", 0, "a video", _NO_LABELS),
    (b"\x1a\x45\xdf\xa3", 0, "a video", _NO_LABELS),
)

_SLEAP = "Give the project that people labelled: --labels FILE.slp"

#: (keys of a JSON object, what it is, advice).
_OBJECTS = (
    ({"shapes", "imagePath"}, "a file of labelme for one image", _CONVERT),
    ({"_via_img_metadata"}, "a project of the VGG Image Annotator (VIA)", _CONVERT),
    ({"project", "attribute", "metadata", "view"}, "a project of VIA 3", _CONVERT),
    ({"infos", "categories", "items"}, "a file of Datumaro", _CVAT),
    ({"data_row", "projects"}, "an export of Labelbox", _CONVERT),
    ({"item", "annotations", "schema_ref"}, "a file of V7 Darwin for one image", _CONVERT),
    ({"metadata", "instances"}, "a file of SuperAnnotate for one image", _CONVERT),
    ({"label_classes", "images"}, "an export of Hasty", "Export it as COCO from there."),
    ({"label_hash", "data_hash"}, "an export of Encord", "Export it as COCO from there."),
    ({"meta_info", "instance_info"}, "a file of predictions of MMPose, not of labels", _CONVERT),
    ({"people", "version"}, "a file of predictions of OpenPose, not of labels", _CONVERT),
    (
        {"objects", "size"},
        "a file of Supervisely for one image",
        "In Supervisely, run the app Export to COCO Keypoints.",
    ),
    (
        {"classes", "projectType"},
        "the meta.json of a Supervisely project",
        "In Supervisely, run the app Export to COCO Keypoints.",
    ),
)

#: (pattern at the start of a text, what it is, advice).
_TEXTS = (
    (r"(<\?xml[^>]*>\s*)?<annotation>", "an XML file of Pascal VOC", _CONVERT),
    (r"(<\?xml[^>]*>\s*)?(<\?xml-[^>]*>\s*)*<dataset>", "an XML file of dlib", _CONVERT),
    (r"<!doctype html|<html", "a web page", "Download the file itself."),
    (r"<", "an XML file", _CONVERT),
    (r"version https://git-lfs", "a Git LFS pointer", "Fetch the file itself: git lfs pull"),
    (r"#?filename,file_size,", "a file of the VGG Image Annotator (VIA)", _CONVERT),
    (r"track,frame_idx,", "a file of predictions of SLEAP, not of labels", _SLEAP),
    (
        r"[^\n]*\bannotation_id\b[^\n]*\blead_time\b",
        "a Label Studio export as CSV",
        "In Label Studio, export the project as JSON.",
    ),
)

#: The same, of texts with a JSON document a line.
_LINES = (
    (r'\{\s*"data_row"', "an export of Labelbox", _CONVERT),
    (
        r'\{\s*"type":\s*"dataset"',
        "a data set of Ultralytics as NDJSON",
        "Download it as YOLO, and give its data.yaml: --labels data.yaml",
    ),
)

#: A line of numbers with spaces between them: class, box, keypoints.
_YOLO = re.compile(r"\s*\d+(\s+-?\d+(\.\d+)?(e-?\d+)?){4,}\s*(\n|$)", re.IGNORECASE)


def refuse_binary(head: bytes, origin: str) -> None:
    """Refuse a file that is not text.

    Args:
        head: its first `HEAD` bytes.
        origin: name of the file.

    Raises:
        FormatError: naming what it is and what to do.
    """
    if head.startswith(b"PK\x03\x04") and PurePath(origin).suffix.lower() == ".xlsx":
        raise _other("an Excel workbook", "Save the sheet as CSV (UTF-8).", origin)
    for sign, place, what, advice in _SIGNATURES:
        if head[place : place + len(sign)] == sign:
            raise _other(what, advice, origin)


def refuse_other_text(text: str, origin: str) -> None:
    """Refuse a text that is neither JSON nor a CSV that labelkit reads.

    Args:
        text: its content.
        origin: name of the file.

    Raises:
        FormatError: naming what it is and what to do.
    """
    start = text[:4096].lstrip("\ufeff \t\r\n")
    for pattern, what, advice in _TEXTS:
        if re.match(pattern, start, re.IGNORECASE | re.DOTALL):
            raise _other(what, advice, origin)
    if _YOLO.match(start):
        raise _other(
            "a YOLO file for one image",
            "Give the data set's data.yaml, which names the folders: --labels data.yaml",
            origin,
        )
    first = start.partition("\n")[0]
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if separator in first and "," not in first:
            raise _other(f"a table with {name}", "Save it with commas (CSV, UTF-8).", origin)


def refuse_json_lines(text: str, origin: str) -> None:
    """Refuse a text of a known format that has a JSON document on each line.

    Args:
        text: its content.
        origin: name of the file.

    Raises:
        FormatError: naming what it is and what to do.
    """
    for pattern, what, advice in _LINES:
        if re.match(pattern, text[:4096].lstrip("\ufeff \t\r\n")):
            raise _other(what, advice, origin)


def is_studio_export(document: Any) -> bool:
    """Whether parsed JSON is an export of a Label Studio project: a list of tasks."""
    return (
        isinstance(document, Sequence)
        and bool(document)
        and all(isinstance(task, Mapping) and "data" in task for task in document)
    )


def refuse_other_json(document: Any, origin: str) -> None:
    """Refuse parsed JSON of a known format other than COCO keypoints.

    Args:
        document: the parsed JSON.
        origin: name of the file.

    Raises:
        FormatError: naming what it is and what to do.
    """
    if isinstance(document, Mapping):
        for keys, what, advice in _OBJECTS:
            if keys <= document.keys():
                raise _other(what, advice, origin)
        first = next(iter(document.values()), None)
        if isinstance(first, Mapping) and {"filename", "regions"} <= first.keys():
            raise _other("a file of the VGG Image Annotator (VIA)", _CONVERT, origin)
    rows = document if isinstance(document, list) else []
    first = rows[0] if rows and isinstance(rows[0], Mapping) else {}
    for keys, what, advice in _OBJECTS:
        if keys <= first.keys():
            raise _other(what, advice, origin)
    if {"image_id", "keypoints", "score"} <= first.keys():
        raise _other(
            "a list of predictions, not labels",
            "Score it: labelkit score --predictions {file} --truth FILE",
            origin,
        )
    if {"annotation_id", "lead_time"} & first.keys():
        raise _other(
            "a Label Studio export as JSON-MIN",
            "In Label Studio, export the project as JSON: JSON-MIN loses the groups of keypoints.",
            origin,
        )


def _other(what: str, advice: str, origin: str) -> FormatError:
    advice = advice.replace("{file}", shlex.quote(origin))
    return FormatError(f"{origin} is {what}, which labelkit does not read.", advice)
