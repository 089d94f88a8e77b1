"""Training as `retrain` does it, compared with training from memory and with the simple baseline.

Each is the duration of one step, the best of several. From memory, the batches are already cut and
the loop is just forward, loss, backward and step. Where others use the machine, --processor-time
counts what the steps need instead of how long they take.

    python benchmarks/training.py [--preset tiny] [--pictures 256] [--steps 16] [--turns 3]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from machine import machine

from labelkit.domain.instance import Instance
from labelkit.files.documents import load_json
from labelkit.formats.coco import read_coco
from labelkit.metrics.table import markdown
from labelkit.models.presets import PRESETS, build_model
from labelkit.progress import Silent
from labelkit.project.images import scan_images
from labelkit.workflows.network.crops import Augmentation
from labelkit.workflows.network.data import (
    Example,
    MixedSampler,
    TrainingCrops,
    loader,
    loader_workers,
)
from labelkit.workflows.network.precision import fastest_precision
from labelkit.workflows.network.training import PoseTraining, Recipe, make_recipe, train
from labelkit.workflows.synthetic.figures import SKELETON, generate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--turns", type=int, default=3, help="of which the best counts")
    parser.add_argument("--processor-time", action="store_true", help="instead of the clock's")
    options = parser.parse_args()
    clock = time.process_time if options.processor_time else time.perf_counter
    print(f"{machine()}; {torch.get_num_threads()} threads, preset {options.preset}\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder, options.pictures, seed=0)
        turns = [
            measure(folder, options.preset, options.steps, turn, clock)
            for turn in range(options.turns)
        ]
    whole, memory, simple, simple_memory = (min(each) for each in zip(*turns, strict=True))
    rows = [
        ("LOFR, as retrain trains it", f"{1 / whole:.1f}", f"{memory / whole:.2f}"),
        ("LOFR, fed from memory", f"{1 / memory:.1f}", "1.00"),
        ("simple baseline, as retrain trains it", f"{1 / simple:.1f}", f"{simple / whole:.2f}"),
        ("simple baseline, fed from memory", f"{1 / simple_memory:.1f}", ""),
    ]
    print(markdown((("", "crops/s", "LOFR / this"), *rows)))
    if torch.cuda.is_available():
        print(f"\nPeak memory of the GPU: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB.")


def measure(
    folder: Path, preset_name: str, steps: int, turn: int, clock: Callable[[], float]
) -> tuple[float, ...]:
    """Seconds per crop of the four rows."""
    examples = examples_of(folder)
    preset = PRESETS[preset_name]
    found = []
    for kind in ("lofr", "simple"):
        recipe = make_recipe(
            preset, len(examples), 1, turn, True, fastest_precision(preset["backbone"])
        )
        recipe = replace(recipe, steps=steps, steps_per_epoch=steps)
        if kind == "simple":
            recipe = replace(recipe, weights=(0.0, 0.0, 0.0, 0.0))
        found += [
            as_retrain(kind, preset, recipe, examples, folder, clock),
            from_memory(kind, preset, recipe, examples, folder, clock),
        ]
    return tuple(found)


def examples_of(folder: Path) -> list[Example]:
    """Generated figures as a project has them, every other with locations."""
    coco = read_coco(load_json(folder / "keypoints.json"), "")
    images = {image.path: image for image in scan_images(folder / "images").images}
    return [
        Example(
            Instance(images[item.image_path], 0, item.box, "given", 1.0),
            item.pose.present,
            item.pose if number % 2 else None,
        )
        for number, item in enumerate(coco.annotations)
    ]


def as_retrain(
    kind: str,
    preset: dict,
    recipe: Recipe,
    examples: list[Example],
    folder: Path,
    clock: Callable[[], float],
) -> float:
    """Seconds per crop of `train`, without its start-up."""
    seconds = []
    for steps in (2, recipe.steps + 2):
        network = build_model(kind, len(SKELETON), SKELETON.links, preset, False)
        chosen = replace(recipe, steps=steps, steps_per_epoch=steps)
        state = folder / "state.safetensors"
        arguments = (examples, SKELETON, folder / "images", preset["input_size"], chosen, state)
        started = clock()
        train(network, *arguments, Silent(), "", 1)
        seconds.append(clock() - started)
    return (seconds[1] - seconds[0]) / (recipe.steps * recipe.batch_size)


def from_memory(
    kind: str,
    preset: dict,
    recipe: Recipe,
    examples: list[Example],
    folder: Path,
    clock: Callable[[], float],
) -> float:
    """Seconds per crop of the bare loop."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    located = [i for i, e in enumerate(examples) if e.pose is not None]
    answered = [i for i, e in enumerate(examples) if e.pose is None]
    sampler = MixedSampler(
        located,
        answered,
        recipe.batch_size,
        4,
        recipe.located_share,
        recipe.located_odds,
        recipe.seed,
    )
    augmentation = Augmentation(recipe.rotation, recipe.mirror)
    crops = TrainingCrops(folder / "images", examples, SKELETON, preset["input_size"], augmentation)
    batches = [
        {name: value.to(device) for name, value in batch.items()}
        for batch in loader(crops, recipe.batch_size, loader_workers(), sampler)
    ]
    network = build_model(kind, len(SKELETON), SKELETON.links, preset, False)
    module = PoseTraining(network, recipe).to(device)
    module.log = lambda *_, **__: None  # type: ignore[method-assign,assignment]
    chosen = module.configure_optimizers()
    optimizer, schedule = chosen["optimizer"], chosen["lr_scheduler"]["scheduler"]

    def step(number: int) -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            loss = module.training_step(batches[number % len(batches)], number)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()

    for number in range(2):
        step(number)
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = clock()
    for number in range(recipe.steps):
        step(number)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (clock() - started) / (recipe.steps * recipe.batch_size)


if __name__ == "__main__":
    main()
