"""The code of docs/python-api.md runs, in its order, as a reader types it.

Three things are not as printed. No server is needed: `push` and `pull` run with the files that
stand for one, and people's answers come from the truth. And what trains gets the smallest backbone
and one epoch; later rounds keep those settings.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trained import seed_with_a_dev_set, ticked, true_poses

from labelkit.project.project import open_project
from labelkit.store.label_store import LabelStore
from labelkit.workflows.synthetic.figures import generate
from labelkit.workflows.synthetic.simulated_annotator import correct

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python-api.md"
BLOCKS = re.findall(
    r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
)
TINY = 'preset="tiny", backbone="test_resnet", epochs=1, pretrained=False'


@pytest.fixture
def truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The keypoints of 24 figures in frames/, where the page's code runs."""
    generate(tmp_path, 24, seed=0, size=96)
    (tmp_path / "images").rename(tmp_path / "frames")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "keypoints.json"


def as_tested(block: str, seed: int) -> str:
    block = block.replace("push()", "push(files=True)")
    block = block.replace("pull()", 'pull(file="export.json")')
    block = block.replace('"whole-image")', f'"whole-image", seed={seed})')
    return block.replace('bootstrap("frames")', f'bootstrap("frames", {TINY})')


def answer(truth: Path) -> None:
    """What people answer to the newest push, as Label Studio exports it."""
    folder = open_project(Path("frames-labelkit"))
    with LabelStore.open(folder.store_url) as store:
        instances = store.instances()
    poses = true_poses(truth, instances)
    correction = folder.root / "label_studio" / "correction_tasks.json"
    if correction.is_file():
        rows = correct(json.loads(correction.read_text()), instances, poses, folder.skeleton)
    else:
        tasks = json.loads((folder.root / "label_studio" / "visibility_tasks.json").read_text())
        rows = ticked(tasks, poses, folder.skeleton.keypoints)
    Path("export.json").write_text(json.dumps(rows), encoding="utf-8")


@pytest.mark.slow
def test_the_code_of_the_page_runs(truth: Path, capsys: pytest.CaptureFixture[str]):
    seed = seed_with_a_dev_set(Path("frames"))
    names: dict[str, Any] = {}
    for block in BLOCKS:
        if "pull()" in block:
            answer(truth)
        exec(compile(as_tested(block, seed), PAGE.name, "exec"), names)

    status = names["project"].status()
    assert [item["kind"] for item in status.rounds] == ["location-free", "semi-weak"]
    assert status.answered == status.instances == 24
    assert names["report"].round == 1
    assert "Keypoints of 3 more instances are missing" in capsys.readouterr().out  # 20 %, of 2

    # The page's errors in pixels are those that the round was scored by.
    error = names["error"]
    assert names["report"].dev["median_px"] == pytest.approx(np.median(error))
    assert names["curve"]["dev_pck@0.2"][1] == names["report"].dev["pck@0.2"]

    # Each of its peaks lies in the middle of the cell that the map is highest in.
    p, peaks = names["p"], names["peaks"]
    a, b, c, d, e, f = p.maps.crop
    cells = peaks @ np.array([[a, b], [d, e]]).T + (c, f)
    assert cells % 1 == pytest.approx(np.full((14, 2), 0.5))
    highest = [m[int(y), int(x)] for m, (x, y) in zip(p.maps.response, cells, strict=True)]
    assert highest == p.maps.response.max(axis=(1, 2)).tolist()
