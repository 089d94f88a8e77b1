"""The number format of a training and of its predictions."""

from __future__ import annotations

from functools import cache
from time import perf_counter
from typing import Literal

import torch
from torch import nn

from labelkit.models.parts.backbone import Backbone
from labelkit.models.parts.pretrained import UnusableBackbone
from labelkit.project.project import is_one_of_several

#: "full" computes with 32 bits, "bf16" mostly with 16; weights have 32 in both.
PRECISIONS = ("full", "bf16")

#: Lightning's names, which a round records too.
LIGHTNING: dict[str, Literal["32-true", "bf16-mixed"]] = {"full": "32-true", "bf16": "bf16-mixed"}

#: Crops of a timed pass, their side in pixels, and passes in each format, of which the best counts.
CROPS, SIDE, TURNS = 4, 96, 3


def fastest_precision(backbone: str, devices: int = 1) -> str:
    """The number format in which a backbone trains faster on this machine, "bf16" or "full".

    A CPU that supports bfloat16 may still take longer in it: Intel Xeons whose AMX is hidden by a
    virtual machine do, and an AMD EPYC where gradients go back through depthwise convolutions. So
    on CPUs the backbone is timed, with random weights. The formats give different weights and
    timings vary: whoever asks keeps the answer. The processes of a distributed training have to
    agree, so with several of them nothing is timed.

    Args:
        backbone: name of a timm network.
        devices: on which this process lets others train with it.
    """
    if not supports_bf16():
        return "full"
    if torch.cuda.is_available():
        return "bf16"
    several = devices > 1 or is_one_of_several()
    return "bf16" if not several and _trains_faster_in_bf16(backbone) else "full"


def supports_bf16() -> bool:
    """Whether the GPU, or the CPU where there is none, computes in bfloat16 itself."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported()


@cache
def _trains_faster_in_bf16(backbone: str) -> bool:
    try:
        with torch.random.fork_rng(devices=[]):
            network = Backbone(backbone, (16,))
    except UnusableBackbone:  # who builds it for a training says why
        return False
    seconds = {
        half: [_seconds(network, half) for _ in range(1 + TURNS)][1:]  # one to warm up
        for half in (False, True)
    }
    return min(seconds[True]) < min(seconds[False])


def _seconds(network: nn.Module, half: bool) -> float:
    """Of a pass forward and back, in bfloat16 or with 32 bits."""
    crops = torch.ones(CROPS, 3, SIDE, SIDE)
    start = perf_counter()
    with torch.inference_mode(False), torch.enable_grad():  # whatever mode the caller is in
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            maps = network(crops)
        sum(level.float().sum() for level in maps).backward()
    return perf_counter() - start
