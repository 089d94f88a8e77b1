"""What each backbone costs: parameters, operations and speed, alone and in LOFR.

Crops of 256x192 with 17 keypoints and the preset `plus`, random weights. A backbone ends at stride
16, the coarsest map that LOFR reads. GMAC are thousand million multiply-adds of one crop, as torch
counts them in convolutions, matrix products and attention. Speed is relative to the backbone of
`tiny`, which takes turns with each of the others: 2 is twice as many crops a second.

    python benchmarks/backbones.py [--alone] [--batch 4] [--turns 5] [--backbone NAME ...]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import torch
from machine import machine
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from labelkit.domain.skeleton import load_skeleton
from labelkit.metrics.table import markdown
from labelkit.models.parts.backbone import Backbone
from labelkit.models.parts.pretrained import RECOMMENDED, published
from labelkit.models.presets import PRESETS, build_model

BACKBONES = (
    *RECOMMENDED,
    "resnet18",
    "hrnet_w18_small",
    "mobilenetv3_small_100",
    "resnet10t",
    "test_resnet",
)
REFERENCE = PRESETS["tiny"]["backbone"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--turns", type=int, default=5, help="of which the best counts")
    parser.add_argument("--backbone", action="append")
    parser.add_argument("--alone", action="store_true", help="leave LOFR out: it takes longest")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"{machine()}; {torch.get_num_threads()} threads, batches of {options.batch}\n")
    crops = torch.randn(options.batch, 3, 256, 192, device=device)
    kinds = {"": alone} if options.alone else {"": alone, "in LOFR: ": in_lofr}
    rows = [
        row(name, list(kinds.values()), crops, options.turns)
        for name in options.backbone or BACKBONES
    ]
    costs = [kind + what for kind in kinds for what in ("M parameters", "GMAC", "speed")]
    print(markdown((("backbone", "licence", *costs), *rows)))


def row(
    name: str, kinds: Sequence[Callable[[str], nn.Module]], crops: torch.Tensor, turns: int
) -> tuple[str, ...]:
    """One backbone."""
    cells = [name, published(name).license or "not stated"]
    for make in kinds:
        both = (make(each).to(crops.device) for each in (name, REFERENCE))
        cells += cost(*both, crops, turns)
    return tuple(cells)


def alone(name: str) -> nn.Module:
    """The backbone itself."""
    return Backbone(name, (4, 8, 16))


def in_lofr(name: str) -> nn.Module:
    """LOFR on it."""
    skeleton = load_skeleton("coco17")
    preset = {**PRESETS["plus"], "backbone": name}
    return build_model("lofr", len(skeleton), skeleton.links, preset, False)


@torch.inference_mode()
def cost(
    network: nn.Module, reference: nn.Module, crops: torch.Tensor, turns: int
) -> tuple[str, str, str]:
    """Millions of parameters, thousand million multiply-adds a crop, and relative speed."""
    network.eval()
    reference.eval()
    count = sum(parameter.numel() for parameter in network.parameters())
    with FlopCounterMode(display=False) as counted:
        network(crops)
    macs = counted.get_total_flops() / 2 / len(crops)
    took = [
        (
            timed(lambda: network(crops), crops.is_cuda),
            timed(lambda: reference(crops), crops.is_cuda),
        )
        for _ in range(turns)
    ]
    seconds, of_reference = (min(each) for each in zip(*took, strict=True))
    return f"{count / 1e6:.1f}", f"{macs / 1e9:.2f}", f"{of_reference / seconds:.2f}"


def timed(work: Callable[[], object], on_gpu: bool) -> float:
    """Seconds."""
    started = time.perf_counter()
    work()
    if on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
