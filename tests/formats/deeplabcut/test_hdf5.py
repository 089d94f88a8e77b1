"""DeepLabCut's HDF5 tables: as pandas and PyTables lay them out, and those of a real project."""

from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from labelkit.errors import FormatError
from labelkit.formats.deeplabcut.hdf5 import csv_of_hdf5
from labelkit.workflows.intake.label_files import read_label_file
from labelkit.workflows.intake.label_sets import read_label_files

COLUMNS = [("anna", part, axis) for part in ("nose", "tail") for axis in "xy"]
LEVELS = ("scorer", "bodyparts", "coords")
ROWS = [("labeled-data", "v", "0.png"), ("labeled-data", "v", "1.png")]
VALUES = [[1.5, 2.25, np.nan, np.nan], [3, 4, 5, 6.123456789]]
CSV = """scorer,,,anna,anna,anna,anna
bodyparts,,,nose,nose,tail,tail
coords,,,x,y,x,y
labeled-data,v,0.png,1.5,2.25,,
labeled-data,v,1.png,3.0,4.0,5.0,6.123456789
"""


def fixed(path: Path, columns=COLUMNS, levels=LEVELS, rows=ROWS, values=VALUES) -> Path:
    """As `DataFrame.to_hdf` writes the frame of a project."""
    with h5py.File(path, "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs["pandas_type"] = np.bytes_(b"frame")
        group.attrs["nblocks"] = 1
        group["block0_values"] = np.array(values, dtype=float)
        for axis, items, names in (
            ("axis0", columns, levels),
            ("axis1", rows, ["N."] * 3),
        ):
            group.attrs[f"{axis}_nlevels"] = len(names)
            for number, (name, texts) in enumerate(
                zip(names, zip(*items, strict=True), strict=True)
            ):
                known = sorted(set(texts))
                group[f"{axis}_level{number}"] = np.array([text.encode() for text in known])
                group[f"{axis}_level{number}"].attrs["name"] = np.bytes_(name.encode())
                codes = np.array([known.index(text) for text in texts], dtype=np.int8)
                group[f"{axis}_label{number}"] = codes
    return path


def as_table(path: Path, *, protocol: int = 0, columns: object = COLUMNS) -> Path:
    """As DeepLabCut wrote it before version 2.2: `to_hdf(format="table")`."""
    with h5py.File(path, "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs["pandas_type"] = np.bytes_(b"frame_table")
        info = {1: {"names": list(LEVELS), "type": "MultiIndex"}, "index": {}}
        group.attrs["info"] = np.bytes_(pickle.dumps(info, protocol))
        group.attrs["non_index_axes"] = np.bytes_(pickle.dumps([(1, columns)], protocol))
        records = np.zeros(2, dtype=[("index", "S40"), ("values_block_0", "<f8", (4,))])
        records["index"] = ["/".join(row).encode() for row in ROWS]
        records["values_block_0"] = VALUES
        group["table"] = records
    return path


def test_a_table_comes_out_as_the_csv_beside_it(tmp_path):
    assert csv_of_hdf5(fixed(tmp_path / "a.h5")) == CSV


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_so_does_one_of_an_early_version(tmp_path, protocol):
    text = csv_of_hdf5(as_table(tmp_path / "a.h5", protocol=protocol))
    assert text == CSV.replace(",,,", ",").replace("data,v,", "data/v/")


def test_what_is_pickled_is_never_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was run",))

    text = csv_of_hdf5(as_table(tmp_path / "a.h5", columns=[*COLUMNS, Bomb()][:4]))
    assert text.startswith("scorer,anna")
    with pytest.raises(FormatError, match="layout"):
        csv_of_hdf5(as_table(tmp_path / "a.h5", columns=[*COLUMNS[:3], Bomb()]))


def test_several_animals_and_single_parts_are_read(tmp_path):
    levels = ("scorer", "individuals", "bodyparts", "coords")
    columns = [
        ("anna", who, part, axis)
        for who, part in (("m1", "nose"), ("m2", "nose"), ("single", "corner"))
        for axis in "xy"
    ]
    path = fixed(tmp_path / "a.h5", columns, levels, ROWS[:1], [[1, 2, 3, 4, 5, 6]])
    found = read_label_file(path, None)
    assert [item.individual for item in found.annotations] == ["m1", "m2"]
    assert found.annotations[1].pose.xy.tolist() == [[3, 4]]
    assert any("corner" in note for note in found.notes)


def test_predictions_are_refused(tmp_path):
    columns = [("net", "nose", value) for value in ("x", "y", "likelihood")]
    path = fixed(tmp_path / "a.h5", columns, rows=ROWS, values=[[1, 2, 0.5]] * 2)
    with pytest.raises(FormatError, match="predictions"):
        read_label_file(path, None)


def test_in_a_folder_the_csv_beside_it_is_enough(tmp_path):
    fixed(tmp_path / "CollectedData_anna.h5")
    (only,) = read_label_files([tmp_path], None)
    assert only.path.suffix == ".h5"
    (tmp_path / "CollectedData_anna.csv").write_text(CSV)
    (only,) = read_label_files([tmp_path], None)
    assert only.path.suffix == ".csv"


def test_other_files_of_this_kind_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["tracks"] = file["node_names"] = np.zeros(2)
    with pytest.raises(FormatError, match="SLEAP"):
        read_label_file(tmp_path / "a.h5", None)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["x"] = np.zeros(2)
    with pytest.raises(FormatError, match="neither"):
        read_label_file(tmp_path / "b.h5", None)
    whole = fixed(tmp_path / "c.h5").read_bytes()
    (tmp_path / "c.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match="damaged"):
        read_label_file(tmp_path / "c.h5", None)
