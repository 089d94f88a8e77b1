"""Label files that belong together: any number of files, and folders of them, are one import."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from labelkit.domain.skeleton import Skeleton
from labelkit.domain.text import named
from labelkit.errors import FormatError
from labelkit.files.documents import load_head
from labelkit.formats.cvat import START
from labelkit.formats.deeplabcut.hdf5 import csv_of_hdf5
from labelkit.formats.hdf5 import SIGN, kind_of_hdf5
from labelkit.formats.label_studio.foreign import Group
from labelkit.formats.visibility_csv import IMAGE
from labelkit.workflows.intake.label_files import YAML, LabelFile, read_label_file

#: Bytes of a file that tell whether it holds labels; COCO may begin with licences.
_HEAD = 65536

#: DeepLabCut keeps copies of labels there.
_COPIES = "training-datasets"


def read_label_files(
    paths: Sequence[Path], skeleton: Skeleton | None, group: Group | None = None
) -> tuple[LabelFile, ...]:
    """Read label files for one skeleton: the project's or, without one, that of the first file.

    Visibility answers come last: their file does not name its skeleton.

    Args:
        paths: files, and folders of which every label file is read.
        skeleton: of the project; None takes that of the files.
        group: of the keypoints of Label Studio exports, see `read_foreign`.

    Raises:
        FormatError: if a file has wrong content, or a folder holds no label file.
        SkeletonError: if a file has other keypoints than the project or the first file.
    """
    notes: list[str] = []
    files: dict[Path, Path] = {}  # each once, as it was named first
    for path in paths:
        for file in _label_files_in(path, notes) if path.is_dir() else [path]:
            files.setdefault(file.resolve(), file)
    same = Counter(file.name for file in files)
    shared = os.path.commonpath([file.parent for file in files]) if files else ""
    found: list[LabelFile] = []
    for place, file in sorted(files.items(), key=lambda item: _is_answers(item[1])):
        read = read_label_file(file, skeleton or (found[0].skeleton if found else None), group)
        if same[place.name] > 1:
            read = replace(read, name=place.relative_to(shared).as_posix())
        found.append(replace(read, notes=(*notes, *read.notes)))
        notes = []
    return tuple(found)


def _label_files_in(folder: Path, notes: list[str]) -> list[Path]:
    """Label files at any depth, and a note on what else might have been one."""
    candidates = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in (".json", ".csv", ".xml", ".slp", ".h5", *YAML)
        and not any(
            part == _COPIES or part.startswith(".") for part in path.relative_to(folder).parts
        )
    )
    candidates = [
        path  # DeepLabCut writes the same labels as CSV beside its HDF5 file
        for path in candidates
        if not (path.suffix == ".h5" and path.with_suffix(".csv") in candidates)
    ]
    found = [path for path in candidates if _holds_labels(path)]
    if not found:
        raise FormatError(
            f"{folder} holds no label file.",
            "Name the file: --labels FILE. Label files are COCO keypoints or a Label Studio export "
            "(.json), data.yaml of YOLO, .xml of CVAT, .slp of SLEAP, or .csv of DeepLabCut or of "
            "visibility answers.",
        )
    others = {path for path in candidates if path.suffix.lower() not in YAML}.difference(found)
    if others:
        notes.append(f"No labels in {named(sorted(map(str, others)))}.")
    return found


def _holds_labels(path: Path) -> bool:
    if load_head(path, len(SIGN)) == SIGN:
        return path.suffix.lower() == ".slp" or _is_label_table(path)
    start = _start(path)
    if path.suffix.lower() in YAML:
        return "kpt_shape" in start
    if path.suffix.lower() == ".xml":
        return START.match(start) is not None
    if start.startswith("["):
        return '"annotations"' in start and '"data"' in start  # Label Studio
    if start.startswith("{"):
        return any(f'"{key}"' in start for key in ("images", "annotations", "categories"))
    lines = start.lower().splitlines()[:5]
    if _is_table(start):
        return not any("likelihood" in line for line in lines)  # predictions
    return bool(lines) and IMAGE in (cell.strip(' "') for cell in lines[0].split(","))


def _is_label_table(path: Path) -> bool:
    """Whether an HDF5 file is a table of DeepLabCut's labels, and not of its predictions."""
    try:
        return kind_of_hdf5(path) == "table" and "likelihood" not in csv_of_hdf5(path)
    except FormatError:
        return False


def _is_answers(path: Path) -> bool:
    start = _start(path)
    return path.suffix.lower() == ".csv" and not (_is_table(start) or start.startswith(("{", "[")))


def _is_table(start: str) -> bool:
    return start.lower().startswith("scorer")


def _start(path: Path) -> str:
    return load_head(path, _HEAD).decode("utf-8", errors="replace").lstrip("\ufeff \t\r\n")
