"""The real Label Studio for tests, and the reasons why there may be none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from mongo import missing

from labelkit.bridges.label_studio.environment import is_complete, own_environment


def label_studio_python() -> Path:
    """Interpreter of an environment with Label Studio, or skip the test that asks.

    It is the one in LABELKIT_LABEL_STUDIO_ENV, or the one of `labelkit studio --install-only`.
    """
    named = os.environ.get("LABELKIT_LABEL_STUDIO_ENV")
    environment = Path(named) if named else own_environment()
    if not (named or is_complete(environment)):
        missing("Label Studio is not installed; type: labelkit studio --install-only")
    if not (environment / "bin" / "label-studio").is_file():
        missing(f"there is no Label Studio in {environment}")
    return environment / "bin" / "python"


def point_home_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what labelkit writes for its user below a folder."""
    for name in ("CONFIG", "DATA", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(folder / name.lower()))
    monkeypatch.delenv("LABEL_STUDIO_BIN", raising=False)


def script(path: Path, *lines: str) -> Path:
    """A program that does what the lines say."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    path.chmod(0o755)
    return path
