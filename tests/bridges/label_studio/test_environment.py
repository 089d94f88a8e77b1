"""Finding the Label Studio program, or the environment that has it."""

from __future__ import annotations

from pathlib import Path

import pytest
from label_studio import point_home_at, script

from labelkit.bridges.label_studio.environment import (
    OWN,
    VERSION,
    find_executable,
    find_or_install,
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


def test_labelkits_own_is_used_once_it_is_complete():
    program = script(OWN.program("label-studio"))
    assert find_executable(None) is None
    (OWN.folder / "labelkit-complete").write_text(VERSION)
    assert find_executable(None) == find_or_install(None, print) == program
