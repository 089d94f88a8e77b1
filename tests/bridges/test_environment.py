"""An environment of its own for a package."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from label_studio import point_home_at, script

from labelkit.bridges.environment import OwnEnvironment
from labelkit.errors import MissingDependencyError

ENVIRONMENT = OwnEnvironment("A Tool", "a-tool", "1.2", 300, "Or go without.")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folders, below the test's own."""
    point_home_at(tmp_path / "home", monkeypatch)
    return tmp_path / "home"


def test_it_is_in_the_users_cache_by_package_and_version(home):
    assert ENVIRONMENT.folder == home / "cache" / "labelkit" / "a-tool-1.2"
    assert ENVIRONMENT.program("python") == ENVIRONMENT.folder / "bin" / "python"


def test_it_is_made_with_uv_or_with_pip():
    folder = str(ENVIRONMENT.folder)
    python, package = f"{folder}/bin/python", "a-tool==1.2"
    assert ENVIRONMENT.install_commands("/bin/uv") == [
        ["/bin/uv", "venv", "--python", sys.executable, folder],
        ["/bin/uv", "pip", "install", "--compile-bytecode", "--python", python, package],
    ]
    assert ENVIRONMENT.install_commands(None) == [
        [sys.executable, "-m", "venv", folder],
        [python, "-m", "pip", "install", "--disable-pip-version-check", package],
    ]


def test_a_failed_installation_is_an_error_and_the_next_call_tries_again(tmp_path, monkeypatch):
    uv = script(
        tmp_path / "bin" / "uv", "echo Resolved 3 packages", "echo no network >&2", "exit 2"
    )
    monkeypatch.setenv("PATH", f"{uv.parent}:{os.environ['PATH']}")
    lines: list[str] = []
    with pytest.raises(MissingDependencyError, match=r"A Tool.*no network") as caught:
        ENVIRONMENT.make(lines.append)
    assert f"{ENVIRONMENT.folder}.log" in caught.value.next_step
    assert "Or go without." in caught.value.next_step
    assert lines[1:] == ["  Resolved 3 packages"]
    assert not ENVIRONMENT.is_complete
    program = ENVIRONMENT.program("a-tool")
    script(uv, f"mkdir -p {program.parent}", f"touch {program}")
    ENVIRONMENT.make(lines.append)
    assert ENVIRONMENT.is_complete
    assert program.is_file()


def test_an_interpreter_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    absent = OwnEnvironment("A Tool", "a-tool", "1.2", 300, python="python0.1")
    monkeypatch.setattr("labelkit.bridges.environment._uv", lambda: None)
    with pytest.raises(MissingDependencyError, match=r"python0\.1 is not installed"):
        absent.make(print)
