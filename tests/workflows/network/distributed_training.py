"""Train under torchrun, or alone, and print the loss of each stretch (rank 0 only).

python distributed_training.py FOLDER
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch

from labelkit.domain.instance import Instance
from labelkit.files.documents import load_json
from labelkit.formats.coco import read_coco
from labelkit.models.presets import PRESETS, build_model
from labelkit.progress import Silent
from labelkit.project.images import scan_images
from labelkit.workflows.network import training
from labelkit.workflows.network.data import Example

SIZE_HW = (96, 96)


class Lines(Silent):
    """Progress that prints its lines."""

    def line(self, text: str) -> None:
        print(text, flush=True)


#: Crops of a step, however many processes share them.
TOTAL = 16


def main(folder: Path) -> None:
    coco = read_coco(load_json(folder / "keypoints.json"), "")
    images = {image.path: image for image in scan_images(folder / "images").images}
    examples = [
        Example(
            Instance(images[item.image_path], 0, item.box, "given", 1.0),
            item.pose.present,
            item.pose if number % 2 else None,
        )
        for number, item in enumerate(coco.annotations)
    ]
    torch.manual_seed(0)
    preset = {**PRESETS["tiny"], "backbone": "test_resnet", "input_size": SIZE_HW}
    network = build_model("lofr", 14, coco.skeleton.links, preset, pretrained=False)
    # Batch statistics depend on the batch size; without them two halves equal one whole.
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    # In full precision: half precision would round other batches differently.
    processes = training.processes_of(None)
    preset["training"] = {**preset["training"], "batch_size": TOTAL // processes}
    recipe = training.make_recipe(
        preset, len(examples), 8, seed=0, located=True, processes=processes
    )
    # Keep every pseudo-label: which half is more confident would depend on the last bit.
    recipe = replace(recipe, keep_fraction=1.0, steps_per_epoch=4)
    state = folder / f"state-{processes}.safetensors"
    training.train(
        network,
        examples,
        coco.skeleton,
        folder / "images",
        SIZE_HW,
        recipe,
        state,
        Lines(),
        "run",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
