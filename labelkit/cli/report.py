"""How a command begins, in a project, and ends: a report on stdout, or an error on stderr."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NoReturn

import typer


def open_both(root: Path | None) -> tuple[Any, Any]:
    """Open a project, and its label store.

    Args:
        root: the project folder; None finds it from the current folder.
    """
    from labelkit.project.project import find_project, open_project
    from labelkit.store.ownership import open_store

    project = open_project(root) if root else find_project(Path.cwd())
    return project, open_store(project)


def fail(problem: str, next_step: str, code: int) -> NoReturn:
    """Print an error as every command does, and end the process."""
    print(f"error: {problem}", file=sys.stderr)
    if next_step:
        print(next_step, file=sys.stderr)
    raise SystemExit(code)


def finish(report: Any, as_json: bool) -> NoReturn:
    """Print a report for people or machines, and end with its exit code."""
    if as_json:
        print(json.dumps(report.data(), indent=2, ensure_ascii=False, default=str))
    else:
        print(report.text())
    raise typer.Exit(report.exit_code)


def announce(running: Any, as_json: bool) -> None:
    """Print where a server is; flushed, for readers of a pipe."""
    text = json.dumps(running.data(), indent=2) if as_json else running.text()
    print(text, flush=True)
