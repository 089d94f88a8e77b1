"""Where the processor time of a training step goes: parts of LOFR and of the simple baseline.

Each part is run again on what it got in a step, forward and back. One thread, full precision, the
best of several turns.

    python benchmarks/training_parts.py [--preset tiny] [--turns 5]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from machine import machine
from torch import Tensor, nn
from training import examples_of

from labelkit.metrics.table import markdown
from labelkit.models.presets import PRESETS, build_model
from labelkit.workflows.network.crops import Augmentation
from labelkit.workflows.network.data import TrainingCrops
from labelkit.workflows.network.training import PoseTraining, make_recipe
from labelkit.workflows.network.watch import Watch
from labelkit.workflows.synthetic.figures import SKELETON, generate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--turns", type=int, default=5, help="of which the best counts")
    options = parser.parse_args()
    torch.set_num_threads(1)
    preset = PRESETS[options.preset]
    print(f"{machine()}; preset {options.preset}, ms of a crop\n")
    with tempfile.TemporaryDirectory() as name:
        crops = crops_of(Path(name), preset)
        cutting = best(lambda: [crops[number, number] for number in range(len(crops))], options)
        batch = torch.utils.data.default_collate([crops[n, n] for n in range(len(crops))])
    for kind in ("lofr", "simple"):
        rows = {"cutting the crop": cutting, **step_parts(kind, preset, batch, options)}
        cells = [(what, f"{1000 * seconds / len(crops):.2f}") for what, seconds in rows.items()]
        print(markdown(((kind, "ms"), *cells)))


def crops_of(folder: Path, preset: dict[str, Any]) -> TrainingCrops:
    """A batch of crops of figures, every other with locations."""
    generate(folder, preset["training"]["batch_size"], seed=0)
    examples = examples_of(folder)
    views = Augmentation(preset["training"]["rotation"], preset["training"]["mirror"])
    return TrainingCrops(folder / "images", examples, SKELETON, preset["input_size"], views)


def step_parts(
    kind: str, preset: dict[str, Any], batch: dict[str, Tensor], options: argparse.Namespace
) -> dict[str, float]:
    """Seconds of a batch."""
    recipe = make_recipe(preset, 1000, 1, 0, True)
    if kind == "simple":
        recipe = replace(recipe, weights=(0.0, 0.0, 0.0, 0.0))
    network = build_model(kind, len(SKELETON), SKELETON.links, preset, False)
    module = PoseTraining(network, recipe)
    module.log = lambda *_, **__: None  # type: ignore[method-assign,assignment]
    optimizer = module.configure_optimizers()["optimizer"]
    watch = Watch(network, [], SKELETON, Path(), preset["input_size"], recipe.steps, "full")
    watch.on_train_start(None, None)  # type: ignore[arg-type]
    inputs: dict[str, list[Any]] = {}
    hooks = [
        part.register_forward_hook(
            lambda _part, given, _, name=name: inputs.setdefault(name, []).append(given)
        )
        for name, part in network.named_children()
    ]
    module.training_step(batch, 0).backward()
    for hook in hooks:
        hook.remove()

    def rerun(part: nn.Module, calls: list[Any]) -> None:
        for given in calls:
            found = [each for each in flat(part(*detached(given))) if each.requires_grad]
            torch.autograd.backward([each.sum() for each in found])

    result = {"forward and back": best(lambda: module.training_step(batch, 0).backward(), options)}
    for name, calls in inputs.items():
        part = network.get_submodule(name)
        if any(parameter.requires_grad for parameter in part.parameters()):
            result[f"of it {name}"] = best(lambda p=part, c=calls: rerun(p, c), options)
    result["gradient clipping"] = best(
        lambda: torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0), options
    )
    result["optimiser"] = best(optimizer.step, options)
    result["average of weights"] = best(watch.on_train_batch_end, options)
    return result


def detached(value: Any) -> Any:
    """The same tensors as leaves, in tuples and lists too."""
    if isinstance(value, Tensor):
        return value.detach().requires_grad_(value.requires_grad)
    return type(value)(map(detached, value)) if isinstance(value, tuple | list) else value


def flat(value: Any) -> list[Tensor]:
    """All tensors."""
    if isinstance(value, Tensor):
        return [value]
    return (
        [each for item in value for each in flat(item)] if isinstance(value, tuple | list) else []
    )


def best(work: Callable[[], Any], options: argparse.Namespace) -> float:
    """Processor seconds, after a turn that does not count."""
    seconds = []
    for _ in range(1 + options.turns):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return min(seconds[1:])


if __name__ == "__main__":
    main()
