"""MATLAB files that cannot be read, each with an error that names the file."""

import numpy as np
import pytest
from mpii_files import gt_valid
from scipy.io import savemat

from labelkit.errors import FormatError
from labelkit.formats.matlab.mat_file import array_of, load_mat
from labelkit.formats.matlab.mpii import read_mpii

# What MATLAB writes before the variables of a file of version 7.3, which is HDF5.
VERSION_73 = b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + b"\x00\x02IM"


def test_a_missing_variable_is_named_with_those_that_exist(tmp_path):
    savemat(tmp_path / "gt.mat", {"joints": 1})
    with pytest.raises(FormatError) as caught:
        array_of(load_mat(tmp_path / "gt.mat"), ["preds", "pred"], "gt.mat", "Correct it.")
    assert caught.value.problem == "gt.mat has no variable preds or pred; it has joints."


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (None, "does not exist"),
        (b"", "truncated"),
        (b"{}", "not a MATLAB file"),
        (b"no matlab" * 100, "not a MATLAB file"),
        (VERSION_73 + bytes(1000), "7.3"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(content, named, tmp_path):
    path = tmp_path / "gt.mat"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FormatError) as caught:
        load_mat(path)
    assert caught.value.problem.startswith(str(path))
    assert named in caught.value.problem


def test_a_folder_is_named(tmp_path):
    with pytest.raises(FormatError, match="folder"):
        load_mat(tmp_path)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_truncated_file_is_named(share, compressed, tmp_path):
    path = tmp_path / "gt.mat"
    noise = np.random.default_rng(0).random((16, 2, 50))
    savemat(path, gt_valid(50, pos_gt_src=noise), do_compression=compressed)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(FormatError):
        read_mpii(load_mat(path), str(path))
