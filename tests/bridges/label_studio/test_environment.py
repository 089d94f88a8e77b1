"""Finding the Label Studio program, and making an environment for it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from label_studio import point_home_at, script

from labelkit.bridges.label_studio.environment import (
    VERSION,
    find_executable,
    install_commands,
    is_complete,
    make_environment,
    own_environment,
)
from labelkit.errors import MissingDependencyError, UsageError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folders, below the test's own."""
    point_home_at(tmp_path / "home", monkeypatch)
    return tmp_path / "home"


def test_without_a_named_program_labelkits_own_has_to_be_made_first():
    assert find_executable(None) is None


def test_a_named_program_that_does_not_exist_is_an_error(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"--python .*/bin/label-studio"):
        find_executable(tmp_path / "bin" / "python")
    monkeypatch.setenv("LABEL_STUDIO_BIN", str(tmp_path / "nothing"))
    with pytest.raises(UsageError, match=r"LABEL_STUDIO_BIN=.*/nothing"):
        find_executable(None)


@pytest.mark.parametrize(
    ("version", "usable"),
    [
        ("1.22.9", False),
        ("1.23.2rc1", False),
        (VERSION, True),
        (f"{VERSION}.post1", True),
        ("1.100.0", True),
        ("2.0", True),
    ],
)
def test_a_program_that_is_too_old_is_refused(tmp_path, version, usable):
    python = script(tmp_path / "bin" / "python", f"echo {version}")
    program = script(tmp_path / "bin" / "label-studio")
    if usable:
        assert find_executable(python) == program
    else:
        with pytest.raises(MissingDependencyError, match=f"{version}.*{VERSION}") as caught:
            find_executable(python)
        assert f"{python} -m pip install --upgrade label-studio" in caught.value.next_step


def test_the_environment_is_made_with_uv_or_with_pip():
    python, package = "/e/bin/python", "label-studio==1.23.2"
    assert install_commands(Path("/e"), "/bin/uv") == [
        ["/bin/uv", "venv", "--python", sys.executable, "/e"],
        ["/bin/uv", "pip", "install", "--compile-bytecode", "--python", python, package],
    ]
    assert install_commands(Path("/e"), None) == [
        [sys.executable, "-m", "venv", "/e"],
        [python, "-m", "pip", "install", "--disable-pip-version-check", package],
    ]


def test_a_failed_installation_is_an_error_and_the_next_call_tries_again(tmp_path, monkeypatch):
    uv = script(
        tmp_path / "bin" / "uv", "echo Resolved 3 packages", "echo no network >&2", "exit 2"
    )
    monkeypatch.setenv("PATH", f"{uv.parent}:{os.environ['PATH']}")
    lines: list[str] = []
    with pytest.raises(MissingDependencyError, match="no network") as caught:
        make_environment(own_environment(), lines.append)
    assert f"{own_environment()}.log" in caught.value.next_step
    assert lines[1:] == ["  Resolved 3 packages"]
    assert find_executable(None) is None
    folder = own_environment()
    script(uv, f"mkdir -p {folder}/bin", f"touch {folder}/bin/label-studio")
    assert make_environment(folder, lines.append) == folder / "bin" / "label-studio"
    assert is_complete(folder)
    assert find_executable(None) == folder / "bin" / "label-studio"
