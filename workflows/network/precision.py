"""Which number format is fastest on this machine."""

from __future__ import annotations

from functools import cache
from time import perf_counter

import torch
from torch import Tensor
from torch.nn.functional import conv2d

#: Timed convolutions in each format; the best counts.
TURNS = 5


def faster_in_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is faster than full precision on a device.

    A CPU that supports the format may still take twice as long in it (Intel Xeons whose AMX is
    hidden by a virtual machine), so on CPUs a convolution is timed, once per process.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() and _convolves_faster_in_bf16()


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
