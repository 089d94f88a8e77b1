"""The number format of a training and of its predictions."""

from __future__ import annotations

import os
from functools import cache
from time import perf_counter
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import conv2d

#: "full" computes with 32 bits, "bf16" mostly with 16; weights have 32 in both.
PRECISIONS = ("full", "bf16")

#: Lightning's names, which a round records too.
LIGHTNING: dict[str, Literal["32-true", "bf16-mixed"]] = {"full": "32-true", "bf16": "bf16-mixed"}

#: Timed convolutions in each format; the best counts.
TURNS = 5


def fastest_precision() -> str:
    """The number format that is faster on this machine, "bf16" or "full".

    A CPU that supports the format may still take twice as long in it (Intel Xeons whose AMX is
    hidden by a virtual machine), so on CPUs a convolution is timed. The formats give different
    weights and timings vary: whoever asks keeps the answer. The processes of a distributed
    training have to agree, so with several of them nothing is timed.
    """
    if not supports_bf16():
        return "full"
    if torch.cuda.is_available():
        return "bf16"
    several = any(int(os.environ.get(name, "1")) > 1 for name in ("WORLD_SIZE", "SLURM_NTASKS"))
    return "bf16" if not several and _convolves_faster_in_bf16() else "full"


def supports_bf16() -> bool:
    """Whether the GPU, or the CPU where there is none, computes in bfloat16 itself."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported()


@cache
def _convolves_faster_in_bf16() -> bool:
    full = [
        torch.ones(shape).to(memory_format=torch.channels_last)
        for shape in ((16, 128, 12, 12), (128, 128, 3, 3))
    ]
    half = [tensor.bfloat16() for tensor in full]
    times = [(_seconds(*full), _seconds(*half)) for _ in range(1 + TURNS)][1:]  # one to warm up
    in_full, in_half = map(min, zip(*times, strict=True))
    return in_half < in_full


@torch.no_grad()
def _seconds(crops: Tensor, weight: Tensor) -> float:
    start = perf_counter()
    conv2d(crops, weight, padding=1)
    return perf_counter() - start
