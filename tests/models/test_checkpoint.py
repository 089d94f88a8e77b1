"""Weights and their header come back, and nothing else is ever read."""

import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

from labelkit.errors import CheckpointError
from labelkit.models.checkpoint import (
    FORMAT,
    load_checkpoint,
    load_model,
    network_header,
    save_checkpoint,
)
from labelkit.models.presets import KINDS, PRESETS, build_model

LINKS = [(0, 1), (1, 2)]


def save(path, built="lofr", **changes):
    torch.manual_seed(0)
    model = build_model(built, 3, LINKS, PRESETS["tiny"], pretrained=False).eval()
    network = {**network_header(built, 3, LINKS, PRESETS["tiny"]), **changes}
    save_checkpoint(path, model, {"network": network, "skeleton": {"name": "mäuse <3>"}})
    return model


def rewrite_header(path, text):
    save_file(load_file(path), path, metadata={"labelkit": text})


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_comes_back_as_it_was(tmp_path, kind):
    path = tmp_path / "model.safetensors"
    model = save(path, kind)
    loaded, header = load_model(path)
    assert header["skeleton"] == {"name": "mäuse <3>"}
    assert not loaded.training
    images = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        assert torch.equal(loaded(images).response, model(images).response)
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_saving_again_replaces_the_file(tmp_path):
    path = tmp_path / "model.safetensors"
    save(path)
    save(path, "simple")
    assert load_checkpoint(path)[1]["network"]["kind"] == "simple"


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint .*absent\.safetensors"):
        load_checkpoint(tmp_path / "absent.safetensors")


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was read",))


def test_a_pickle_is_refused_unread(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        load_model(path)


def test_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    path.touch()
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        load_model(path)


def test_a_truncated_checkpoint_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save(path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        load_model(path)


def test_safetensors_of_somebody_else_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="not written by labelkit"):
        load_model(path)


@pytest.mark.parametrize("text", ["{", "[]", "{}", "null", '"text"'])
def test_a_damaged_header_is_refused(tmp_path, text):
    path = tmp_path / "model.safetensors"
    save(path)
    rewrite_header(path, text)
    with pytest.raises(CheckpointError, match="damaged header"):
        load_model(path)


@pytest.mark.parametrize("version", [FORMAT - 1, 99])
def test_another_format_is_refused_by_number(tmp_path, version):
    path = tmp_path / "model.safetensors"
    save(path)
    rewrite_header(path, json.dumps({"format": version}))
    with pytest.raises(CheckpointError, match=f"format {version}; this labelkit reads"):
        load_model(path)


@pytest.mark.parametrize(
    "changes",
    [{"kind": "hourglass"}, {"preset": {}}, {"links": [[0, 9]]}, {"num_keypoints": "three"}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_header_that_describes_no_network_is_refused(tmp_path, changes):
    path = tmp_path / "model.safetensors"
    save(path, **changes)
    with pytest.raises(CheckpointError, match="describes no network"):
        load_model(path)


def test_weights_of_another_skeleton_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save(path, num_keypoints=4)
    with pytest.raises(CheckpointError, match="do not fit"):
        load_model(path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="could not be written"):
        save(tmp_path / "absent" / "model.safetensors")
