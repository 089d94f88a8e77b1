"""`labelkit weights`, fetched by the hub's own client from a hub on this machine."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import timm
from safetensors.torch import save_file

from labelkit.errors import MissingDependencyError, UsageError
from labelkit.models.parts import pretrained
from labelkit.progress import Silent
from labelkit.workflows.upkeep.weights import weights

PROGRAM = "from labelkit.cli.app import main; main()"
NAME, REPOSITORY = "test_resnet", "timm/test_resnet.r160_in1k"


@pytest.fixture
def hub(tmp_path) -> Iterator[str]:
    """A hub that serves one file; its address."""
    file = tmp_path / "published.safetensors"
    save_file(timm.create_model(NAME).state_dict(), file)
    content = file.read_bytes()

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            known = self.path.startswith(f"/{REPOSITORY}/resolve/main/model.safetensors")
            self.send_response(200 if known else 404)
            if known:
                self.send_header("X-Repo-Commit", "1" * 40)
                self.send_header("ETag", f'"{sha256(content).hexdigest()}"')
            self.send_header("Content-Length", str(len(content) if known else 0))
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def run(*arguments: object, environment: dict[str, str]) -> dict:
    """The command in a process of its own: the hub's client reads its address once."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "weights", *map(str, arguments), "--json"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_weights_go_into_a_folder_for_another_machine_which_finds_them_without_internet(
    hub, tmp_path, monkeypatch
):
    stick = tmp_path / "stick"
    online = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": hub, "HF_HOME": str(tmp_path)}
    (fetched,) = run("fetch", NAME, "--to", stick, environment=online)["weights"]
    assert Path(fetched["file"]).is_relative_to(stick)
    assert fetched["licence"] == "apache-2.0"
    assert fetched["page"] == f"{hub}/{REPOSITORY}"
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(stick)}
    found = {item["name"]: item for item in run("list", environment=offline)["weights"]}
    assert found["test_resnet.r160_in1k"]["file"] == fetched["file"]
    assert found["resnet50"]["file"] is None
    (again,) = run("fetch", NAME, environment=offline)["weights"]  # it is there
    assert again["file"] == fetched["file"]
    pretrained.check_fit(NAME, Path(fetched["file"]))


def test_without_internet_the_command_for_another_machine_is_named():
    with pytest.raises(MissingDependencyError, match="weights fetch test_resnet --to"):
        weights(Silent(), "fetch", [NAME])


def test_a_hub_that_cannot_be_reached_is_named_at_once(monkeypatch):
    monkeypatch.setattr(pretrained.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(pretrained.constants, "ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(MissingDependencyError, match=r"127\.0\.0\.1:1 cannot be reached"):
        weights(Silent(), "fetch", [NAME])


@pytest.mark.parametrize(
    ("action", "names", "named"),
    [("fetch", ["resnet19"], "resnet19"), ("fetch", [], "fetch NAME"), ("list", [NAME], "list")],
)
def test_names_that_do_not_fit_the_action_are_wrong_usage(action, names, named):
    with pytest.raises(UsageError, match=named):
        weights(Silent(), action, names)


def test_the_list_shows_licences_and_what_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setattr(pretrained, "cached", lambda *_: None)
    monkeypatch.setattr(pretrained.constants, "HF_HUB_CACHE", str(tmp_path))
    report = weights(Silent(), "list")
    assert [item.name for item in report.weights] == list(pretrained.RECOMMENDED)
    assert {item.licence for item in report.weights} == {"apache-2.0", "mit", "dinov3-license"}
    assert all(item.file is None for item in report.weights)
