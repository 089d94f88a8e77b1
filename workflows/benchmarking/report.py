"""The report of `labelkit benchmark`: means and spreads as Markdown, JSON and a picture."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelkit.domain.selection import format_percent
from labelkit.files.atomic import write_json, write_text
from labelkit.metrics.table import DECIMALS, METRICS, markdown
from labelkit.project.project import Project
from labelkit.report import Report
from labelkit.workflows.benchmarking.tables import Table

#: Further columns: rank correlation of instance scores with errors, and calibration error.
CONFIDENCE = ("spearman", "ece", "ece_calibrated")


@dataclass(frozen=True, slots=True)
class Line:
    """One row: the same trial with every seed.

    Attributes:
        name: of the row.
        percent: labelled, 0 ... 100; None where no labels are used.
        runs: scores, seed by seed.
    """

    name: str
    percent: float | None
    runs: tuple[Mapping[str, Any], ...]

    def values(self, column: str) -> list[float]:
        """This column of every run; empty if a run lacks it."""
        found = [run.get(column) for run in self.runs]
        return [] if None in found else [float(value) for value in found if value is not None]


@dataclass(frozen=True, slots=True)
class BenchmarkReport(Report):
    """A table, and its files.

    Attributes:
        markdown: the whole report.
        document: the same for machines.
        files: written.
    """

    markdown: str
    document: Mapping[str, Any]
    files: tuple[Path, ...]
    exit_code: int = 0

    def text(self) -> str:
        """For people."""
        return f"{self.markdown}\nWritten to {', '.join(map(str, self.files))}"

    def data(self) -> Mapping[str, Any]:
        """For machines."""
        return self.document


def finished(
    project: Project,
    name: str,
    table: Table,
    scored_on: str,
    settings: Mapping[str, Any],
    lines: Sequence[Line],
) -> BenchmarkReport:
    """Write the report of a table."""
    from labelkit.workflows.benchmarking.pictures import plot

    folder = project.root / "reports"
    stem = f"{name}-{scored_on}"
    columns = [
        key
        for key in (*METRICS, *CONFIDENCE)
        if any(line.values(key) for line in lines)  # older runs have fewer measures
    ]
    rows: list[dict[str, Any]] = [
        {
            "name": line.name,
            "labeled": None if line.percent is None else format_percent(line.percent),
            "seeds": len(line.runs),
            **{column: _spread(line.values(column)) for column in columns},
            "minutes": _spread([value / 60 for value in line.values("seconds")]),
            "response": _responses(line),
        }
        for line in lines
    ]
    document = {
        "table": name,
        "title": table.title,
        "scored_on": scored_on,
        "settings": dict(settings),
        "devices": sorted(
            {run["device"] for line in lines for run in line.runs if "device" in run}
        ),
        "published": table.published,
        "note": " ".join(table.note.split()),
        "rows": rows,
    }
    markdown = _markdown(document, columns)
    files = [folder / f"{stem}.md", folder / f"{stem}.json", folder / f"{stem}.png"]
    write_text(files[0], markdown)
    write_json(files[1], document)
    curves: dict[str, list[tuple[float | None, float, float]]] = {}
    for line, row in zip(lines, rows, strict=True):
        if row["pck@0.2"]:
            mean, spread = row["pck@0.2"]
            curves.setdefault(line.name, []).append((line.percent, mean, spread))
    plot(table.title, curves, files[2])
    return BenchmarkReport(markdown, document, tuple(files))


def _spread(values: Sequence[float]) -> tuple[float, float] | None:
    """Mean and standard deviation, which is 0 for one value."""
    if not values:
        return None
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def _responses(line: Line) -> dict[str, float | None]:
    """Means over the seeds; None for a keypoint that is absent everywhere."""
    if line.percent:  # then keypoints are not read off response maps
        return {}
    found = [run["response"] for run in line.runs if run.get("response")]
    values = {
        name: [each[name] for each in found if each[name] is not None]
        for name in (found[0] if found else ())
    }
    return {name: statistics.mean(v) if v else None for name, v in values.items()}


def _markdown(document: Mapping[str, Any], columns: Sequence[str]) -> str:
    rows = document["rows"]
    settings = document["settings"]
    several = any(row["seeds"] > 1 for row in rows)
    spread = "mean ± standard deviation of the seeds" if several else "one seed"
    start = "pretrained weights" if settings["pretrained"] else "random weights"
    parts = [
        f"# {document['title']}\n",
        f"Scored on {document['scored_on']}; preset {settings['preset']}, {settings['backbone']} "
        f"from {start}, {settings['epochs']} epochs, crops rotated by up to "
        f"{settings['rotation']:g} degrees (as in the paper: 0); {spread}; "
        f"{', '.join(document['devices']) or 'nothing was trained'}.\n",
        markdown(
            [
                ("row", "labeled", "seeds", *(METRICS.get(key, key) for key in columns), "minutes"),
                *(
                    (
                        row["name"],
                        row["labeled"] or "-",
                        str(row["seeds"]),
                        *(_cell(row[key], row["seeds"], DECIMALS.get(key, 3)) for key in columns),
                        _cell(row["minutes"], row["seeds"], 1),
                    )
                    for row in rows
                ),
            ],
        ),
        f"Published: {document['published']}\n",
        f"{document['note']}\n",
    ]
    responding = [row for row in rows if row["response"]]
    if responding:
        names = list(responding[0]["response"])
        grid = [
            (row["name"], row["labeled"] or "-", *(_share(row["response"][n]) for n in names))
            for row in responding
        ]
        parts += ["Average response at the true keypoint, as a share of each map's peak:\n"]
        parts += [markdown((("row", "labeled", *names), *grid))]
    return "\n".join(parts)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _cell(spread: tuple[float, float] | None, seeds: int, digits: int = 3) -> str:
    if spread is None:
        return "-"
    mean, deviation = (f"{value:.{digits}f}" for value in spread)
    return mean if seeds == 1 else f"{mean} ± {deviation}"
