import numpy as np
import pytest
from scipy.io import savemat

from labelkit.errors import FormatError
from labelkit.formats.matlab.lsp import LspTruth, read_lsp, scored_part
from labelkit.formats.matlab.mat_file import load_mat


def read(path, joints) -> LspTruth:
    savemat(path, {"joints": joints})
    return read_lsp(load_mat(path), path.name)


def test_hidden_joints_of_lsp_have_a_location_and_those_of_lspet_have_none(tmp_path):
    lsp = np.zeros((3, 14, 2))
    lsp[:, 5, 1] = 7.0, 8.0, 1.0  # 1: hidden
    found = read(tmp_path / "lsp.mat", lsp)
    assert found.xy[1, 5].tolist() == [7.0, 8.0]
    assert found.counted.all()
    lspet = np.zeros((14, 3, 2))
    lspet[5, :, 1] = 7.0, 8.0, 1.0  # 1: visible
    found = read(tmp_path / "lspet.mat", lspet)
    assert found.xy[1, 5].tolist() == [7.0, 8.0]
    assert np.argwhere(found.counted).tolist() == [[1, 5]]


def test_a_thousand_poses_are_scored_on_the_test_half_of_lsp():
    joints = np.zeros((3, 14, 2000))
    joints[0, 0] = np.arange(2000)
    truth = read_lsp({"joints": joints}, "lsp.mat")
    assert scored_part(truth, 1000).xy[0, 0, 0] == 1000.0  # image 1001
    assert len(scored_part(truth, 2000).xy) == len(scored_part(truth, 7).xy) == 2000


def test_joints_of_another_shape_are_named():
    with pytest.raises(FormatError, match=r"joints\.mat: joints .*\(14, 2, 5\)"):
        read_lsp({"joints": np.zeros((14, 2, 5))}, "joints.mat")
