"""A network in onnxruntime and in torch: milliseconds a crop, and how far their outputs differ.

python benchmarks/onnx_speed.py [--preset tiny] [--backbone NAME] [--turns 20]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from machine import machine

from labelkit.metrics.table import markdown
from labelkit.models.presets import PRESETS, build_model
from labelkit.workflows.network.onnx_file import CropReader, write_onnx


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--backbone")
    parser.add_argument("--turns", type=int, default=20, help="of which the best counts")
    options = parser.parse_args()
    preset = PRESETS[options.preset]
    preset = {**preset, "backbone": options.backbone or preset["backbone"]}
    threads, size_hw = torch.get_num_threads(), preset["input_size"]
    print(f"{machine()}; {threads} threads, preset {options.preset}, {preset['backbone']}\n")
    torch.manual_seed(0)
    reader = CropReader(build_model("lofr", 14, (), preset, False), size_hw).eval()
    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        write_onnx(reader.network, size_hw, {}, path)
        session = onnxruntime.InferenceSession(path, chosen, providers=["CPUExecutionProvider"])
    rows = []
    for batch in (1, 16):
        crops = torch.randint(0, 256, (batch, 3, *size_hw), dtype=torch.uint8)

        def by_torch(crops: torch.Tensor = crops) -> list[np.ndarray]:
            with torch.inference_mode():
                return [output.numpy() for output in reader(crops)]

        def by_onnx(crops: torch.Tensor = crops) -> list[np.ndarray]:
            return session.run(None, {"crops": crops.numpy()})

        apart = max(float(np.abs(a - b).max()) for a, b in zip(by_torch(), by_onnx(), strict=True))
        # In turns, so that other programs slow both alike.
        times = [(seconds(by_torch), seconds(by_onnx)) for _ in range(options.turns)]
        torch_s, onnx_s = map(min, zip(*times, strict=True))
        numbers = (1000 * torch_s / batch, 1000 * onnx_s / batch)
        cells = (
            f"{numbers[0]:.1f}",
            f"{numbers[1]:.1f}",
            f"{torch_s / onnx_s:.2f}",
            f"{apart:.0e}",
        )
        rows.append((str(batch), *cells))
    head = ("crops at a time", "torch, ms a crop", "onnxruntime", "torch / onnxruntime", "apart")
    print(markdown((head, *rows)))


def seconds(run: Callable[[], object]) -> float:
    """Duration of one call."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
