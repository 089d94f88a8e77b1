"""No key, password or cookie is printed or logged, or written anywhere but where it belongs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import NamedTuple

import httpx
import jwt
import pytest
from flaky import COOKIE, Flaky, flaky
from live_studio import ELSEWHERE, Live, rename
from postgres import Postgres
from trained import Trained, copy_trained, with_store_at
from warm import Ended, Warm

from labelkit.bridges.ports import free_port

KEY = "the-secret-key-0123456789abcdef"
PERSONAL = jwt.encode({"exp": 4_000_000_000, "token_type": "refresh"}, KEY * 2, algorithm="HS256")
SERVE_PASSWORD = "the-secret-of-serve"
ACCESS = "the-access-token-that-label-studio-sends-along"
DATABASE_PASSWORD = "the-secret-of-the-database"

#: Files of the server itself that hold its users and their keys; only their owner can read them.
DATABASES = ("label_studio.sqlite3", "label_studio.sqlite3-wal", "label_studio.sqlite3-shm")


class Place(NamedTuple):
    """A project, a server behind a proxy that sets a cookie, and everything that is secret."""

    trained: Trained
    live: Live
    proxy: Flaky
    warm: Warm
    home: Path
    secrets: tuple[str, ...]

    def run(self, *command: str, key: str = "", **environment: str) -> Ended:
        """A command on the project; what it prints holds no secret."""
        ended = self.warm.run(
            [*command, "--project", self.root], environment=self.environment(key) | environment
        )
        self.check(ended)
        return ended

    def check(self, ended: Ended) -> None:
        assert "Traceback" not in ended.text, ended.text
        assert self.found_in(ended.text) == []

    def environment(self, key: str = "") -> dict[str, str]:
        return {
            "LABEL_STUDIO_URL": self.proxy.url,
            "LABEL_STUDIO_API_KEY": key or self.live.log_in.api_key,
            "LABELKIT_SERVE_PASSWORD": SERVE_PASSWORD,
        }

    @property
    def root(self) -> Path:
        return self.trained.project.root

    def found_in(self, text: str) -> list[str]:
        return [secret for secret in self.secrets if secret in text]


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    starter = Warm(tmp_path_factory.mktemp("warm"))
    yield starter
    starter.close()


@pytest.fixture
def place(
    trained_once: Trained, live: Live, warm: Warm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    trained = copy_trained(trained_once, tmp_path / "work")
    rename(trained)
    secrets = (KEY, PERSONAL, SERVE_PASSWORD, ACCESS, DATABASE_PASSWORD, COOKIE, "sessionid")
    secrets += (live.log_in.api_key, live.log_in.password)
    with flaky(live.url) as proxy:
        yield Place(trained, live, proxy, warm, live.folder / "home", secrets)
    trained.store.close()


def files_with(secrets: tuple[str, ...], *folders: Path) -> list[Path]:
    """Files that hold a secret, compared byte by byte."""
    return [
        path
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and any(secret.encode() in path.read_bytes() for secret in secrets)
    ]


def test_commands_that_work_keep_every_secret(place):
    for command in (
        ("doctor",),
        ("push", "--image-url", ELSEWHERE, "--dry-run"),
        ("push", "--image-url", ELSEWHERE),
        ("push", "--json"),
        ("pull",),
        ("pull", "--json"),
        ("status",),
        ("status", "--json"),
    ):
        ended = place.run(*command)
        assert ended.code == 0 or command == ("doctor",), ended.text
    assert files_with(place.secrets, place.trained.folder) == []


@pytest.mark.filterwarnings("ignore:The `parse_obj` method is deprecated")  # in the SDK
def test_a_personal_access_token_is_kept_too(place):
    token = place.live.personal_token
    for command in (("push", "--image-url", ELSEWHERE), ("pull",)):
        ended = place.run(*command, key=token)
        assert ended.code == 0, ended.text
        assert "eyJ" not in ended.text  # how every such token begins
    assert files_with((token, "eyJhbGciOi"), place.trained.folder) == []


@pytest.mark.parametrize("key", [KEY, PERSONAL])
def test_a_refused_key_is_not_repeated(place, key):
    place.run("push", "--image-url", ELSEWHERE)
    for command in ("push", "pull", "doctor"):
        ended = place.run(command, key=key)
        assert ended.code == 1
        assert "LABEL_STUDIO_API_KEY (40" in ended.text
    assert files_with(place.secrets, place.trained.folder) == []


def test_a_server_that_fails_reveals_no_secret(place):
    place.run("push", "--image-url", ELSEWHERE)
    ways = ("401", "echo", "html", "other", "nonsense", "redirect", "500")
    for how, command, where in product(ways, ("push", "pull", "doctor"), ("", "tasks")):
        if command == "doctor" and where:
            continue  # it asks for no tasks
        place.proxy.failing = lambda method, path, how=how, where=where: how * (where in path)
        ended = place.run(command)
        assert ended.code == 1, ended.text
        assert place.proxy.url in ended.text
        assert len(ended.text) < 5000
    assert files_with(place.secrets, place.trained.folder) == []


def test_a_server_that_is_down_and_an_address_with_a_password_reveal_no_secret(place):
    with flaky(place.live.url) as gone:
        down = {"LABEL_STUDIO_URL": gone.url}
        place.run("push", "--image-url", ELSEWHERE, **down)
    secret = {"LABEL_STUDIO_URL": f"http://ann:{KEY}@127.0.0.1:9"}
    for command in ("push", "pull", "doctor"):
        assert gone.url in place.run(command, key=KEY, **down).text
        assert "LABEL_STUDIO_URL" in place.run(command, key=KEY, **secret).text
        for key in (f"{KEY} {KEY}", f"{KEY}ü"):
            assert "LABEL_STUDIO_API_KEY" in place.run(command, key=key).text
    assert files_with(place.secrets, place.trained.folder) == []


def test_serve_keeps_its_password_and_what_label_studio_sends_along(place):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = ["serve", "--port", str(port), "--project", place.root]
    running = place.warm.start(command, environment=place.environment())
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health").status_code == 200:
                break
        except httpx.TransportError:
            time.sleep(0.1)
    fields = {"project": "1.2", "schema": "<View/>", "access_token": ACCESS, "hostname": url}
    answers = [
        httpx.post(f"{url}{path}", json=fields, auth=("labelkit", word), timeout=60)
        for path in ("/setup", "/predict", "/webhook")
        for word in (SERVE_PASSWORD, KEY)
    ]
    assert [answer.status_code for answer in answers[1::2]] == [401] * 3
    assert place.found_in("".join(answer.text + str(answer.headers) for answer in answers)) == []
    os.kill(running.pid, signal.SIGTERM)
    ended = running.wait()
    assert ended.code == 0, ended.text
    assert url in ended.text
    place.check(ended)
    assert files_with(place.secrets, place.trained.folder) == []


def test_only_the_log_in_files_hold_what_studio_made(place):
    place.run("push", "--image-url", ELSEWHERE)
    place.run("push", key=KEY)  # a refused key, for the server's log
    log_in = place.live.log_in
    data = Path(place.live.report["data"])
    assert (data / "label-studio.log").stat().st_size > 0
    assert place.home in data.parents
    found = files_with((*place.secrets, KEY), place.live.folder)
    kept = [log_in.folder / "api-key", log_in.folder / "password"]
    assert [path for path in found if path.name not in DATABASES] == kept
    for path in (*kept, *(path for path in found if path.name in DATABASES)):
        assert path.stat().st_mode & 0o077 == 0, path


def test_the_password_of_the_database_is_not_repeated(
    trained_once: Trained, warm: Warm, postgres: Postgres, tmp_path: Path, monkeypatch
):
    postgres.say(f"CREATE USER ann PASSWORD '{DATABASE_PASSWORD}' SUPERUSER")
    url = postgres.new_url()
    name = url.rpartition("/")[2]
    right = postgres.url(name, user="ann", password=DATABASE_PASSWORD)
    wrong = postgres.url(name, user="ann", password=f"{DATABASE_PASSWORD}-not")
    down = right.replace(str(postgres.port), str(free_port()))
    trained = with_store_at(copy_trained(trained_once, tmp_path), right)
    trained.store.close()
    among = f"postgresql+psycopg://127.0.0.1:{postgres.port}/{name}?user=ann&password="
    outcomes: Mapping[str, int] = {
        right: 0,
        f"{among}{DATABASE_PASSWORD}": 0,
        f"{among}{DATABASE_PASSWORD}-not": 1,
        wrong: 1,
        down: 1,
        f"nonsense:{DATABASE_PASSWORD}": 1,
    }
    for database, code in outcomes.items():
        for command in ("status", "doctor"):
            ended = warm.run(
                [command, "--project", trained.project.root],
                environment={"LABELKIT_DB": database},
            )
            assert ended.code == code or command == "doctor", ended.text
            assert DATABASE_PASSWORD not in ended.text
            assert "Traceback" not in ended.text, ended.text
    assert files_with((DATABASE_PASSWORD,), tmp_path) == []
