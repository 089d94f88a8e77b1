"""FiftyOne's database runs, or there is a clear error at once."""

import json
import os
import socket
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from labelkit.bridges.fiftyone import mongod
from labelkit.bridges.ports import free_port
from labelkit.errors import MissingDependencyError

# Found, not imported: FiftyOne reads its settings when it is imported.
pytestmark = pytest.mark.skipif(find_spec("fiftyone") is None, reason="fiftyone is not installed")


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No URI in the environment; the path of a configuration file to write."""
    path = tmp_path / "config.json"
    monkeypatch.delenv("FIFTYONE_DATABASE_URI", raising=False)
    monkeypatch.setenv("FIFTYONE_CONFIG_PATH", str(path))
    return path


def test_a_running_database_is_named_without_user_and_password(
    fiftyone_database: None, monkeypatch: pytest.MonkeyPatch
):
    uri = os.environ["FIFTYONE_DATABASE_URI"]
    assert mongod.prepare_database() == uri
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", f"{uri}/?appName=secret")
    assert mongod.prepare_database() == f"{uri}/"


def test_a_database_that_is_down_is_noticed_at_once(monkeypatch: pytest.MonkeyPatch):
    port = free_port()
    uri = f"mongodb://ann:hunter2@127.0.0.1:{port}/?authSource=admin"
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", uri)
    began = time.monotonic()
    with pytest.raises(MissingDependencyError, match=f"127.0.0.1:{port}") as caught:
        mongod.prepare_database()
    assert time.monotonic() - began < 2 * mongod.PROBE_SECONDS
    assert "hunter2" not in str(caught.value)
    assert "labelkit review --html" in caught.value.next_step


def test_another_program_on_the_port_is_not_a_database(monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv(
            "FIFTYONE_DATABASE_URI", f"mongodb://127.0.0.1:{silent.getsockname()[1]}"
        )
        with pytest.raises(MissingDependencyError, match="ServerSelectionTimeoutError"):
            mongod.prepare_database()


def test_a_malformed_uri_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "localhost")
    with pytest.raises(MissingDependencyError, match="InvalidURI"):
        mongod.prepare_database()


def test_the_uri_may_be_in_fiftyones_configuration_file(no_settings: Path):
    port = free_port()
    no_settings.write_text(json.dumps({"database_uri": f"mongodb://127.0.0.1:{port}"}))
    with pytest.raises(MissingDependencyError, match=f"127.0.0.1:{port}"):
        mongod.prepare_database()


@pytest.mark.usefixtures("no_settings")
def test_an_installation_without_mongod_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mongod, "_mongod", lambda: None)
    with pytest.raises(MissingDependencyError, match="MongoDB") as caught:
        mongod.prepare_database()
    assert "export FIFTYONE_DATABASE_URI" in caught.value.next_step


@pytest.mark.usefixtures("no_settings")
def test_a_mongod_that_cannot_run_is_an_error_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    broken = tmp_path / "mongod"
    broken.write_text("#!/bin/sh\necho 'libssl.so.1.1: cannot open' >&2\nexit 127\n")
    broken.chmod(0o755)
    monkeypatch.setattr(mongod, "_mongod", lambda: broken)
    monkeypatch.setenv("LD_LIBRARY_PATH", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="cannot open"):
        mongod.prepare_database()


@pytest.mark.usefixtures("no_settings")
def test_without_fiftyone_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mongod, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="FiftyOne") as caught:
        mongod.prepare_database()
    assert "pip install 'labelkit-keypoints[review]'" in caught.value.next_step
