import pickle

import pytest
import torch

from labelkit.errors import CheckpointError
from labelkit.workflows.network.resume import SafetensorsIO


def test_a_training_state_comes_back_as_it_was(tmp_path):
    weights = torch.tensor([[1.5, -2.0]])
    state = {
        "epoch": 3,
        "state_dict": {"w": weights, "same": weights},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(4.0)}}, "lr": 1e-3}],
        "betas": (0.9, 0.999),
        "nothing": None,
        "done": True,
        "empty": {},
    }
    SafetensorsIO().save_checkpoint(state, tmp_path / "state.safetensors")
    back = SafetensorsIO().load_checkpoint(tmp_path / "state.safetensors")
    assert torch.equal(back.pop("state_dict")["w"], weights)
    assert back.pop("optimizer_states")[0]["state"][0]["step"].item() == 4.0
    assert back == {"epoch": 3, "betas": (0.9, 0.999), "nothing": None, "done": True, "empty": {}}


def test_a_pickle_is_refused_without_being_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was run",))

    path = tmp_path / "state.safetensors"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match=r"state\.safetensors"):
        SafetensorsIO().load_checkpoint(path)


def test_what_json_cannot_hold_is_refused_when_saving(tmp_path):
    with pytest.raises(TypeError, match="set"):
        SafetensorsIO().save_checkpoint({"ids": {1, 2}}, tmp_path / "state.safetensors")
    assert list(tmp_path.iterdir()) == []
