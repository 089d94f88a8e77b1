"""Predict under torchrun, or alone, and print what each process has of the predictions.

python shared_predictions.py FOLDER
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import torch

from labelkit.domain.instance import Box, Instance
from labelkit.models.presets import PRESETS, build_model
from labelkit.project.images import scan_images
from labelkit.workflows.network import sharing
from labelkit.workflows.synthetic.figures import SKELETON

SIZE_HW = (64, 64)


def main(folder: Path) -> None:
    torch.manual_seed(0)
    preset = {**PRESETS["tiny"], "backbone": "test_resnet", "input_size": SIZE_HW}
    network = build_model("lofr", 14, SKELETON.links, preset, pretrained=False)
    instances = [
        Instance(image, 0, Box(0, 0, image.width, image.height), "given", 1.0)
        for image in scan_images(folder / "images").images
    ]
    evidence = np.random.default_rng(0).uniform(1, 60, (len(instances), 14, 3))

    def work() -> list[str]:
        found = []
        for flip_test, beside in ((True, None), (False, evidence)):
            rows = sharing.predict_shared(
                network,
                instances,
                folder / "images",
                SKELETON,
                SIZE_HW,
                flip_test=flip_test,
                precision="full",
                evidence=beside,
            )
            for row in rows:
                parts = (row.prediction.xy, row.prediction.presence, row.response, row.feature)
                digest = hashlib.sha256(b"".join(part.tobytes() for part in parts))
                found.append(f"{row.prediction.instance_id} {digest.hexdigest()}")
        return found

    sys.stdout.write("".join(f"{line}\n" for line in sharing.together(work)))


if __name__ == "__main__":
    sharing.BATCH = 2
    main(Path(sys.argv[1]))
