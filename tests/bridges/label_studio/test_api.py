"""Failures of a server: each has a plain error, and loses or doubles nothing."""

from __future__ import annotations

import itertools
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from flaky import COOKIE, Flaky, flaky
from live_studio import Synced

from labelkit.bridges.label_studio import api as studio_api
from labelkit.bridges.label_studio.api import StudioApi, connect
from labelkit.bridges.ports import free_port
from labelkit.domain.selection import QueueItem
from labelkit.errors import LabelkitError, ServiceError, UsageError
from labelkit.store.journal import KEYPOINTS
from labelkit.workflows.rounds.queue_file import write_queue

KEY = "0123456789abcdef-the-secret-key"
AGAIN = "same command again"

#: Failure -> problem, next step, and how many times a request that may be repeated was sent.
FAILURES = {
    "500": (r"500 out of memory$", AGAIN, 3),
    "502": (r"502$", AGAIN, 3),
    "cut": (r"RemoteProtocolError", AGAIN, 3),
    "401": (r"LABEL_STUDIO_API_KEY \(401\)", "Account & Settings", 1),
    "echo": (r"400 bad header: Token \*\*\*$", "1.23.2", 1),
    "html": (r"text/html \(200\)", "LABEL_STUDIO_URL", 1),
    "other": (r"Label Studio\.$", "LABEL_STUDIO_URL", 1),
    "nonsense": (r"JSONDecodeError", "LABEL_STUDIO_URL", 1),
    "redirect": (r"302", "LABEL_STUDIO_URL", 1),
}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK retries after milliseconds instead of seconds."""
    monkeypatch.setattr("label_studio_sdk.core.http_client.INITIAL_RETRY_DELAY_SECONDS", 0.01)


@pytest.fixture
def broken() -> Iterator[Flaky]:
    """A server without a Label Studio behind it."""
    with flaky("http://127.0.0.1:9") as proxy:
        yield proxy


def refused(
    action: Callable[[], Any], match: str, next_step: str, *secrets: str
) -> type[LabelkitError]:
    """The class of the error, which is short, has a next step and holds no secret."""
    with pytest.raises((ServiceError, UsageError)) as caught:
        action()
    text = str(caught.value)
    assert re.search(match, caught.value.problem)
    assert next_step in caught.value.next_step
    assert len(text) < 500
    assert not [word for word in (KEY, COOKIE, "sessionid", "welcome", *secrets) if word in text]
    return caught.type


class FailsFrom:
    """Lets some requests through, and then fails in one way."""

    def __init__(self, passed: int, how: str) -> None:
        self.asked, self.passed, self.how = itertools.count(), passed, how
        self.over = threading.Event()

    def __call__(self, method: str, path: str) -> str:
        if next(self.asked) < self.passed:
            return ""
        if self.how == "hang":
            self.over.wait(30)
            return "cut"
        return self.how


def answering(proxy: Flaky, how: str) -> Callable[[], None]:
    """A request to a server that always fails in one way."""
    proxy.failing = lambda method, path: how

    def ask() -> None:
        with StudioApi(proxy.url, KEY) as api:
            api.check()

    return ask


@pytest.mark.parametrize("how", FAILURES)
def test_each_failure_is_named_with_the_next_step(broken, how):
    match, next_step, tries = FAILURES[how]
    asked = []
    ask = answering(broken, how)
    broken.failing = lambda method, path: asked.append(path) or how
    refused(ask, match, next_step)
    assert len(asked) == tries


def test_a_server_that_is_down_is_named():
    url = f"http://127.0.0.1:{free_port()}"
    with StudioApi(url, KEY) as api:
        refused(api.check, url, "labelkit studio")


def test_a_server_that_hangs_is_given_up(broken, monkeypatch):
    monkeypatch.setattr(studio_api, "TIMEOUT_SECONDS", 0.3)
    failing = FailsFrom(0, "hang")
    ask = answering(broken, "")
    broken.failing = failing
    refused(ask, r"0 s\.$", AGAIN)
    failing.over.set()


def test_a_request_that_must_not_be_repeated_is_sent_once(broken):
    asked = []
    with StudioApi(broken.url, KEY) as api:
        for how in ("500", "cut"):
            broken.failing = lambda method, path, how=how: asked.append(path) or how
            refused(lambda: api.import_tasks(1, [{}]), "500|RemoteProtocolError", AGAIN)
    assert len(asked) == 2


def test_a_server_that_adds_only_some_of_the_tasks_is_an_error(synced):
    synced.push()
    with flaky(synced.live.url) as proxy, StudioApi(proxy.url, synced.live.log_in.api_key) as api:
        api._send = lambda *arguments, **how: [1]  # type: ignore[method-assign]
        tasks = [{"data": {"image": "http://127.0.0.1:9/a.png"}}] * 2
        refused(lambda: api.import_tasks(synced.project_id, tasks), "1 of 2 tasks", AGAIN)


def test_json_of_another_shape_is_an_error_in_every_request(broken):
    broken.failing = lambda method, path: "other"
    with StudioApi(broken.url, KEY) as api:
        for action in (
            lambda: api.projects_marked("mark"),
            lambda: list(api.task_facts(1, "id")),
            lambda: api.drafted_tasks(1),
            lambda: api.count_tasks(1),
            lambda: api.newest_change(1),
            lambda: list(api.changed_tasks(1, "")),
            lambda: api.import_tasks(1, [{}]),
        ):
            refused(action, r"\(KeyError\)", "LABEL_STUDIO_URL")


# Addresses and keys


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8080",
        "localhost",
        "ftp://host",
        "http://",
        "http://a b",
        "http://host:port",
        "http://[::1",
        "http://host/?next=1",
        f"http://ann:{KEY}@host",
        f"//ann:{KEY}@host",
        "http://ä..b",
    ],
)
def test_a_malformed_address_is_refused_before_anything_is_sent(url, monkeypatch):
    monkeypatch.setenv("LABEL_STUDIO_URL", url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", KEY)
    assert refused(connect, "LABEL_STUDIO_URL", "export LABEL_STUDIO_URL=http") is UsageError


def test_an_address_and_a_key_that_are_not_set_are_asked_for(monkeypatch):
    for empty in ("", "  "):
        monkeypatch.setenv("LABEL_STUDIO_URL", empty)
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", KEY)
        refused(connect, "LABEL_STUDIO_URL is not set", "labelkit push --files")
        monkeypatch.setenv("LABEL_STUDIO_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", empty)
        refused(connect, "LABEL_STUDIO_API_KEY is not set", "Account & Settings")


@pytest.mark.parametrize("key", [f"Token {KEY}", f"{KEY}ü", f"{KEY}\n{KEY}", f"{KEY}\x7f"])
def test_a_key_with_characters_that_a_key_cannot_have_is_not_sent(key, monkeypatch):
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", key)
    assert refused(connect, "LABEL_STUDIO_API_KEY", "Copy") is UsageError


def personal_token(**claims: Any) -> str:
    return jwt.encode(claims, "signed with the secret of another server", algorithm="HS256")


@pytest.mark.parametrize(
    "claims",
    [{}, {"exp": 1}, {"exp": "soon"}, {"exp": None}, {"exp": 10**20}, {"exp": -(10**20)}],
)
def test_an_expired_or_malformed_personal_access_token_is_not_sent(claims):
    token = personal_token(**claims)
    refused(
        lambda: StudioApi("http://127.0.0.1:9", token),
        "LABEL_STUDIO_API_KEY",
        "Account & Settings",
        token,
    )


@pytest.mark.parametrize("how", [how for how in FAILURES if how not in ("echo", "other")])
def test_a_failed_renewal_of_a_personal_access_token_has_the_same_errors(broken, how):
    match, next_step, _ = FAILURES[how]
    token = personal_token(exp=4_000_000_000, token_type="refresh")
    broken.failing = lambda method, path: how
    with StudioApi(broken.url, token) as api:
        refused(api.check, match, next_step, token)


@pytest.mark.parametrize("key", ["0" * 40, "a.b.c", personal_token(exp=4_000_000_000)])
def test_the_real_server_refuses_a_wrong_key(live, key):
    with StudioApi(live.url, key) as api:
        refused(api.check, "LABEL_STUDIO_API_KEY", "Account & Settings", key)


# Nothing is lost or doubled


@pytest.fixture
def queued(synced: Synced, monkeypatch: pytest.MonkeyPatch) -> Synced:
    """Eight instances, sent three at a time and read two at a time."""
    monkeypatch.setattr("labelkit.workflows.sync.push_server.CHUNK", 3)
    monkeypatch.setattr(studio_api, "PAGE", 2)
    ids = list(synced.trained.store.instances())[:8]
    items = [QueueItem(id_, "unsure", False) for id_ in ids]
    write_queue(synced.trained.project, items)
    return synced


def until_it_works(
    proxy: Flaky, key: str, ways: tuple[str, ...], command: Callable[[StudioApi], Any]
) -> int:
    """Run a command whose first request fails, then with its second, until none fails.

    Returns:
        the number of requests that the command needs.
    """
    for passed, how in enumerate(itertools.cycle(ways)):
        assert passed < 60
        failing = proxy.failing = FailsFrom(passed, how)
        caught = None
        with StudioApi(proxy.url, key) as api:
            try:
                command(api)
            except ServiceError as error:
                caught = error
        failing.over.set()
        if caught is None:
            return passed
        assert caught.next_step
        assert not [word for word in (key, COOKIE, "welcome") if word in str(caught)]
    raise AssertionError


@pytest.mark.parametrize("ways", [("500", "hang"), ("cut", "html", "401"), ("lost",)])
def test_whatever_request_fails_the_next_runs_lose_nothing_and_double_nothing(
    queued, ways, monkeypatch
):
    store, skeleton = queued.trained.store, queued.trained.project.skeleton
    key = queued.live.log_in.api_key
    if "hang" in ways:
        monkeypatch.setattr(studio_api, "TIMEOUT_SECONDS", 0.5)
    with flaky(queued.live.url) as proxy:
        assert until_it_works(proxy, key, ways, queued.push) >= 5
        queued.push()  # the same server by its own address
        tasks = queued.tasks()
        asked = Counter(id_ for task in tasks for id_ in task["data"]["labelkit"]["instances"])
        assert asked == dict.fromkeys(list(store.instances())[:8], 1)
        assert [len(task["predictions"]) for task in tasks] == [1] * len(tasks)
        assert queued.api.projects_marked(queued.sent.uid) == [queued.project_id]

        for task in tasks:
            queued.submit(task, task["predictions"][0]["result"])
        assert until_it_works(proxy, key, ways, queued.pull) >= 5
    assert store.poses(skeleton).keys() == asked.keys()
    kept = Counter(r.entry.instance_id for r in store.entries() if r.entry.kind == KEYPOINTS)
    assert kept == asked
    assert queued.pull().added == 0


def test_a_slow_server_is_waited_for(queued):
    with flaky(queued.live.url) as proxy, StudioApi(proxy.url, queued.live.log_in.api_key) as api:
        proxy.slow_seconds = 0.2
        proxy.failing = lambda method, path: "slow"
        assert queued.push(api).sent == 8
        assert queued.pull(api).added == 0
