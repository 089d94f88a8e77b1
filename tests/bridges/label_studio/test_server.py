"""The command and environment that start Label Studio, and the errors if it does not start."""

from __future__ import annotations

import os
import signal
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from builders import make_project
from label_studio import point_home_at, script

from labelkit.bridges.environment import held
from labelkit.bridges.label_studio.server import (
    LogIn,
    check_not_running,
    data_folder,
    images_below,
    note_data,
    read_log_in,
    running_server,
    serve_images,
    served_images,
    start_command,
    start_environment,
)
from labelkit.bridges.ports import free_port
from labelkit.errors import MissingDependencyError, ProjectError
from labelkit.project.project import Project, open_project


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folders, below the test's own."""
    point_home_at(tmp_path / "home", monkeypatch)
    return tmp_path / "home"


# Log-in


def test_the_log_in_is_made_once_and_private(home):
    log_in = read_log_in()
    assert read_log_in() == log_in
    assert log_in.folder == home / "config" / "labelkit" / "label-studio"
    assert log_in.username.endswith("@localhost")
    assert len(log_in.password) == 24
    assert len(log_in.api_key) == 40
    for name in ("username", "password", "api-key"):
        assert stat.S_IMODE((log_in.folder / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(log_in.folder.stat().st_mode) == 0o700


def test_a_log_in_does_not_show_its_secrets():
    log_in = read_log_in()
    assert log_in.password not in repr(log_in)
    assert log_in.api_key not in repr(log_in)


def test_secrets_that_others_can_read_are_refused():
    path = read_log_in().folder / "api-key"
    path.chmod(0o644)
    with pytest.raises(ProjectError, match=str(path)) as caught:
        read_log_in()
    assert f"chmod 600 {path}" in caught.value.next_step


def test_a_configuration_folder_that_cannot_be_made_is_an_error(home):
    (home / "config").mkdir(parents=True)
    (home / "config" / "labelkit").write_text("a file")
    with pytest.raises(ProjectError, match=str(home / "config" / "labelkit")) as caught:
        read_log_in()
    assert "XDG_CONFIG_HOME" in caught.value.next_step


# Folders


def with_own_server(project: Project, home: Path) -> Path:
    """What an earlier version left: a folder of data of the project, and its name in there."""
    folder = home / "data" / "labelkit" / "label-studio" / "frames-0a1b2c3d"
    folder.mkdir(parents=True)
    (folder / "label_studio.sqlite3").touch()
    (project.root / "label_studio").mkdir()
    (project.root / "label_studio" / "studio.json").write_text('{"data": "frames-0a1b2c3d"}')
    return folder


def test_all_projects_share_the_data_which_are_outside_of_them(tmp_path, home):
    one, other = make_project(tmp_path / "one"), make_project(tmp_path / "other")
    shared = home / "data" / "labelkit" / "label-studio" / "shared"
    assert data_folder(one) == data_folder(other) == data_folder() == shared
    assert not (one.root / "label_studio").exists()


def test_the_data_of_an_earlier_version_stay_in_use_also_after_a_move(tmp_path, home):
    folder = with_own_server(make_project(tmp_path / "here"), home)
    (tmp_path / "here").rename(tmp_path / "there")
    project = open_project(tmp_path / "there" / "frames-labelkit")
    assert data_folder(project) == folder
    assert images_below(folder, project) == folder / "served" / "frames"  # as its tasks say
    (folder / "label_studio.sqlite3").unlink()
    assert data_folder(project) == data_folder()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"data": "../x"}', '{"data": 3}'])
def test_a_damaged_name_of_the_data_is_an_error(tmp_path, home, text):
    project = make_project(tmp_path)
    with_own_server(project, home)
    path = project.root / "label_studio" / "studio.json"
    path.write_text(text)
    with pytest.raises(ProjectError, match=str(path)):
        data_folder(project)


# Images


def test_two_images_folders_of_one_name_are_served_side_by_side(tmp_path):
    data = data_folder()
    for name in ("one", "other"):
        project = make_project(tmp_path / name)
        below = images_below(data, project)
        serve_images(project.images_root, below)
        assert below.parent == data / "served"
        assert (below / "0.png").samefile(project.images_root / "0.png")
    assert len(list((data / "served").iterdir())) == 2


def test_images_that_moved_are_served_under_the_same_path(tmp_path):
    project = make_project(tmp_path / "here")
    below = images_below(data_folder(), project)
    serve_images(project.images_root, below)
    (tmp_path / "here").rename(tmp_path / "there")
    moved = open_project(tmp_path / "there" / "frames-labelkit")
    assert images_below(data_folder(), moved) == below
    assert not (below / "0.png").exists()
    serve_images(moved.images_root, below)
    assert (below / "0.png").exists()
    assert list(below.parent.iterdir()) == [below]


def test_a_server_is_known_by_its_address_wherever_its_data_are(tmp_path):
    project, url = make_project(tmp_path), "http://127.0.0.1:8080"
    assert served_images(project, url) is None
    elsewhere = tmp_path / "elsewhere"
    for data in (elsewhere, data_folder()):
        data.mkdir(parents=True)
        note_data(data)
        (data / "running.json").write_text(f'{{"url": "{url}", "pid": 12}}')
        assert served_images(project, f"{url}/") == data / "served" / project.id
        assert served_images(project, "http://127.0.0.1:8081") is None
        (data / "running.json").unlink()


# Command and environment


def test_the_command_line_holds_no_secret():
    assert start_command(Path("/x/label-studio"), "127.0.0.1", 8080) == [
        "/x/label-studio",
        "start",
        "--no-browser",
        "--internal-host",
        "127.0.0.1",
        "--port",
        "8080",
    ]


def test_the_environment_holds_the_secrets_and_the_users_settings():
    log_in = LogIn(Path("/config"), "ann@localhost", "the password", "the key")
    base = {
        "PATH": "/bin",
        "PYTHONPATH": "/ours",
        "HOST": "name-of-the-machine",
        "LABEL_STUDIO_API_KEY": "of another server",
        "LABELKIT_SERVE_PASSWORD": "of another program",
        "LABEL_STUDIO_BASE_DATA_DIR": "/elsewhere",
        "LABEL_STUDIO_COLLECT_ANALYTICS": "true",
        "POSTGRE_HOST": "database",
    }
    found = start_environment(base, log_in, "http://127.0.0.1:8080", Path("/d"), Path("/d/served"))
    assert found["LABEL_STUDIO_USERNAME"] == "ann@localhost"
    assert found["LABEL_STUDIO_PASSWORD"] == "the password"
    assert found["LABEL_STUDIO_USER_TOKEN"] == "the key"
    assert found["LABEL_STUDIO_HOST"] == "http://127.0.0.1:8080"
    assert found["LABEL_STUDIO_BASE_DATA_DIR"] == "/d"
    assert found["LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"] == "/d/served"
    assert found["LABEL_STUDIO_COLLECT_ANALYTICS"] == "true"
    assert found["LABEL_STUDIO_LATEST_VERSION_CHECK"] == "false"
    assert [value for name, value in found.items() if "predictions_import" in name] == ["true"]
    assert found["POSTGRE_HOST"] == "database"
    assert {"PYTHONPATH", "LABEL_STUDIO_API_KEY", "LABELKIT_SERVE_PASSWORD"} & set(found) == set()


# Servers that do not start


@contextmanager
def started(tmp_path: Path, *lines: str) -> Iterator[None]:
    """A server whose program is a shell script of these lines."""
    program = script(tmp_path / "bin" / "label-studio", *lines)
    with running_server(
        program,
        tmp_path / "data",
        read_log_in(),
        host="127.0.0.1",
        port=free_port(),
        on_line=lambda text: None,
    ):
        yield


def test_a_server_that_ends_at_once_is_an_error_without_its_secrets(tmp_path):
    log_in = read_log_in()
    with (
        pytest.raises(MissingDependencyError) as caught,
        started(tmp_path, 'echo "key $LABEL_STUDIO_USER_TOKEN is bad"', "exit 3"),
    ):
        pass
    assert "exit code 3" in caught.value.problem
    assert "key *** is bad" in caught.value.problem
    assert log_in.api_key not in str(caught.value)


def alive(group: int) -> list[int]:
    """Processes of a group that are not zombies."""
    found = []
    for process in psutil.process_iter(["status"]):
        with suppress(ProcessLookupError, PermissionError):
            if os.getpgid(process.pid) == group and process.info["status"] != "zombie":
                found.append(process.pid)
    return found


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Let SIGINT interrupt, which shells ignore for background jobs, perhaps for these tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_a_start_that_is_interrupted_leaves_no_process(tmp_path, monkeypatch):
    def interrupt() -> None:
        deadline = time.monotonic() + 30
        while not (tmp_path / "child").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    lines = ("trap '' TERM", f"(echo $$ > {tmp_path}/child; exec sleep 100) &", "sleep 100")
    monkeypatch.setattr("labelkit.bridges.label_studio.server.STOP_SECONDS", 0.5)
    with pytest.raises(KeyboardInterrupt), started(tmp_path, *lines):
        pass
    thread.join()
    group = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 10
    while alive(group):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not (tmp_path / "data" / "running.json").exists()


def test_one_server_at_a_time_works_with_the_same_data(tmp_path):
    data = tmp_path / "data"
    check_not_running(data)
    with held(data / "lock"):
        (data / "running.json").write_text('{"url": "http://127.0.0.1:8080", "pid": 12}')
        with pytest.raises(ProjectError, match=r"http://127\.0\.0\.1:8080") as caught:
            check_not_running(data)
        assert "kill 12" in caught.value.next_step
    check_not_running(data)
