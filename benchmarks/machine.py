"""The machine of a measurement, as a line of Markdown."""

from __future__ import annotations

import os
import platform
from datetime import date
from importlib.metadata import version
from pathlib import Path


def machine() -> str:
    """Processor, cores, GPU, versions and date."""
    return (
        f"{_processor()}, {os.cpu_count()} cores, {_gpu()}; Python {platform.python_version()}, "
        f"torch {version('torch')}; {date.today().isoformat()}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if os.name == "posix" else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpu() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


if __name__ == "__main__":
    print(machine())
