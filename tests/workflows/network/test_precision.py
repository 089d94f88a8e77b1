"""The number format is chosen by measuring the machine, not by what it reports."""

import pytest
import torch
from torch import Tensor

from labelkit.workflows.network import precision

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _measured_anew():
    precision._convolves_faster_in_bf16.cache_clear()
    yield
    precision._convolves_faster_in_bf16.cache_clear()


@pytest.mark.parametrize(("half", "expected"), [(1.8, False), (0.6, True)])
def test_a_cpu_with_bf16_uses_it_where_it_is_faster(monkeypatch, half, expected):
    def seconds(crops: Tensor, weight: Tensor) -> float:
        assert crops.dtype == weight.dtype
        return half if crops.dtype == torch.bfloat16 else 1.0

    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(precision, "_seconds", seconds)
    assert precision.faster_in_bf16(CPU) is expected


def test_a_cpu_without_bf16_times_nothing(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.delattr(precision, "_seconds")
    assert precision.faster_in_bf16(CPU) is False


def test_the_speed_is_measured_once(monkeypatch):
    measured = []
    real = precision._seconds
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(
        precision, "_seconds", lambda *tensors: measured.append(1) or real(*tensors)
    )
    first = precision.faster_in_bf16(CPU)
    assert len(measured) == 2 * (1 + precision.TURNS)
    assert precision.faster_in_bf16(CPU) is first
    assert len(measured) == 2 * (1 + precision.TURNS)
