"""labelkit's files in the user's home: the places of each system, and those of earlier versions."""

from __future__ import annotations

from pathlib import Path

import pytest
from platformdirs.macos import MacOS

from labelkit.bridges import home
from labelkit.bridges.home import home_path
from labelkit.bridges.label_studio.environment import OWN
from labelkit.bridges.label_studio.server import data_folder, read_log_in


@pytest.fixture(autouse=True)
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's home; nothing is set."""
    for kind in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.delenv(f"XDG_{kind}_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "ann"))
    return tmp_path / "ann"


def move_to_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "PlatformDirs", MacOS)


def test_linux_has_the_places_that_earlier_versions_used(user, monkeypatch):
    assert home_path("cache", "a", "b") == user / ".cache" / "labelkit" / "a" / "b"
    assert home_path("config") == user / ".config" / "labelkit"
    assert home_path("data") == user / ".local" / "share" / "labelkit"
    monkeypatch.setenv("XDG_DATA_HOME", str(user / "elsewhere"))
    assert home_path("data", "a") == user / "elsewhere" / "labelkit" / "a"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert home_path("data", "a") == user / ".local" / "share" / "labelkit" / "a"


def test_macos_has_its_own_places(user, monkeypatch):
    move_to_macos(monkeypatch)
    assert home_path("cache", "a") == user / "Library" / "Caches" / "labelkit" / "a"
    support = user / "Library" / "Application Support" / "labelkit"
    assert home_path("config", "a") == home_path("data", "a") == support / "a"


def test_files_that_an_earlier_version_left_on_macos_stay_in_use(monkeypatch):
    log_in, environment = read_log_in(), OWN.folder
    environment.mkdir(parents=True)
    data = data_folder()
    data.mkdir(parents=True)
    move_to_macos(monkeypatch)
    assert (read_log_in(), OWN.folder) == (log_in, environment)
    assert data_folder() == data


def test_a_server_on_macos_keeps_its_data_and_log_in_whatever_other_versions_run(user, monkeypatch):
    log_in = read_log_in()
    move_to_macos(monkeypatch)
    data = data_folder()
    assert data.is_relative_to(user / "Library" / "Application Support" / "labelkit")
    data.mkdir(parents=True)  # where a log-in made now would be, too
    assert read_log_in() == log_in
    (user / ".local" / "share" / "labelkit" / "label-studio" / data.name).mkdir(parents=True)
    assert data_folder() == data
