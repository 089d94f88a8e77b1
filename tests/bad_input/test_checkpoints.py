import json
from pathlib import Path

import pytest
from command_line import labelkit
from team import assert_refused, journal
from trained import Trained


def without_header(path):
    from safetensors.torch import load_file, save_file

    save_file(load_file(path), path)


def of_another_version(path):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["labelkit"])
    save_file(load_file(path), path, metadata={"labelkit": json.dumps(header | {"format": 99})})


def a_pickle(path):
    import pickle

    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was run",))

    path.write_bytes(pickle.dumps(Bomb()))


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-1000])


def of_another_skeleton(path):
    from labelkit.models.checkpoint import load_model, save_checkpoint

    network, header = load_model(path)
    names = [f"animal {name}" for name in header["skeleton"]["keypoints"]]
    other = {"name": "animal", "keypoints": names}
    save_checkpoint(path, network, header | {"skeleton": other})


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (without_header, "labelkit"),
        (of_another_version, "format 99"),
        (a_pickle, "safetensors"),
        (cut_off, "safetensors"),
        (of_another_skeleton, "'animal'"),
        (Path.unlink, "no checkpoint"),
    ],
)
def test_a_checkpoint_of_another_kind_is_refused(trained: Trained, spoil, reason):
    pulled = labelkit("pull", "--file", trained.corrections(), "--project", trained.project.root)
    assert pulled.code == 0
    before = journal(trained.project.root)
    path = trained.project.rounds_root / "000" / "model.safetensors"
    spoil(path)
    outcome = labelkit("evaluate", "--project", trained.project.root)
    assert_refused(outcome, str(path), reason, next_step=str(path.parent))
    assert journal(trained.project.root) == before
