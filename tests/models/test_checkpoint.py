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
    with pytest.raises(CheckpointError, match=r"absent\.safetensors"):
        load_checkpoint(tmp_path / "absent.safetensors")


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was read",))


def test_a_pickle_is_refused_unread(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_model(path)


def test_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    path.touch()
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_model(path)


def test_a_truncated_checkpoint_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save(path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_model(path)


def test_safetensors_without_a_header_of_labelkit_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_model(path)


@pytest.mark.parametrize("text", ["{", "[]", "{}", "null", '"text"'])
def test_a_damaged_header_is_refused(tmp_path, text):
    path = tmp_path / "model.safetensors"
    save(path)
    rewrite_header(path, text)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_model(path)


@pytest.mark.parametrize("version", [FORMAT - 1, 99])
def test_another_format_is_refused_by_number(tmp_path, version):
    path = tmp_path / "model.safetensors"
    save(path)
    rewrite_header(path, json.dumps({"format": version}))
    with pytest.raises(CheckpointError, match=rf"model\.safetensors .*{version}.*{FORMAT}"):
        load_model(path)


@pytest.mark.parametrize(
    "changes",
    [{"kind": "hourglass"}, {"preset": {}}, {"links": [[0, 9]]}, {"num_keypoints": "three"}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_header_of_a_network_that_cannot_be_built_is_refused(tmp_path, changes):
    path = tmp_path / "model.safetensors"
    save(path, **changes)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_model(path)


def test_a_checkpoint_of_an_earlier_version_still_loads(tmp_path):
    path = tmp_path / "model.safetensors"
    tiny = PRESETS["tiny"]
    lofr = {key: value for key, value in tiny["lofr"].items() if key != "rotation_tta"}
    preset = {**tiny, "lofr": {**lofr, "turned": 20.0, "spe_plus_sine": False, "fkey": "gauss"}}
    model = save(path, preset=preset, pairs=[[0, 2]])
    loaded, _ = load_model(path)
    assert loaded.reader.rotations == (20.0, -20.0)
    images = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        assert torch.equal(loaded(images).heatmaps, model(images).heatmaps)


def test_a_switch_that_no_longer_exists_is_refused_unless_it_was_off(tmp_path):
    path = tmp_path / "model.safetensors"
    save(path, preset={**PRESETS["tiny"], "lofr": {**PRESETS["tiny"]["lofr"], "fkey": "onehot"}})
    with pytest.raises(CheckpointError, match=r"model\.safetensors.*fkey 'onehot'"):
        load_model(path)


def test_weights_of_another_skeleton_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save(path, num_keypoints=4)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_model(path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"absent.model\.safetensors"):
        save(tmp_path / "absent" / "model.safetensors")
