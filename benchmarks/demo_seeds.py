"""`labelkit demo --full` with seeds 0, 1 and 2: the mean and the spread of each row of its table.

Each seed has its own folder; run again, an interrupted seed continues where it stopped.

    python benchmarks/demo_seeds.py [--folder scratch/demo_seeds] [--seeds 0 1 2] [--quick]
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from machine import machine

from labelkit.metrics.table import METRICS, markdown
from labelkit.progress import Console
from labelkit.workflows.help.demo import FULL, QUICK, demo

COLUMNS = tuple(METRICS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("scratch/demo_seeds"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="without --full")
    options = parser.parse_args()
    tables = [rows_of(options.folder / str(seed), seed, options) for seed in options.seeds]
    print(f"{machine()}\n\nMean ± standard deviation of {len(tables)} seeds:\n")
    lines = []
    for same in zip(*tables, strict=True):
        name = f"{same[0]['name']} {same[0]['labeled'] or ''}".strip()
        lines.append((name, *(spread([row[column] for row in same]) for column in COLUMNS)))
    print(markdown((("row", *COLUMNS), *lines)))


def rows_of(folder: Path, seed: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The table of one seed, from its file where the demo has finished."""
    finished = folder / "table.json"
    if not finished.is_file():
        size = QUICK if options.quick else FULL
        report = demo(folder, Console(), seed=seed, size=size)
        finished.write_text(json.dumps(report.data() | {"seconds": report.seconds}))
    document = json.loads(finished.read_text())
    print(f"seed {seed}: {document['seconds']:.0f} s", flush=True)
    return document["rows"]


def spread(values: list[float | None]) -> str:
    """Mean and standard deviation; a dash where a row lacks the number."""
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values):
        return "-"
    deviation = statistics.stdev(numbers) if len(numbers) > 1 else 0.0
    return f"{statistics.mean(numbers):.3f} ± {deviation:.3f}"


if __name__ == "__main__":
    main()
