"""A network as an ONNX file: onnxruntime reads what torch reads, as the docs say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from trained import Trained

from labelkit.domain.geometry import apply_affine, invert_affine
from labelkit.progress import Silent
from labelkit.project.images import open_upright
from labelkit.workflows.loop.export import ExportReport, export
from labelkit.workflows.network.crops import crop_affine, cut
from labelkit.workflows.network.onnx_file import CropReader
from labelkit.workflows.rounds.networks import load_network

onnxruntime = pytest.importorskip("onnxruntime", reason="pip install '.[onnx]'")
pytest.importorskip("onnxscript", reason="pip install '.[onnx]'")

PAGE = Path(__file__).parents[3] / "docs" / "formats.md"


def run(trained: Trained, **given) -> ExportReport:
    given = {"predictions": False, "output": None, "dry_run": False} | given
    return export(trained.project, trained.store, Silent(), form="onnx", **given)


def test_onnxruntime_reads_what_torch_reads_from_pixels_to_keypoints(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
):
    report = run(trained)
    assert (report.round, report.file) == (0, trained.project.root / "exports" / "network.onnx")
    path = trained.project.rounds_root / "000" / "model.safetensors"
    network, _ = load_network(path, trained.project.skeleton)
    instances = list(trained.store.instances().values())[:3]
    images = [open_upright(trained.images / item.image.path) for item in instances]
    affines = [crop_affine(item.box, (128, 128)) for item in instances]
    crops = np.stack([cut(*both, (128, 128)) for both in zip(images, affines, strict=True)])
    crops = crops.transpose(0, 3, 1, 2)
    session = onnxruntime.InferenceSession(report.file)
    with torch.inference_mode():
        expected = CropReader(network, (128, 128)).eval()(torch.from_numpy(crops))
    for some in (slice(1), slice(3)):  # any number of crops
        found = session.run(None, {"crops": crops[some]})
        differences = (abs(a - b[some].numpy()) for a, b in zip(found, expected, strict=True))
        xy, score, presence, maps = differences
        assert max(presence.max(), maps.max()) < 1e-4
        # Where a map is flat, the last digit decides where in a cell of four pixels its peak is.
        assert max(np.median(xy), np.median(score)) < 1e-4
        assert xy.max() <= 2.0

    # The program of the docs gives the keypoints in the image.
    (program,) = re.findall(r'```python title="In your program"\n(.*?)```', PAGE.read_text(), re.S)
    monkeypatch.chdir(report.file.parent)
    names = {"onnxruntime": onnxruntime, "json": json, "numpy": np, "PIL": PIL}
    names |= {"box": tuple(instances[0].box), "image": images[0]}
    exec(program, names)
    assert names["facts"]["keypoints"] == list(trained.project.skeleton.keypoints)
    in_image = apply_affine(invert_affine(affines[0]), expected[0][0].double().numpy())
    assert np.median(np.linalg.norm(names["keypoints"] - in_image, axis=1)) < 0.1


def test_a_dry_run_writes_no_network(trained: Trained):
    report = run(trained, dry_run=True)
    assert "Would write the network of round 000" in report.text()
    assert not report.file.exists()
