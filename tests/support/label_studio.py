"""The real Label Studio for tests, or the reason why it is missing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from mongo import missing

from labelkit.bridges.label_studio.environment import OWN


def label_studio_python() -> Path:
    """Interpreter of an environment with Label Studio; without one, skip the test.

    The environment is LABELKIT_LABEL_STUDIO_ENV, or that of `labelkit studio --install-only`.
    """
    named = os.environ.get("LABELKIT_LABEL_STUDIO_ENV")
    environment = Path(named) if named else OWN.folder
    if not (named or OWN.is_complete):
        missing("Label Studio is not installed; type: labelkit studio --install-only")
    if not (environment / "bin" / "label-studio").is_file():
        missing(f"{environment} has no Label Studio")
    return environment / "bin" / "python"


def point_home_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep labelkit's files in the user's home below a folder."""
    for name in ("CONFIG", "DATA", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(folder / name.lower()))
    monkeypatch.delenv("LABEL_STUDIO_BIN", raising=False)


def script(path: Path, *lines: str) -> Path:
    """A shell script of these lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    path.chmod(0o755)
    return path
